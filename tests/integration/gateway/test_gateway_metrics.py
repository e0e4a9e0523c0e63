"""What a node tells Prometheus after real calls, and that nobody else hears it."""

import json
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from control_plane import shipper
from tests.breakers import rule
from tests.integration.gateway.conftest import HOST, Node, make_node
from tests.integration.gateway.test_gateway_telemetry import slowly
from tests.metrics import families, read, refuse_wrong, value
from tests.route_documents import upstream_document
from tests.stack import free_port, until
from tests.upstream import respond

PORT = "YUMEN_METRICS_GATEWAY_PORT"
TYPED = "typed-by-a-tenant"
CHECK = {
    "path": "/health",
    "interval": 0.2,
    "timeout": 1,
    "healthyAfter": 1,
    "unhealthyAfter": 1,
    "statuses": [],
}


def url_of(node: Node) -> str:
    """Return where the node tells its metrics."""
    return f"http://127.0.0.1:{node.gateway.settings.metrics_port('gateway')}/metrics"


def said(node: Node, sample: str, **labels: str) -> float | None:
    return value(read(url_of(node)), sample, **labels)


@pytest.fixture(scope="module")
def metered() -> Iterator[Node]:
    """A node that tells its metrics."""
    yield from make_node(environment={PORT: str(free_port())})


def test_real_calls_are_told_as_documented(metered: Node) -> None:
    node = metered
    service = f"model:{node.model}"
    before = said(node, "yumen_calls_total", service=service, outcome="ok") or 0
    for _ in range(3):
        assert node.call(headers={"X-Request-Id": TYPED}).ok
    node.upstream.reset(respond(status="500 Oops", body=b"{}"))
    assert node.call().status_code == 500
    node.upstream.reset(respond())
    assert node.call(key="ym_live_" + TYPED).status_code == 401
    assert node.gateway.call("GET", f"/{TYPED}?key={TYPED}", HOST).status_code == 404

    def ended() -> bool:
        text = read(url_of(node))
        ok = value(text, "yumen_calls_total", service=service, outcome="ok")
        failed = value(text, "yumen_calls_total", service=service, outcome="upstream_error")
        return ok == before + 3 and failed == 1

    until(ended, "the calls are counted", 8)
    text = read(url_of(node))
    secrets = {
        "the key": node.key,
        "the key's id": node.key_id,
        "a host": HOST,
        "what a client typed": TYPED,
        "the pepper": node.gateway.settings.secret_file("pepper").read_text().strip(),
    }
    refuse_wrong(text, "gateway-metrics", secrets)
    calls = before + 4
    assert value(text, "yumen_call_wait_seconds_count", service=service) == calls
    assert value(text, "yumen_call_wait_seconds_bucket", service=service, le="+Inf") == calls
    assert value(text, "yumen_call_tokens_total", service=service, direction="in") == 11 * (
        calls - 1
    )
    assert value(text, "yumen_tenant_calls_total", tenant=node.tenant, outcome="ok") == calls - 1
    assert value(text, "yumen_refusals_total", code="invalid_api_key") == 1
    assert value(text, "yumen_config_revision") == node.gateway.publisher.revision
    busy = families(text)["yumen_worker_busy_ratio"].samples
    assert {sample.labels["worker"] for sample in busy} == {"0", "1"}
    assert all(0 <= sample.value <= 1 for sample in busy)


def test_only_the_private_listener_tells_them_and_it_tells_nothing_else(metered: Node) -> None:
    for host in (HOST, "127.0.0.1", "localhost", "nobody.test"):
        for key in (None, metered.key):
            answer = metered.gateway.call("GET", "/metrics", host, key=key)
            assert answer.status_code == 404, host
            assert "yumen_" not in answer.text
    private = url_of(metered).removesuffix("/metrics")
    body = json.dumps({"model": "m", "messages": []})
    headers = {"Host": HOST, "Authorization": f"Bearer {metered.key}"}
    for method, path in (
        ("GET", "/"),
        ("GET", "/livez"),
        ("GET", "/metrics/x"),
        ("POST", "/v1/chat/completions"),
    ):
        answer = requests.request(method, private + path, headers=headers, data=body, timeout=5)
        assert answer.status_code == 404, path


def test_what_is_under_way_is_a_level(metered: Node) -> None:
    node = metered
    service = f"model:{node.model}"
    node.upstream.reset(slowly(2))
    body = json.dumps({"model": "m", "messages": [], "stream": True})
    callers = [
        threading.Thread(
            target=node.gateway.call,
            args=("POST", "/v1/chat/completions", HOST),
            kwargs={"key": node.key, "data": body},
        )
        for _ in range(2)
    ]
    for caller in callers:
        caller.start()
    until(lambda: said(node, "yumen_open_streams", kind="ai") == 2, "two are open", 5)
    assert said(node, "yumen_calls_in_flight", service=service) == 2
    for caller in callers:
        caller.join()
    until(lambda: said(node, "yumen_open_streams", kind="ai") == 0, "none is open", 5)
    node.upstream.reset(respond())


def test_what_the_shipper_waits_for_is_told(metered: Node) -> None:
    node = metered
    assert node.call().ok
    assert said(node, "yumen_shipper_silence_seconds") is None
    stop = threading.Event()
    shipper_thread = threading.Thread(target=shipper.run, args=(node.gateway.settings, stop))
    shipper_thread.start()
    try:
        # Nobody takes usage in, so nothing is confirmed.
        until(lambda: said(node, "yumen_journal_backlog_bytes"), "a call waits", 10)
        before = said(node, "yumen_journal_lag_seconds")
        until(lambda: (said(node, "yumen_journal_lag_seconds") or 0) > before + 0.5, "longer", 5)
        assert said(node, "yumen_shipper_silence_seconds") < 30
    finally:
        stop.set()
        shipper_thread.join(20)


def test_a_real_prometheus_reads_them(metered: Node, tmp_path: Path) -> None:
    target = url_of(metered).removeprefix("http://").removesuffix("/metrics")
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f'  - {{job_name: gateway, static_configs: [{{targets: ["{target}"]}}]}}\n'
    )
    port = free_port()
    options = {
        "config.file": config,
        "storage.tsdb.path": tmp_path / "data",
        "web.listen-address": f"127.0.0.1:{port}",
        "log.level": "error",
    }
    command = ["prometheus", *(f"--{name}={option}" for name, option in options.items())]
    revision = float(metered.gateway.publisher.revision)

    def known(query: str) -> float | None:
        try:
            url = f"http://127.0.0.1:{port}/api/v1/query"
            found = requests.get(url, params={"query": query}, timeout=5).json()["data"]["result"]
        except (requests.RequestException, KeyError):
            return None
        return float(found[0]["value"][1]) if found else None

    with subprocess.Popen(command) as prometheus:
        try:
            until(lambda: known("yumen_config_revision") == revision, "Prometheus has read", 30)
            assert known("up") == 1
            assert known('sum(yumen_calls_total{outcome="ok"})') is not None
        finally:
            prometheus.terminate()


def test_nothing_listens_when_it_is_turned_off() -> None:
    for node in make_node(workers=1):
        assert node.gateway.settings.metrics_port("gateway") is None
        assert "yumen.metrics" not in (node.gateway.prefix / "nginx.conf").read_text()
        assert node.call().ok


def test_an_upstreams_peers_and_an_opened_breaker_are_told(metered: Node) -> None:
    node = metered
    upstream, breaker = str(uuid.uuid4()), str(uuid.uuid4())
    peers = [
        {"host": "127.0.0.1", "port": node.upstream.port, "weight": 1},
        {"host": "127.0.0.1", "port": free_port(), "weight": 1},
    ]
    node.gateway.publish(
        {
            "upstreams": {upstream: upstream_document(0, targets=peers, healthCheck=CHECK)},
            "breakers": {f"model:{node.model}": {"breakers": [rule(id=breaker, resetTimeout=60)]}},
        }
    )
    service = f"upstream:{upstream}"
    until(
        lambda: said(node, "yumen_upstream_peers", service=service, state="unhealthy") == 1,
        "the peer that is not there is ill",
        20,
    )
    assert said(node, "yumen_upstream_peers", service=service, state="healthy") == 1
    before = said(node, "yumen_breaker_openings_total") or 0
    node.upstream.reset(respond(status="500 Oops", body=b"{}"))
    until(lambda: node.call().status_code == 503, "the breaker opens", 10)
    until(lambda: said(node, "yumen_breaker_openings_total") == before + 1, "it is counted", 5)
    assert said(node, "yumen_breaker_state", breaker=breaker) == 2
    node.gateway.publish({"breakers": {f"model:{node.model}": None}})
    node.upstream.reset(respond())
