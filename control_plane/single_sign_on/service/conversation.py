"""Speaks OpenID Connect with providers: where a browser goes, and who came back with it."""

import contextlib
import dataclasses
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError

from control_plane.core import clock, outgoing
from control_plane.core.errors import ApiError
from control_plane.core.settings import Settings
from control_plane.single_sign_on.service.attempts import Attempt
from control_plane.single_sign_on.service.discovery import (
    Discovery,
    Metadata,
    bad_answer,
    fetch,
    unreachable,
)
from control_plane.single_sign_on.service.providers import Party

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""What ID tokens may be signed with: nothing that is keyed with a secret both sides know."""

LEEWAY_SECONDS = 60
LONGEST_SUBJECT = 255
LONGEST_EMAIL = 254

_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
_AT_ONCE = 2
_WAIT_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Person:
    """Whom a provider vouches for."""

    subject: str
    email: str | None
    """Only an address that the provider has verified."""


class Conversation:
    """Talks with providers, with a few at once: a slow one must not keep all threads busy."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._discovery = Discovery(settings)
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def address_for(self, party: Party, attempt: Attempt, callback: str) -> str:
        """Return where the browser goes to sign in.

        Raises:
            ApiError: the provider does not answer, or is not what it should be.
        """
        with self._slot():
            metadata = self._discovery.metadata(party.issuer)
        with self._client(party, metadata, callback) as client:
            address, _ = client.create_authorization_url(
                metadata.authorization_endpoint,
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
            )
        return str(address)

    def person_behind(
        self, party: Party, attempt: Attempt, answer: Mapping[str, str | None], callback: str
    ) -> Person:
        """Return who signed in, from what the browser brought back: `code`, `iss` or `error`.

        Raises:
            ApiError: the provider does not answer or refused, or an answer of it is not meant for
                us, not signed by it, or over.
        """
        with self._slot():
            metadata = self._discovery.metadata(party.issuer)
            named = answer.get("iss")
            if named != metadata.issuer and (named is not None or metadata.names_issuer):
                raise bad_answer("The answer is another issuer's.")
            code = answer.get("code")
            if code is None:
                raise _refused()
            token = self._token(party, metadata, attempt, code, callback)
            claims = self._claims(party, metadata, attempt, token)
            if "email_verified" not in claims and metadata.userinfo_endpoint is not None:
                claims = claims | self._userinfo(metadata, token, claims["sub"])
        return Person(claims["sub"], _verified_email(claims))

    def _token(
        self, party: Party, metadata: Metadata, attempt: Attempt, code: str, callback: str
    ) -> Mapping[str, Any]:
        """Return the answer of the token endpoint to *code*."""
        with self._client(party, metadata, callback) as client:
            try:
                token: Mapping[str, Any] = client.fetch_token(
                    metadata.token_endpoint,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=attempt.verifier,
                )
            except requests.RequestException as error:
                raise unreachable() from error
            except AuthlibBaseError as error:
                raise _refused() from error
            except (ValueError, RecursionError) as error:
                raise bad_answer("The answer of the token endpoint cannot be read.") from error
        return token

    def _claims(
        self, party: Party, metadata: Metadata, attempt: Attempt, token: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what the ID token says, once it is proved that it is for us, here and now."""
        text = token.get("id_token")
        if not isinstance(text, str):
            raise bad_answer("There is no ID token.")
        try:
            found = self._decoded(metadata, text)
            claims = CodeIDToken(
                found.claims,
                found.header,
                options={
                    "iss": {"essential": True, "value": metadata.issuer},
                    "aud": {"essential": True, "value": party.client_id},
                },
                params={
                    "nonce": attempt.nonce,
                    "client_id": party.client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(now=int(clock.now().timestamp()), leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise bad_answer("The ID token is not good for this sign-in.") from error
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
            raise bad_answer("The ID token names nobody.")
        return dict(claims)

    def _decoded(self, metadata: Metadata, text: str) -> jwt.Token:
        keys = self._discovery.keys(metadata)
        try:
            return jwt.decode(text, keys, algorithms=ALGORITHMS)
        except InvalidKeyIdError:  # it may have a new key
            keys = self._discovery.keys(metadata, missing=True)
            return jwt.decode(text, keys, algorithms=ALGORITHMS)

    def _userinfo(
        self, metadata: Metadata, token: Mapping[str, Any], subject: str
    ) -> dict[str, Any]:
        """Return what the provider tells of *subject* beside the ID token."""
        headers = {"Authorization": f"Bearer {token.get('access_token')}"}
        found = fetch(self._settings, str(metadata.userinfo_endpoint), headers)
        if found.get("sub") != subject:
            raise bad_answer("The provider tells of somebody else.")
        return found

    @contextlib.contextmanager
    def _client(self, party: Party, metadata: Metadata, callback: str) -> Iterator[OAuth2Session]:
        methods = metadata.token_endpoint_auth_methods
        posted = "client_secret_basic" not in methods and "client_secret_post" in methods
        with OAuth2Session(
            party.client_id,
            party.client_secret,
            token_endpoint_auth_method="client_secret_post"
            if posted and party.client_secret
            else None,
            scope=" ".join(party.scopes),
            redirect_uri=callback,
            code_challenge_method="S256",
        ) as client:
            outgoing.guard(client, self._settings)
            yield client

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=_WAIT_SECONDS):
            detail = "Too many sign-ins at once; try again."
            raise ApiError(503, "busy", detail, headers={"Retry-After": "1"})
        try:
            yield
        finally:
            self._slots.release()


def _refused() -> ApiError:
    return ApiError(502, "provider_refused", "The identity provider did not sign anybody in.")


def _verified_email(claims: Mapping[str, Any]) -> str | None:
    """Return the address that the provider has verified; some write true as a text."""
    email = claims.get("email")
    if claims.get("email_verified") not in (True, "true") or not isinstance(email, str):
        return None
    return email if len(email) <= LONGEST_EMAIL and _EMAIL.fullmatch(email) else None
