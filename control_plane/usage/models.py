"""Tables of usage: the events, and what the consumer must remember until it can make one."""

import datetime
import enum
import uuid
from decimal import Decimal

from sqlalchemy import BigInteger, Index, LargeBinary, SmallInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantScoped
from control_plane.core.types import Json

WRITER_LENGTH = 80


class Grouping(enum.StrEnum):
    """What usage can be summed up by."""

    DAY = "day"
    MODEL = "model"
    ENDPOINT = "endpoint"
    KEY = "key"


class UsageEvent(TenantScoped, Base):
    """One metered call, decided once and never changed.

    `day` is the UTC date on which the call began, a pure function of the call: the key stays unique
    although PostgreSQL keeps each day in a partition of its own.
    """

    __tablename__ = "usage_events"
    audited = False
    __table_args__ = (
        Index("ix_usage_events_tenant_id_started_us", "tenant_id", "started_us"),
        {"postgresql_partition_by": "RANGE (day)"},
    )

    day: Mapped[datetime.date] = mapped_column(primary_key=True)
    writer: Mapped[str] = mapped_column(String(WRITER_LENGTH), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    tenant_id: Mapped[uuid.UUID] = mapped_column()
    started_us: Mapped[int] = mapped_column(BigInteger)
    duration_us: Mapped[int] = mapped_column(BigInteger)
    first_byte_us: Mapped[int] = mapped_column(BigInteger)
    endpoint: Mapped[str] = mapped_column(Text)
    request_id: Mapped[str] = mapped_column(Text)
    key_id: Mapped[uuid.UUID]
    model_id: Mapped[uuid.UUID]
    user_id: Mapped[str] = mapped_column(Text)
    outcome: Mapped[int] = mapped_column(SmallInteger)
    status: Mapped[int]
    upstream_status: Mapped[int]
    is_stream: Mapped[bool]
    events: Mapped[int] = mapped_column(BigInteger)
    request_bytes: Mapped[int] = mapped_column(BigInteger)
    response_bytes: Mapped[int] = mapped_column(BigInteger)
    usage_source: Mapped[int] = mapped_column(SmallInteger)
    tokens_in: Mapped[int | None] = mapped_column(BigInteger)
    tokens_out: Mapped[int | None] = mapped_column(BigInteger)
    tokens_cached: Mapped[int | None] = mapped_column(BigInteger)
    tokens_reasoning: Mapped[int | None] = mapped_column(BigInteger)
    cost: Mapped[Decimal]


class UsagePending(Base):
    """A call that began and of whose end nothing is known yet, with its record as journalled."""

    __tablename__ = "usage_pending"
    audited = False

    writer: Mapped[str] = mapped_column(String(WRITER_LENGTH), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    record: Mapped[bytes] = mapped_column(LargeBinary)


class UsageWriter(Base):
    """How much of one gateway worker's journal has arrived.

    `covered` lists the stretches of the journal that were taken in, as pairs of positions, merged
    and in order. `decided` counts its events; together with its pending calls they must be
    `last_seq`, which makes a gap visible.
    """

    __tablename__ = "usage_writers"
    audited = False

    writer: Mapped[str] = mapped_column(String(WRITER_LENGTH), primary_key=True)
    covered: Mapped[list[list[list[int]]]] = mapped_column(Json, default=list)
    end: Mapped[list[int] | None] = mapped_column(Json)
    ended: Mapped[bool] = mapped_column(default=False)
    last_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    decided: Mapped[int] = mapped_column(BigInteger, default=0)
    changed_at: Mapped[datetime.datetime]


class UsageQuarantine(Base):
    """What could not become an event, kept for a person to look at; nothing is dropped silently."""

    __tablename__ = "usage_quarantine"
    audited = False

    writer: Mapped[str] = mapped_column(String(WRITER_LENGTH), primary_key=True)
    place: Mapped[str] = mapped_column(String(80), primary_key=True)
    reason: Mapped[str] = mapped_column(String(20), primary_key=True)
    detail: Mapped[str] = mapped_column(Text)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime.datetime]
