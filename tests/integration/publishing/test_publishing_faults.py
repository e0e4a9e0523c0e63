"""Redis or a publisher fails: nothing is lost, nothing is half applied, no state goes backwards."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from control_plane.contract import keys
from control_plane.core import outbox
from control_plane.core.database import Database
from control_plane.publishing import Publisher, channel
from control_plane.publishing.channel import FencedError, Revision
from control_plane.publishing.models import PublishingRevision, PublishingState
from tests import factories
from tests.integration.publishing.conftest import Configuration, activate, suspend


@contextlib.contextmanager
def _repeating(*works: Callable[[], None]) -> Iterator[None]:
    """Do each of *works* again and again, in a thread each, while the block runs."""
    done = threading.Event()

    def repeat(work: Callable[[], None]) -> None:
        while not done.is_set():
            work()

    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(repeat, work) for work in works]
        try:
            yield
        finally:
            done.set()
        for each in running:
            each.result(30)


def _pending(database: Database) -> int:
    with database.session(write=False) as session:
        return len(outbox.pending(session, 100))


def _recorded(database: Database) -> tuple[int, int]:
    with database.session(write=False) as session:
        state = session.get(PublishingState, 1)
        assert state is not None
        return state.epoch, state.revision


def test_a_wiped_redis_gets_everything_back_under_a_new_epoch(
    database: Database,
    publisher: Publisher,
    configuration: Configuration,
    redis_client: redis.Redis,
) -> None:
    tenants = [factories.make_tenant(database) for _ in range(3)]
    publisher.cycle()
    epoch, number = configuration.revision
    before = configuration.documents("tenants")
    assert before.keys() == {str(tenant.id) for tenant in tenants}
    redis_client.flushall()
    publisher.cycle()
    assert configuration.revision == (epoch + 1, number + 1) == _recorded(database)
    assert configuration.documents("tenants") == before
    assert configuration.log() == [(f"{epoch + 1}-{number + 1}", "reload")]
    for envelope in configuration.envelopes("tenants").values():
        assert (envelope["epoch"], envelope["rev"]) == (epoch + 1, number + 1)
    with database.session(write=False) as session:
        row = session.get(PublishingRevision, number + 1)
        assert row is not None
        assert row.changes is None
        assert row.reason == f"Redis held none, the database {epoch}-{number}."


def test_a_redis_that_lost_its_last_second_is_brought_up_to_date(
    database: Database, publisher: Publisher, configuration: Configuration
) -> None:
    tenant = factories.make_tenant(database)
    publisher.cycle()
    older = configuration.dump()
    suspend(database, tenant)
    publisher.cycle()
    epoch, number = configuration.revision
    configuration.restore(older)
    publisher.cycle()
    assert configuration.revision == (epoch + 1, number + 1)
    assert configuration.documents("tenants")[str(tenant.id)]["status"] == "suspended"


def test_a_redis_ahead_of_a_restored_database_is_replaced(
    database: Database,
    publisher: Publisher,
    configuration: Configuration,
    redis_client: redis.Redis,
) -> None:
    tenant = factories.make_tenant(database)
    publisher.cycle()
    start = Revision(*configuration.revision)
    later = {("hosts", "later.localhost"): {"tenant": str(tenant.id)}}
    channel.move(redis_client, start, Revision(start.epoch + 3, start.number + 50), later)
    publisher.cycle()
    assert configuration.revision == (start.epoch + 4, start.number + 1)
    assert configuration.documents("hosts") == {}
    assert list(configuration.documents("tenants")) == [str(tenant.id)]


@pytest.mark.parametrize("lost", [keys.CONFIG_REVISION, keys.CONFIG_LOG])
def test_a_lost_revision_or_log_is_noticed(
    publisher: Publisher, configuration: Configuration, redis_client: redis.Redis, lost: str
) -> None:
    epoch, number = configuration.revision
    redis_client.delete(lost)
    publisher.cycle()
    assert configuration.revision == (epoch + 1, number + 1)


def test_documents_that_no_room_has_any_more_go_with_a_republish(
    publisher: Publisher, configuration: Configuration, redis_client: redis.Redis
) -> None:
    redis_client.hset(keys.config_section("forgotten"), "x", "{}")
    redis_client.delete(keys.CONFIG_REVISION)
    publisher.cycle()
    assert configuration.dump().keys() == {
        keys.CONFIG_LOG.encode(),
        keys.CONFIG_REVISION.encode(),
    }


def test_while_redis_is_away_changes_wait_and_no_revision_is_spent(
    database: Database, publisher: Publisher, configuration: Configuration
) -> None:
    tenant = factories.make_tenant(database)
    publisher.cycle()
    before = configuration.revision
    away = Publisher(database, redis.Redis(unix_socket_path="/none", retry=None))
    suspend(database, tenant)
    with pytest.raises(redis.ConnectionError):
        away.cycle()
    assert (_recorded(database), _pending(database)) == (before, 1)
    publisher.cycle()
    assert (configuration.revision, _pending(database)) == ((before[0], before[1] + 1), 0)


def test_a_publisher_that_died_after_its_commit_is_made_up_for(
    database: Database,
    publisher: Publisher,
    configuration: Configuration,
    redis_client: redis.Redis,
) -> None:
    tenant = factories.make_tenant(database)
    publisher.cycle()
    epoch, number = configuration.revision
    suspend(database, tenant)
    assert publisher.commit() is not None
    assert configuration.revision == (epoch, number)
    Publisher(database, redis_client).cycle()
    assert configuration.revision == (epoch + 1, number + 2) == _recorded(database)
    assert configuration.documents("tenants")[str(tenant.id)]["status"] == "suspended"


def test_a_publisher_that_stalled_changes_nothing_when_it_wakes_up(
    database: Database,
    publisher: Publisher,
    configuration: Configuration,
    redis_client: redis.Redis,
) -> None:
    tenant = factories.make_tenant(database)
    publisher.cycle()
    suspend(database, tenant)
    stalled = publisher.commit()
    assert stalled is not None
    successor = Publisher(database, redis_client)
    successor.cycle()
    activate(database, tenant)
    successor.cycle()
    before = configuration.dump()
    with pytest.raises(FencedError):
        publisher.send(stalled)
    assert configuration.dump() == before
    assert configuration.documents("tenants")[str(tenant.id)]["status"] == "active"
    suspend(database, tenant)
    publisher.cycle()
    assert configuration.documents("tenants")[str(tenant.id)]["status"] == "suspended"


def test_a_publish_in_the_middle_of_another_is_fenced_by_redis(
    publisher: Publisher,
    configuration: Configuration,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = Revision(*configuration.revision)
    to = Revision(start.epoch + 1, 99)
    staged = channel.stage(redis_client, to, [(("hosts", "late.localhost"), {"tenant": "x"})])
    held = channel.held

    def held_and_moved(client: redis.Redis) -> Revision:
        # After the comparison and before EXEC: only WATCH can still notice.
        found = held(client)
        monkeypatch.setattr(channel, "held", held)
        channel.move(redis_client, start, Revision(start.epoch, start.number + 1), {})
        return found

    monkeypatch.setattr(channel, "held", held_and_moved)
    with pytest.raises(FencedError):
        channel.replace(redis_client, start, to, staged)
    assert configuration.revision == (start.epoch, start.number + 1)
    assert configuration.documents("hosts") == {}


def test_what_was_staged_and_is_not_used_goes_by_itself(
    publisher: Publisher, configuration: Configuration, redis_client: redis.Redis
) -> None:
    start = Revision(*configuration.revision)
    to = Revision(start.epoch + 1, start.number + 1)
    staged = channel.stage(redis_client, to, [(("hosts", "late.localhost"), {"tenant": "x"})])
    assert 0 < redis_client.ttl(staged["hosts"]) <= 3600
    assert configuration.documents("hosts") == {}
    before = configuration.revision
    redis_client.delete(staged["hosts"])
    with pytest.raises(FencedError, match="lost what was staged"):
        channel.replace(redis_client, start, to, staged)
    assert configuration.revision == before
    staged = channel.stage(redis_client, to, [(("hosts", "late.localhost"), {"tenant": "x"})])
    channel.replace(redis_client, start, to, staged)
    assert list(configuration.documents("hosts")) == ["late.localhost"]
    assert redis_client.ttl(keys.config_section("hosts")) == -1


def test_publishers_that_run_at_once_agree_in_the_end(
    database: Database,
    publisher: Publisher,
    configuration: Configuration,
    redis_client: redis.Redis,
) -> None:
    tenants = [factories.make_tenant(database) for _ in range(10)]
    publisher.cycle()
    seen: list[tuple[int, int]] = []

    def publish() -> None:
        with contextlib.suppress(FencedError):
            Publisher(database, redis_client).cycle()

    with _repeating(publish, publish, publish, lambda: seen.append(configuration.revision)):
        for tenant in tenants:
            suspend(database, tenant)
    publisher.cycle()
    assert configuration.revision == _recorded(database)
    statuses = {each["status"] for each in configuration.documents("tenants").values()}
    assert statuses == {"suspended"}
    assert seen == sorted(seen), "a revision went backwards"
    assert [keys.parse_revision(name) for name, _ in configuration.log()][-1] == (
        configuration.revision
    )
