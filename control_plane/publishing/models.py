"""Tables of the room publishing: what is published, what was, and what could not be."""

import datetime
import uuid
from typing import Any

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import now
from control_plane.core.tables import Base
from control_plane.core.types import Json

_BIG = BigInteger().with_variant(Integer(), "sqlite")
_SECTION = String(64)
_DOCUMENT_ID = String(255)


class PublishingState(Base):
    """The one row that says which revision is the newest; its lock admits one publisher."""

    __tablename__ = "publishing_state"
    audited = False

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(_BIG, default=0)
    revision: Mapped[int] = mapped_column(_BIG, default=0)


class PublishedDocument(Base):
    """A document as it was last published: the last good one, whatever the rows say by now.

    The id comes before the section in the keys here: many rows share a section, and PostgreSQL,
    while it has no statistics yet, would read all of them.
    """

    __tablename__ = "published_documents"
    audited = False

    document_id: Mapped[str] = mapped_column(_DOCUMENT_ID, primary_key=True)
    section: Mapped[str] = mapped_column(_SECTION, primary_key=True)
    revision: Mapped[int] = mapped_column(_BIG)
    document: Mapped[dict[str, Any]]


class PublishedReference(Base):
    """That a published document names another one."""

    __tablename__ = "published_references"
    audited = False
    __table_args__ = (
        ForeignKeyConstraint(
            ["document_id", "section"],
            ["published_documents.document_id", "published_documents.section"],
            ondelete="CASCADE",
        ),
        Index("ix_published_references_target", "target_id", "target_section"),
    )

    document_id: Mapped[str] = mapped_column(_DOCUMENT_ID, primary_key=True)
    section: Mapped[str] = mapped_column(_SECTION, primary_key=True)
    target_id: Mapped[str] = mapped_column(_DOCUMENT_ID, primary_key=True)
    target_section: Mapped[str] = mapped_column(_SECTION, primary_key=True)


class PublishingRevision(Base):
    """One publish: its number, who caused it, why, and which documents it changed (None: all)."""

    __tablename__ = "publishing_revisions"
    audited = False

    revision: Mapped[int] = mapped_column(_BIG, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(_BIG)
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    actor_id: Mapped[uuid.UUID | None]
    reason: Mapped[str] = mapped_column(Text)
    changes: Mapped[list[list[str]] | None] = mapped_column(Json)


class PublishingRefusal(Base):
    """A document that could not be published; its last good version goes on serving."""

    __tablename__ = "publishing_refusals"
    audited = False

    document_id: Mapped[str] = mapped_column(_DOCUMENT_ID, primary_key=True)
    section: Mapped[str] = mapped_column(_SECTION, primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    refused_at: Mapped[datetime.datetime] = mapped_column(default=now)
