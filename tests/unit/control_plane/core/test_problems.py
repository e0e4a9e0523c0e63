"""Errors: one form, whatever goes wrong, and nothing inside the request or the answer breaks it."""

import io
import json
import logging
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from structlog.stdlib import ProcessorFormatter

from control_plane.app import MAX_BODY_BYTES

FIELDS = {"type", "title", "status", "detail", "code", "requestId", "errors"}

pytestmark = pytest.mark.parametrize("database_url", [None], ids=["sqlite"])


def check(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert answer.content_type == "application/problem+json"
    assert set(answer.json) == FIELDS
    assert answer.json["status"] == status
    assert answer.json["requestId"] == answer.headers["X-Request-Id"]
    problem: dict[str, Any] = answer.json
    return problem


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "path_not_found"),
        ("GET", "/api/nothing", 404, "path_not_found"),
        ("GET", "/api/tenants/", 404, "path_not_found"),
        ("GET", "/api/tenants/not-a-uuid", 404, "path_not_found"),
        ("GET", "/api/tenants/%00", 404, "path_not_found"),
        ("GET", "/api/docs/assets/../../__init__.py", 404, "path_not_found"),
        ("GET", "/api/tenants/01a20bd1-f08b-77c0-bd87-d564b62223eb", 404, "tenant_not_found"),
        ("PATCH", "/api/tenants", 405, "method_not_allowed"),
        ("BREW", "/api/tenants", 405, "method_not_allowed"),
        ("DELETE", "/readyz", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there(
    client: FlaskClient, operator: dict[str, str], method: str, path: str, status: int, code: str
) -> None:
    answer = client.open(path, method=method, headers=operator)
    check(answer, status, code)
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"\xff{}", 400, "malformed_json"),
        (b"{} {}", 400, "malformed_json"),
        (b'{"name": NaN}', 400, "malformed_json"),
        (b'{"name": "a", "name": "b"}', 400, "malformed_json"),
        (b'{"maxUsers": ' + b"9" * 5000 + b"}", 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b"", 422, "validation_failed"),
        (b"null", 422, "validation_failed"),
        (b"[]", 422, "validation_failed"),
        (b'"text"', 422, "validation_failed"),
        (b"{}", 422, "validation_failed"),
        (b'{"name": "\\u0000"}', 422, "validation_failed"),
        (b'{"name": "\\ud83d"}', 422, "validation_failed"),
        (b'{"name": "x", "\\u0000": 1}', 422, "validation_failed"),
        (
            b'{"name": "x", "configurations": ' + b"[" * 50 + b"]" * 50 + b"}",
            422,
            "validation_failed",
        ),
        (b'{"name": "x", "maxUsers": 1e400}', 422, "validation_failed"),
    ],
)
def test_bodies_that_are_not_good(
    client: FlaskClient, operator: dict[str, str], body: bytes, status: int, code: str
) -> None:
    answer = client.post(
        "/api/tenants", data=body, content_type="application/json", headers=operator
    )
    check(answer, status, code)


def test_a_character_of_two_halves_is_text(client: FlaskClient, operator: dict[str, str]) -> None:
    answer = client.post(
        "/api/tenants",
        data=b'{"name": "\\ud83d\\ude80"}',
        content_type="application/json",
        headers=operator,
    )
    assert (answer.status_code, answer.json["name"]) == (201, "🚀")


def test_a_body_of_another_type_is_refused(client: FlaskClient, operator: dict[str, str]) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/api/tenants", data=b"{}", content_type=kind, headers=operator)
        check(answer, 415, "unsupported_media_type")


def test_a_long_body_is_refused(client: FlaskClient, operator: dict[str, str]) -> None:
    long = json.dumps({"name": "x" * MAX_BODY_BYTES}).encode()
    for method in ("POST", "GET"):
        sent = {"data": long, "content_type": "application/json"}
        check(
            client.open("/api/tenants", method=method, headers=operator, **sent),
            413,
            "body_too_large",
        )
    chunked = client.post(
        "/api/tenants",
        input_stream=io.BytesIO(long),
        environ_overrides={"wsgi.input_terminated": True},
        content_type="application/json",
        headers={**operator, "Transfer-Encoding": "chunked"},
    )
    check(chunked, 413, "body_too_large")


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "authentication_required"),
        ("Basic b3BlcmF0b3I6eA==", "authentication_required"),
        ("Bearer", "invalid_token"),
        ("Bearer x.y.z", "invalid_token"),
        ("Bearer \x00", "invalid_token"),
        ("Bearer eyJhbGciOiJub25lIn0.e30.", "invalid_token"),
    ],
)
def test_nobody_gets_in_without_a_token(
    client: FlaskClient, authorization: str | None, code: str
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client.get("/api/tenants", headers=headers)
    check(answer, 401, code)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-123_X", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("", False)],
)
def test_a_good_request_id_is_kept(client: FlaskClient, given: str, kept: bool) -> None:
    shown = client.get("/livez", headers={"X-Request-Id": given}).headers["X-Request-Id"]
    assert (shown == given) is kept
    assert shown


def _is_ours(handler: logging.Handler) -> bool:
    return isinstance(handler.formatter, ProcessorFormatter)


def test_a_crash_tells_nothing_but_its_request_id(app: Flask) -> None:
    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("ym_live_0123456789ab_secret")

    log = io.StringIO()
    (handler,) = (each for each in logging.getLogger().handlers if _is_ours(each))
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(log)
    problem = check(app.test_client().get("/crash"), 500, "internal_error")
    assert "RuntimeError" not in json.dumps(problem)
    record = json.loads(log.getvalue())
    assert record["request_id"] == problem["requestId"]
    assert "RuntimeError" in record["exception"]
    assert "secret" not in log.getvalue()


def test_a_database_that_is_away_is_503(
    app: Flask, client: FlaskClient, operator: dict[str, str]
) -> None:
    engine = app.extensions["yumen_database"].engine
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE user_sessions"))
    answer = client.get("/api/tenants", headers=operator)
    check(answer, 503, "database_unavailable")
    assert answer.headers["Retry-After"] == "1"
