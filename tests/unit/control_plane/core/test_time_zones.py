"""Days of a time zone: compared with the zone itself, second by second where it changes."""

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.core import time_zones

HOUR = datetime.timedelta(hours=1)
MOMENTS = st.integers(31_536_000, 2_114_380_800).map(
    lambda seconds: datetime.datetime.fromtimestamp(seconds, datetime.UTC)
)
ZONES = st.sampled_from(sorted(time_zones.names()))


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        ("Asia/Shanghai", "2026-11-24", "2026-11-23T16:00", 24),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00", 25),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00", 25),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00", 24.5),
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00", 23),  # midnight is skipped
        ("America/Havana", "2026-11-01", "2026-11-01T04:00", 25),  # midnight comes twice
        ("Asia/Kathmandu", "2026-01-01", "2025-12-31T18:15", 24),
    ],
)
def test_a_day_has_its_own_length(zone: str, day: str, start: str, hours: float) -> None:
    date = datetime.date.fromisoformat(day)
    begins = time_zones.day_start(zone, date)
    ends = time_zones.day_start(zone, date + datetime.timedelta(days=1))
    assert (begins, ends - begins) == (utc(start), hours * HOUR)


def test_the_changes_of_a_year_are_found_to_the_second() -> None:
    found = list(time_zones.offsets("Europe/Berlin", utc("2026-01-01"), utc("2027-01-01")))
    assert found == [
        (utc("2026-01-01"), 1 * HOUR),
        (utc("2026-03-29T01:00"), 2 * HOUR),
        (utc("2026-10-25T01:00"), 1 * HOUR),
    ]


@given(zone=ZONES, start=MOMENTS, days=st.integers(1, 800), data=st.data())
def test_offsets_are_those_of_the_zone(
    zone: str, start: datetime.datetime, days: int, data: st.DataObject
) -> None:
    end = start + datetime.timedelta(days=days)
    found = list(time_zones.offsets(zone, start, end))
    assert found[0][0] == start
    moments = [data.draw(st.datetimes(start.replace(tzinfo=None), end.replace(tzinfo=None)))]
    for moment, _ in found[1:]:
        moments += [moment.replace(tzinfo=None) - datetime.timedelta(microseconds=1)]
        moments += [moment.replace(tzinfo=None)]
    for naive in moments:
        moment = naive.replace(tzinfo=datetime.UTC)
        offset = [offset for begins, offset in found if begins <= moment][-1]
        assert offset == moment.astimezone(ZoneInfo(zone)).utcoffset(), (zone, moment)


@given(zone=ZONES, moment=MOMENTS)
def test_a_day_begins_before_all_that_happens_on_it(zone: str, moment: datetime.datetime) -> None:
    day = moment.astimezone(ZoneInfo(zone)).date()
    assert time_zones.day_start(zone, day) <= moment
    assert moment < time_zones.day_start(zone, day + datetime.timedelta(days=1))


def test_a_zone_that_means_another_place_on_each_server_is_none() -> None:
    assert "Europe/Berlin" in time_zones.names()
    assert not {"localtime", "Factory", "posixrules", ""} & time_zones.names()
