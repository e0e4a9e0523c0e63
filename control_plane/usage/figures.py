"""How far the database is behind what gateway nodes have sent of their usage."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select

from control_plane.contract import keys
from control_plane.core.figures import Family, Figures, Values
from control_plane.core.plugins import JobContext
from control_plane.core.tenancy import platform_context
from control_plane.usage.models import UsageQuarantine

_ENTRIES = Family(
    "yumen_usage_stream_entries", "gauge", (), "Pieces of journals that wait in Redis."
)
_LAG = Family(
    "yumen_usage_stream_lag_seconds",
    "gauge",
    (),
    "Age of the oldest piece of a journal that waits in Redis; 0 when none does.",
)
_QUARANTINED = Family(
    "yumen_usage_quarantined_entries",
    "gauge",
    (),
    "What could not become a usage event, and is kept apart.",
)


def _read(context: JobContext) -> Mapping[str, Values]:
    client: Any = context.redis
    with client.pipeline(transaction=False) as pipe:
        pipe.xlen(keys.USAGE)
        pipe.xrange(keys.USAGE, count=1)
        pipe.time()
        entries, oldest, (seconds, micros) = pipe.execute()
    lag = 0.0
    if oldest:
        sent_ms = int(oldest[0][0].partition(b"-")[0])
        lag = max(0.0, seconds + micros / 1e6 - sent_ms / 1e3)
    with platform_context(), context.database.session(write=False) as session:
        quarantined = session.scalar(select(func.count()).select_from(UsageQuarantine)) or 0
    return {
        _ENTRIES.name: {(): entries},
        _LAG.name: {(): lag},
        _QUARANTINED.name: {(): quarantined},
    }


FIGURES = Figures("usage", (_ENTRIES, _LAG, _QUARANTINED), _read)
