"""Keeps what was published, by whom and why, and what could not be."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import delete, select, tuple_
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
    key = tuple_(PublishedDocument.section, PublishedDocument.document_id)
    for chunk in consistency.chunks(changes):
        session.execute(delete(PublishedDocument).where(key.in_(chunk)))
    kept = {each: document for each, document in changes.items() if document is not None}
    session.add_all(
        PublishedDocument(
            section=section, document_id=document_id, revision=to.number, document=document
        )
        for (section, document_id), document in kept.items()
    )
    session.flush()
    session.add_all(
        PublishedReference(
            section=each[0], document_id=each[1], target_section=target[0], target_id=target[1]
        )
        for each, document in kept.items()
        for target in consistency.references(each, document)
    )
    session.flush()


def refused(session: Session) -> set[Key]:
    """Return documents that could not be published; each publish tries them again."""
    rows = session.scalars(
        select(PublishingRefusal).order_by(PublishingRefusal.refused_at.desc()).limit(_RETRIED)
    )
    return {(row.section, row.document_id) for row in rows}


def record_refusals(session: Session, compiled: Compiled) -> None:
    """Write down what was refused, and forget what is sound by now."""
    key = tuple_(PublishingRefusal.section, PublishingRefusal.document_id)
    for chunk in consistency.chunks(compiled.documents):
        session.execute(delete(PublishingRefusal).where(key.in_(chunk)))
    for (section, document_id), reason in compiled.refusals.items():
        known = session.get(PublishingRefusal, (section, document_id))
        if known is None:
            known = PublishingRefusal(section=section, document_id=document_id)
            session.add(known)
        if known.reason != reason:
            known.reason = reason
            log.error("document_refused", section=section, document=document_id, reason=reason)
