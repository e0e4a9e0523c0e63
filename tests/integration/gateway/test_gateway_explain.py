"""Who is explained to: `yumen check` at its own gateway, and nobody at one that carries traffic."""

import json
from pathlib import Path

from control_plane.checking.gateway import Question, explaining
from control_plane.gateway import render
from control_plane.shipper import Base, Entry, LastGoodFile
from tests.gateway import NginxServer
from tests.integration.gateway.conftest import HOST, Node

HEADER = "X-Yumen-Check"


def test_a_gateway_that_carries_traffic_explains_nothing(node: Node) -> None:
    settings = json.loads((node.gateway.prefix / "node.json").read_text())
    assert "explain" not in settings
    plain = node.call()
    for value in ("", "1", "true", "null", "nil"):
        received = len(node.upstream.received)
        asked = node.call(headers={HEADER: value, "X-Yumen-Explain": value})
        assert (asked.status_code, asked.json()) == (200, plain.json())
        assert len(node.upstream.received) == received + 1, "it was forwarded"
    for path in ("/explain", "/.yumen/explain", "/.yumen/check"):
        answer = node.gateway.call("GET", path, HOST, headers={HEADER: "1"})
        assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")
    refused = node.call(key="wrong", headers={HEADER: "1"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "steps" not in refused.text


def test_a_gateway_that_explains_answers_nobody_without_its_secret(tmp_path: Path) -> None:
    gateway = NginxServer(f"unix://{tmp_path}/no-redis")
    file = gateway.state / "explanation"
    explain = {"secret": "of this run", "file": str(file), "signals": {}}
    render(gateway.settings, explain=explain)
    gateway.start_rendered()
    try:
        for headers in ({}, {HEADER: ""}, {HEADER: "wrong"}):
            answer = gateway.call("GET", "/v1/models", HOST, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
        assert not file.exists()
        gateway.call("GET", "/v1/models", HOST, headers={HEADER: "of this run"})
        assert json.loads(file.read_text())["code"] == "no_config"
        assert not list((gateway.prefix / "journal").iterdir())
    finally:
        gateway.stop()


def test_a_degradation_that_is_in_force_is_explained(node: Node, tmp_path: Path) -> None:
    rule = {
        "id": "0198c0de-0000-7000-8000-000000000001",
        "name": "sorry",
        "tenant": None,
        "action": "fallback",
        "parameters": {"answer": {"status": 200, "contentType": "text/plain", "body": "later"}},
    }
    documents = node.documents() | {"degradations": {f"model:{node.model}": {"rules": [rule]}}}

    def prepare(path: Path) -> None:
        base = Base(path, (1, 1))
        for section, each in documents.items():
            for name, document in each.items():
                value = f"1:1:{json.dumps(document)}"
                base.add(Entry(f"{section}/{name}".encode(), value.encode()))
        LastGoodFile(path).replace(base, (1, 1), [], ())

    body = json.dumps({"model": "m", "messages": []}).encode()
    key = ("Authorization", f"Bearer {node.key}")
    question = Question(
        *("POST", "/v1/chat/completions", HOST, [key], body, "127.0.0.1"), is_https=True
    )
    received = len(node.upstream.received)
    for signals, steps in (({}, ["ai_proxy"]), ({f"degradation/{rule['id']}": 9.0}, [])):
        with explaining(node.gateway.settings, prepare, signals) as ask:
            told = ask(question)
        assert told.allowed is True
        assert [step.step for step in told.steps if step.step == "ai_proxy"] == steps
    found = {step.step: step.found for step in told.steps}
    assert found["ai_call"]["degraded"] == {"rule": "sorry", "action": "fallback"}
    assert (told.answered_by, told.status, told.steps[-1].step) == ("gateway", 200, "degradation")
    assert len(node.upstream.received) == received
