"""`yumen check`: what a real gateway explains of a request that nobody answers."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from flask import Flask

from control_plane.checking import documents, live
from control_plane.checking.gateway import Header, Question, explaining
from control_plane.cli import main
from control_plane.contract import keys
from control_plane.core.database import Database
from control_plane.core.redis import connect
from control_plane.core.root import project_root
from control_plane.core.settings import Settings, load_settings
from control_plane.core.signals import Signals
from control_plane.limits import allowance
from tests import factories
from tests.nodes import TellingNode

UPSTREAM_KEY = "sk-of-the-operator"
DRAFT = """
manifest: 1
models:
  - name: gpt
    provider: openai
    endpoint: "http://127.0.0.1:{port}/v1"
    costPerCall: "0"
    apiKey: {{env: UPSTREAM_KEY}}
upstreams:
  - {{name: billing, isShared: true, scheme: http, targets: [{{host: 127.0.0.1, port: {port}}}]}}
circuitBreakers:
  - {{name: of gpt, serviceName: gpt}}
tenants:
  - id: {tenant}
    name: clinic
    domains: [{{domainName: ai.example.com, isVerified: true}}]
    models: [{{model: gpt}}]
    limits:
      - {{name: a day, scope: [tenant], limit: 5, window: day}}
    routes:
      - name: bills
        path: {{kind: prefix, value: /bills}}
        upstream: platform/billing
        stripPrefix: true
        methods: [GET, POST]
        denyAddresses: [192.0.2.0/24]
        cors: {{allowOrigins: ["https://app.example.com"]}}
      - name: open
        path: {{kind: exact, value: /open}}
        upstream: platform/billing
        authentication: []
"""
HOST = "ai.example.com"
SHANGHAI = "0:28800"  # where tenants are unless they say otherwise
COMPLETIONS = "/v1/chat/completions"
CHAT = f"https://{HOST}{COMPLETIONS}"
BODY = json.dumps({"model": "gpt", "messages": []})

Explain = Callable[..., dict[str, Any]]


class Checker:
    """The command on one installation, with a draft; and many questions to one gateway."""

    def __init__(self, settings: Settings, draft: Path, key: str) -> None:
        self.draft = draft
        self.key = ("Authorization", f"Bearer {key}")
        self.environ = {
            "YUMEN_SECURITY_UPSTREAM_ALLOW": "127.0.0.0/8",
            "YUMEN_REDIS_URL": settings.redis_url,
            "UPSTREAM_KEY": UPSTREAM_KEY,
        }
        self._state = settings.state

    def run(self, *arguments: str, draft: bool = True) -> tuple[int, str]:
        """Return exit code and output of `yumen check`."""
        options = ["--draft", str(self.draft)] if draft else []
        command = ["check", *arguments, *options, "--state", str(self._state)]
        result = CliRunner(env=self.environ).invoke(main, command)
        for secret in (UPSTREAM_KEY, self.key[1].split()[-1]):
            assert secret not in result.output
        return result.exit_code, result.output

    def chat(self) -> tuple[int, str]:
        """Return exit code and JSON of a sound call of the model."""
        return self.run("POST", CHAT, "-H", ": ".join(self.key), "-d", BODY, "--json")

    @contextmanager
    def explaining(
        self, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Callable[..., dict[str, Any]]]:
        """Give what explains a request, by path, on the draft and the state in Redis."""
        monkeypatch.setenv("UPSTREAM_KEY", UPSTREAM_KEY)
        environ = {key: value for key, value in self.environ.items() if key != "UPSTREAM_KEY"}
        settings = load_settings(None, self._state, environ)
        database = Database(settings)

        def prepare(path: Path) -> None:
            with database.session() as session:
                assert documents.write(session, path, self.draft) == []
                session.rollback()

        with explaining(settings, prepare, live.signals(client)) as ask:

            def explain(method: str, path: str, *headers: Header, **fields: Any) -> dict[str, Any]:
                given = {"body": None, "client": "127.0.0.1", "is_https": True, **fields}
                told = ask(Question(method, path, HOST, headers, **given))
                live.judge(told, client)
                return told.as_json()

            yield explain
        database.close()


@pytest.fixture
def upstream() -> Iterator[socket.socket]:
    """A server that nobody may call."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        yield listener


@pytest.fixture
def database_url() -> None:
    """SQLite: what is stored is read by the rooms' own tests on both."""


@pytest.fixture
def check(settings: Settings, app: Flask, upstream: socket.socket, tmp_path: Path) -> Checker:
    database = app.extensions["yumen_database"]
    tenant = factories.make_tenant(database)
    api = app.test_client()
    operator = factories.sign_in(app, factories.make_user(database))
    made = api.post(f"/api/tenants/{tenant.id}/api-keys", json={"name": "k"}, headers=operator)
    assert made.status_code == 201, made.text
    path = tmp_path / "draft.yaml"
    path.write_text(DRAFT.format(port=upstream.getsockname()[1], tenant=tenant.id))
    return Checker(settings, path, made.json["key"])


@pytest.fixture
def client(settings: Settings) -> Iterator[redis.Redis]:
    """A Redis whose counters are older than any day."""
    with connect(settings) as made:
        known: Any = made
        run_id = known.info("server")["run_id"]
        made.hset(keys.ALLOWANCE_BORN, mapping={"run": run_id, "at": 1})
        yield made


@pytest.fixture
def explain(
    check: Checker, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Explain]:
    with check.explaining(client, monkeypatch) as made:
        yield made


def steps(explanation: dict[str, Any]) -> dict[str, Any]:
    return {each["step"]: each for each in explanation["steps"]}


def refused_at(explanation: dict[str, Any]) -> tuple[int, str, str]:
    """Return status, code and step of a refusal."""
    last = explanation["steps"][-1]
    assert not explanation["allowed"], explanation
    assert (explanation["status"], explanation["code"]) == (last["status"], last["code"])
    return last["status"], last["code"], last["step"]


def everything(client: redis.Redis) -> dict[bytes, bytes]:
    found: Any = {key: client.dump(key) for key in client.scan_iter()}
    return found


def test_a_draft_is_explained_and_nothing_is_called_or_kept(
    check: Checker, upstream: socket.socket, client: redis.Redis, settings: Settings
) -> None:
    def kept() -> Any:
        files = settings.state.rglob("*")
        return everything(client), {path: path.stat().st_size for path in files}

    before = kept()
    code, output = check.chat()
    told = json.loads(output)
    assert (code, told["allowed"], told["answeredBy"], told["notes"]) == (0, True, "upstream", [])
    seen = steps(told)
    names = "host tenant route cors ip_restriction key_auth tenant_status profile"
    assert list(seen) == [*names.split(), "ai_call", "degradation", "limits", "breaker", "ai_proxy"]
    assert seen["tenant"]["found"]["status"] == "active"
    assert seen["route"]["found"]["route"] == COMPLETIONS
    key_id = check.key[1].split("_")[2]
    assert seen["key_auth"]["found"]["credential"] == {"kind": "key", "id": key_id}
    assert seen["ai_call"]["found"]["model"]["name"] == "gpt"
    (limit,) = seen["limits"]["found"]["limits"]
    assert (limit["rule"], limit["left"], limit["cost"]) == ("a day", 5, 1)
    (breaker,) = seen["breaker"]["found"]["breakers"]
    assert breaker["status"] == "closed"
    destination = seen["ai_proxy"]["found"]["destination"]
    assert (destination["address"], destination["port"]) == upstream.getsockname()
    assert destination["path"] == COMPLETIONS
    with pytest.raises(TimeoutError):
        upstream.accept()
    # Without the draft there is no such host: nothing was kept of it.
    code, output = check.run("GET", CHAT, draft=False)
    assert code == 1
    assert output.splitlines()[0].split() == ["✗", "host", HOST]
    assert output.splitlines()[-1].startswith("Refused: 404 host_not_found. Nothing is served")
    assert kept() == before
    page = (project_root() / "docs" / "operators" / "check.md").read_text()
    for each in (told, told["steps"][0], limit, breaker, destination):
        for name in each:
            assert f"`{name}`" in page, name


def test_a_refusal_names_the_step_and_the_reason(check: Checker, explain: Explain) -> None:
    sound = BODY.encode()
    assert refused_at(explain("POST", COMPLETIONS, body=sound)) == (
        *(401, "missing_api_key"),
        "key_auth",
    )
    unknown = explain("POST", COMPLETIONS, check.key, body=sound.replace(b"gpt", b"other"))
    assert refused_at(unknown) == (404, "model_not_found", "ai_call")
    assert "'other' does not exist" in unknown["detail"]
    method = explain("GET", COMPLETIONS, check.key)
    assert refused_at(method) == (405, "method_not_allowed", "route")
    models = explain("GET", "/v1/models", check.key)
    assert (models["allowed"], models["answeredBy"]) == (True, "gateway")
    in_url = explain("GET", "/v1/models?key=ym_live_x")
    assert (in_url["status"], in_url["code"], in_url["steps"]) == (400, "key_in_url", [])
    large = explain("POST", COMPLETIONS, check.key, body=b"x" * (33 << 20))
    assert (large["status"], large["code"]) == (413, "request_too_large")

    # Routes of the tenant's own.
    passing = explain("GET", "/bills/7?year=2026", check.key)
    seen = steps(passing)
    assert passing["allowed"] is True
    assert seen["route"]["found"]["route"] == "bills"
    assert seen["http_call"]["found"]["service"].startswith("upstream:")
    assert seen["http_proxy"]["found"]["destination"]["path"] == "/7?year=2026"
    assert "ai_call" not in seen
    head = steps(explain("HEAD", "/open"))
    assert head["key_auth"]["found"] == {"credential": {"kind": "none"}}
    denied = explain("GET", "/bills", check.key, client="192.0.2.7")
    assert refused_at(denied) == (403, "address_not_allowed", "ip_restriction")
    asked = ("Access-Control-Request-Method", "POST")
    preflight = explain("OPTIONS", "/bills", asked, ("Origin", "https://app.example.com"))
    assert (preflight["allowed"], preflight["status"]) == (True, 204)
    assert preflight["steps"][-1]["step"] == "cors"
    foreign = explain("OPTIONS", "/bills", asked, ("Origin", "https://other.example.com"))
    assert refused_at(foreign) == (403, "origin_not_allowed", "cors")


def test_what_holds_now_is_read_and_not_changed(
    check: Checker, explain: Explain, client: redis.Redis
) -> None:
    def chat() -> dict[str, Any]:
        before = everything(client)
        told = explain("POST", COMPLETIONS, check.key, body=BODY.encode())
        assert everything(client) == before
        return told

    seen = steps(chat())
    (limit,), (breaker,) = (
        seen[step]["found"][name] for step, name in (("limits", "limits"), ("breaker", "breakers"))
    )
    value = {"status": "open", "attempts": 0, "reason": "9 of 10 calls failed in 30 s"}
    Signals(client, "node-a").publish("breaker", breaker["id"], value, 60)
    node = TellingNode(client)
    node.breaker(breaker["id"], "open")
    node.tell(0)
    told = chat()
    assert refused_at(told) == (503, "circuit_open", "breaker")
    assert "9 of 10 calls failed in 30 s" in told["detail"]
    (breaker,) = told["steps"][-1]["found"]["breakers"]
    assert breaker["openAt"] == ["node-a"]
    assert 50 < breaker["seconds"] <= 60

    known: Any = client
    run_id = known.info("server")["run_id"]
    key = keys.ALLOWANCE_COUNTER + limit["counter"]
    of_rule = ("w", "day", SHANGHAI, 5, 0)
    taken = allowance.run(client, run_id, "take", [key], "node-a", "", *of_rule, 5, 5, 0, 0, 0, 0)
    assert taken[1:3] == [1, 5]
    told = chat()
    assert refused_at(told) == (429, "rate_limit_exceeded", "limits")
    assert "limit 'a day' (5 requests a day) 0 is left" in told["detail"]

    # Redis was started anew, and knows nothing of the day before that.
    client.delete(key, keys.ALLOWANCE_BORN)
    Signals(client, "node-a").end("breaker", breaker["id"])
    told = chat()
    assert told["allowed"] is True
    assert told["notes"][0].startswith("Redis has lost what was used of the limit 'a day'")

    # Peers that a node leaves out are named.
    service = steps(explain("GET", "/open"))["http_call"]["found"]["service"]
    node.targets = {service.partition(":")[2]: {"127.0.0.1:1": {"healthy": False, "reason": "x"}}}
    node.tell()
    told = explain("GET", "/open")
    left_out = steps(told)["http_proxy"]["found"]["destination"]["leftOut"]
    assert left_out == [{"node": "node-a", "peer": "127.0.0.1:1", "reason": "x"}]
    assert any("leave out peers" in note for note in told["notes"])


def test_a_breaker_that_is_forced_open_refuses_also_without_redis(check: Checker) -> None:
    check.environ["YUMEN_REDIS_URL"] = "unix:///nowhere"
    code, output = check.chat()
    told = json.loads(output)
    assert (code, told["allowed"]) == (0, True)
    assert "Redis does not answer" in told["notes"][0]
    text = check.draft.read_text().replace("name: of gpt", "name: of gpt, mode: forcedOpen")
    check.draft.write_text(text)
    code, output = check.chat()
    assert refused_at(json.loads(output)) == (503, "circuit_open", "breaker")


def test_what_cannot_be_asked_is_said(check: Checker, tmp_path: Path) -> None:
    for arguments, told in (
        (("GET", "/v1/models"), "URL must be whole"),
        (("GET", "https://a:b@x/"), "URL must be whole"),
        (("GET", "https://x:port/"), "URL is not sound"),
        (("G T", CHAT), "METHOD must be"),
        (("GET", CHAT, "-H", "nothing"), "'Name: value'"),
        (("GET", CHAT, "-H", "X-A: a\r\nX-B: b"), "printable ASCII"),
        (("GET", CHAT, "-H", "X-Yumen-Check: x"), "follows from"),
        (("GET", CHAT, "--client", "here"), "IP address"),
        (("GET", CHAT, "-d", f"@{tmp_path}/none"), "cannot be read"),
        (("GET", CHAT, "--draft", f"{tmp_path}/none"), "does not exist"),
    ):
        code, output = check.run(*arguments, draft="--draft" not in arguments)
        assert (code, told in output) == (2, True), output
    check.draft.write_text("manifest: 2")
    code, output = check.run("GET", CHAT)
    assert (code, "it must say `manifest: 1`" in output) == (2, True), output
    found = CliRunner().invoke(main, ["check", "GET", CHAT, "--state", str(tmp_path)])
    assert (found.exit_code, "There is no installation in" in found.output) == (2, True)
