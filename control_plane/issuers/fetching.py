"""Fetches the issuers' public keys, so that no gateway has to."""

import base64
import datetime
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jwt
import requests
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from sqlalchemy import select

from control_plane.core import clock, outgoing, tenancy
from control_plane.core.events import emit
from control_plane.core.plugins import JobContext
from control_plane.core.settings import Settings
from control_plane.issuers.events import IssuersChanged
from control_plane.issuers.models import Issuer, KeySet

_AGAIN = datetime.timedelta(minutes=5)
_AGAIN_AFTER_ERROR = datetime.timedelta(seconds=30)
_AT_ONCE = 16
_THREADS = 8
_MOST_KEYS = 50
_RSA_BITS = range(2048, 8193)
_MOST_ERROR = 500

log = structlog.get_logger(__name__)

Keys = list[dict[str, Any]]


class FetchError(Exception):
    """The keys of an issuer could not be had; the message says why."""


@dataclass(frozen=True)
class _Source:
    """Where the keys of an issuer are."""

    tenant_id: uuid.UUID
    issuer_id: uuid.UUID
    issuer: str
    jwks_url: str | None


def run_fetching(context: JobContext) -> None:
    """Fetch the keys that are due, as the worker's job.

    Keys stay as they are while their issuer does not answer.
    """
    sources = _due(context)
    if not sources:
        return
    with ThreadPoolExecutor(_THREADS) as threads:
        found = threads.map(lambda source: _try(context.settings, source), sources)
        for source, (keys, error) in zip(sources, found, strict=True):
            _store(context, source, keys, error)


def _due(context: JobContext) -> list[_Source]:
    query = (
        select(Issuer.tenant_id, Issuer.id, Issuer.issuer, Issuer.jwks_url)
        .join(KeySet, KeySet.issuer_id == Issuer.id)
        .where(Issuer.is_active.is_(True), KeySet.due_at <= clock.now())
        .order_by(KeySet.due_at)
        .limit(_AT_ONCE)
    )
    with tenancy.platform_context(), context.database.session(write=False) as session:
        return [_Source(*row) for row in session.execute(query)]


def _try(settings: Settings, source: _Source) -> tuple[Keys, str | None]:
    try:
        return fetch(settings, source.issuer, source.jwks_url), None
    except FetchError as error:
        return [], str(error)[:_MOST_ERROR]


def _store(context: JobContext, source: _Source, keys: Keys, error: str | None) -> None:
    with tenancy.tenant_context(source.tenant_id), context.database.transaction() as session:
        issuer = session.get(Issuer, source.issuer_id)
        if issuer is None or (issuer.issuer, issuer.jwks_url) != (source.issuer, source.jwks_url):
            return  # changed meanwhile, and so due again
        known = issuer.key_set
        known.error = error
        known.due_at = clock.now() + (_AGAIN if error is None else _AGAIN_AFTER_ERROR)
        if error is not None:
            log.warning("issuer_keys_not_fetched", issuer=str(issuer.id), error=error)
            return
        known.fetched_at = clock.now()
        if known.keys != keys:
            known.keys = keys
            emit(session, IssuersChanged(tenant_id=source.tenant_id))


def fetch(settings: Settings, issuer: str, jwks_url: str | None) -> Keys:
    """Return the public keys of an issuer as the gateway takes them.

    Raises:
        FetchError: it does not answer, may not be called, or says something else.
    """
    with requests.Session() as http:
        outgoing.guard(http, settings)
        key_set = _get(http, jwks_url or _discovered(http, issuer))
    listed = key_set.get("keys")
    if not isinstance(listed, list):
        raise FetchError("The key set has no list `keys`.")
    if len(listed) > _MOST_KEYS:
        raise FetchError(f"The key set has more than {_MOST_KEYS} keys.")
    keys = [key for key in map(_usable, listed) if key is not None]
    if not keys:
        raise FetchError("The key set has no key for RS256, ES256 or EdDSA.")
    return keys


def _discovered(http: requests.Session, issuer: str) -> str:
    """Return where an issuer says that its keys are (OpenID Connect Discovery 1.0)."""
    told = _get(http, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if told.get("issuer") != issuer:
        raise FetchError(f"It calls itself {told.get('issuer')!r}, not {issuer!r}.")
    if not isinstance(told.get("jwks_uri"), str):
        raise FetchError("It does not say where its keys are (jwks_uri).")
    return str(told["jwks_uri"])


def _get(http: requests.Session, url: str) -> dict[str, Any]:
    try:
        answer = http.get(url, headers={"Accept": "application/json"})
        if answer.status_code != 200:
            raise FetchError(f"{url} answered {answer.status_code}.")
        found = answer.json()
    except (requests.RequestException, RecursionError) as error:
        raise FetchError(f"{url} gave no answer to be read: {error}") from error
    if not isinstance(found, dict):
        raise FetchError(f"{url} answered no JSON object.")
    return found


def _usable(jwk: Any) -> dict[str, Any] | None:
    """Return a key that signatures may be verified with, None for another."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "d" in jwk:
        return None
    try:
        key = jwt.PyJWK(jwk).key
    except jwt.PyJWTError:
        return None
    algorithm = _algorithm_of(key)
    kid = jwk.get("kid")
    if algorithm is None or jwk.get("alg", algorithm) != algorithm:
        return None
    if kid is not None and not isinstance(kid, str):
        return None
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {"kid": kid, "algorithm": algorithm, "publicKey": base64.b64encode(der).decode()}


def _algorithm_of(key: Any) -> str | None:
    """Return the one algorithm that a key is taken for."""
    match key:
        case RSAPublicKey() if key.key_size in _RSA_BITS:
            return "RS256"
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
    return None
