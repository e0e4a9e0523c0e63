"""Access tokens of service clients: good for minutes, tied to the secret they were given for."""

import datetime
import uuid
from collections.abc import Collection

import jwt
from sqlalchemy.orm import Session

from control_plane.core import clock
from control_plane.core.auth import AUDIENCE, ISSUER, Actor
from control_plane.core.database import keyring
from control_plane.core.errors import Unauthorized
from control_plane.service_clients import service
from control_plane.service_clients.models import ServiceClient, ServiceClientSecret

TYPE = "at+jwt"
"""In the header (RFC 9068): what tells these tokens from those of users, by signature."""

_ALGORITHM = "EdDSA"
_NEEDED = ("exp", "iat", "iss", "aud", "sub", "secret")


def access_token(
    session: Session,
    client: ServiceClient,
    secret: ServiceClientSecret,
    scope: Collection[str] | None,
    lifetime: datetime.timedelta,
) -> str:
    """Return a new token; with a *scope* it gives no more than those permissions."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(client.id),
        "secret": str(secret.id),
        "iat": clock.now(),
        "exp": clock.now() + lifetime,
    }
    if scope is not None:
        claims["scope"] = " ".join(sorted(scope))
    return jwt.encode(claims, keyring(session).signing_key, _ALGORITHM, headers={"typ": TYPE})


def authenticate(session: Session, authorization: str) -> Actor | None:
    """Return which client an `Authorization: Bearer` header stands for, None for other kinds.

    Raises:
        Unauthorized: the token is changed or over, or its client is.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not _is_ours(token.strip()):
        return None
    try:
        claims = jwt.decode(
            token.strip(),
            keyring(session).verifying_key,
            algorithms=[_ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": list(_NEEDED)},
        )
    except jwt.ExpiredSignatureError as error:
        raise Unauthorized("token_expired", "The access token has expired.") from error
    except jwt.PyJWTError as error:
        raise Unauthorized("invalid_token", "The access token is not valid.") from error
    scope = claims["scope"].split() if "scope" in claims else None
    return service.actor_of(session, uuid.UUID(claims["sub"]), uuid.UUID(claims["secret"]), scope)


def _is_ours(token: str) -> bool:
    """Tell whether a token says that it is of this kind; whether it is, its signature tells."""
    try:
        return bool(jwt.get_unverified_header(token).get("typ") == TYPE)
    except jwt.PyJWTError:
        return False
