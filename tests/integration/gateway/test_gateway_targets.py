"""Upstreams of several targets: which one a call goes to, who is left out, what is sent again."""

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.authority import Authority
from tests.dns_server import DnsServer
from tests.integration.ai.name_server import use_name_server
from tests.integration.gateway.conftest import HOST, Node, make_node
from tests.route_documents import route_document, upstream_document
from tests.stack import free_port, until
from tests.upstream import Received, Script, Upstream, raw, respond

PASSIVE = {"failures": 2, "seconds": 1.0}
CHECK = {
    "path": "/health",
    "interval": 0.1,
    "timeout": 0.5,
    "healthyAfter": 2,
    "unhealthyAfter": 2,
    "statuses": [200],
}


def health_or(script: Script, health: list[str]) -> Script:
    """Answer checks with the status that *health* holds, everything else by *script*."""

    def answer(connection: Any, received: Received) -> None:
        if received.line.startswith("GET /health "):
            respond(b"", health[0])(connection, received)
        else:
            script(connection, received)

    return answer


def calls_of(target: Upstream) -> int:
    """Count what *target* got, checks left out."""
    return sum(1 for received in target.received if "/health" not in received.line)


@dataclass
class Service:
    """A gateway before three targets, each of which answers with its own name."""

    node: Node
    names: DnsServer
    targets: list[Upstream]
    upstream: str = field(default_factory=lambda: str(uuid.uuid4()))

    def serve(self, *weights: int, **fields: Any) -> None:
        """Publish a new upstream of the first targets, and a route of all paths to it."""
        self.node.gateway.publish({"upstreams": {self.upstream: None}})
        self.upstream = str(uuid.uuid4())
        for target in self.targets:
            target.received.clear()
        self.change(*weights, **fields)

    def change(self, *weights: int, timeout: float = 5.0, **fields: Any) -> None:
        """Publish the upstream anew."""
        listed = [
            {"host": "127.0.0.1", "port": target.port, "weight": weight}
            for target, weight in zip(self.targets, weights or (1, 1, 1), strict=False)
        ]
        document = upstream_document(0, **{"targets": listed, **fields})
        times = dict.fromkeys(("connect", "send", "firstByte", "betweenBytes"), timeout)
        route = route_document("r", self.upstream, timeouts={**times, "total": None})
        self.node.gateway.publish(
            {
                "upstreams": {self.upstream: document},
                "routes": {self.node.tenant: {"routes": [route]}},
            }
        )

    def call(self, method: str = "GET", path: str = "/", **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        key = self.node.key
        return self.node.gateway.call(method, path, HOST, key=key, headers=named, data=b"x")

    def served_by(self, count: int) -> Counter[str]:
        """Make *count* calls, all of which must succeed; count the targets that answered."""
        answers = [self.call() for _ in range(count)]
        assert {answer.status_code for answer in answers} == {200}
        return Counter(answer.text for answer in answers)


def by_name(index: int) -> Script:
    return respond(b"target %d" % index, kind="text/plain")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = Path(tmp_path_factory.mktemp("targets"))
    for directory in (folder, *folder.parents[:2]):
        directory.chmod(0o755)
    authority = Authority(folder, "authority")
    environment = {"YUMEN_GATEWAY_CA_FILE": str(authority.file)}
    with ExitStack() as stack:
        names = stack.enter_context(DnsServer())
        targets = [stack.enter_context(Upstream()) for _ in range(3)]
        secure = stack.enter_context(Upstream(tls=authority.server("good.test")))
        for node in make_node(workers=2, environment=environment):
            use_name_server(node.gateway, names.port, folder)
            yield Service(node, names, [*targets, secure])


@pytest.fixture
def service(shared: Service) -> Service:
    """The service, its targets well."""
    shared.names.records.clear()
    for index, target in enumerate(shared.targets):
        target.reset(by_name(index))
    return shared


def test_each_target_gets_its_share(service: Service) -> None:
    service.serve(3, 1, 0)
    served = service.served_by(80)
    assert set(served) == {"target 0", "target 1"}
    # Each of the two workers is exact; where its turns end is its own.
    assert 57 <= served["target 0"] <= 63


def test_a_slow_target_gets_fewer_calls_when_connections_count(service: Service) -> None:
    def slowly(connection: Any, received: Received) -> None:
        time.sleep(0.3)
        by_name(2)(connection, received)

    service.targets[2].reset(slowly)
    service.serve(1, 1, 1, balancing="leastConnections")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: service.call(), range(150)))
    assert {answer.status_code for answer in answers} == {200}
    served = Counter(answer.text for answer in answers)
    assert served["target 2"] < 25, "a third would be 50"
    assert min(served["target 0"], served["target 1"]) > 40


@pytest.mark.parametrize(
    ("source", "name", "headers"),
    [
        ("header", "x-user", lambda user: {"X_User": f"user-{user}"}),
        ("cookie", "session", lambda user: {"Cookie": f"session=user-{user}"}),
    ],
)
def test_a_hash_stays_at_its_target(service: Service, source: str, name: str, headers: Any) -> None:
    hashed = {"balancing": "consistentHash", "hashOn": {"source": source, "name": name}}
    service.serve(1, 1, 1, **hashed)
    before = {user: service.call(**headers(user)).text for user in range(30)}
    assert set(before.values()) == {"target 0", "target 1", "target 2"}
    assert before == {user: service.call(**headers(user)).text for user in range(30)}
    service.change(1, 1, **hashed)
    after = {user: service.call(**headers(user)).text for user in range(30)}
    for user, target in before.items():
        assert after[user] == target or target == "target 2"
        assert after[user] != "target 2"


@pytest.mark.parametrize("source", ["address", "path", "key"])
def test_a_hash_of_one_client_is_one_target(service: Service, source: str) -> None:
    service.serve(balancing="consistentHash", hashOn={"source": source, "name": None})
    assert len(service.served_by(12)) == 1


def test_what_has_nothing_to_hash_goes_in_turn(service: Service) -> None:
    hashed = {"source": "header", "name": "x-user"}
    service.serve(balancing="consistentHash", hashOn=hashed)
    assert len(service.served_by(12)) == 3


def test_checks_leave_a_target_out_and_bring_it_back(service: Service) -> None:
    health = [["200 OK"], ["200 OK"], ["200 OK"]]
    for index, target in enumerate(service.targets[:3]):
        target.reset(health_or(by_name(index), health[index]))
    service.serve(healthCheck=CHECK)
    assert len(service.served_by(12)) == 3
    health[1][0] = "500 Broken"
    until(lambda: "target 1" not in service.served_by(6), "target 1 is left out", 10)
    assert set(service.served_by(12)) == {"target 0", "target 2"}
    health[0][0] = "500 Broken"
    until(lambda: "target 0" not in service.served_by(6), "target 0 is left out, too", 10)
    assert set(service.served_by(12)) == {"target 2"}
    health[2][0] = "500 Broken"
    until(lambda: len(service.served_by(12)) == 3, "all are used when none is well", 10)
    health[1][0] = "200 OK"
    until(lambda: set(service.served_by(6)) == {"target 1"}, "the one that is well is used", 10)
    assert "peer" in service.node.gateway.error_log()


def test_one_worker_of_the_node_checks(service: Service) -> None:
    service.serve(1, healthCheck={**CHECK, "interval": 0.2})
    start = time.monotonic()
    time.sleep(1.5)
    seconds = time.monotonic() - start
    checks = len(service.targets[0].received)
    assert 2 <= checks <= seconds / 0.2 + 2, "two workers that check would make twice as many"


def test_a_check_that_is_taken_away_keeps_nobody_out(service: Service) -> None:
    service.targets[1].reset(health_or(by_name(1), ["500 Broken"]))
    service.serve(1, 1, healthCheck=CHECK)
    until(lambda: "target 1" not in service.served_by(6), "target 1 is left out", 10)
    service.change(1, 1)
    assert "target 1" in service.served_by(6)


def test_failed_calls_leave_a_target_out_until_one_succeeds(service: Service) -> None:
    service.targets[0].reset(respond(b"ill", "503 Ill"))
    service.serve(passive=PASSIVE)
    statuses = [service.call().status_code for _ in range(60)]
    assert statuses.count(503) <= 3, "2 failures, and one that was on its way"
    until(lambda: calls_of(service.targets[0]) > 3 or not service.call(), "a trial", 10)
    tried = calls_of(service.targets[0])
    assert [service.call().status_code for _ in range(20)].count(503) <= 1
    assert calls_of(service.targets[0]) <= tried + 1, "the trial failed: it is left out again"
    service.targets[0].script = by_name(0)
    until(lambda: "target 0" in [service.call().text for _ in range(6)], "target 0 is back", 10)


def test_more_than_half_that_fail_are_all_used(service: Service) -> None:
    for target in service.targets[:2]:
        target.reset(respond(b"ill", "503 Ill"))
    service.serve(passive={"failures": 2, "seconds": 30.0})
    statuses = Counter(service.call().status_code for _ in range(60))
    assert 30 <= statuses[503] <= 45, "two thirds: all three are used"


def dead() -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": free_port(), "weight": 1}


def alive(target: Upstream) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": target.port, "weight": 1}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_never_reached_a_target_goes_to_another(service: Service, method: str) -> None:
    targets = [alive(service.targets[0]), dead()]
    service.serve(targets=targets, retries={"attempts": 1, "statuses": "none"})
    assert [service.call(method).status_code for _ in range(6)] == [200] * 6
    assert calls_of(service.targets[0]) == 6
    service.serve(targets=targets)
    assert 502 in [service.call(method).status_code for _ in range(6)], "without, it is told"


def test_what_a_target_may_have_taken_goes_to_another_only_when_that_is_safe(
    service: Service,
) -> None:
    service.targets[0].reset(raw(b""))
    service.serve(1, 1, retries={"attempts": 1, "statuses": "unavailable"})
    posts = [service.call("POST").status_code for _ in range(6)]
    assert 502 in posts
    assert calls_of(service.targets[0]) + calls_of(service.targets[1]) == 6, "none was sent twice"
    assert [service.call("PUT").status_code for _ in range(3)] == [200] * 3


def test_answers_are_sent_again_when_the_upstream_says_so(service: Service) -> None:
    service.targets[0].reset(respond(b"ill", "503 Ill", X_Mine="yes"))
    service.serve(1, 1, retries={"attempts": 1, "statuses": "unavailableOrBusy"})
    assert [service.call().status_code for _ in range(6)] == [200] * 6
    posts = [service.call("POST") for _ in range(4)]
    assert 503 in [answer.status_code for answer in posts]
    assert "ill" in [answer.text for answer in posts], "the target's own answer"
    service.targets[0].script = respond(b"own", "500 Mine")
    answers = [service.call() for _ in range(4)]
    assert (500, "own") in [(answer.status_code, answer.text) for answer in answers]


@pytest.mark.parametrize(
    ("statuses", "sent_again"),
    [("none", []), ("unavailable", [502, 504]), ("unavailableOrBusy", [429, 502, 504])],
)
def test_which_answers_are_sent_again(
    service: Service, statuses: str, sent_again: list[int]
) -> None:
    service.serve(1, 1, retries={"attempts": 1, "statuses": statuses})
    both = service.targets[:2]
    twice = []
    for status in (429, 500, 502, 504):
        for target in both:
            target.reset(respond(b"ill", f"{status} Ill"))
        answer = service.call()
        assert (answer.status_code, answer.text) == (status, "ill")
        twice += [status] if sum(map(calls_of, both)) == 2 else []
    assert twice == sent_again


def test_a_method_that_nginx_does_not_know_is_never_sent_again(service: Service) -> None:
    both = service.targets[:2]
    for target in both:
        target.reset(respond(b"ill", "503 Ill"))
    service.serve(1, 1, retries={"attempts": 1, "statuses": "unavailable"})
    assert service.call("DELETE").status_code == 503
    assert sum(map(calls_of, both)) == 2
    assert service.call("PURGE").status_code == 503
    assert sum(map(calls_of, both)) == 3


def test_retries_are_at_most_a_tenth(service: Service) -> None:
    for target in service.targets[:3]:
        target.reset(respond(b"ill", "503 Ill"))
    service.serve(retries={"attempts": 2, "statuses": "unavailable"})
    calls = 300
    answers = [service.call() for _ in range(calls)]
    assert {(answer.status_code, answer.text) for answer in answers} == {(503, "ill")}
    received = sum(calls_of(target) for target in service.targets[:3])
    assert calls + 10 <= received <= calls * 1.1


def test_names_are_followed_as_they_change(service: Service) -> None:
    service.names.ttl = 1
    service.names.records["many.test", "A"] = ["127.0.0.1", "127.0.0.2"]
    port = service.targets[0].port
    with Upstream(by_name(9), address="127.0.0.3") as other:
        target = {"host": "Many.test", "port": port, "weight": 1}
        service.serve(targets=[target], retries={"attempts": 1, "statuses": "none"})
        # Nothing listens at 127.0.0.2: what goes there is sent again.
        assert set(service.served_by(6)) == {"target 0"}
        service.names.records["many.test", "A"] = ["127.0.0.3"]
        service.change(targets=[{**target, "port": other.port}])
        until(lambda: service.call().text == "target 9", "the new address is used", 10)
    assert service.names.asked["many.test"] >= 2


def test_a_service_is_followed_to_its_servers(service: Service) -> None:
    names = service.names
    names.ttl = 1
    names.records["one.test", "A"] = ["127.0.0.1"]
    first, second, third = (target.port for target in service.targets[:3])
    spare = f"9 1 {third} one.test."
    names.records["_http._tcp.test", "SRV"] = [f"1 3 {first} one.test.", spare]
    service.serve(targets=[], service={"srv": "_http._tcp.test"})
    assert set(service.served_by(6)) == {"target 0"}
    assert service.targets[0].received[0].headers["host"] == f"one.test:{first}"
    names.records["_http._tcp.test", "SRV"] = [f"1 1 {second} one.test.", spare]
    until(lambda: service.call().text == "target 1", "the new server is used", 10)


def test_a_private_address_behind_a_name_is_left_out(service: Service) -> None:
    service.names.records["mixed.test", "A"] = ["10.1.2.3", "127.0.0.1"]
    service.names.records["private.test", "A"] = ["10.1.2.3"]
    port = service.targets[0].port
    service.serve(targets=[{"host": "mixed.test", "port": port, "weight": 1}])
    assert set(service.served_by(6)) == {"target 0"}
    service.serve(targets=[{"host": "private.test", "port": port, "weight": 1}])
    answer = service.call()
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_forbidden")


def test_a_call_that_is_sent_again_names_its_new_target(service: Service) -> None:
    service.names.records["a.test", "A"] = ["127.0.0.1"]
    service.names.records["b.test", "A"] = ["127.0.0.1"]
    first, second = service.targets[:2]
    first.reset(respond(b"ill", "503 Ill"))
    targets = [
        {"host": "a.test", "port": first.port, "weight": 1},
        {"host": "b.test", "port": second.port, "weight": 1},
    ]
    service.serve(targets=targets, retries={"attempts": 1, "statuses": "unavailable"})
    assert [service.call().text for _ in range(4)] == ["target 1"] * 4
    assert {one.headers["host"] for one in first.received} == {f"a.test:{first.port}"}
    assert {one.headers["host"] for one in second.received} == {f"b.test:{second.port}"}


@pytest.mark.parametrize(("name", "is_well"), [("good.test", True), ("other.test", False)])
def test_checks_verify_the_name_that_targets_prove(
    service: Service, name: str, is_well: bool
) -> None:
    secure = service.targets[3]
    service.serve(
        targets=[alive(secure)],
        scheme="https",
        serverName=name,
        healthCheck=CHECK,
        passHost="fixed",
        host="public.test",
    )
    log = service.node.gateway.error_log
    if is_well:
        until(lambda: secure.received, "a check has come", 10)
        assert secure.received[0].headers["host"] == "public.test"
        assert service.call().text == "target 3"
    else:
        until(lambda: f"peer {service.upstream}" in log(), "the check has failed", 10)
        assert "TLS: " in log()
        assert service.call().status_code == 502
