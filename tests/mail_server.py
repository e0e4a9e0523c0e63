"""A mail server for tests, on loopback: it keeps what it takes, and refuses what it is told to."""

import datetime
import email
import ipaddress
import ssl
import threading
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.stack import free_port

USERNAME, PASSWORD = "yumen", "a mail password"


class MailServer:
    """An SMTP server; with *folder* it speaks TLS by a certificate of its own made there."""

    def __init__(self, folder: Path | None = None, *, security: str = "none") -> None:
        self.port = free_port()
        self.refusals: list[str] = []
        """What the next mails are answered with, such as `451 Later`; then they are taken."""
        self.logins: list[str] = []
        self._taken: list[tuple[Envelope, EmailMessage]] = []
        self._lock = threading.Lock()
        context = None if folder is None else self._context(folder)
        implicit = {"ssl_context": context} if security == "tls" else {}
        required = security != "none"
        self._controller = Controller(
            cast("Any", self),
            hostname="127.0.0.1",
            port=self.port,
            tls_context=context if security == "starttls" else None,
            require_starttls=security == "starttls",
            authenticator=self._authenticate if required else None,
            auth_require_tls=security == "starttls",
            **cast("Any", implicit),
        )

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._controller.stop(no_assert=True)

    @property
    def environ(self) -> dict[str, str]:
        """The settings that send mail here without encryption."""
        return {
            "YUMEN_MAIL_HOST": "127.0.0.1",
            "YUMEN_MAIL_PORT": str(self.port),
            "YUMEN_MAIL_SECURITY": "none",
            "YUMEN_MAIL_SENDER": "Yumen <yumen@example.com>",
        }

    @property
    def mails(self) -> list[EmailMessage]:
        """What was taken, oldest first."""
        with self._lock:
            return [message for _, message in self._taken]

    @property
    def recipients(self) -> list[list[str]]:
        """To whom each mail was addressed on the envelope."""
        with self._lock:
            return [list(envelope.rcpt_tos) for envelope, _ in self._taken]

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        """Take a mail, or refuse it; aiosmtpd calls this."""
        with self._lock:
            if self.refusals:
                return self.refusals.pop(0)
            content = cast("bytes", envelope.content)
            message = cast(
                "EmailMessage", email.message_from_bytes(content, policy=cast("Any", default))
            )
            self._taken.append((envelope, message))
        return "250 OK"

    def _authenticate(
        self, _server: Any, _session: Any, _envelope: Any, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.logins.append(mechanism)
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == (USERNAME, PASSWORD), handled=False)

    @staticmethod
    def _context(folder: Path) -> ssl.SSLContext:
        """Return a context for 127.0.0.1; its certificate is its own authority, `ca.pem`."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now.replace(year=2120))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
        return context
