"""No limit is ever exceeded by any number of nodes: the very core and script, on a real Redis.

Nodes are LuaJIT states of their own with a memory of their own. Time is the test's: it stands still
unless a step lets it pass, for Redis and nodes alike.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from control_plane.contract import keys
from tests.property.allowance_nodes import SCRIPT, Fleet, Node
from tests.servers import RedisServer

NODES = 3
IDLE_TICKS = 3  # after so many without a use a node gives back
Step = tuple[Any, ...]
Mutate = Callable[[bytes, bytes], bytes]


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    with RedisServer() as server:
        yield redis.Redis.from_url(server.url)


WINDOW_STEPS = st.lists(
    st.one_of(
        # Skewed: the first node is asked far more often than the others.
        st.tuples(st.just("take"), st.sampled_from([0, 0, 0, 0, 1, 2]), st.integers(1, 12)),
        st.tuples(st.just("pass"), st.sampled_from([1, 30, 200, 700, 1000, 2500])),
        st.tuples(st.just("tick"), st.integers(0, NODES - 1)),
        st.tuples(st.just("unused"), st.integers(0, 5)),
        st.tuples(st.just("crash"), st.integers(0, NODES - 1)),
        st.tuples(st.just("worker"), st.integers(0, NODES - 1)),
        st.tuples(st.just("limit"), st.integers(0, 40)),
        st.tuples(st.just("replies"), st.booleans()),
        st.tuples(st.just("delay"), st.sampled_from([0, 0, 2, 20])),
        st.tuples(st.just("wipe"), st.booleans()),
        st.tuples(st.just("away"), st.booleans()),
    ),
    max_size=60,
)


class Windows:
    """A limit a second on some nodes, and how much passed in each second of Redis' clock."""

    def __init__(
        self,
        client: redis.Redis,
        limit: int,
        mutate: Mutate | None = None,
        script: str = SCRIPT,
    ) -> None:
        client.flushall()
        self.fleet = Fleet(client, script)
        self.fleet.trust()
        self.mutate = mutate
        self.limit = limit
        self.passed: Counter[int] = Counter()
        self.most: dict[int, int] = {}
        self.holdings: list[tuple[Node, int, Any]] = []
        self.nodes = [self._node(f"n{n}") for n in range(NODES)]
        self.workers = 0

    def _node(self, name: str) -> Node:
        node = Node(self.fleet, name, self.mutate)
        node.limit(("r", "requests", self.limit, "second", -1, "closed"))
        return node

    @property
    def window(self) -> int:
        """The second that it is for Redis."""
        return self.fleet.redis_now // 1000

    def _see(self) -> None:
        """Note which limit holds now; the highest that did is what may pass in a second."""
        self.most[self.window] = max(self.most.get(self.window, 0), self.limit)

    def run(self, steps: list[Step]) -> None:
        """Take the steps; nothing may ever be exceeded."""
        for step in steps:
            self._see()
            getattr(self, f"_{step[0]}")(*step[1:])
            self._see()
            assert self.passed[self.window] <= self.most[self.window], step

    def _take(self, index: int, times: int) -> None:
        node = self.nodes[index]
        for _ in range(times):
            holding = node.take()
            if holding is not None:
                self.passed[self.window] += 1
                self.holdings.append((node, self.window, holding))
                self._see()

    def _unused(self, index: int) -> None:
        if index < len(self.holdings):
            node, window, holding = self.holdings.pop(index)
            if node in self.nodes:
                node.settle(holding, unused=True)
                self.passed[window] -= 1

    def _pass(self, milliseconds: int) -> None:
        self.fleet.pass_time(milliseconds)

    def _tick(self, index: int, times: int = 1) -> None:
        for _ in range(times):
            self.nodes[index].tick()

    def _crash(self, index: int) -> None:
        """A machine is gone with all it held, and comes back empty."""
        self.nodes[index] = self._node(self.nodes[index].name)

    def _worker(self, index: int) -> None:
        self.workers += 1
        self.nodes[index].restart_worker(b"c%d:" % self.workers)

    def _limit(self, limit: int) -> None:
        self.limit = limit
        for node in self.nodes:
            node.limit(("r", "requests", limit, "second", -1, "closed"))

    def _replies(self, is_lost: bool) -> None:
        self.fleet.loses_replies = is_lost

    def _delay(self, milliseconds: int) -> None:
        self.fleet.delay = milliseconds

    def _wipe(self, restart: bool) -> None:
        self.fleet.wipe(restart)

    def _away(self, is_up: bool) -> None:
        self.fleet.is_up = is_up
        self.fleet.move(self.fleet.redis_now)


@settings(max_examples=300, deadline=None)
@given(limit=st.integers(1, 40), steps=WINDOW_STEPS)
@example(limit=3, steps=[("take", 0, 3), ("wipe", False), ("take", 0, 1)])
def test_a_window_is_never_exceeded(client: redis.Redis, limit: int, steps: list[Step]) -> None:
    Windows(client, limit).run(steps)


def _random_steps(chance: random.Random) -> list[Step]:
    kinds: list[Callable[[], Step]] = [
        lambda: ("take", chance.choice([0, 0, 0, 1, 2]), chance.randint(1, 12)),
        lambda: ("take", chance.choice([0, 0, 0, 1, 2]), chance.randint(1, 12)),
        lambda: ("take", chance.choice([0, 1, 2]), chance.randint(1, 12)),
        lambda: ("pass", chance.choice([1, 30, 200, 700, 1000])),
        lambda: ("tick", chance.randrange(NODES)),
        lambda: ("tick", chance.randrange(NODES), IDLE_TICKS),
        lambda: ("unused", chance.randrange(6)),
    ]
    if chance.random() < 0.5:  # else nothing is lost, and all of a window can be used
        kinds.append(lambda: ("wipe", chance.random() < 0.5))
        kinds.append(lambda: ("crash", chance.randrange(NODES)))
    return [chance.choice(kinds)() for _ in range(60)]


def _replaced(module: bytes, old: bytes, new: bytes) -> Mutate:
    def mutate(name: bytes, source: bytes) -> bytes:
        if name != module:
            return source
        assert source.count(old) == 1, old
        return source.replace(old, new)

    return mutate


def _script_without(old: str, new: str) -> str:
    assert SCRIPT.count(old) == 1, old
    return SCRIPT.replace(old, new)


MUTANTS: dict[str, tuple[Mutate | None, str]] = {
    "a portion outlives its window": (
        _replaced(
            b"yumen.allowance.counter",
            b"        look(c, store)\n        if now >= c.until_ms then",
            b"        look(c, store)\n        if c.until_ms == 0 then",
        ),
        SCRIPT,
    ),
    "what Redis lost counts as unused": (
        None,
        _script_without("if start <= born then", "if false then"),
    ),
    "more is granted than is left": (
        None,
        _script_without("c.need > 0 and c.need > c.rest and 0 or 1", "1"),
    ),
    "what is given back counts twice": (
        None,
        _script_without("used = max(0, used - c.back)", "used = max(0, used - 2 * c.back)"),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_rule_is_needed(client: redis.Redis, name: str) -> None:
    mutate, script = MUTANTS[name]
    for seed in range(300):
        chance = random.Random(seed)
        try:
            Windows(client, chance.randint(1, 40), mutate, script).run(_random_steps(chance))
        except AssertionError:
            return
    pytest.fail("nothing showed that the rule is missing")


def test_hardly_anything_is_left_when_much_more_is_asked_for(client: redis.Redis) -> None:
    """Offered six times the limit, skewed 8:1:1, nearly all of it passes in each window."""
    windows = Windows(client, 500)
    calls, asked = 0, 0
    for _ in range(3000):
        for index, times in ((0, 8), (1, 1), (2, 1)):
            windows.run([("take", index, times)])
            asked += times
        windows.fleet.pass_time(3)
        if windows.fleet.now % 300 < 3:
            for node in windows.nodes:
                node.tick()
    calls = sum(node.calls() for node in windows.nodes)
    whole = sorted(windows.passed)[1:-1]
    assert len(whole) >= 6
    assert all(windows.passed[window] >= 475 for window in whole), windows.passed
    assert calls <= asked * 0.05, (calls, asked)


def _spend_bucket(client: redis.Redis, seed: int, script: str = SCRIPT) -> None:
    """In no stretch of time may more pass than the burst and what was refilled in it."""
    chance = random.Random(seed)
    client.flushall()
    fleet = Fleet(client, script)
    fleet.trust()
    limit, burst = chance.randint(1, 50), chance.randint(1, 40)
    nodes = [Node(fleet, f"n{n}") for n in range(NODES)]
    for node in nodes:
        node.limit(("r", "requests", limit, "second", burst, "closed"))
    passed: list[int] = []
    for _ in range(150):
        node = nodes[chance.choice([0, 0, 0, 0, 1, 2])]
        taken = [node.take() for _ in range(chance.randint(1, 8))]
        passed += [fleet.redis_now for holding in taken if holding is not None]
        fleet.pass_time(chance.choice([1, 5, 20, 100, 700]))
        if chance.random() < 0.1:
            node.tick()
    assert passed
    for (first, begin), (last, end) in itertools.combinations(enumerate(passed), 2):
        assert last - first + 1 <= burst + limit * (end - begin) / 1000 + 1e-6, seed


def test_a_bucket_lets_pass_its_burst_and_what_was_refilled(client: redis.Redis) -> None:
    for seed in range(20):
        _spend_bucket(client, seed)


@pytest.mark.parametrize(
    ("limit", "window", "burst", "seconds"),
    [
        (1000, "second", 50, 0.05),
        (5, "minute", 40, 480),
        (5, "day", 50, 864_000),
        (1, "month", 24, 24 * 2_629_800),
    ],
)
def test_redis_keeps_a_bucket_until_it_is_full_again(
    client: redis.Redis, limit: int, window: str, burst: int, seconds: float
) -> None:
    """A key that went sooner would be a bucket that is full."""
    client.flushall()
    fleet = Fleet(client)
    fleet.trust()
    node = Node(fleet, "n")
    node.limit(("r", "requests", limit, window, burst, "closed"))
    fleet.pass_time(1000)
    passed = 0
    while node.take() is not None:
        passed += 1
    assert passed == burst
    assert client.pttl(f"{keys.ALLOWANCE_COUNTER}r") > seconds * 1000


def test_a_bucket_is_not_refilled_beside_portions_that_are_out(client: redis.Redis) -> None:
    refilled = "level + max(0, now - at) * rate, c.burst"
    script = _script_without(f"{refilled} - still", refilled)
    for seed in range(100):
        try:
            _spend_bucket(client, seed, script)
        except AssertionError:
            return
    pytest.fail("nothing showed that the rule is missing")


def test_no_more_are_under_way_at_once(client: redis.Redis) -> None:
    for seed in range(20):
        chance = random.Random(seed)
        client.flushall()
        fleet = Fleet(client)
        fleet.trust()
        rule = ("r", "concurrency", chance.randint(1, 12), "", -1, "closed")
        nodes = [Node(fleet, f"n{n}") for n in range(NODES)]
        for node in nodes:
            node.limit(rule)
        peak = _call_at_once(fleet, nodes, rule, chance)
        assert 0 < peak <= rule[2], seed


def _call_at_once(
    fleet: Fleet, nodes: list[Node], rule: tuple[Any, ...], chance: random.Random
) -> int:
    """Return how many calls were under way at most, while nodes come and go."""
    under_way: list[tuple[Node, Any]] = []
    peak = 0
    for _ in range(200):
        index = chance.randrange(NODES)
        node = nodes[index]
        what = chance.random()
        if what < 0.02:
            # Its calls end with it; what it held is free when it has been silent long enough.
            under_way = [call for call in under_way if call[0] is not node]
            nodes[index] = Node(fleet, f"{node.name}x")
            nodes[index].limit(rule)
        elif what < 0.55:
            holding = node.take()
            under_way += [] if holding is None else [(node, holding)]
        elif under_way:
            of, holding = under_way.pop(chance.randrange(len(under_way)))
            of.settle(holding)
        peak = max(peak, len(under_way))
        fleet.pass_time(chance.choice([1, 50, 300]))
        for each in nodes:
            each.tick()
    return peak


def test_what_a_call_used_beyond_the_limit_is_paid_by_later_windows(client: redis.Redis) -> None:
    client.flushall()
    fleet = Fleet(client)
    fleet.trust()
    node = Node(fleet, "n0")
    node.limit(("r", "tokens", 100, "second", -1, "closed"))
    fleet.pass_time(1000 - fleet.redis_now % 1000)
    holding = node.take(10)
    assert holding is not None
    node.settle(holding, 350)
    passes = []
    for _ in range(5):
        node.tick()
        passes.append(node.take(60) is not None)
        fleet.pass_time(1000)
    assert passes == [False, False, False, False, True]


def test_of_all_rules_or_of_none(client: redis.Redis) -> None:
    client.flushall()
    fleet = Fleet(client)
    fleet.trust()
    node = Node(fleet, "n0")
    wide = ("wide", "requests", 10, "minute", -1, "closed")
    node.limit(wide, ("narrow", "requests", 1, "minute", -1, "closed"))
    fleet.pass_time(60000 - fleet.redis_now % 60000)
    assert node.take() is not None
    for _ in range(50):
        assert node.take() is None
        fleet.pass_time(20)
        node.tick()
    node.limit(wide)
    assert sum(node.take() is not None for _ in range(20)) == 9


def test_without_redis_what_passed_beyond_is_counted(client: redis.Redis) -> None:
    """`open` exceeds the limit by no more than `unchecked` says."""
    client.flushall()
    fleet = Fleet(client)
    fleet.trust()
    nodes = [Node(fleet, f"n{n}") for n in range(NODES)]
    for node in nodes:
        node.limit(("r", "requests", 20, "minute", -1, "open"))
    fleet.pass_time(60000 - fleet.redis_now % 60000)
    passed = sum(node.take() is not None for node in nodes for _ in range(5))
    fleet.is_up = False
    passed += sum(node.take() is not None for node in nodes for _ in range(40))
    assert passed == 15 + 120
    assert passed - sum(node.unchecked() for node in nodes) <= 20
