"""Times that the API is given: RFC 3339 with an offset, in years that databases can count in."""

import datetime
from typing import Any

from marshmallow import ValidationError, fields

_FIRST_YEAR = 1970
_LAST_YEAR = 9000


class Moment(fields.AwareDateTime):
    """A moment with its offset from UTC; loaded in UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        moment: datetime.datetime = super()._deserialize(value, attr, data, **kwargs)
        if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            raise ValidationError(f"Must lie between the years {_FIRST_YEAR} and {_LAST_YEAR}.")
        return moment.astimezone(datetime.UTC)
