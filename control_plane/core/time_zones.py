"""Days of a time zone, as exact stretches of time: a day may have 23 or 25 hours."""

import datetime
import functools
import zoneinfo
from collections.abc import Iterator

_DAY = datetime.timedelta(days=1)
_SECOND = datetime.timedelta(seconds=1)

# The first is whatever the server is set to, the second says that nobody has chosen one.
_NO_PLACES = {"localtime", "Factory"}


@functools.cache
def names() -> frozenset[str]:
    """Return the names that a time zone may have (IANA), such as Asia/Shanghai."""
    return frozenset(zoneinfo.available_timezones() - _NO_PLACES)


def day_start(zone: str, day: datetime.date) -> datetime.datetime:
    """Return the first moment of *day* in *zone*, in UTC."""
    # Where midnight is skipped or comes twice, the first reading (fold=0) is the day's beginning.
    midnight = datetime.datetime.combine(day, datetime.time.min, zoneinfo.ZoneInfo(zone))
    return midnight.astimezone(datetime.UTC)


def offsets(
    zone: str, start: datetime.datetime, end: datetime.datetime
) -> Iterator[tuple[datetime.datetime, datetime.timedelta]]:
    """Yield the distances from UTC that *zone* has between *start* and *end*.

    Each with the moment from which it holds, the first with *start*.
    """
    info = zoneinfo.ZoneInfo(zone)
    moment, offset = start, _offset(info, start)
    yield moment, offset
    while moment < end:
        later = min(moment + _DAY, end)
        if (changed := _offset(info, later)) != offset:
            offset = changed
            yield _change(info, moment, later), offset
        moment = later


def _change(
    info: zoneinfo.ZoneInfo, before: datetime.datetime, after: datetime.datetime
) -> datetime.datetime:
    """Return the second at which *info* takes the distance that it has *after*."""
    before = before.replace(microsecond=0)
    while after - before > _SECOND:
        middle = before + (after - before) // (2 * _SECOND) * _SECOND
        if _offset(info, middle) == _offset(info, after):
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)


def _offset(info: zoneinfo.ZoneInfo, moment: datetime.datetime) -> datetime.timedelta:
    offset = moment.astimezone(info).utcoffset()
    return datetime.timedelta() if offset is None else offset
