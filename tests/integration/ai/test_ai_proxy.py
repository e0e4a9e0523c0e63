"""What reaches the upstream and what comes back, on real nginx."""

import http.client
import json
import socket
import threading
import uuid
from typing import Any

import pytest

from tests.integration.ai.conftest import HOST, Stage
from tests.upstream import ANSWER, respond

PLAIN = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def error_of(response: Any) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return dict(body["error"])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
def test_a_call_reaches_the_models_endpoint(ai: Stage, path: str) -> None:
    response = ai.post(PLAIN, path)
    assert response.status_code == 200
    assert response.content == ANSWER
    [received] = ai.upstream.received
    assert received.line == f"POST /base{path} HTTP/1.1"
    assert received.headers["host"] == f"127.0.0.1:{ai.upstream.port}"
    assert received.headers["authorization"] == "Bearer sk-upstream-secret"
    assert received.headers["accept-encoding"] == "identity"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-request-id"] == response.headers["X-Request-Id"]


def test_the_body_arrives_as_sent_but_for_the_model(ai: Stage) -> None:
    ai.publish(m={"parameters": {"model": '"vendor/big"'}})
    body = b'{ "model" : "m", "stop": [], "u":"a\\/b \xc3\xbc", "id":1234567890123456789,"x":{}}\n'
    assert ai.post(body).status_code == 200
    assert ai.upstream.received[0].body == body.replace(b'"m"', b'"vendor/big"')
    ai.publish(m={})


def test_parameters_are_merged_by_precedence(ai: Stage) -> None:
    ai.publish(
        m={
            "parameters": {"temperature": "0.1", "seed": "7", "top_p": "1", "stop": "[]"},
            "enforcedParameters": ["temperature", "max_tokens"],
            "entry": {"parameters": {"temperature": "0.5", "max_tokens": "100"}},
        }
    )
    ai.post({"model": "m", "temperature": 2, "top_p": 0.3})
    sent = json.loads(ai.upstream.received[0].body)
    assert sent == {
        "model": "m", "temperature": 0.5, "top_p": 0.3, "max_tokens": 100, "seed": 7, "stop": [],
    }  # fmt: skip
    refused = ai.post(b'{"model":"m","temperature":1,"Temperature":2}')
    assert refused.status_code == 400
    assert error_of(refused)["param"] == "temperature"
    ai.publish(m={})


def test_headers_of_the_client_stay_here(ai: Stage) -> None:
    mine = {
        "Cookie": "a=b", "X-Api-Key": "x", "Forwarded": "for=1.2.3.4", "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Anything": "1", "Proxy-Authorization": "Basic eA==", "Proxy-Foo": "1",
        "TE": "trailers", "Upgrade": "h2c", "Accept-Encoding": "gzip", "OpenAI-Organization": "org",
    }  # fmt: skip
    assert ai.post(PLAIN, headers=mine).status_code == 200
    headers = ai.upstream.received[0].headers
    assert headers["accept-encoding"] == "identity"
    assert not {name.lower() for name in mine if name != "Accept-Encoding"} & set(headers)
    assert "connection" not in headers or headers["connection"] == ""


def test_headers_of_the_operators_account_stay_here(ai: Stage) -> None:
    ai.upstream.reset(
        respond(
            Set_Cookie="s=1", X_Request_Id="upstream-id", openai_organization="org-x",
            Server="secret/1", X_Accel_Redirect="/.yumen/error", X_Accel_Limit_Rate="1",
            X_Custom="kept",
        )
    )  # fmt: skip
    response = ai.post(PLAIN)
    assert response.content == ANSWER
    assert response.headers["X-Custom"] == "kept"
    assert response.headers["X-Request-Id"] != "upstream-id"
    assert not {"Set-Cookie", "openai-organization", "X-Accel-Redirect"} & set(response.headers)
    assert "secret" not in str(response.headers)


def test_a_model_without_a_key_is_called_without_one(ai: Stage) -> None:
    ai.publish(m={"apiKey": None})
    ai.post(PLAIN)
    assert "authorization" not in ai.upstream.received[0].headers
    ai.publish(m={})


def test_models_are_those_the_tenant_may_call(ai: Stage) -> None:
    ai.publish(off={"isActive": False}, **{"a/b": {}})
    listed = ai.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [m["id"] for m in listed["data"]] == ["a/b", "m"]
    assert ai.get("/v1/models/a/b").json()["id"] == "a/b"
    for name in ("off", "none"):
        missing = ai.get(f"/v1/models/{name}")
        assert missing.status_code == 404
        assert error_of(missing)["code"] == "model_not_found"
    assert not ai.upstream.received


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/responses", 404, "route_not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("DELETE", "/v1/models/m", 405, "method_not_allowed"),
    ],
)
def test_other_paths_and_methods_are_refused(
    ai: Stage, method: str, path: str, status: int, code: str
) -> None:
    response = ai.gateway.call(method, path, HOST, key=ai.key)
    assert response.status_code == status
    assert error_of(response)["code"] == code
    assert not ai.upstream.received


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b'{"model":"none"}', 404, "model_not_found", "model"),
        (b'{"model":"M"}', 404, "model_not_found", "model"),
        (b'{"model":"\xff"}', 404, "model_not_found", "model"),
        (b"{", 400, "invalid_body", None),
        (b"", 400, "invalid_body", None),
        (b'{"model":"m","model":"dear"}', 400, "invalid_body", "model"),
        (b'{"model":"m","Model":"dear"}', 400, "invalid_body", "model"),
        (b'{"model":"m","stream":"yes"}', 400, "invalid_body", "stream"),
    ],
)
def test_bad_bodies_are_refused_with_a_reason(
    ai: Stage, body: bytes, status: int, code: str, param: str | None
) -> None:
    response = ai.post(body)
    assert response.status_code == status
    error = error_of(response)
    assert error["code"] == code
    assert error["param"] == param
    assert error["message"]
    assert not ai.upstream.received


def test_a_compressed_body_is_refused(ai: Stage) -> None:
    response = ai.post(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert error_of(response)["code"] == "unsupported_content_encoding"


@pytest.mark.parametrize("kib", [100, 300, 20_000])
def test_large_bodies_arrive_whole(ai: Stage, kib: int) -> None:
    content = "x" * (kib * 1024)
    body = json.dumps({"messages": content, "model": "m"}).encode()
    assert ai.post(body).status_code == 200
    assert ai.upstream.received[0].body == body


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit_is_413(ai: Stage, is_chunked: bool) -> None:
    address = ("127.0.0.1", ai.gateway.settings.gateway.port)
    size = 33 * 1024 * 1024
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\n{length}\r\n"
        f"Authorization: Bearer {ai.key}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(head.encode())
        if is_chunked:
            client.sendall(b"%x\r\n{" % size)
        response = http.client.HTTPResponse(client)
        response.begin()
        answer = json.loads(response.read())
    assert response.status == 413
    assert answer["error"]["code"] == "request_too_large"
    assert not ai.upstream.received


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "422 X", "429 X",
                                    "500 X", "502 X", "503 X", "504 X"])  # fmt: skip
def test_other_statuses_of_the_upstream_pass_with_their_body(ai: Stage, status: str) -> None:
    ai.upstream.reset(respond(b'{"error":{"message":"theirs"}}', status, Retry_After="7"))
    response = ai.post(PLAIN)
    assert response.status_code == int(status[:3])
    assert response.json() == {"error": {"message": "theirs"}}
    assert response.headers["Retry-After"] == "7"
    record = ai.ended(response)
    assert (record.outcome, record.upstream_status) == (3, int(status[:3]))
    assert len(ai.upstream.received) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("401 Unauthorized", "upstream_auth_failed"),
        ("403 Forbidden", "upstream_auth_failed"),
        ("302 Found", "upstream_redirected"),
        ("308 Permanent Redirect", "upstream_redirected"),
    ],
)
def test_answers_about_the_operator_are_not_the_clients(ai: Stage, status: str, code: str) -> None:
    secret = b'{"error":{"message":"Incorrect API key sk-upstream-secret"}}'
    ai.upstream.reset(
        respond(secret, status, Location="http://10.0.0.1/", WWW_Authenticate="Bearer x")
    )
    response = ai.post(PLAIN)
    assert response.status_code == 502
    assert error_of(response)["code"] == code
    assert not {"Location", "WWW-Authenticate"} & set(response.headers)
    record = ai.ended(response)
    assert (record.outcome, record.status, record.upstream_status) == (3, 502, int(status[:3]))
    assert ai.post(PLAIN).status_code == 502


def test_a_refused_connection_is_502(ai: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ai.publish(down={"endpoint": _endpoint("127.0.0.1", port)})
    response = ai.post({"model": "down"})
    assert response.status_code == 502
    error = error_of(response)
    assert error["code"] == "upstream_unreachable"
    assert "127.0.0.1" not in response.text
    record = ai.ended(response)
    assert (record.outcome, record.status, record.upstream_status) == (3, 502, 0)


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("169.254.169.254", "upstream_forbidden"),
        ("10.0.0.1", "upstream_forbidden"),
        ("::ffff:10.0.0.1", "upstream_forbidden"),
        ("no-such-host.invalid", "upstream_unreachable"),
    ],
)
def test_addresses_that_may_not_be_reached_are_502(ai: Stage, host: str, code: str) -> None:
    ai.publish(far={"endpoint": _endpoint(host, 80)})
    response = ai.post({"model": "far"})
    assert response.status_code == 502
    assert error_of(response)["code"] == code
    assert host not in response.text
    assert ai.ended(response).outcome == 3


def test_a_name_of_the_hosts_file_is_found(ai: Stage) -> None:
    ai.publish(local={"endpoint": _endpoint("localhost", ai.upstream.port)})
    assert ai.post({"model": "local"}).status_code == 200
    assert ai.upstream.received[0].headers["host"] == f"localhost:{ai.upstream.port}"


def test_a_stale_kept_connection_is_tried_again(ai: Stage) -> None:
    assert ai.post(PLAIN).status_code == 200
    before = ai.upstream.connections
    assert ai.post(PLAIN).status_code == 200
    assert ai.upstream.connections == before, "connections are kept"

    # It takes the next request off the kept connection and closes without an answer.
    calls = []

    def once(connection: socket.socket, request: Any) -> None:
        calls.append(request)
        if len(calls) == 1:
            raise ConnectionAbortedError
        respond()(connection, request)

    ai.upstream.reset(once)
    assert ai.post(PLAIN).status_code == 200
    assert len(calls) == 2


def test_a_request_that_the_upstream_worked_on_is_not_sent_again(ai: Stage) -> None:
    assert ai.post(PLAIN).status_code == 200
    working = threading.Event()

    def crash(connection: socket.socket, request: Any) -> None:
        working.wait(1.3)
        raise ConnectionAbortedError

    ai.upstream.reset(crash)
    response = ai.post(PLAIN)
    assert response.status_code == 502
    assert error_of(response)["code"] == "upstream_unreachable"
    assert len(ai.upstream.received) == 1


def test_a_key_sealed_for_another_model_is_not_used(ai: Stage) -> None:
    sealed = ai.gateway.keyring.seal("sk-x", f"models/{uuid.uuid4()}")
    ai.publish(sealed={"apiKey": sealed})
    response = ai.post({"model": "sealed"})
    assert response.status_code == 503
    assert error_of(response)["code"] == "model_unavailable"
    assert not ai.upstream.received


def test_nothing_secret_is_logged(ai: Stage) -> None:
    log = ai.gateway.error_log() + ai.gateway.access_log()
    assert "sk-upstream-secret" not in log
    assert ai.key not in log


def _endpoint(host: str, port: int) -> dict[str, Any]:
    return {"scheme": "http", "host": host, "port": port, "path": "/v1"}
