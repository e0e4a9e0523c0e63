"""Times that the API is given: moments as RFC 3339 has them, days, and the zones that make days."""

import datetime
import re
from typing import Any

from marshmallow import ValidationError, fields

from control_plane.core import clock, time_zones
from control_plane.core.errors import Invalid

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FIRST_YEAR = 1970
_LAST_YEAR = 9000


class Moment(fields.AwareDateTime):
    """A moment with its offset from UTC; loaded in UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        moment: datetime.datetime = super()._deserialize(value, attr, data, **kwargs)
        if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            raise ValidationError(f"Must lie between the years {_FIRST_YEAR} and {_LAST_YEAR}.")
        return moment.astimezone(datetime.UTC)


def refuse_past(field: str, moment: datetime.datetime | None) -> None:
    """Refuse an end, given in *field*, that was before now; None is no end.

    Raises:
        Invalid: it is past.
    """
    if moment is not None and moment <= clock.now():
        raise Invalid.field(field, "Must be in the future.")


class MomentOrDay(Moment):
    """A moment, or a date such as 2026-01-31, whose time zone others know; loaded as such."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not (isinstance(value, str) and _DAY.fullmatch(value)):
            return super()._deserialize(value, attr, data, **kwargs)
        # A date is judged as a moment is, and is then no more than a date again.
        return super()._deserialize(f"{value}T00:00:00Z", attr, data, **kwargs).date()


class TimeZone(fields.String):
    """The name of a time zone (IANA)."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        name = super()._deserialize(value, *args, **kwargs)
        if name not in time_zones.names():
            raise ValidationError("Must be a time zone such as Asia/Shanghai or Europe/Berlin.")
        return name
