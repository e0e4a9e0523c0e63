"""HTTP of signing in at an identity provider: there, back, and from a code to tokens."""

import uuid
from typing import Any, cast
from urllib.parse import urlencode

import flask
import structlog
from flask.views import MethodView

from control_plane import identity
from control_plane.core.api import Blueprint, database, session, settings
from control_plane.core.errors import ApiError
from control_plane.single_sign_on.schemas import (
    BeginQuerySchema,
    CallbackQuerySchema,
    ExchangeSchema,
    OfferQuerySchema,
    OfferSchema,
    callback_of,
)
from control_plane.single_sign_on.service import arrivals, attempts, providers
from control_plane.single_sign_on.service.attempts import Attempt
from control_plane.single_sign_on.service.conversation import Conversation

EXTENSION = "yumen_single_sign_on"
COOKIE_PATH = "/api"
MOST_ATTEMPTS = 5
"""How many one browser can have under way: too many cookies would keep its requests out."""

_LONGEST_CAUSE = 200

log = structlog.get_logger(__name__)

blueprint = Blueprint(
    "single-sign-on",
    __name__,
    url_prefix="/auth/providers",
    description="Signing in with an account that one has elsewhere.",
)


@blueprint.route("")
class Offers(MethodView):
    """Where people can sign in."""

    @blueprint.public
    @blueprint.arguments(OfferQuerySchema, location="query")
    @blueprint.response(200, OfferSchema(many=True))
    def get(self, query: dict[str, Any]) -> Any:
        """List the identity providers that a sign-in page offers."""
        return providers.list_offered(session(), query["tenant"])


@blueprint.route("/<uuid:provider_id>/login")
class Departure(MethodView):
    """The way to an identity provider."""

    @blueprint.public
    @blueprint.arguments(BeginQuerySchema, location="query")
    @blueprint.response(302)
    def get(self, query: dict[str, Any], provider_id: uuid.UUID) -> flask.Response:
        """Send the browser to the identity provider."""
        provider = providers.get_offered(session(), provider_id)
        party, callback = providers.party_at(provider), callback_of(provider)
        session().rollback()  # nothing is held while the provider is asked
        attempt = attempts.begin(provider_id, query["return_to"])
        answer = _redirect(_conversation().address_for(party, attempt, callback))
        _set_cookie(answer, attempt)
        return answer


@blueprint.route("/<uuid:provider_id>/callback")
class Return(MethodView):
    """The way back from an identity provider."""

    @blueprint.public
    @blueprint.arguments(CallbackQuerySchema, location="query")
    @blueprint.response(302)
    def get(self, query: dict[str, Any], provider_id: uuid.UUID) -> flask.Response:
        """Receive the browser, and send it where it wanted to go.

        Behind the `#` stand `code` and `state` for `POST /api/auth/providers/exchange`, or `error`.
        """
        attempt = _attempt(query["state"])
        if attempt.provider_id != provider_id:
            raise _not_begun()
        try:
            told = {"code": _received(attempt, query), "state": attempt.state}
        except ApiError as error:
            _log(attempt, error)
            told = {"error": error.code}
        answer = _redirect(f"{settings().public_url}{attempt.return_to}#{urlencode(told)}")
        if "error" in told:
            answer.delete_cookie(attempt.name, path=COOKIE_PATH)
        return answer


@blueprint.route("/exchange")
class Exchange(MethodView):
    """The change of a code into tokens."""

    @blueprint.public
    @blueprint.arguments(ExchangeSchema)
    @blueprint.response(200, identity.TokensSchema)
    def post(self, values: dict[str, Any]) -> Any:
        """Exchange the code for tokens, once and in the browser that signed in."""
        attempt = _attempt(values["state"])

        @flask.after_this_request
        def forget(answer: flask.Response) -> flask.Response:
            answer.delete_cookie(attempt.name, path=COOKIE_PATH)
            return answer

        return identity.open_sign_in(arrivals.take_code(session(), **values))


def _received(attempt: Attempt, answer: dict[str, str | None]) -> str:
    """Return a code for whoever came back.

    Raises:
        ApiError: he may not sign in, or the provider's answer is not good.
    """
    provider = providers.get_offered(session(), attempt.provider_id)
    party, callback = providers.party_at(provider), callback_of(provider)
    session().rollback()  # nothing is held while the provider is asked
    person = _conversation().person_behind(party, attempt, answer, callback)
    return arrivals.receive(database(), party, person, attempt.state)


def _log(attempt: Attempt, error: ApiError) -> None:
    """Tell the operator more than the browser: why a provider's answer was not good."""
    log.warning(
        "sign_in_failed",
        provider=str(attempt.provider_id),
        code=error.code,
        detail=error.detail,
        cause=str(error.__cause__ or "")[:_LONGEST_CAUSE],
    )


def _conversation() -> Conversation:
    return cast("Conversation", flask.current_app.extensions[EXTENSION])


def _attempt(state: str) -> Attempt:
    """Return the attempt that this browser has begun with *state*.

    Raises:
        ApiError: it has not, or too long ago.
    """
    sealed = flask.request.cookies.get(attempts.name_of(state), "")
    attempt = attempts.opened(sealed, state, database().keyring)
    if attempt is None:
        raise _not_begun()
    return attempt


def _not_begun() -> ApiError:
    detail = "This browser has not begun this sign-in, or too long ago: begin again."
    return ApiError(400, "sign_in_not_begun", detail)


def _redirect(address: str) -> flask.Response:
    return flask.Response(status=302, headers={"Location": address})


def _set_cookie(answer: flask.Response, attempt: Attempt) -> None:
    """Give the browser the attempt, and take some away when others were left unfinished."""
    unfinished = [name for name in flask.request.cookies if name.startswith(attempts.PREFIX)]
    for name in unfinished[: 1 - MOST_ATTEMPTS]:
        answer.delete_cookie(name, path=COOKIE_PATH)
    answer.set_cookie(
        attempt.name,
        attempts.sealed(attempt, database().keyring),
        max_age=attempts.LIFETIME,
        path=COOKIE_PATH,
        secure=settings().public_url.startswith("https:"),
        httponly=True,
        samesite="Lax",  # the way back comes from another site
    )
