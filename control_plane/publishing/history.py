"""Keeps what was published, by whom and why, and what could not be."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from control_plane.publishing import consistency
from control_plane.publishing.channel import Key, Revision
from control_plane.publishing.compiler import Compiled
from control_plane.publishing.models import (
    PublishedDocument,
    PublishedReference,
    PublishingRefusal,
    PublishingRevision,
)

_RETRIED = 500

log = structlog.get_logger(__name__)


def record(
    session: Session,
    to: Revision,
    *,
    changes: Sequence[Key] | None,
    reason: str,
    actors: Collection[uuid.UUID | None] = (),
) -> None:
    """Write the history row of a revision; *changes* None stands for everything.

    The actor is known when one person caused all of it.
    """
    only = next(iter(actors)) if len(actors) == 1 else None
    session.add(
        PublishingRevision(
            revision=to.number,
            epoch=to.epoch,
            actor_id=only,
            reason=reason,
            changes=None if changes is None else [list(key) for key in changes],
        )
    )


def store(session: Session, to: Revision, changes: Mapping[Key, dict[str, Any] | None]) -> None:
    """Keep the documents as they are published now, and what they refer to."""
    _delete(session, PublishedDocument, changes)
    kept = {each: document for each, document in changes.items() if document is not None}
    documents = [
        {"section": each[0], "document_id": each[1], "revision": to.number, "document": document}
        for each, document in kept.items()
    ]
    needed = [
        {
            "section": each[0],
            "document_id": each[1],
            "target_section": target[0],
            "target_id": target[1],
        }
        for each, document in kept.items()
        for target in consistency.references(each, document)
    ]
    for table, rows in ((PublishedDocument, documents), (PublishedReference, needed)):
        if rows:
            session.execute(insert(table), rows)


def refused(session: Session) -> set[Key]:
    """Return documents that could not be published; each publish tries them again."""
    rows = session.scalars(
        select(PublishingRefusal).order_by(PublishingRefusal.refused_at.desc()).limit(_RETRIED)
    )
    return {(row.section, row.document_id) for row in rows}


def record_refusals(session: Session, compiled: Compiled) -> None:
    """Write down what was refused, and forget what is sound by now."""
    _delete(session, PublishingRefusal, compiled.documents)
    for (section, document_id), reason in compiled.refusals.items():
        known = session.get(PublishingRefusal, (document_id, section))
        if known is None:
            known = PublishingRefusal(section=section, document_id=document_id)
            session.add(known)
        if known.reason != reason:
            known.reason = reason
            log.error("document_refused", section=section, document=document_id, reason=reason)


def _delete(
    session: Session, table: type[PublishedDocument | PublishingRefusal], keys: Collection[Key]
) -> None:
    for section, ids in consistency.chunks(keys):
        chosen = table.section == section, table.document_id.in_(ids)
        session.execute(delete(table).where(*chosen))
