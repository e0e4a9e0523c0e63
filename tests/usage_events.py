"""Takes the records of calls in, as the consumer does with what a gateway sent."""

from control_plane.contract.journal import Record
from control_plane.contract.usage_stream import START, Chunk, Position
from control_plane.core.database import Database
from control_plane.core.tenancy import platform_context
from control_plane.usage import ingest
from control_plane.usage.partitions import Partitions
from tests.journal_writer import frame

WRITER = "node-a-1795000000000000-1"


def store(
    database: Database, records: list[Record], *, writer: str = WRITER, dead: bool = True
) -> None:
    """Take in *records*, all that one writer has; when it is dead, open calls are orphans."""
    data = b"".join(map(frame, records))
    stop = Position(1, 256 + len(data))
    arrivals = ingest.collect([Chunk(writer, START, stop, data, last=dead)])
    for arrival in arrivals.values():
        calls = [*arrival.begun.values(), *arrival.ended.values()]
        Partitions(database).ensure(call.row["day"] for call in calls)
    with platform_context(), database.transaction() as session:
        ingest.take_in(session, arrivals)
