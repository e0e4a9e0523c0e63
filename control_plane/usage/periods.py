"""Periods of usage and the days in them, which are the tenant's own."""

import dataclasses
import datetime
import uuid

from sqlalchemy import ColumnElement, case
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import clock, time_zones
from control_plane.core.errors import Invalid
from control_plane.usage.models import UsageEvent

_DEFAULT_PERIOD = datetime.timedelta(days=30)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_DAY = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True)
class Period:
    """A stretch of time, its end outside, and the zone that divides it into days."""

    start: datetime.datetime
    end: datetime.datetime
    time_zone: str


def choose_period(
    session: Session,
    tenant_id: uuid.UUID,
    start: datetime.date | None,
    end: datetime.date | None,
) -> Period:
    """Return the period that is asked for, by default the last 30 days to now.

    A date that is no moment is a whole day of the tenant's, in the period.

    Raises:
        NotFound: there is no such tenant.
        Invalid: the period ends before it begins.
    """
    zone = tenants.get_tenant(session, tenant_id).time_zone
    until = clock.now() if end is None else _moment(zone, end, days_later=1)
    since = until - _DEFAULT_PERIOD if start is None else _moment(zone, start)
    if since >= until:
        name = "from" if start is not None else "to"
        raise Invalid([{"pointer": f"?{name}", "detail": "The period ends before it begins."}])
    return Period(since, until, zone)


def _moment(zone: str, given: datetime.date, *, days_later: int = 0) -> datetime.datetime:
    if isinstance(given, datetime.datetime):
        return given
    return time_zones.day_start(zone, given + days_later * _DAY)


def day_number(period: Period) -> ColumnElement[int]:
    """Return in SQL the day on which a call of *period* began, counted from 1970-01-01.

    The zone's changes are looked up here, so that the database needs to know no zones.
    """
    # Nothing begins later than now, but for clocks that go wrong.
    end = max(period.start, min(period.end, clock.now() + _DAY))
    *later, (_, first) = reversed(list(time_zones.offsets(period.time_zone, period.start, end)))
    changes = [
        (UsageEvent.started_us >= microseconds(moment), _day_at(offset)) for moment, offset in later
    ]
    return case(*changes, else_=_day_at(first)) if changes else _day_at(first)


def day_text(number: int) -> str:
    """Return a day that `day_number` counted as a date."""
    return str(_EPOCH.date() + number * _DAY)


def microseconds(moment: datetime.datetime) -> int:
    """Return *moment* as usage events count time."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(microseconds: int) -> datetime.datetime:
    """Return the moment that usage events count as *microseconds*."""
    return _EPOCH + microseconds * _MICROSECOND


def _day_at(offset: datetime.timedelta) -> ColumnElement[int]:
    return (UsageEvent.started_us + offset // _MICROSECOND) // (_DAY // _MICROSECOND)
