"""Turns what the rooms hold into documents, and finds which documents an event made stale."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from control_plane.core.outbox import OutboxEvent
from control_plane.core.plugins import Section
from control_plane.publishing.channel import Key

Document = dict[str, Any]

log = structlog.get_logger(__name__)


@dataclass
class Compiled:
    """Documents in their new form, None for one that is gone, and why others have no sound one."""

    documents: dict[Key, Document | None] = field(default_factory=dict)
    refusals: dict[Key, str] = field(default_factory=dict)

    def refuse(self, key: Key, reason: str) -> None:
        """Take a document out of what is to be published."""
        self.documents.pop(key, None)
        self.refusals[key] = reason

    def seen(self, key: Key) -> bool:
        """Tell whether *key* was compiled, well or not."""
        return key in self.documents or key in self.refusals


def stale(sections: Iterable[Section], events: Sequence[OutboxEvent]) -> set[Key]:
    """Return the documents that *events* made stale."""
    return {
        (section.name, document_id)
        for section in sections
        for event in events
        if event.name in section.dirty
        for document_id in section.dirty[event.name](event.payload)
    }


def compile_documents(
    session: Session, sections: Iterable[Section], wanted: Collection[Key], compiled: Compiled
) -> None:
    """Add the documents *wanted*, validated, to *compiled*; one that no section has is gone."""
    for section in sections:
        ids = sorted(document_id for name, document_id in wanted if name == section.name)
        if ids:
            _compile_section(session, section, ids, compiled)
    for key in wanted:
        if not compiled.seen(key):
            compiled.documents[key] = None


def _compile_section(
    session: Session, section: Section, ids: list[str], compiled: Compiled
) -> None:
    """Add a section's documents *ids* to *compiled*.

    One row that cannot be compiled spoils a batch: then each document is tried alone, so that the
    others pass.
    """
    try:
        documents = section.compile(session, ids)
    except SQLAlchemyError:
        raise  # the database's trouble, not a document's
    except Exception as error:
        log.exception("not_compiled", section=section.name, documents=ids)
        if len(ids) == 1:
            compiled.refuse((section.name, ids[0]), f"cannot be compiled: {error}")
        else:
            for document_id in ids:
                _compile_section(session, section, [document_id], compiled)
        return
    schema = section.schema()
    for document_id, document in documents.items():
        key = (section.name, document_id)
        problems = {} if document is None else schema.validate(document)
        if problems:
            compiled.refuse(key, f"does not validate: {problems}")
        else:
            compiled.documents[key] = document
