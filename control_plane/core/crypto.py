"""The installation's secrets, and what is done with each of them."""

import base64
import functools
import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

import click
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.core.settings import SecretName, Settings

SECRET_NAMES: tuple[SecretName, ...] = ("master", "pepper", "seal", "jwt")
_NONCE_BYTES = 12


class SecretError(click.ClickException):
    """A secret is missing or damaged, or a ciphertext does not belong where it was found."""


def ensure_secrets(settings: Settings) -> None:
    """Create the secret files that are missing, readable by their owner only."""
    names: list[SecretName] = ["pepper", "seal"]
    if settings.security.master_key_source == "file":
        names.append("master")
    for name in names:
        _create_once(settings.secret_file(name), new_key() + "\n")
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _create_once(settings.secret_file("jwt"), pem.decode("ascii"))


def new_key() -> str:
    """Return a new key of 256 bits, as secret files hold it."""
    return secrets.token_hex(32)


def replace_secret(path: Path, content: str) -> None:
    """Replace a secret file; whatever happens meanwhile, the old one or the new one is there."""
    _write_beside(path, content).replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _write_beside(path: Path, content: str) -> Path:
    """Write *content* to a file of its own beside *path*, and to the disk; return that file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _create_once(path: Path, content: str) -> None:
    """Write *content* to *path* whole or not at all, and never over an existing file."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = _write_beside(path, content)
    try:
        # A hard link fails when another process was first; a rename would replace its secret.
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


class Keyring:
    """Seals values for the gateway, digests API keys, signs access tokens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

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

    def seal(self, text: str, aad: str) -> str:
        """Return *text* sealed for the gateway: base64 of nonce, ciphertext and tag.

        The nonce follows from the text and its place, so that a secret that did not change is not
        published again.
        """
        pair = f"{len(aad)}|{aad}|{text}".encode()
        nonce = hmac.new(self._seal_nonce_key, pair, sha256).digest()[:_NONCE_BYTES]
        return encrypt(self._seal_cipher, text, aad, nonce)

    def digest_key(self, key_text: str) -> str:
        """Return the HMAC-SHA-256 (hex) under which an API key is known; the key is not stored."""
        return hmac.new(self._pepper, key_text.encode("utf-8"), sha256).hexdigest()


def encrypt(cipher: AESGCM, text: str, aad: str, nonce: bytes | None = None) -> str:
    """Return *text* encrypted for the place that *aad* names: base64 of nonce, ciphertext, tag."""
    nonce = nonce or os.urandom(_NONCE_BYTES)
    sealed = nonce + cipher.encrypt(nonce, text.encode("utf-8"), aad.encode("utf-8"))
    return base64.b64encode(sealed).decode("ascii")


def decrypt(cipher: AESGCM, sealed: str, aad: str) -> str:
    """Return what `encrypt` was given.

    Raises:
        InvalidTag: it was made with another key, for another place, or was changed.
    """
    try:
        raw = base64.b64decode(sealed, validate=True)
        clear = cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], aad.encode("utf-8"))
    except ValueError as error:
        raise InvalidTag from error
    return clear.decode("utf-8")


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
