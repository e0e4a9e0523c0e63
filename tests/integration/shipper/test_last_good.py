"""The configuration on disk: what the node acknowledged, whole, and never a half."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from control_plane.contract import keys
from control_plane.shipper.last_good import LastGood
from tests.servers import RedisServer

NODE = "node-a"


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as opened:
        opened.flushall()
        yield opened


@pytest.fixture
def last_good(client: redis.Redis, tmp_path: Path) -> LastGood:
    return LastGood(client, tmp_path / "last_good", NODE)


def publish(client: redis.Redis, revision: int, epoch: int = 1, **hosts: str) -> None:
    for name, tenant in hosts.items():
        value = {"epoch": epoch, "rev": revision, "doc": {"tenant": tenant}}
        client.hset(keys.config_section("hosts"), name, json.dumps(value))
    client.set(keys.CONFIG_REVISION, keys.revision(epoch, revision))


def acknowledge(
    client: redis.Redis, revision: int, epoch: int = 1, refusals: list[Any] | None = None
) -> None:
    status = {"node": NODE, "epoch": epoch, "revision": revision, "refusals": refusals or []}
    client.hset(keys.node(NODE), "status", json.dumps(status))


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the head and the documents by section/id, after checking the sum."""
    head, _, body = path.read_bytes().partition(b"\n")
    stated = json.loads(head)
    assert stated["sha256"] == hashlib.sha256(body).hexdigest()
    lines = [line.split("\t") for line in body.decode().splitlines()]
    assert stated["documents"] == len(lines)
    return stated, {f"{section}/{name}": json.loads(value) for section, name, value in lines}


def test_what_was_acknowledged_is_on_disk(
    client: redis.Redis, last_good: LastGood, tmp_path: Path
) -> None:
    publish(client, 1, a="t1", b="t2")
    assert not last_good.update()
    acknowledge(client, 0)
    assert not last_good.update()
    acknowledge(client, 1)
    assert last_good.update()
    head, documents = read(tmp_path / "last_good")
    assert (head["epoch"], head["revision"]) == (1, 1)
    assert documents["hosts/a"] == {"epoch": 1, "rev": 1, "doc": {"tenant": "t1"}}
    assert not last_good.update()
    assert (tmp_path / "last_good").stat().st_mode & 0o077 == 0


def test_what_is_newer_than_the_acknowledgement_is_held_back(
    client: redis.Redis, last_good: LastGood, tmp_path: Path
) -> None:
    publish(client, 1, a="t1")
    acknowledge(client, 1)
    publish(client, 2, b="t2")
    assert not last_good.update()
    assert not (tmp_path / "last_good").exists()
    publish(client, 3, c="t3")
    acknowledge(client, 2)
    assert last_good.update()
    head, documents = read(tmp_path / "last_good")
    assert head["revision"] == 2
    assert sorted(documents) == ["hosts/a", "hosts/b"]


def test_the_former_file_stays(client: redis.Redis, last_good: LastGood, tmp_path: Path) -> None:
    for revision in (1, 2, 3):
        publish(client, revision, a=f"t{revision}")
        acknowledge(client, revision)
        assert last_good.update()
    assert read(tmp_path / "last_good")[0]["revision"] == 3
    assert read(tmp_path / "last_good.1")[0]["revision"] == 2


def test_a_refused_document_keeps_its_former_content(
    client: redis.Redis, last_good: LastGood, tmp_path: Path
) -> None:
    publish(client, 1, a="t1")
    acknowledge(client, 1)
    assert last_good.update()
    publish(client, 2, a="bad", b="bad")
    refusals = [{"section": "hosts", "id": name} for name in ("a", "b")]
    acknowledge(client, 2, refusals=refusals)
    assert last_good.update()
    head, documents = read(tmp_path / "last_good")
    assert head["revision"] == 2
    assert documents == {"hosts/a": {"epoch": 1, "rev": 1, "doc": {"tenant": "t1"}}}


def test_a_lower_state_never_replaces_a_higher(
    client: redis.Redis, last_good: LastGood, tmp_path: Path
) -> None:
    publish(client, 5, a="t1")
    acknowledge(client, 5)
    assert last_good.update()
    client.flushall()
    acknowledge(client, 5)
    assert not last_good.update()
    publish(client, 2, a="old")
    acknowledge(client, 2)
    again = LastGood(client, tmp_path / "last_good", NODE)
    assert not again.update()
    publish(client, 6, epoch=2, a="t2")
    acknowledge(client, 6, epoch=2)
    assert again.update()
    assert read(tmp_path / "last_good")[0]["epoch"] == 2


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"sha256": "x"}\nhosts\ta\t{}\n'])
def test_a_damaged_file_is_written_anew(
    client: redis.Redis, last_good: LastGood, tmp_path: Path, damage: bytes
) -> None:
    publish(client, 1, a="t1")
    acknowledge(client, 1)
    assert last_good.update()
    (tmp_path / "last_good").write_bytes(damage)
    assert LastGood(client, tmp_path / "last_good", NODE).update()
    assert read(tmp_path / "last_good")[1]["hosts/a"]["doc"] == {"tenant": "t1"}


def test_a_kill_while_writing_leaves_the_former(
    client: redis.Redis, last_good: LastGood, tmp_path: Path
) -> None:
    publish(client, 1, a="t1")
    acknowledge(client, 1)
    assert last_good.update()
    (tmp_path / "last_good.tmp").write_bytes(b"half")
    publish(client, 2, a="t2")
    acknowledge(client, 2)
    assert LastGood(client, tmp_path / "last_good", NODE).update()
    assert read(tmp_path / "last_good")[0]["revision"] == 2
