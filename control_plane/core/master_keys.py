"""The installation's master keys: they encrypt data keys, and nothing else.

They are read from a file, the environment or a command, the newest first. The newest one wraps; the
earlier ones only unwrap what a rotation has not come to yet.
"""

import functools
import re
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.core import clock
from control_plane.core.crypto import SecretError, decrypt, encrypt, new_key, replace_secret
from control_plane.core.settings import Settings

_KEY = re.compile(r"[0-9a-fA-F]{64}")
_FRESH_SECONDS = 1.0
_COMMAND_SECONDS = 30.0


@dataclass(frozen=True)
class MasterKey:
    """One master key."""

    text: str = field(repr=False)

    @functools.cached_property
    def id(self) -> str:
        """What it is known by; the key does not follow from it."""
        return sha256(b"yumen master key|" + self.text.lower().encode()).hexdigest()[:16]

    @functools.cached_property
    def cipher(self) -> AESGCM:
        """What encrypts with it."""
        return AESGCM(bytes.fromhex(self.text))

    def wrap(self, data_key: bytes, aad: str) -> str:
        """Return *data_key* encrypted with it."""
        return encrypt(self.cipher, data_key.hex(), aad)


class MasterKeys:
    """The master keys as a process knows them; it looks again when it meets an unknown one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: list[MasterKey] = []
        self._read_at = 0.0

    @property
    def source(self) -> str:
        """Where they come from, for people."""
        return {
            "environment": "security.master_key",
            "command": "the output of security.master_key_command",
            "file": str(self._settings.secret_file("master")),
        }[self._settings.security.master_key_source]

    def read(self) -> list[MasterKey]:
        """Read them anew, the newest first.

        Raises:
            SecretError: there is none, or something else stands there.
        """
        words = self._text().split()
        if not words or not all(_KEY.fullmatch(word) for word in words):
            raise SecretError(
                f"{self.source[0].upper()}{self.source[1:]} must hold one or more keys of 64"
                " hexadecimal characters, the newest first."
            )
        self._known = [MasterKey(word) for word in words]
        self._read_at = clock.monotonic()
        return self._known

    def newest(self) -> MasterKey:
        """Return the key that wraps; it is read again, because a rotation may have replaced it."""
        is_fresh = self._known and clock.monotonic() - self._read_at < _FRESH_SECONDS
        return (self._known if is_fresh else self.read())[0]

    def unwrap(self, master_id: str, wrapped: str, aad: str) -> bytes:
        """Return a data key that *master_id* has wrapped.

        Raises:
            SecretError: that master key is not there, or has not wrapped this.
        """
        try:
            return bytes.fromhex(decrypt(self._find(master_id).cipher, wrapped, aad))
        except InvalidTag as error:
            raise SecretError(f"The wrapped key {aad} was changed or moved.") from error

    def _find(self, master_id: str) -> MasterKey:
        known = next((key for key in self._known if key.id == master_id), None)
        known = known or next((key for key in self.read() if key.id == master_id), None)
        if known is None:
            raise missing([master_id], self.source)
        return known

    def renew(self, kept: set[str]) -> MasterKey:
        """Put a new key before the others in the file; of those it keeps what is named *kept*.

        Raises:
            SecretError: they do not come from a file, or it cannot be written.
        """
        if self._settings.security.master_key_source != "file":
            raise SecretError(
                f"The master keys come from {self.source}: put a new one (openssl rand -hex 32)"
                " before the present one, restart, and rotate again."
            )
        others = [key.text for key in self.read() if key.id in kept]
        file = self._settings.secret_file("master")
        try:
            replace_secret(file, "\n".join([new_key(), *others, ""]))
        except OSError as error:
            raise SecretError(f"Cannot write {file}: {error.strerror}.") from error
        return self.read()[0]

    def _text(self) -> str:
        security = self._settings.security
        if security.master_key is not None:
            return security.master_key.replace(",", " ")
        if security.master_key_command is not None:
            return _printed_by(security.master_key_command)
        file = self._settings.secret_file("master")
        try:
            return file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SecretError(f"Cannot read the master key {file}: {reason}.") from error


def missing(master_ids: Iterable[str], source: str) -> SecretError:
    """Return the error for master keys that are needed and not there."""
    return SecretError(
        f"Data keys in the database are wrapped by the master key {', '.join(sorted(master_ids))},"
        f" which is not in {source}: restore it from your backup (docs/operators/backup.md)."
    )


def _printed_by(command: str) -> str:
    """Return what *command* prints; what it printed stands in no error."""
    try:
        done = subprocess.run(
            shlex.split(command),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split())[:200]
        raise SecretError(
            f"security.master_key_command failed with {error.returncode}: {said}"
        ) from None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}"
        raise SecretError(f"security.master_key_command cannot be run: {reason}.") from None
    return done.stdout
