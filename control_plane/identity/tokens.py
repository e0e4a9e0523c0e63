"""Access tokens: signed with Ed25519, good for minutes, each tied to a sign-in."""

import datetime
import uuid

import flask
import flask_jwt_extended
import jwt
from flask_jwt_extended.exceptions import JWTExtendedException
from sqlalchemy.orm import Session

from control_plane.core.auth import AUDIENCE, ISSUER, Actor
from control_plane.core.crypto import Keyring
from control_plane.core.errors import Unauthorized
from control_plane.identity.service import sessions
from control_plane.identity.service.sessions import SignIn


def configure(app: flask.Flask, keyring: Keyring, lifetime: datetime.timedelta) -> None:
    """Set flask-jwt-extended up with the installation's key; tokens are good for *lifetime*."""
    app.config.update(
        JWT_ALGORITHM="EdDSA",
        JWT_DECODE_ALGORITHMS=["EdDSA"],
        JWT_PRIVATE_KEY=keyring.signing_key,
        JWT_PUBLIC_KEY=keyring.verifying_key,
        JWT_ACCESS_TOKEN_EXPIRES=lifetime,
        JWT_ENCODE_ISSUER=ISSUER,
        JWT_DECODE_ISSUER=ISSUER,
        JWT_ENCODE_AUDIENCE=AUDIENCE,
        JWT_DECODE_AUDIENCE=AUDIENCE,
    )
    flask_jwt_extended.JWTManager(app)


def access_token(sign_in: SignIn) -> str:
    """Return a new access token for a sign-in."""
    token: str = flask_jwt_extended.create_access_token(
        identity=str(sign_in.user_id), additional_claims={"sid": str(sign_in.session_id)}
    )
    return token


def authenticate(session: Session, authorization: str) -> Actor | None:
    """Return who an `Authorization: Bearer` header stands for.

    Raises:
        Unauthorized: the token is not ours, changed, of another type, or over.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return None
    return sessions.actor_of(session, session_id_of(token.strip()))


def session_id_of(token: str) -> uuid.UUID:
    """Return the id of the sign-in that an access token belongs to.

    Raises:
        Unauthorized: the token is not ours, changed, of another type, or over.
    """
    try:
        claims = flask_jwt_extended.decode_token(token)
    except jwt.ExpiredSignatureError as error:
        raise Unauthorized("token_expired", "The access token has expired.") from error
    except (jwt.PyJWTError, JWTExtendedException, ValueError) as error:
        raise Unauthorized("invalid_token", "The access token is not valid.") from error
    if claims.get("type") != "access" or "sid" not in claims:
        raise Unauthorized("invalid_token", "This is not an access token.")
    return uuid.UUID(claims["sid"])
