"""What a browser carries while its user is at the provider: encrypted, and good for minutes."""

import base64
import dataclasses
import datetime
import json
import secrets
import uuid
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken

from control_plane.core import clock
from control_plane.core.crypto import Keyring

PREFIX = "yumen_sign_in_"
LIFETIME = datetime.timedelta(minutes=10)
_SECRET_BYTES = 32


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One sign-in that was begun: where, and the secrets that prove that its answer is meant."""

    provider_id: uuid.UUID
    return_to: str
    state: str = dataclasses.field(repr=False)
    nonce: str = dataclasses.field(repr=False)
    verifier: str = dataclasses.field(repr=False)

    @property
    def name(self) -> str:
        """What its cookie is called, so that several windows do not disturb each other."""
        return name_of(self.state)


def begin(provider_id: uuid.UUID, return_to: str) -> Attempt:
    """Return a new attempt."""
    state, nonce, verifier = (secrets.token_urlsafe(_SECRET_BYTES) for _ in range(3))
    return Attempt(provider_id, return_to, state, nonce, verifier)


def name_of(state: str) -> str:
    """Return what the cookie of the attempt with this state is called."""
    return PREFIX + sha256(state.encode("utf-8")).hexdigest()[:16]


def sealed(attempt: Attempt, keyring: Keyring) -> str:
    """Return *attempt* as only this installation can read it."""
    told = {**dataclasses.asdict(attempt), "provider_id": str(attempt.provider_id)}
    text = json.dumps(told).encode("utf-8")
    return _cipher(keyring).encrypt_at_time(text, _now()).decode("ascii")


def opened(text: str, state: str, keyring: Keyring) -> Attempt | None:
    """Return the attempt in *text*; None when it is not ours, is over or of another state."""
    seconds = int(LIFETIME.total_seconds())
    try:
        told = json.loads(_cipher(keyring).decrypt_at_time(text.encode("utf-8"), seconds, _now()))
    except InvalidToken:
        return None
    attempt = Attempt(**{**told, "provider_id": uuid.UUID(told["provider_id"])})
    matches = secrets.compare_digest(attempt.state.encode("utf-8"), state.encode("utf-8"))
    return attempt if matches else None


def _cipher(keyring: Keyring) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(keyring.derived_key("single-sign-on")))


def _now() -> int:
    return int(clock.now().timestamp())
