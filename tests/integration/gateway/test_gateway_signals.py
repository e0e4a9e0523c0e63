"""Signals between nodes and the worker: nginx's side and Python's, on one real Redis."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import requests

from control_plane.contract import keys
from control_plane.core.signals import Signals
from control_plane.gateway import render
from tests.gateway import NginxServer
from tests.servers import RedisServer
from tests.stack import until

WINDOW = """
        location = /signal {
            content_by_lua_block {
                local signals, json = require "yumen.signals", require "yumen.core.json"
                local arguments = ngx.req.get_uri_args()
                if arguments.value then
                    local done, signal = signals.publish(arguments.kind, arguments.name,
                        json.decode(arguments.value), tonumber(arguments.seconds),
                        tonumber(arguments.replacing))
                    ngx.print(json.encode { done = done, signal = signal })
                else
                    ngx.print(json.encode(signals.get(arguments.kind, arguments.name) or {}))
                end
            }
        }
"""
"""A location of the test's own, through which it sees and publishes what a worker does."""


class SignallingNode(NginxServer):
    """A node whose signals can be asked for over HTTP."""

    def __init__(self, server: RedisServer, name: str, workers: int = 1) -> None:
        super().__init__(server.url, None, workers, {"YUMEN_GATEWAY_NODE": name})

    def start(self) -> None:
        """Render, add the window, start."""
        render(self.settings)
        path = self.prefix / "nginx.conf"
        text = path.read_text()
        at = text.index("        location = /livez")
        path.write_text(text[:at] + WINDOW + text[at:])
        self.start_rendered()

    def get(self, name: str, kind: str = "degradation") -> dict[str, Any]:
        """Return the signal as a worker has it, {} for none."""
        parameters = {"kind": kind, "name": name}
        return dict(requests.get(f"{self.url}/signal", params=parameters, timeout=5).json())

    def publish(
        self, name: str, value: object, seconds: float, replacing: int | None = None
    ) -> Any:
        """Publish as the gateway does; return what it was told."""
        parameters: dict[str, Any] = {
            "kind": "degradation",
            "name": name,
            "value": json.dumps(value),
            "seconds": seconds,
            "replacing": replacing,
        }
        return requests.get(f"{self.url}/signal", params=parameters, timeout=5).json()

    def waits_for(self, name: str, value: object) -> None:
        """Wait until a worker has the value under the name; None is no signal."""
        until(lambda: self.get(name).get("value") == value, f"{name} is {value}", 10)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture(scope="module")
def nodes(server: RedisServer) -> Iterator[tuple[SignallingNode, SignallingNode]]:
    with (
        SignallingNode(server, "node-a", workers=2) as one,
        SignallingNode(server, "node-b") as two,
    ):
        one.start()
        two.start()
        yield one, two


@pytest.fixture
def worker(server: RedisServer) -> Iterator[Signals]:
    """The worker's side, on an empty Redis."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield Signals(client, "worker")


Nodes = tuple[SignallingNode, SignallingNode]


def test_what_the_worker_says_reaches_every_node_and_ends(nodes: Nodes, worker: Signals) -> None:
    worker.publish("degradation", "said", {"rule": "r"}, 60)
    for node in nodes:
        node.waits_for("said", {"rule": "r"})
    # Both workers of a node: each has a cache of its own.
    assert {nodes[0].get("said")["by"] for _ in range(20)} == {"worker"}
    worker.end("degradation", "said")
    for node in nodes:
        node.waits_for("said", None)
    assert worker.read("degradation") == {}


def test_what_a_node_says_reaches_the_others_and_the_worker(nodes: Nodes, worker: Signals) -> None:
    told = nodes[0].publish("heard", {"n": 1}, 60)
    assert told["done"] is True
    nodes[1].waits_for("heard", {"n": 1})
    (signal,) = worker.read("degradation").values()
    assert (signal.value, signal.by) == ({"n": 1}, "node-a")
    assert signal.generation == told["signal"]["generation"]


def test_a_signal_ends_by_itself(nodes: Nodes, worker: Signals) -> None:
    worker.publish("degradation", "short", {"x": 1}, 0.6)
    nodes[0].waits_for("short", {"x": 1})
    started = time.monotonic()
    nodes[0].waits_for("short", None)
    assert time.monotonic() - started < 6
    assert worker.read("degradation") == {}


def test_who_comes_late_reads_what_stands(server: RedisServer, worker: Signals) -> None:
    worker.publish("degradation", "stands", {"x": 1}, 60)
    worker.publish("degradation", "ended", {"x": 2}, 60)
    worker.end("degradation", "ended")
    with SignallingNode(server, "node-late") as late:
        late.start()
        late.waits_for("stands", {"x": 1})
        assert late.get("ended").get("value") is None


def test_an_older_generation_replaces_nothing(nodes: Nodes, worker: Signals) -> None:
    first = worker.publish("degradation", "order", {"x": 1}, 60)
    second = worker.publish("degradation", "order", {"x": 2}, 60)
    assert first is not None
    assert second is not None
    assert second.generation > first.generation
    # Who knows only the first one is refused, and told what stands there instead.
    assert worker.publish("degradation", "order", {"x": 3}, 60, first.generation) is None
    told = nodes[0].publish("order", {"x": 3}, 60, first.generation)
    assert (told["done"], told["signal"]["value"]) == (False, {"x": 2})
    assert nodes[0].publish("order", {"x": 3}, 60, 0)["done"] is False
    nodes[1].waits_for("order", {"x": 2})
    # The same entry out of its order, as after a restore of Redis' data.
    entry = json.dumps({"value": {"x": 9}, "until": 9e12, "kept": 9e12, "generation": 1, "by": "x"})
    with redis.Redis.from_url(server_url(nodes)) as client:
        client.xadd(keys.SIGNALS, {"name": "degradation/order", "signal": entry})
    worker.publish("degradation", "behind", {"x": 4}, 60)
    nodes[1].waits_for("behind", {"x": 4})
    assert nodes[1].get("order")["value"] == {"x": 2}
    assert nodes[0].publish("order", {"x": 5}, 60, second.generation)["done"] is True
    nodes[1].waits_for("order", {"x": 5})


def server_url(nodes: Nodes) -> str:
    return nodes[0].settings.redis_url


def test_of_many_who_find_nothing_one_publishes(nodes: Nodes, worker: Signals) -> None:
    told = [
        node.publish("lease", {"by": name}, 60, 0) for name, node in zip("ab", nodes, strict=True)
    ]
    assert [answer["done"] for answer in told] == [True, False]
    assert told[1]["signal"]["value"] == {"by": "a"}
    worker.end("degradation", "lease")
    assert nodes[1].publish("lease", {"by": "b"}, 60, 0)["done"] is True


def test_what_is_known_outlives_a_redis_that_lost_everything(
    nodes: Nodes, worker: Signals, server: RedisServer
) -> None:
    before = worker.publish("degradation", "kept", {"x": 1}, 60)
    nodes[0].waits_for("kept", {"x": 1})
    server.kill()
    assert nodes[0].get("kept")["value"] == {"x": 1}
    assert nodes[0].publish("kept", {"x": 2}, 60).get("done") is None
    server.start()
    assert worker.read("degradation") == {}
    assert nodes[0].get("kept")["value"] == {"x": 1}
    after = worker.publish("degradation", "kept", {"x": 3}, 60)
    assert before is not None
    assert after is not None
    assert after.generation > before.generation
    for node in nodes:
        node.waits_for("kept", {"x": 3})


def test_what_ended_while_a_node_was_away_is_over_for_it(
    nodes: Nodes, worker: Signals, server: RedisServer
) -> None:
    """The end is kept for as long as the signal would have held: no stream reaches back so far."""
    worker.publish("degradation", "over", {"x": 1}, 60)
    nodes[0].waits_for("over", {"x": 1})
    with redis.Redis.from_url(server.url) as client:
        worker.end("degradation", "over")
        client.delete(keys.SIGNALS)
        assert client.hexists(keys.SIGNALS_STATE, "degradation/over")
    with SignallingNode(server, "node-c") as late:
        late.start()
        late.waits_for("over", None)


def test_an_unknown_kind_is_a_mistake(worker: Signals) -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        worker.publish("weather", "x", {}, 1)
