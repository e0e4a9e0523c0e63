"""HTTP of access tokens for service clients: OAuth 2.0 client credentials (RFC 6749 §4.4)."""

import datetime
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import unquote_plus

import flask
from flask.views import MethodView

from control_plane import identity
from control_plane.core import clock
from control_plane.core.api import Blueprint, session, settings
from control_plane.service_clients import service, tokens
from control_plane.service_clients.models import ServiceClient
from control_plane.service_clients.schemas import TokenErrorSchema, TokenRequestSchema, TokenSchema

View = TypeVar("View", bound=Callable[..., Any])

GRANT = "client_credentials"
WAITS = identity.Limit("service-client", identity.WAITS_OF_ACCOUNT.waits)
"""For one client from one network: nobody keeps a client out by guessing from somewhere else."""

FORM = "application/x-www-form-urlencoded"

blueprint = Blueprint(
    "oauth", __name__, url_prefix="/oauth", description="Access tokens for service clients."
)


class RefusedError(Exception):
    """Why no token is given, as RFC 6749 §5.2 names it."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.body = {"error": error, "error_description": description}
        self.status = status


def _described(view: View) -> View:
    """Document the form and the errors, whose shape is OAuth's and not that of this API."""
    described: Any = view
    for status in (400, 401):
        described = blueprint.alt_response(
            status, schema=TokenErrorSchema, content_type="application/json"
        )(described)
    body = {"required": True, "content": {FORM: {"schema": TokenRequestSchema}}}
    return cast("View", blueprint.doc(requestBody=body)(described))


@blueprint.route("/token")
class Token(MethodView):
    """The access token of a service client."""

    @blueprint.public
    @_described
    @blueprint.response(200, TokenSchema)
    def post(self) -> Any:
        """Give a service client an access token for its id and secret.

        They come in the form or as `Authorization: Basic`. After some failures the next attempt
        has to wait, as `Retry-After` says.
        """
        try:
            return _given(_form())
        except RefusedError as refused:
            answer = flask.jsonify(refused.body)
            answer.status_code = refused.status
            if refused.status == 401:
                answer.headers["WWW-Authenticate"] = 'Basic realm="Yumen"'
            return answer


def _given(form: dict[str, str]) -> dict[str, Any]:
    """Return the answer with a new token.

    Raises:
        RefusedError: something about the request is not right.
        TooManyAttempts: there were too many wrong secrets; this one is not looked at.
    """
    client_id, text = _credentials(form)
    if form.get("grant_type") != GRANT:
        kind = "unsupported_grant_type" if form.get("grant_type") else "invalid_request"
        raise RefusedError(kind, f"grant_type must be {GRANT}, sent as {FORM}.")
    taken = identity.attempts().take(WAITS, f"{client_id}|{identity.origin().network}")
    found = service.find_secret(session(), client_id, text)
    if found is None:
        raise RefusedError("invalid_client", "No such client, or another secret.", 401)
    identity.attempts().give_back(taken)
    client, secret = found
    scope = _scope(form, client)
    lifetime = _lifetime(client)
    service.note_use(session(), client)
    return {
        "access_token": tokens.access_token(session(), client, secret, scope, lifetime),
        "token_type": "Bearer",
        "expires_in": int(lifetime.total_seconds()),
        "scope": " ".join(sorted(client.rights if scope is None else scope)),
    }


def _form() -> dict[str, str]:
    found = flask.request.form
    for name, values in found.lists():
        if len(values) > 1:
            raise RefusedError("invalid_request", f"{name} is there more than once.")
    return {name: value for name, value in found.items() if value}


def _credentials(form: dict[str, str]) -> tuple[str, str]:
    """Return id and secret, which come in one of two ways and not in both."""
    basic = flask.request.authorization
    if basic is None or basic.type != "basic":
        if "Authorization" in flask.request.headers:
            raise RefusedError("invalid_client", "Authorization must be Basic.", 401)
        if "client_id" not in form or "client_secret" not in form:
            raise RefusedError("invalid_client", "Send client_id and client_secret.", 401)
        return form["client_id"], form["client_secret"]
    if "client_secret" in form:
        raise RefusedError("invalid_request", "The client proves itself in two ways at once.")
    client_id = unquote_plus(basic.username or "")
    if form.get("client_id", client_id) != client_id:
        raise RefusedError("invalid_request", "client_id is not the one in Authorization.")
    return client_id, unquote_plus(basic.password or "")


def _scope(form: dict[str, str], client: ServiceClient) -> frozenset[str] | None:
    """Return the permissions that are asked for, None for all that the role gives at any time."""
    if "scope" not in form:
        return None
    wanted = frozenset(form["scope"].split())
    if not wanted <= client.rights:
        raise RefusedError("invalid_scope", "scope must hold permissions of the client's role.")
    return wanted


def _lifetime(client: ServiceClient) -> datetime.timedelta:
    """Return how long a token is good: not longer than the client."""
    lifetime = datetime.timedelta(minutes=settings().security.access_token_minutes)
    if client.expires_at is None:
        return lifetime
    return min(lifetime, client.expires_at - clock.now())
