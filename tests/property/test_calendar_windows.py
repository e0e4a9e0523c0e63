"""Days and months of a zone begin and end where its clocks say, also when they are changed.

The very script runs in a real Redis, on the offsets that the control plane publishes of a zone;
Python's own zoneinfo says what is right.
"""

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import redis

from control_plane.contract import keys
from control_plane.core import time_zones
from tests.property.allowance_nodes import Fleet
from tests.servers import RedisServer

# Clocks change by an hour or half of it, at night, at midnight, at different times of the year; one
# has no changes, two stand at quarters of an hour, and one is a day ahead of most.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "America/Havana",
    "Asia/Beirut",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Asia/Kathmandu",
    "Asia/Shanghai",
)
YEAR = 2026
START, END = datetime(YEAR, 1, 1, tzinfo=UTC), datetime(YEAR + 1, 1, 1, tzinfo=UTC)
STEPS = [timedelta(seconds=each) for each in (-86400, -7200, -3600, -1, 0, 1, 1800, 3600, 86399)]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        yield Fleet(client)


def window(fleet: Fleet, kind: str, zone: str, moment: datetime) -> tuple[float, float]:
    """Return start and end of the window in which the script counts at a moment."""
    fleet.client.delete(f"{keys.ALLOWANCE_COUNTER}rule")
    fleet.trust()
    fleet.move(int(moment.timestamp() * 1000))
    numbers = ["5", "0", "1", "1", "0", "0", "0", "0"]  # limit, burst, need, want, the rest
    answer = fleet.call("a", b"rule", "\0".join(["w", kind, zone, *numbers]).encode())
    assert answer is not None
    _, status, _, _, left, start = map(int, answer.split())
    assert status == 1
    return start / 1000, (fleet.redis_now + left) / 1000


def begins(day: date, zone: ZoneInfo) -> float:
    """Return the moment of a day's first instant: midnight, or where midnight is left out."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def next_month(day: date) -> date:
    """Return the first of the next month."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def moments(name: str, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield moments around each change of the zone's clocks, and around each month's beginning."""
    changes = [moment for moment, _ in time_zones.offsets(name, START, END) if moment > START]
    months = [datetime(YEAR, month, 1, tzinfo=zone).astimezone(UTC) for month in range(1, 13)]
    days = [
        datetime.fromtimestamp(begins(change.astimezone(zone).date() + more, zone), UTC)
        for change, more in itertools.product(changes, (timedelta(0), timedelta(1)))
    ]
    for moment, step in itertools.product([*changes, *months, *days], STEPS):
        yield moment + step


@pytest.mark.parametrize("name", ZONES)
def test_windows_of_a_zone_are_those_of_its_calendar(fleet: Fleet, name: str) -> None:
    zone = ZoneInfo(name)
    text = ",".join(
        f"{from_.timestamp():.0f}:{offset.total_seconds():.0f}"
        for from_, offset in time_zones.offsets(name, START - timedelta(365), END + timedelta(365))
    )
    for moment in moments(name, zone):
        day = moment.astimezone(zone).date()
        found = window(fleet, "day", text, moment)
        assert found == (begins(day, zone), begins(day + timedelta(days=1), zone)), moment
        first = day.replace(day=1)
        found = window(fleet, "month", text, moment)
        assert found == (begins(first, zone), begins(next_month(day), zone)), moment
