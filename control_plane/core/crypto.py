"""The installation's secrets, and what is done with each of them."""

import base64
import functools
import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.core.settings import Settings

CIPHERTEXT_PREFIX = "v1."
_NONCE_BYTES = 12


class SecretError(Exception):
    """A secret file is missing or damaged, or a ciphertext does not belong where it was found."""


def row_aad(table: str, column: str, row_id: object) -> str:
    """Return what binds a ciphertext to its place, so that moving it to another row breaks it."""
    return f"{table}|{column}|{row_id}"


def ensure_secrets(settings: Settings) -> None:
    """Create the secret files that are missing, readable by their owner only."""
    for name in ("master", "pepper", "seal"):
        _create_once(settings.secret_file(name), secrets.token_hex(32) + "\n")
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _create_once(settings.secret_file("jwt"), pem.decode("ascii"))


def _create_once(path: Path, content: str) -> None:
    """Write *content* to *path* whole or not at all, and never over an existing file."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        # A hard link fails when another process was first; a rename would replace its secret.
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


class Keyring:
    """Encrypts rows, seals values for the gateway, digests API keys, signs access tokens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @functools.cached_property
    def _row_cipher(self) -> AESGCM:
        return AESGCM(_read_key(self._settings.secret_file("master")))

    @functools.cached_property
    def _seal_cipher(self) -> AESGCM:
        return AESGCM(_read_key(self._settings.secret_file("seal")))

    @functools.cached_property
    def _seal_nonce_key(self) -> bytes:
        key = _read_key(self._settings.secret_file("seal"))
        return hmac.new(key, b"yumen seal nonce", sha256).digest()

    @functools.cached_property
    def _pepper(self) -> bytes:
        return _read_key(self._settings.secret_file("pepper"))

    @functools.cached_property
    def signing_key(self) -> str:
        """The Ed25519 private key (PEM) that signs access tokens."""
        return _read_text(self._settings.secret_file("jwt"))

    @functools.cached_property
    def verifying_key(self) -> str:
        """The Ed25519 public key (PEM) that verifies access tokens."""
        private = serialization.load_pem_private_key(self.signing_key.encode("ascii"), None)
        return (
            private.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode("ascii")
        )

    def derived_key(self, purpose: str) -> bytes:
        """Return a key of its own for *purpose*, made from the pepper."""
        return hmac.new(self._pepper, f"derived|{purpose}".encode(), sha256).digest()

    def encrypt(self, text: str, aad: str) -> str:
        """Return *text* encrypted for the place that *aad* names (see `row_aad`)."""
        return CIPHERTEXT_PREFIX + _encrypt(self._row_cipher, text, aad)

    def decrypt(self, ciphertext: str, aad: str) -> str:
        """Return the text of *ciphertext*, which must have been made for *aad*.

        Raises:
            SecretError: it was made with another key, for another place, or was changed.
        """
        try:
            raw = base64.b64decode(ciphertext.removeprefix(CIPHERTEXT_PREFIX), validate=True)
            clear = self._row_cipher.decrypt(
                raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], aad.encode("utf-8")
            )
        except (InvalidTag, ValueError) as error:
            raise SecretError(f"The stored secret of {aad} cannot be decrypted.") from error
        return clear.decode("utf-8")

    def seal(self, text: str, aad: str) -> str:
        """Return *text* sealed for the gateway: base64 of nonce, ciphertext and tag.

        The nonce follows from the text and its place, so that a secret that did not change is not
        published again.
        """
        pair = f"{len(aad)}|{aad}|{text}".encode()
        nonce = hmac.new(self._seal_nonce_key, pair, sha256).digest()[:_NONCE_BYTES]
        return _encrypt(self._seal_cipher, text, aad, nonce)

    def digest_key(self, key_text: str) -> str:
        """Return the HMAC-SHA-256 (hex) under which an API key is known; the key is not stored."""
        return hmac.new(self._pepper, key_text.encode("utf-8"), sha256).hexdigest()


def _encrypt(cipher: AESGCM, text: str, aad: str, nonce: bytes | None = None) -> str:
    nonce = nonce or os.urandom(_NONCE_BYTES)
    sealed = nonce + cipher.encrypt(nonce, text.encode("utf-8"), aad.encode("utf-8"))
    return base64.b64encode(sealed).decode("ascii")


def _read_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(_read_text(path).strip())
    except ValueError as error:
        raise SecretError(f"{path} must hold 64 hexadecimal characters.") from error
    if len(key) != 32:
        raise SecretError(f"{path} must hold 64 hexadecimal characters.")
    return key


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise SecretError(f"Cannot read the secret {path}: {error.strerror}.") from error
