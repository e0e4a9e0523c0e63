"""The only place that reads a clock, so that tests can turn it."""

import datetime
import time


def now() -> datetime.datetime:
    """Return the current moment, aware and in UTC."""
    return datetime.datetime.now(datetime.UTC)  # noqa: TID251 - this is the clock the ban names


def monotonic() -> float:
    """Return seconds that never run backwards, for measuring durations."""
    return time.monotonic()
