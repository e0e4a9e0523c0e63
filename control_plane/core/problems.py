"""Shows every error as RFC 9457 problem+json with a code, the request's id and the fields."""

import http
import re
from collections.abc import Iterator
from typing import Any

import flask
import structlog
from flask.typing import ResponseReturnValue
from flask_smorest.spec import prepare_response
from marshmallow import Schema, fields
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from control_plane.core import conditions
from control_plane.core.database import is_busy
from control_plane.core.errors import ApiError

MEDIA_TYPE = "application/problem+json"

_CODES = {
    400: "bad_request",
    404: "path_not_found",
    413: "body_too_large",
    414: "uri_too_long",
    422: "validation_failed",
    429: "quota_exceeded",
    500: "internal_error",
}
_DETAILS = {
    404: "There is nothing at this path.",
    413: "The body is larger than this server accepts.",
    422: "The request is not valid.",
    500: "Something went wrong on our side; the request's id finds it in the log.",
}
_KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")

log = structlog.get_logger(__name__)


class FieldErrorSchema(Schema):
    """What is wrong with one field."""

    pointer = fields.String(
        metadata={"description": "The field: `#/name` in the body, `?name` in the query."}
    )
    detail = fields.String()


class ProblemSchema(Schema):
    """An error (RFC 9457)."""

    type = fields.String(metadata={"description": "Always `about:blank`; `code` tells the kind."})
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    code = fields.String(metadata={"description": "Stable name of this kind of error."})
    request_id = fields.String(data_key="requestId")
    errors = fields.List(fields.Nested(FieldErrorSchema))


class ProblemHandler:
    """The part of `core.mounting.Api` that answers errors, in place of flask-smorest's own."""

    ERROR_SCHEMA = ProblemSchema
    _app: flask.Flask
    spec: Any

    def _register_error_handlers(self) -> None:
        self._app.register_error_handler(ApiError, answer_api_error)
        self._app.register_error_handler(HTTPException, answer_http_error)
        self._app.register_error_handler(IntegrityError, answer_integrity_error)
        self._app.register_error_handler(OperationalError, answer_operational_error)
        self._app.register_error_handler(StaleDataError, answer_stale_data_error)

    def _register_responses(self) -> None:
        """Document every error status as problem+json."""
        for status in http.HTTPStatus:
            response: dict[str, Any] = {"description": status.phrase}
            if status >= 400:
                response["schema"] = ProblemSchema
            prepare_response(response, self.spec, MEDIA_TYPE)
            self.spec.components.response(status.name, response, lazy=True)
        response = {"description": "Any other error", "schema": ProblemSchema}
        prepare_response(response, self.spec, MEDIA_TYPE)
        self.spec.components.response("DEFAULT_ERROR", response, lazy=True)


def answer_api_error(error: ApiError) -> ResponseReturnValue:
    """Answer an error that a service raised."""
    return problem(error)


def answer_http_error(error: HTTPException) -> ResponseReturnValue:
    """Answer what Flask and webargs raise: unknown path, wrong method, invalid field, crash."""
    if error.response is not None:
        return error.response
    status = error.code or 500
    code = _CODES.get(status) or re.sub(r"\W+", "_", error.name.lower())
    messages = (getattr(error, "data", None) or {}).get("messages", {})
    headers = error.get_response(flask.request.environ).headers
    return problem(
        ApiError(
            status,
            code,
            _DETAILS.get(status) or error.description or error.name,
            errors=[
                error
                for location, found in messages.items()
                for error in field_errors(found, "?" if location == "query" else "#/")
            ],
            headers={name: headers[name] for name in _KEPT_HEADERS if name in headers},
        )
    )


def answer_integrity_error(error: IntegrityError) -> ResponseReturnValue:
    """Answer a change that lost a race: the service had checked, another request was faster."""
    log.warning("integrity_error", exc_info=error)
    return problem(ApiError(409, "conflict", "This conflicts with what exists already."))


def answer_stale_data_error(_error: StaleDataError) -> ResponseReturnValue:
    """Answer a change of a row that another request changed between our read and our write."""
    return problem(conditions.changed_meanwhile())


def answer_operational_error(error: OperationalError) -> ResponseReturnValue:
    """Answer while the database is away, or busier than it can wait for."""
    log.error("database_unavailable", exc_info=error)
    detail = "The database is busy." if is_busy(error) else "The database cannot be reached."
    return problem(ApiError(503, "database_unavailable", detail, headers={"Retry-After": "1"}))


def problem(error: ApiError) -> flask.Response:
    """Return the answer for *error*."""
    response = flask.jsonify(
        {
            "type": "about:blank",
            "title": error.status.phrase,
            "status": int(error.status),
            "detail": error.detail,
            "code": error.code,
            "requestId": flask.g.get("request_id"),
            "errors": error.errors,
        }
    )
    response.status_code = int(error.status)
    response.mimetype = MEDIA_TYPE
    response.headers.update(error.headers)
    return response


def field_errors(messages: Any, root: str = "#/") -> list[dict[str, str]]:
    """Return marshmallow's *messages* as errors whose pointers begin with *root*."""
    return [{"pointer": pointer, "detail": detail} for pointer, detail in _flat(messages, root)]


def _flat(messages: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield marshmallow's nested messages as pairs of a pointer and a sentence."""
    if isinstance(messages, dict):
        for name, inner in messages.items():
            if name == "_schema":
                yield from _flat(inner, pointer)
            else:
                separator = "" if pointer in {"?", "#/"} else "/"
                escaped = str(name).replace("~", "~0").replace("/", "~1")
                yield from _flat(inner, f"{pointer}{separator}{escaped}")
    elif isinstance(messages, list):
        for message in messages:
            yield from _flat(message, pointer)
    else:
        yield pointer, str(messages)
