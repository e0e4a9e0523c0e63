"""The text of an API key: `ym_live_<public id>_<secret><checksum>`."""

import secrets
import string
import zlib

from control_plane.identity.models.api_keys import KEY_PREFIX

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PUBLIC_ID_LENGTH = 12
SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6


def new_public_id() -> str:
    """Return a name for a secret that no other has."""
    return _random(PUBLIC_ID_LENGTH)


def generate_key(public_id: str) -> str:
    """Return the text of a new key."""
    body = f"{KEY_PREFIX}{public_id}_{_random(SECRET_LENGTH)}"
    return body + checksum(body)


def checksum(text: str) -> str:
    """Return the base62 CRC-32 of *text*, by which a mistyped key is refused without a look-up."""
    number = zlib.crc32(text.encode("ascii"))
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
