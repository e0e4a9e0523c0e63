"""The breaker's core against a model in Python: two workers on one memory, any order of calls."""

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from control_plane.core.root import project_root

SEEDS = st.integers(min_value=0, max_value=2**48)
LUA = project_root() / "openresty" / "lua" / "yumen"
STEPS = 60
LONGEST_REASON = 200

STORE = """
local numbers, texts, store = {}, {}, { now = 0, next_chance = 0.5 }
local function live(kept, key)
    local entry = kept[key]
    if entry and entry.ends > store.now then return entry end
end
function store.read(id)
    local entry = live(texts, id)
    return entry and entry.text
end
function store.write(id, text, seconds)
    texts[id] = { text = text, ends = store.now + seconds * 1000 }
    return true
end
function store.get(key)
    local entry = live(numbers, key)
    return entry and entry.number
end
function store.incr(key, by, seconds)
    local entry = live(numbers, key)
    if not entry then
        entry = { number = 0, ends = store.now + seconds * 1000 }
        numbers[key] = entry
    end
    entry.number = entry.number + by
    return entry.number
end
function store.delete(key) numbers[key] = nil end
function store.lock(key)
    assert(not numbers[key], "a lock was left")
    numbers[key] = { number = 1, ends = store.now + 1000 }
    return true
end
store.unlock = store.delete
function store.chance() return store.next_chance end
return store
"""
"""What nginx's workers share, as a table."""


@dataclass
class Model:
    """What a breaker does, written down once more."""

    rule: dict[str, Any]
    status: str = "closed"
    generation: int = 0
    ends: int = 0
    since: int = 0
    attempts: int = 0
    lease: int = 0
    fleet: int = 0
    reason: str = ""
    calls: list[tuple[int, str | None, bool]] = field(default_factory=list)
    in_row: int = 0
    taken: int = 0
    successes: int = 0

    def change(self, status: str, now: int, **values: Any) -> None:
        """Take on another status; nothing that was counted before counts."""
        if status != self.status:
            self.since = now
        self.status, self.generation = status, self.generation + 1
        self.lease = self.in_row = self.taken = self.successes = 0
        self.calls = []
        for name, value in values.items():
            setattr(self, name, value)
        self.reason = self.reason[:LONGEST_REASON]

    def open(self, now: int, attempts: int, reason: str, chance: float) -> None:
        reset, most = self.rule["resetTimeout"], self.rule["maxResetTimeout"]
        length = min(max(reset, most) * 1000, reset * 1000 * 2**attempts)
        ends = now + math.ceil(length * (0.8 + 0.4 * chance))
        self.change("open", now, ends=ends, attempts=attempts, reason=reason)

    def admit(self, now: int) -> tuple[int | None, int | None]:
        if self.status == "closed":
            return self.generation, None
        left = self.ends - now
        if left <= 0:
            return None, 0
        if self.status == "open":
            return None, left
        if self.taken == self.rule["halfOpenPermits"]:
            return None, min(left, 1000)
        self.taken += 1
        return self.generation, self.lease

    def try_(self, now: int, lease: int, fleet: int | None) -> None:
        if self.status == "closed":
            return
        ends = now + self.rule["resetTimeout"] * 1000 + 5000
        if self.status == "open":
            self.change("halfOpen", now)
        self.ends, self.lease, self.taken = ends, lease, 0
        self.fleet = self.fleet if fleet is None else fleet

    def report(
        self, now: int, ticket: tuple[int, int | None], outcome: str, slow: bool, chance: float
    ) -> None:
        generation, lease = ticket
        if generation != self.generation:
            return
        kind = None if outcome == "success" else outcome
        if outcome == "neutral":
            if self.status == "halfOpen" and lease == self.lease:
                self.taken -= 1
        elif self.status == "closed":
            self.count(now, kind, slow, chance)
        elif kind or slow:
            words = {"timeout": "timed out", None: "was too slow"}
            reason = f"a trial call {words.get(kind, 'failed')}"
            self.open(now, self.attempts + 1, reason, chance)
        else:
            self.successes += 1
            permits = self.rule["halfOpenPermits"]
            if self.successes >= permits:
                self.change("closed", now, ends=now, reason=f"{permits} trial calls succeeded")

    def count(self, now: int, kind: str | None, slow: bool, chance: float) -> None:
        self.calls.append((now // 1000, kind, slow))
        self.in_row = self.in_row + 1 if kind else 0
        reason = self.judge(now) if kind or slow else None
        if reason:
            longest = max(self.rule["resetTimeout"], self.rule["maxResetTimeout"]) * 1000
            again = self.since > 0 and now - self.since < longest
            self.open(now, self.attempts + 1 if again else 0, reason, chance)

    def judge(self, now: int) -> str | None:
        rule, first = self.rule, now // 1000 - self.rule["windowSeconds"] + 1
        recent = [(kind, slow) for second, kind, slow in self.calls if second >= first]
        kinds = Counter(kind for kind, _ in recent if kind)
        failed, slow = sum(kinds.values()), sum(slow for _, slow in recent)
        told = f"{failed} of {len(recent)} calls failed in {rule['windowSeconds']} s"
        for kind, one, many in (
            ("timeout", "timeout", "timeouts"),
            ("connect", "not reached", "not reached"),
            ("broken", "broken off", "broken off"),
        ):
            if kinds[kind]:
                told += f", {kinds[kind]} {one if kinds[kind] == 1 else many}"
        if len(recent) >= rule["minimumCalls"]:
            if failed and 100 * failed >= rule["failureThreshold"] * len(recent):
                return told
            limit = rule["slowCallMilliseconds"]
            if limit and slow and 100 * slow >= rule["slowCallThreshold"] * len(recent):
                return (
                    f"{slow} of {len(recent)} calls took longer than {limit} ms "
                    f"in {rule['windowSeconds']} s"
                )
        if rule["consecutiveFailures"] and self.in_row >= rule["consecutiveFailures"]:
            return f"{self.in_row} calls failed one after the other; {told}"
        return None

    def confirm(self, generation: int, fleet: int) -> None:
        if generation == self.generation:
            self.fleet = fleet

    def follow(
        self, now: int, status: str, seconds: float, reason: str, fleet: int, own: bool
    ) -> None:
        if fleet <= self.fleet or (own and self.status == "halfOpen"):
            return
        if status == "closed":
            if self.status != "closed":
                self.change("closed", now, ends=now, attempts=3, fleet=fleet, reason=reason)
        elif seconds > 0:
            ends = now + math.ceil(seconds * 1000)
            self.change("open", now, ends=ends, attempts=3, fleet=fleet, reason=reason)


class Workers:
    """Two workers of a node: the real core twice on one store."""

    def __init__(self, rule: dict[str, Any], mutation: tuple[str, str] | None = None) -> None:
        self.lua = LuaRuntime()
        self.lua.globals().package.path = f"{LUA.parent}/?.lua"
        text = (LUA / "breaker.lua").read_text()
        if mutation:
            assert mutation[0] in text
            text = text.replace(*mutation)
        self.core = self.lua.execute(text)
        self.store = self.lua.execute(STORE)
        table = self.lua.table_from({k: v for k, v in rule.items() if v is not None})
        self.views = [self.core.new(table, self.store) for _ in range(2)]


FIELDS = ("status", "generation", "ends", "since", "attempts", "lease", "fleet", "reason")


class Walk:
    """A random walk of both, compared after every step."""

    def __init__(self, seed: int, mutation: tuple[str, str] | None = None) -> None:
        self.chance = random.Random(seed)
        chance = self.chance
        self.rule: dict[str, Any] = {
            "id": "b",
            "mode": "auto",
            "failureThreshold": chance.choice((1, 30, 50, 100)),
            "minimumCalls": chance.choice((1, 4, 20)),
            "windowSeconds": chance.choice((1, 3, 30)),
            "slowCallMilliseconds": chance.choice((None, 2000)),
            "slowCallThreshold": chance.choice((50, 80)),
            "consecutiveFailures": chance.choice((None, 2, 5)),
            "resetTimeout": chance.choice((1, 5)),
            "maxResetTimeout": chance.choice((1, 60)),
            "halfOpenPermits": chance.choice((1, 2, 5)),
        }
        self.real = Workers(self.rule, mutation)
        self.model = Model(self.rule)
        self.tickets: list[tuple[int, int | None]] = []
        self.now = 1_000_000
        self.names = 10
        self.failing = 0.5
        self.seen: Counter[str] = Counter()

    def run(self, steps: int = STEPS) -> None:
        moves = (self.begin, self.begin, self.begin, self.end, self.end, self.wait, self.rarely)
        for _ in range(steps):
            before = self.model.status
            self.chance.choice(moves)()
            self.compare()
            if before != self.model.status:
                self.seen[f"{before}-{self.model.status}"] += 1

    @property
    def view(self) -> Any:
        self.real.store.now = self.now
        return self.chance.choice(self.real.views)

    def compare(self) -> None:
        for view in self.real.views:
            self.real.store.now = self.now
            state = self.real.core.state_of(view)
            real = {name: state[name] for name in FIELDS}
            assert real == {name: getattr(self.model, name) for name in FIELDS}

    def begin(self) -> None:
        for _ in range(self.chance.choice((1, 1, 8))):
            generation, other = _pair(self.real.core.admit(self.view, self.now))
            assert (generation, other) == self.model.admit(self.now)
            if generation is not None:
                self.tickets.append((generation, other))
            elif other == 0:
                self.ask()

    def ask(self) -> None:
        """It is time for a trial: the fleet gives the lease, or nobody can be asked, or nothing."""
        self.names += 1
        fleet = self.chance.choice((None, self.names))
        if self.chance.random() < 0.8:
            self.real.core["try"](self.view, self.now, self.names, fleet)
            self.model.try_(self.now, self.names, fleet)

    def end(self) -> None:
        for _ in range(min(len(self.tickets), self.chance.choice((1, 1, 8)))):
            ticket = self.tickets.pop(self.chance.randrange(len(self.tickets)))
            outcome = "success"
            if self.chance.random() < self.failing:
                outcome = self.chance.choice(("timeout", "connect", "broken", "status", "neutral"))
            slow = self.rule["slowCallMilliseconds"] is not None and self.chance.random() < 0.3
            chance = self.chance.choice((0.0, 0.25, 0.5, 1.0))
            self.real.store.next_chance = chance
            self.real.core.report(self.view, self.now, ticket[0], ticket[1], outcome, slow)
            self.model.report(self.now, ticket, outcome, slow, chance)

    def wait(self) -> None:
        self.now += self.chance.choice((1, 400, 1000, 3000, 12_000))

    def rarely(self) -> None:
        self.chance.choice((self.kill, self.confirm, self.follow, self.weather))()

    def kill(self) -> None:
        """A worker dies, and with it half of the calls under way."""
        self.tickets = self.tickets[::2]

    def weather(self) -> None:
        self.failing = self.chance.choice((0.0, 0.05, 0.5, 1.0))

    def confirm(self) -> None:
        self.names += 1
        generation = self.model.generation - self.chance.randrange(2)
        self.real.core.confirm(self.view, self.now, generation, self.names)
        self.model.confirm(generation, self.names)

    def follow(self) -> None:
        self.names += 1
        fleet = self.names - self.chance.choice((0, 0, 2))
        status = self.chance.choice(("open", "halfOpen", "closed"))
        seconds = self.chance.choice((0, 1.5, 4.001, 20))
        own = self.chance.random() < 0.2
        core = self.real.core
        core.follow(self.view, self.now, status, seconds, 3, "said so", fleet, own)
        self.model.follow(self.now, status, seconds, "said so", fleet, own)


def _pair(result: Any) -> tuple[int | None, int | None]:
    return result if isinstance(result, tuple) else (result, None)


@settings(max_examples=1000, deadline=None)
@given(SEEDS)
def test_the_breaker_does_what_the_model_does(seed: int) -> None:
    Walk(seed).run()


def test_the_walks_come_by_every_change() -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        walk = Walk(seed)
        walk.run()
        seen += walk.seen
    changes = ("closed-open", "open-halfOpen", "halfOpen-open", "halfOpen-closed", "open-closed")
    assert all(seen[change] > 5 for change in changes), seen


MUTATIONS = {
    "stale results count": ("if state.generation ~= generation then", "if false then"),
    "permits are not limited": ("> breaker.permits then", "> 1e9 then"),
    "it never waits longer": ("breaker.reset * 2 ^ min(attempts, MOST_DOUBLINGS)", "breaker.reset"),
    "no jitter": ("2 * JITTER * breaker.store.chance()", "JITTER"),
    "few calls are enough": ("calls >= rule.minimumCalls", "calls >= 1"),
    "a success does not end the row": ("store.delete(state.row)", ""),
    "a permit is not given back": (
        "if lease and lease == state.lease then",
        "if false then",
    ),
    "an old signal is followed": ("if fleet <= state.fleet or", "if"),
    "a slow trial is a good one": (
        "if kind or is_slow then\n        local",
        "if kind then\n        local",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_breaker_without_one_of_its_rules_is_found_out(name: str) -> None:
    def differs(seed: int) -> bool:
        try:
            Walk(seed, MUTATIONS[name]).run()
        except AssertionError:
            return True
        return False

    assert any(differs(seed) for seed in range(300))
