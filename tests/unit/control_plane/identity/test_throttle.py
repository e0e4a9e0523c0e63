"""The count of failed attempts: the same in Redis and, while it is away, in a process."""

import datetime
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from control_plane.core import clock
from control_plane.core.crypto import Keyring
from control_plane.core.settings import Settings
from control_plane.identity.service import throttle
from control_plane.identity.service.throttle import Limit, Throttle, TooManyAttempts
from tests.servers import RedisServer

LIMIT = Limit("test", (0, 0, 1, 60))

pytestmark = pytest.mark.parametrize("database_url", [None], ids=["sqlite"])


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self._now = clock.now()

    def __call__(self) -> datetime.datetime:
        return self._now

    def turn(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self._now += datetime.timedelta(seconds=seconds)


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> Clock:
    still = Clock()
    monkeypatch.setattr(clock, "now", still)
    return still


@pytest.fixture(params=["redis", "process"])
def attempts(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Throttle]:
    made = Throttle(settings, Keyring(settings))
    if request.param == "process":
        monkeypatch.setattr(made, "_away_until", float("inf"))
    yield made
    made.close()


def wait(attempts: Throttle, subject: str = "li") -> int:
    """Try once; return how long to wait, 0 when the attempt is let through."""
    try:
        attempts.take(LIMIT, subject)
    except TooManyAttempts as error:
        return int(error.headers["Retry-After"])
    return 0


def test_each_failure_makes_the_next_attempt_wait_longer(attempts: Throttle, turned: Clock) -> None:
    assert [wait(attempts) for _ in range(4)] == [0, 0, 0, 1]
    turned.turn(1)
    assert [wait(attempts) for _ in range(2)] == [0, 60]
    turned.turn(59.5)
    assert wait(attempts) == 1
    turned.turn(0.5)
    assert [wait(attempts) for _ in range(2)] == [0, 60]
    assert wait(attempts, "wu") == 0


def test_what_is_refused_does_not_make_it_longer(attempts: Throttle, turned: Clock) -> None:
    for _ in range(3):
        wait(attempts)
    for _ in range(100):
        assert wait(attempts) == 1
    turned.turn(1)
    assert wait(attempts) == 0


def test_a_good_attempt_is_not_counted(attempts: Throttle, turned: Clock) -> None:
    for _ in range(3):
        wait(attempts)
    turned.turn(1)
    for _ in range(20):
        attempts.give_back(attempts.take(LIMIT, "li"))
    assert [wait(attempts), wait(attempts)] == [0, 60]


def test_a_count_is_forgotten_an_hour_after_the_last_one(attempts: Throttle, turned: Clock) -> None:
    for _ in range(3):
        wait(attempts)
    turned.turn(throttle.FORGET_SECONDS - 1)
    assert [wait(attempts), wait(attempts)] == [0, 60]
    turned.turn(throttle.FORGET_SECONDS)
    assert [wait(attempts) for _ in range(4)] == [0, 0, 0, 1]


def test_many_at_once_are_not_all_let_through(attempts: Throttle, turned: Clock) -> None:
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: wait(attempts), range(64)))
    assert waits.count(0) == 3


def test_processes_count_together(settings: Settings, turned: Clock) -> None:
    both = [Throttle(settings, Keyring(settings)) for _ in range(2)]
    assert [wait(each) for each in both * 2] == [0, 0, 0, 1]
    for each in both:
        each.close()


def test_redis_does_not_learn_names_and_forgets(
    settings: Settings, redis_server: RedisServer
) -> None:
    attempts = Throttle(settings, Keyring(settings))
    wait(attempts, "a-rare-name")
    with redis.Redis.from_url(redis_server.url) as client:
        (key,) = client.keys("yumen:v1:throttle:*")
        assert b"rare" not in key
        assert 0 < client.pttl(key) <= 1000 * throttle.FORGET_SECONDS
    attempts.close()


def test_without_redis_each_process_counts_for_itself(
    settings: Settings, turned: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer() as server:
        own = Settings(**{**vars(settings), "redis": type(settings.redis)(url=server.url)})
        attempts = Throttle(own, Keyring(own))
        assert [wait(attempts) for _ in range(2)] == [0, 0]
        server.kill()
        assert [wait(attempts) for _ in range(4)] == [0, 0, 0, 1]
        server.start()
        monkeypatch.setattr(attempts, "_away_until", 0.0)
        assert wait(attempts) == 0
        attempts.close()


def test_a_process_remembers_a_bounded_number_of_names(
    settings: Settings, turned: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "_MOST_KEPT", 10)
    attempts = Throttle(settings, Keyring(settings))
    monkeypatch.setattr(attempts, "_away_until", float("inf"))
    for number in range(30):
        wait(attempts, str(number))
    assert len(attempts._own._counts) == 10
    attempts.close()
