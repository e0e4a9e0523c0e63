"""How calls are spread over peers: each gets its share, and keys stay where they are."""

import math
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.lua_runtime import lua_module

RUNTIME, BALANCING = lua_module("yumen.upstream.balancing")

WEIGHTS = st.lists(st.integers(1, 10), min_size=1, max_size=6)
SEEDS = st.integers(0, 2**32 - 1)


def peer(weight: int, seed: int, index: int) -> Any:
    fields = {b"weight": weight, b"current": 0, b"in_flight": 0, b"seed": seed, b"index": index}
    return RUNTIME.table_from(fields)


def make(weights: list[int]) -> tuple[list[Any], Any]:
    """Return peers of these weights and the Lua list of them."""
    return seeded(weights, [(index + 1) * 0x9E3779B1 % 2**32 for index in range(len(weights))])


def seeded(weights: list[int], seeds: list[int]) -> tuple[list[Any], Any]:
    pairs = zip(weights, seeds, strict=False)
    peers = [peer(weight, seed, index) for index, (weight, seed) in enumerate(pairs)]
    return peers, RUNTIME.table_from(peers)


@settings(deadline=None)
@given(WEIGHTS)
def test_round_robin_is_exact_and_smooth(weights: list[int]) -> None:
    _, listed = make(weights)
    total = sum(weights)
    turns = [BALANCING[b"round_robin"](listed)[b"index"] for _ in range(total * 2)]
    for cycle in (turns[:total], turns[total:]):
        assert Counter(cycle) == dict(enumerate(weights))
    for length in range(1, total):
        for index, weight in enumerate(weights):
            behind = length * weight / total - turns[:length].count(index)
            assert abs(behind) < len(weights), "never far from its share"


@settings(deadline=None)
@given(WEIGHTS, st.lists(st.integers(0, 8), min_size=0, max_size=200))
def test_the_least_connected_takes_the_call(weights: list[int], ends: list[int]) -> None:
    peers, listed = make(weights)
    in_flight = RUNTIME.eval(b"function(peer) return peer.in_flight end")
    flying: list[Any] = []
    for end in ends:
        found = BALANCING[b"least_connections"](listed, None, in_flight)
        load = (found[b"in_flight"] + 1) / found[b"weight"]
        assert load == min((one[b"in_flight"] + 1) / one[b"weight"] for one in peers)
        found[b"in_flight"] += 1
        flying.append(found)
        if end < len(flying):
            flying.pop(end)[b"in_flight"] -= 1


@settings(deadline=None)
@given(st.integers(2, 6))
def test_idle_peers_take_turns(count: int) -> None:
    peers, listed = make([1] * count)
    none = RUNTIME.eval(b"function() return 0 end")
    found = [BALANCING[b"least_connections"](listed, None, none)[b"index"] for _ in peers]
    assert sorted(found) == list(range(count))


@settings(deadline=None, max_examples=30)
@given(WEIGHTS, st.lists(SEEDS, min_size=6, max_size=6, unique=True), SEEDS)
def test_a_hash_gives_each_its_share(weights: list[int], seeds: list[int], start: int) -> None:
    _, listed = seeded(weights, seeds)
    count = 2000
    rendezvous = BALANCING[b"rendezvous"]
    found = Counter(
        rendezvous(listed, None, (start + n * 2654435761) % 2**32)[b"index"] for n in range(count)
    )
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        deviation = math.sqrt(count * share * (1 - share))
        assert abs(found[index] - count * share) <= 6 * deviation + 1


@settings(deadline=None)
@given(WEIGHTS, st.lists(SEEDS, min_size=8, max_size=8, unique=True), st.data())
def test_only_the_keys_of_a_peer_that_goes_move(
    weights: list[int], seeds: list[int], data: st.DataObject
) -> None:
    peers, listed = seeded(weights, seeds)
    gone = data.draw(st.integers(0, len(peers) - 1))
    rest = [one for index, one in enumerate(peers) if index != gone]
    left = RUNTIME.table_from(rest)
    # Left out because it failed the call: the same as gone.
    tried = RUNTIME.eval(b"{}")
    tried[peers[gone]] = True
    rendezvous = BALANCING[b"rendezvous"]
    for key in data.draw(st.lists(SEEDS, min_size=20, max_size=60)):
        before, after = rendezvous(listed, None, key), rendezvous(left, None, key)
        stays = before[b"index"] != gone
        assert not stays or after[b"index"] == before[b"index"]
        without = rendezvous(listed, tried, key)
        assert (without and without[b"index"]) == (after and after[b"index"])


@settings(deadline=None)
@given(WEIGHTS, st.data())
def test_a_peer_that_failed_a_call_does_not_get_it_again(
    weights: list[int], data: st.DataObject
) -> None:
    peers, listed = make(weights)
    failed = data.draw(st.sets(st.integers(0, len(peers) - 1)))
    tried = RUNTIME.eval(b"{}")
    for index in failed:
        tried[peers[index]] = True
    none = RUNTIME.eval(b"function() return 0 end")
    for found in (
        BALANCING[b"round_robin"](listed, tried),
        BALANCING[b"least_connections"](listed, tried, none),
        BALANCING[b"rendezvous"](listed, tried, 7),
    ):
        assert (found is None) == (len(failed) == len(peers))
        assert found is None or found[b"index"] not in failed
