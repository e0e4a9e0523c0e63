"""Hashes and checks passwords with argon2, a few at once: each takes 64 MB and a tenth second."""

import contextlib
import functools
import secrets
import threading
from collections.abc import Iterator

import argon2

from control_plane.core.errors import ApiError

_AT_ONCE = 2
_WAIT_SECONDS = 5.0

_hasher = argon2.PasswordHasher()
_slots = threading.BoundedSemaphore(_AT_ONCE)


def hash_password(password: str) -> str:
    """Return the hash under which *password* is kept."""
    with _slot():
        return _hasher.hash(password)


def verify_password(password: str, password_hash: str | None) -> bool:
    """Tell whether *password* is right; without a hash (no such user) no takes as long."""
    with _slot():
        try:
            _hasher.verify(password_hash or _dummy_hash(), password)
        except argon2.exceptions.VerifyMismatchError:
            return False
        return password_hash is not None


def prepare() -> None:
    """Make what unknown names are checked against, so that the first check takes no longer."""
    _dummy_hash()


def generate_password() -> str:
    """Return a password that nobody can guess."""
    return secrets.token_urlsafe(18)


@functools.cache
def _dummy_hash() -> str:
    return _hasher.hash(secrets.token_urlsafe(18))


@contextlib.contextmanager
def _slot() -> Iterator[None]:
    if not _slots.acquire(timeout=_WAIT_SECONDS):
        detail = "Too many sign-ins at once; try again."
        raise ApiError(503, "busy", detail, headers={"Retry-After": "1"})
    try:
        yield
    finally:
        _slots.release()
