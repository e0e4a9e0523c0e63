"""What becomes of AI calls while a degradation rule is in force: real nginx, Redis and signals."""

import json
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from control_plane.contract.journal import FLAG_STREAM, Outcome
from tests.bench.documents import limit_rule
from tests.breakers import answers_after
from tests.breakers import rule as breaker
from tests.degradations import HEADER, NOBODY, Degradations, answer, rule
from tests.integration.gateway.conftest import HOST, OTHER_HOST, Node, make_node
from tests.integration.gateway.routes.conftest import recorded
from tests.stack import until
from tests.upstream import CHUNK, DONE, Received, Upstream, chunked

EMBEDDINGS = "/v1/embeddings"


class Service:
    """A node whose tenant has a second model beside `m`, `spare`, on an upstream of its own."""

    def __init__(self, node: Node, other: Upstream) -> None:
        self.node = node
        self.other = other
        self.spare = str(uuid.uuid4())
        self.degradations = Degradations(node)

    @property
    def key(self) -> str:
        """The service key of the model that ails."""
        return f"model:{self.node.model}"

    def reset(self) -> None:
        """Bring back the documents, and no rule."""
        self.node.upstream.reset()
        self.other.reset()
        documents = {**(self.node.gateway.documents or {})}
        model = documents["models"][self.node.model]
        endpoint = {**model["endpoint"], "port": self.other.port}
        spare = {**model, "name": "spare", "endpoint": endpoint}
        documents["models"] = {**documents["models"], self.spare: spare}
        documents["tenants"] = {**documents["tenants"], self.node.tenant: self.tenant()}
        nothing = {f"model:{one}": None for one in (self.node.model, self.spare)}
        no_limits: Any = {self.node.tenant: None}
        self.node.gateway.publish(
            {**documents, "degradations": nothing, "breakers": nothing, "limits": no_limits}
        )

    def tenant(self, *, spare: bool = True) -> dict[str, Any]:
        """Return the tenant's document, with the second model or without."""
        document = self.node.tenant_document()
        if spare:
            entry = {**document["models"]["m"], "model": self.spare, "costMultiplier": "7"}
            document["models"]["spare"] = entry
        return document

    def fallback(self) -> dict[str, Any]:
        """Return the rule that calls the second model."""
        return rule("fallback", model=self.spare)

    def begin(self, *rules: dict[str, Any], seconds: float = 60) -> None:
        """Put rules in force for the model that ails."""
        self.degradations.begin(self.key, *rules, seconds=seconds)

    def chat(self, **fields: Any) -> requests.Response:
        """Call the model that ails."""
        body = json.dumps({"model": "m", "messages": [], **fields})
        return self.node.gateway.call(
            "POST", "/v1/chat/completions", HOST, key=self.node.key, data=body
        )

    def degraded(self) -> str | None:
        """Return the name of the rule that changed a call."""
        return self.chat().headers.get(HEADER)


@pytest.fixture(scope="module")
def module_service() -> Iterator[Service]:
    with Upstream() as other:
        for node in make_node(environment={"YUMEN_GATEWAY_READ_SECONDS": "1"}):
            yield Service(node, other)


@pytest.fixture
def service(module_service: Service) -> Service:
    module_service.reset()
    return module_service


def test_nothing_is_changed_until_the_signal_comes_and_once_it_is_gone(service: Service) -> None:
    ailing = rule("timeout-increase", factor=2)
    service.degradations.publish({service.key: [ailing]})
    assert service.degraded() is None
    service.begin(ailing, seconds=1.5)
    assert service.degraded() == "ailing"
    until(lambda: service.degraded() is None, "it ends by itself", 10)
    service.begin(ailing)
    service.degradations.signal(ailing, 0)
    service.degradations.wait_until_heard()
    assert service.degraded() is None
    service.begin(ailing)
    service.degradations.publish({service.key: []})
    assert service.degraded() is None, "the rule is gone, its signal not yet"


def test_a_slow_model_gets_more_time(service: Service) -> None:
    service.node.upstream.script = answers_after(1.5)
    refused = service.chat()
    assert (refused.status_code, HEADER in refused.headers) == (504, False)
    service.begin(rule("timeout-increase", factor=5))
    answered = service.chat()
    assert (answered.status_code, answered.headers[HEADER]) == (200, "ailing")


def test_streams_are_switched_off_and_nothing_else(service: Service) -> None:
    service.begin(rule("feature-disable", feature="stream"))
    refused = service.chat(stream=True)
    assert (refused.status_code, refused.headers[HEADER]) == (503, "ailing")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("feature_disabled", "upstream_error")
    assert service.node.upstream.received == []
    passed = service.chat(stream=False)
    assert (passed.status_code, HEADER in passed.headers) == (200, False)


def test_an_endpoint_is_switched_off_and_no_other(service: Service) -> None:
    service.begin(rule("feature-disable", endpoint=EMBEDDINGS))
    body = json.dumps({"model": "m", "input": "x"})
    refused = service.node.gateway.call("POST", EMBEDDINGS, HOST, key=service.node.key, data=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "feature_disabled")
    assert (service.chat().status_code, service.degraded()) == (200, None)


def test_another_model_answers_and_is_what_is_recorded(service: Service) -> None:
    service.begin(service.fallback())
    answered = service.chat(temperature=0.25)
    assert (answered.status_code, answered.headers[HEADER]) == (200, "ailing")
    assert service.node.upstream.received == []
    (received,) = service.other.received
    assert json.loads(received.body) == {"model": "spare", "messages": [], "temperature": 0.25}
    for record in recorded(service.node, answered):
        assert str(record.model) == service.spare
        assert record.cost_multiplier == "7"


def test_a_stream_of_another_model_is_one(service: Service) -> None:
    service.begin(service.fallback())
    service.other.script = chunked(CHUNK, DONE)
    answered = service.chat(stream=True)
    assert (answered.content, answered.headers[HEADER]) == (CHUNK + DONE, "ailing")
    until(lambda: len(recorded(service.node, answered)) == 2, "begin and end are recorded", 10)
    end = recorded(service.node, answered)[1]
    assert (str(end.model), end.outcome) == (service.spare, Outcome.COMPLETE)
    assert end.flags & FLAG_STREAM


def test_a_stream_under_way_is_left_as_it_is(service: Service) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def halting(connection: socket.socket, received: Received) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        connection.sendall(head + b"Connection: close\r\n\r\n" + CHUNK)
        begun.set()
        go_on.wait(20)
        connection.sendall(DONE)
        raise ConnectionAbortedError

    service.node.upstream.script = halting
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(service.chat, stream=True)
        begun.wait(20)
        service.begin(rule("feature-disable", feature="stream"))
        assert service.chat(stream=True).status_code == 503
        go_on.set()
        answered = coming.result(20)
    assert (answered.content, HEADER in answered.headers) == (CHUNK + DONE, False)


@pytest.mark.parametrize("why", ["tenant", "key", "inactive", "unknown", "kind"])
def test_where_the_other_model_may_not_be_called_the_call_goes_on_as_usual(
    service: Service, why: str
) -> None:
    fallback = service.fallback()
    gateway = service.node.gateway
    if why == "tenant":
        gateway.publish({"tenants": {service.node.tenant: service.tenant(spare=False)}})
    elif why == "key":
        limited = gateway.credential(service.node.tenant, service.node.key, models=["m", "probe"])
        gateway.publish({"credentials": {service.node.key_id: limited}})
    elif why == "inactive":
        spare = gateway.publisher.documents["models"][service.spare]
        gateway.publish({"models": {service.spare: {**spare, "isActive": False}}})
    elif why == "unknown":
        fallback = rule("fallback", model=str(uuid.uuid4()))
    else:
        fallback = rule("fallback", upstream=service.spare)
    service.begin(fallback)
    assert (service.chat().status_code, service.degraded()) == (200, None)
    assert len(service.node.upstream.received) == 2
    assert service.other.received == []


def test_the_first_rule_that_fits_acts_and_no_other(service: Service) -> None:
    longer = rule("timeout-increase", "longer", factor=2)
    no_streams = rule("feature-disable", "no streams", feature="stream")
    service.begin(no_streams, rule("fallback", model=str(uuid.uuid4())), longer)
    assert service.chat(stream=True).headers[HEADER] == "no streams"
    assert service.degraded() == "longer"
    service.begin(longer, no_streams)
    service.node.upstream.script = chunked(CHUNK, DONE)
    assert service.chat(stream=True).headers[HEADER] == "longer"


def test_a_fallback_has_no_fallback(service: Service) -> None:
    back = rule("fallback", "back", model=service.node.model)
    service.degradations.begin(f"model:{service.spare}", back)
    service.begin(service.fallback())
    assert service.degraded() == "ailing"
    assert (len(service.other.received), service.node.upstream.received) == (1, [])


def test_the_fallbacks_breaker_counts_and_not_the_ailing_ones(service: Service) -> None:
    service.begin(service.fallback())
    forced = {"breakers": [breaker(mode="forcedOpen")]}
    service.node.gateway.publish({"breakers": {service.key: forced}})
    assert service.chat().status_code == 200
    service.node.gateway.publish({"breakers": {f"model:{service.spare}": forced}})
    refused = service.chat()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "circuit_open")
    assert refused.headers[HEADER] == "ailing"
    assert len(service.other.received) == 1


def test_the_fallbacks_limits_count(service: Service) -> None:
    counted = {"scope": ["tenant", "model"], "match": {"model": service.spare}, "window": "day"}
    limit = limit_rule(1) | counted
    service.node.gateway.trust_counters()
    service.node.gateway.publish({"limits": {service.node.tenant: {"rules": [limit]}}})
    service.begin(service.fallback())
    assert service.chat().status_code == 200
    refused = service.chat()
    assert (refused.status_code, refused.headers[HEADER]) == (429, "ailing")


def test_a_fallback_that_is_not_reached_is_told_as_usual(service: Service) -> None:
    spare = service.node.gateway.publisher.documents["models"][service.spare]
    nowhere = {**spare["endpoint"], "port": NOBODY}
    service.node.gateway.publish({"models": {service.spare: {**spare, "endpoint": nowhere}}})
    service.begin(service.fallback())
    refused = service.chat()
    assert (refused.status_code, refused.headers[HEADER]) == (502, "ailing")
    assert refused.json()["error"]["code"] == "upstream_unreachable"


def test_a_static_answer_is_sent_as_it_stands(service: Service) -> None:
    body = '{"choices": [], "sorry": "后来"}\n'
    service.begin(answer(body, 202, "application/json; charset=utf-8"))
    answered = service.chat(stream=True)
    assert (answered.status_code, answered.headers[HEADER]) == (202, "ailing")
    assert answered.content == body.encode()
    assert answered.headers["Content-Type"] == "application/json; charset=utf-8"
    assert service.node.upstream.received == []


@pytest.mark.parametrize("mine", [HOST, OTHER_HOST])
def test_a_tenants_rule_is_about_its_own_calls(service: Service, mine: str) -> None:
    hosts = service.node.gateway.publisher.documents["hosts"]
    service.begin({**answer("degraded"), "tenant": hosts[mine]["tenant"]})
    for host, key in ((HOST, service.node.key), (OTHER_HOST, service.node.other_key)):
        found = service.node.call(host, key)
        assert (found.status_code, found.text == "degraded") == (200, host == mine)
        assert (HEADER in found.headers) is (host == mine)


def test_what_is_in_force_outlives_redis_until_its_time_and_a_reload(node: Node) -> None:
    degradations, gateway = Degradations(node), node.gateway
    short, long = answer("short"), answer("long")
    degradations.publish({f"model:{node.model}": [short, long]})
    degradations.signal(short, 4)
    degradations.signal(long, 600)
    degradations.wait_until_heard()
    assert node.call().text == "short"
    node.redis.kill()
    until(lambda: node.call().text == "long", "the first ends by itself", 10)
    assert gateway.process is not None
    workers = gateway.workers()
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: not set(gateway.workers()) & set(workers), "new workers", 10)
    assert {node.call().text for _ in range(8)} == {"long"}
