"""The configuration on disk: what the node acknowledged, whole, and never a half."""

import errno
import functools
import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from control_plane.contract import keys
from control_plane.core import clock
from control_plane.shipper import last_good_file
from control_plane.shipper.last_good import LastGood
from control_plane.shipper.last_good_file import NEVER, Base, Entry, LastGoodFile
from tests.servers import RedisServer
from tests.stack import until

NODE = "node-a"
HEAD_BYTES = 256


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as opened:
        opened.flushall()
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last_good"


@pytest.fixture
def last_good(client: redis.Redis, path: Path) -> LastGood:
    return LastGood(client, path, NODE)


def publish(
    client: redis.Redis, revision: int, epoch: int = 1, *, logged: bool = True, **hosts: Any
) -> None:
    """Publish hosts as the publisher does; None removes one."""
    section = keys.config_section("hosts")
    for name, tenant in hosts.items():
        value = {"epoch": epoch, "rev": revision, "doc": {"tenant": tenant}}
        if tenant is None:
            client.hdel(section, name)
        else:
            client.hset(section, name, json.dumps(value))
    if logged:
        changes = json.dumps([["hosts", name] for name in hosts])
        client.xadd(keys.CONFIG_LOG, {"changes": changes}, id=f"{epoch}-{revision}")
    client.set(keys.CONFIG_REVISION, keys.revision(epoch, revision))


def acknowledge(
    client: redis.Redis, revision: int, epoch: int = 1, refused: tuple[str, ...] = (), **more: Any
) -> None:
    refusals = [{"section": "hosts", "id": name} for name in refused]
    status = {"node": NODE, "epoch": epoch, "revision": revision, "refusals": refusals, **more}
    client.hset(keys.node(NODE), "status", json.dumps(status))


def pass_on(last_good: LastGood, client: redis.Redis, revision: int, **hosts: Any) -> None:
    """Publish, acknowledge and write one revision."""
    publish(client, revision, **hosts)
    acknowledge(client, revision)
    assert last_good.update()


def blocks(path: Path) -> list[tuple[dict[str, Any], list[tuple[str, str]]]]:
    """Return head and lines of each block, as whoever knows the format reads them."""
    content, found = path.read_bytes(), []
    while content:
        head = json.loads(content[:HEAD_BYTES])
        body = content[HEAD_BYTES : HEAD_BYTES + head["bytes"]]
        assert head["sha256"] == hashlib.sha256(body).hexdigest()
        lines = [tuple(line.split("\t")) for line in body.decode().splitlines()]
        assert head["documents"] == len(lines)
        found.append((head, lines))
        content = content[HEAD_BYTES + head["bytes"] :]
    return found  # type: ignore[return-value]


def held(path: Path) -> tuple[tuple[int, int], dict[str, str]]:
    """Return the revision of the file, and host to tenant as a gateway takes them in."""
    found: dict[str, str] = {}
    revision = None
    for head, lines in blocks(path):
        assert head["follows"] == revision
        revision = f"{head['epoch']}-{head['revision']}"
        for key, value in lines:
            document = value.split(":", 2)[2]
            if document:
                found[key.removeprefix("hosts/")] = json.loads(document)["tenant"]
            else:
                found.pop(key.removeprefix("hosts/"), None)
    return keys.parse_revision(revision or ""), found


def grow(path: Path, revision: tuple[int, int], entries: Mapping[str, str]) -> None:
    """Write a base of *entries*."""
    base = Base(path, revision)
    for name, value in entries.items():
        base.add(Entry(name.encode(), value.encode()))
    LastGoodFile(path).replace(base, revision, [], [])


def test_what_was_acknowledged_is_on_disk(
    client: redis.Redis, last_good: LastGood, path: Path
) -> None:
    publish(client, 1, a="t1", b="t2")
    assert not last_good.update()
    acknowledge(client, 0)
    assert not last_good.update()
    acknowledge(client, 1)
    assert last_good.update()
    assert held(path) == ((1, 1), {"a": "t1", "b": "t2"})
    assert not last_good.update()
    assert path.stat().st_mode & 0o077 == 0
    assert [each.name for each in path.parent.iterdir()] == ["last_good"]


def test_a_change_costs_what_changed(client: redis.Redis, last_good: LastGood, path: Path) -> None:
    pass_on(last_good, client, 1, **{f"h{number}": "t" for number in range(1000)})
    before = path.stat()
    pass_on(last_good, client, 2, h7="t2", h8=None)
    publish(client, 3, new="t3")
    publish(client, 4, h7="t4")
    acknowledge(client, 4)
    assert last_good.update()
    after = path.stat()
    assert after.st_ino == before.st_ino
    assert after.st_size < before.st_size + 1000
    revision, hosts = held(path)
    assert (revision, len(hosts)) == ((1, 4), 1000)
    assert (hosts["h7"], hosts["new"], "h8" in hosts) == ("t4", "t3", False)


def test_what_is_newer_than_the_acknowledgement_is_held_back(
    client: redis.Redis, last_good: LastGood, path: Path
) -> None:
    publish(client, 1, a="t1")
    acknowledge(client, 1)
    publish(client, 2, b="t2")
    assert not last_good.update()
    assert not path.exists()
    publish(client, 3, c="t3")
    acknowledge(client, 2)
    assert last_good.update()
    assert held(path) == ((1, 2), {"a": "t1", "b": "t2"})
    assert not last_good.update()
    acknowledge(client, 3)
    assert last_good.update()
    assert held(path) == ((1, 3), {"a": "t1", "b": "t2", "c": "t3"})


@pytest.mark.parametrize("epoch", [1, 2])
def test_everything_is_read_when_the_log_does_not_reach_back(
    client: redis.Redis, last_good: LastGood, path: Path, epoch: int
) -> None:
    pass_on(last_good, client, 1, a="t1", b="t1")
    publish(client, 2, epoch, logged=False, a="t2", b=None)
    publish(client, 3, epoch, c="t3")
    acknowledge(client, 3, epoch)
    assert last_good.update()
    assert held(path) == ((epoch, 3), {"a": "t2", "c": "t3"})


def test_what_the_node_refuses_comes_behind_its_last_good_form(
    client: redis.Redis, last_good: LastGood, path: Path
) -> None:
    pass_on(last_good, client, 1, a="t1")
    client.flushall()
    publish(client, 2, 2, a="bad", b="bad", c="t2")
    acknowledge(client, 2, 2, refused=("a", "b"))
    assert last_good.update()
    (_, base), (_, changes) = blocks(path)
    assert [key for key, _ in base] == ["hosts/c"]
    assert changes[0] == ("hosts/a", '1:1:{"tenant": "t1"}')
    assert sorted(changes[1:]) == [
        ("hosts/a", '2:2:{"tenant": "bad"}'),
        ("hosts/b", '2:2:{"tenant": "bad"}'),
    ]


def test_no_base_is_written_while_it_is_not_known_what_is_refused(
    client: redis.Redis, last_good: LastGood, path: Path
) -> None:
    publish(client, 1, a="t1")
    acknowledge(client, 1, moreRefusals=True)
    assert not last_good.update()
    assert not path.exists()
    acknowledge(client, 1)
    assert last_good.update()


def test_what_is_no_envelope_is_left_out(
    client: redis.Redis, last_good: LastGood, path: Path
) -> None:
    client.hset(keys.config_section("hosts"), "odd", "{nonsense")
    pass_on(last_good, client, 1, a="t1")
    publish(client, 2, odd="t2")
    client.hset(keys.config_section("hosts"), "odd", "still\nnonsense")
    acknowledge(client, 2, refused=("odd",))
    assert last_good.update()
    assert held(path) == ((1, 2), {"a": "t1"})


def test_a_lower_state_never_replaces_a_higher(
    client: redis.Redis, last_good: LastGood, path: Path
) -> None:
    pass_on(last_good, client, 5, a="t1")
    client.flushall()
    acknowledge(client, 5)
    assert not last_good.update()
    publish(client, 2, a="old")
    acknowledge(client, 2)
    again = LastGood(client, path, NODE)
    assert not again.update()
    publish(client, 6, epoch=2, a="t2")
    acknowledge(client, 6, epoch=2)
    assert again.update()
    assert held(path) == ((2, 6), {"a": "t2"})


@pytest.mark.parametrize("damage", [None, b"", b"{}", b"x" * 300, b'{"bytes": -1}'.ljust(256)])
def test_a_damaged_or_removed_file_is_written_anew(
    client: redis.Redis, last_good: LastGood, path: Path, damage: bytes | None
) -> None:
    pass_on(last_good, client, 1, a="t1")
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert last_good.update()
    assert held(path) == ((1, 1), {"a": "t1"})


def test_a_damaged_base_is_not_believed(
    client: redis.Redis, last_good: LastGood, path: Path
) -> None:
    pass_on(last_good, client, 1, a="t1")
    content = bytearray(path.read_bytes())
    content[HEAD_BYTES + 3] ^= 1
    path.write_bytes(content)
    assert LastGoodFile(path).revision == NEVER
    assert LastGood(client, path, NODE).update()
    assert held(path) == ((1, 1), {"a": "t1"})


def test_a_torn_end_is_written_over(client: redis.Redis, last_good: LastGood, path: Path) -> None:
    pass_on(last_good, client, 1, a="t1")
    sound = path.stat().st_size
    pass_on(last_good, client, 2, a="t2")
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[-3] ^= 1
    for content in (whole[:-3], whole[: sound + 100], bytes(damaged), whole[:sound] + b"\0" * 999):
        path.write_bytes(content)
        assert LastGoodFile(path).revision == (1, 1)
        assert LastGood(client, path, NODE).update()
        assert held(path) == ((1, 2), {"a": "t2"})


def test_a_disk_that_is_full_for_a_while_is_survived(
    client: redis.Redis, last_good: LastGood, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    sync, monotonic = last_good_file.sync, clock.monotonic
    publish(client, 1, a="t1")
    acknowledge(client, 1)
    monkeypatch.setattr(last_good_file, "sync", fail)
    with pytest.raises(OSError, match="No space"):
        last_good.update()
    monkeypatch.setattr(last_good_file, "sync", sync)
    assert not last_good.update(), "everything is read again at once"
    monkeypatch.setattr(clock, "monotonic", lambda: monotonic() + 61)
    assert last_good.update()
    assert held(path) == ((1, 1), {"a": "t1"})

    publish(client, 2, a="t2")
    acknowledge(client, 2)
    monkeypatch.setattr(last_good_file, "sync", fail)
    with pytest.raises(OSError, match="No space"):
        last_good.update()
    monkeypatch.setattr(last_good_file, "sync", sync)
    path.write_bytes(path.read_bytes()[:-5])
    assert last_good.update()
    assert held(path) == ((1, 2), {"a": "t2"})


def test_a_base_is_in_the_order_of_shared_memory(path: Path) -> None:
    grow(path, (1, 1), {f"hosts/h{number}": f'1:1:{{"tenant": "{number}"}}' for number in range(9)})
    LastGoodFile(path).append((1, 2), [Entry(b"hosts/h3", b"1:2:"), Entry(b"hosts/x", b"1:2:{}")])
    for _ in range(2):
        places = [last_good_file.place(key.encode()) for key, _ in blocks(path)[0][1]]
        assert places == sorted(places)
        LastGoodFile(path).compact([])
    assert len(places) == 9


def test_much_that_changed_becomes_a_base_again(
    client: redis.Redis, last_good: LastGood, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_good_file, "SMALL_BYTES", 2000)
    expected: dict[str, str | None] = {f"h{number}": "t0" for number in range(20)}
    pass_on(last_good, client, 1, **expected)
    sizes = set()
    for revision in range(2, 60):
        changed = {f"h{revision % 25}": None if revision % 7 == 0 else f"t{revision}"}
        pass_on(last_good, client, revision, **changed)
        expected |= changed
        sizes.add(len(blocks(path)))
        kept = {name: tenant for name, tenant in expected.items() if tenant}
        assert held(path) == ((1, revision), kept)
    assert min(sizes) == 2
    assert 5 < max(sizes) < 20


def test_a_refused_document_keeps_its_last_good_form_in_a_new_base(path: Path) -> None:
    grow(path, (1, 1), {"hosts/a": "1:1:good", "hosts/b": "1:1:old"})
    file = LastGoodFile(path)
    file.append((1, 2), [Entry(b"hosts/a", b"1:2:bad"), Entry(b"hosts/b", b"1:2:new")])
    file.compact([b"hosts/a", b"hosts/unknown"])
    (_, base), (head, changes) = blocks(path)
    assert base == [("hosts/b", "1:2:new")]
    assert changes == [("hosts/a", "1:1:good"), ("hosts/a", "1:2:bad")]
    assert (head["follows"], head["revision"]) == ("1-2", 2)


def _write_for_ever(path: Path) -> None:
    """Append and compact in turn, as fast as it goes."""
    file = LastGoodFile(path)
    while True:
        number = file.revision[1] + 1
        value = b"1:%d:" % number + b"x" * 100
        file.append((1, number), [Entry(b"hosts/h%d" % each, value) for each in range(50)])
        if number % 3 == 0:
            file.compact([b"hosts/h1"])


def _is_past(path: Path, number: int) -> bool:
    return LastGoodFile(path).revision[1] > number


def test_a_kill_at_any_moment_leaves_a_whole_state(path: Path) -> None:
    grow(path, (1, 1), {f"hosts/h{number}": "1:1:x" for number in range(50)})
    reached = 1
    for _ in range(12):
        writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(path,))
        writer.start()
        assert writer.pid
        until(functools.partial(_is_past, path, reached + 5), "it writes", 10)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        file = LastGoodFile(path)
        assert file.revision[1] >= reached
        reached = file.revision[1]
        file.append((1, reached + 1), [])  # cuts what is torn
        states: dict[str, str] = {}
        for _, lines in blocks(path):
            states |= dict(lines)
        assert {value.split(":")[1] for value in states.values()} == {str(reached)}
        assert len(states) == 50
        reached += 1
