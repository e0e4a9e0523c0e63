"""Sends mail: queued in the transaction of its cause, sent by the worker until a server takes it.

A mail that the server has taken just before the worker was killed is sent once more, with the same
Message-ID.
"""

import contextlib
import datetime
import email.utils
import json
import smtplib
import ssl
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any, cast

import jinja2
import structlog
from sqlalchemy import String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from control_plane.core import clock, tenancy
from control_plane.core.database import Database
from control_plane.core.encryption import reveal
from control_plane.core.figures import Family, Figures, Values
from control_plane.core.ids import new_id
from control_plane.core.leader import Leader
from control_plane.core.plugins import JobContext
from control_plane.core.root import project_root
from control_plane.core.settings import MailSettings, Settings
from control_plane.core.tables import Base
from control_plane.core.types import EncryptedText, Secret

PAUSES = tuple(
    datetime.timedelta(minutes=minutes) for minutes in (0.5, 2, 10, 30, 60, 180, 360, 720)
)
"""How long to wait after a first failure, a second one and so on; then the mail is given up."""

KEPT = datetime.timedelta(days=30)
"""How long a mail that was given up can be looked at in the database."""

_POLL_SECONDS = 1.0
_TIMEOUT_SECONDS = 20.0
_AT_ONCE = 20

log = structlog.get_logger(__name__)


class QueuedMail(Base):
    """A mail that no server has taken yet; it may hold a secret, so it is kept encrypted."""

    __tablename__ = "queued_mails"
    audited = False

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    content: Mapped[Secret] = mapped_column(EncryptedText)
    created_at: Mapped[datetime.datetime] = mapped_column(default=clock.now)
    due_at: Mapped[datetime.datetime | None] = mapped_column(index=True)
    """When to try next; null when it was given up."""
    worthless_after: Mapped[datetime.datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(String(500))


@dataclass(frozen=True)
class Mail:
    """A mail in plain text to one reader."""

    to: str
    subject: str
    text: str = field(repr=False)

    def __post_init__(self) -> None:
        for value in (self.to, self.subject):
            if not value or not value.isprintable():
                raise ValueError("An address and a subject are one line of printable characters.")
        local, at, domain = self.to.rpartition("@")
        if not (at and local and domain and self.to.isascii()) or set(self.to) & set(' ,;<>"'):
            raise ValueError("This is not the plain form of an e-mail address.")


def render(template: str, to: str, **values: Any) -> Mail:
    """Return a mail from `templates/mail/TEMPLATE.txt.j2`; its first line is the subject."""
    subject, _, text = (
        _templates().get_template(f"{template}.txt.j2").render(values).partition("\n")
    )
    return Mail(to, subject, text.lstrip("\n"))


def queue(
    session: Session, mail: Mail, *, worthless_after: datetime.datetime | None = None
) -> None:
    """Send *mail* once the session's transaction is committed, unless it is worthless by then."""
    content = json.dumps({"to": mail.to, "subject": mail.subject, "text": mail.text})
    session.add(
        QueuedMail(
            content=Secret(content),
            due_at=clock.now(),
            worthless_after=worthless_after,
        )
    )


def run_sender(settings: Settings, stop: threading.Event) -> None:
    """Send queued mails in the one worker that leads, until *stop*; without a server, wait."""
    if settings.mail.host is None:
        stop.wait()
        return
    database = Database(settings)
    leader = Leader(settings, database, "mail")
    try:
        while not stop.wait(_POLL_SECONDS):
            if leader.holds():
                send_due(settings, database)
    finally:
        leader.release()
        database.close()


def send_due(settings: Settings, database: Database) -> int:
    """Try each queued mail that is due once; return how many the server took."""
    taken = 0
    with tenancy.platform_context():
        with database.session(write=False) as session:
            query = select(QueuedMail.id).where(QueuedMail.due_at <= clock.now())
            ids = session.scalars(query.order_by(QueuedMail.due_at).limit(_AT_ONCE)).all()
        for row_id in ids:
            error = _try(settings, database, row_id)
            with database.transaction() as session:
                taken += _settle(session, row_id, error)
        with database.transaction() as session:
            _forget(session)
    return taken


def _try(settings: Settings, database: Database, row_id: uuid.UUID) -> Exception | None:
    """Hand one mail to the server; return what went wrong."""
    with database.session(write=False) as session:
        row = session.get_one(QueuedMail, row_id)
        if row.worthless_after is not None and row.worthless_after <= clock.now():
            return smtplib.SMTPException("nobody took it until it was worthless")
        content = json.loads(reveal(row, QueuedMail.content))
    try:
        _send(settings.mail, _message(settings.mail, row_id, Mail(**content)))
    except (smtplib.SMTPException, OSError) as error:
        return error
    return None


def _send(settings: MailSettings, message: EmailMessage) -> None:
    context = ssl.create_default_context(cafile=settings.ca_file)
    # We greet as the domain that mail is from: to look our own name up may take long.
    options = {"local_hostname": _domain(settings), "timeout": _TIMEOUT_SECONDS}
    where = (str(settings.host), settings.port)
    server: smtplib.SMTP
    if settings.security == "tls":
        server = smtplib.SMTP_SSL(*where, context=context, **cast("Any", options))
    else:
        server = smtplib.SMTP(*where, **cast("Any", options))
    try:
        if settings.security == "starttls":
            server.starttls(context=context)
        if settings.username is not None:
            server.login(settings.username, _password(settings))
        server.send_message(message)
        with contextlib.suppress(smtplib.SMTPException, OSError):  # the mail is taken already
            server.quit()
    finally:
        server.close()


def _message(settings: MailSettings, row_id: uuid.UUID, mail: Mail) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.sender
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = email.utils.format_datetime(clock.now())
    message["Message-ID"] = f"<{row_id}@{_domain(settings)}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    return message


def _domain(settings: MailSettings) -> str:
    return email.utils.parseaddr(settings.sender)[1].rpartition("@")[2]


def _settle(session: Session, row_id: uuid.UUID, error: Exception | None) -> bool:
    """Note how an attempt ended; tell whether the server took the mail."""
    row = session.get_one(QueuedMail, row_id)
    if error is None:
        session.delete(row)
        return True
    row.attempts += 1
    row.error = str(error)[:500]
    now = clock.now()
    is_worthless = row.worthless_after is not None and row.worthless_after <= now
    if row.attempts > len(PAUSES) or is_worthless or _is_final(error):
        row.due_at = None
        log.error("mail_given_up", mail=str(row_id), attempts=row.attempts, error=row.error)
    else:
        row.due_at = now + PAUSES[row.attempts - 1]
        log.warning("mail_delayed", mail=str(row_id), attempts=row.attempts, error=row.error)
    return False


def _is_final(error: Exception) -> bool:
    """Tell whether the server said that it will never take this mail."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return False  # our own mistake, which can be put right
    return isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 500


def _forget(session: Session) -> None:
    old = select(QueuedMail).where(
        QueuedMail.due_at.is_(None), QueuedMail.created_at <= clock.now() - KEPT
    )
    for row in session.scalars(old.limit(_AT_ONCE)):
        session.delete(row)


def _password(settings: MailSettings) -> str:
    if settings.password_file is None:
        return ""
    return Path(settings.password_file).read_text(encoding="utf-8").rstrip("\r\n")


def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(project_root() / "templates" / "mail"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - plain text
        keep_trailing_newline=True,
    )


_MAILS = Family(
    "yumen_mails",
    "gauge",
    ("state",),
    "Mails that are queued, and those of the last 30 days that were given_up.",
)


def _read_figures(context: JobContext) -> Mapping[str, Values]:
    query = select(QueuedMail.due_at.is_(None), func.count()).group_by(QueuedMail.due_at.is_(None))
    with tenancy.platform_context(), context.database.session(write=False) as session:
        found = {bool(given_up): number for given_up, number in session.execute(query)}
    states: Values = {("queued",): found.get(False, 0), ("given_up",): found.get(True, 0)}
    return {_MAILS.name: states}


FIGURES = Figures("mail", (_MAILS,), _read_figures)
"""What no server has taken yet."""
