"""Looks, piece by piece, for what would be published differently by now, as after an upgrade.

A million documents take minutes to compile, and no change shall wait for that.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from control_plane.core.plugins import Section
from control_plane.publishing import consistency
from control_plane.publishing.channel import Key
from control_plane.publishing.models import PublishedDocument

PIECE = 200

Documents = dict[Key, dict[str, Any] | None]
_Page = Callable[[Session, Key | None, int], tuple[Documents, Key | None]]
"""Returns documents as they are published, None for one that is not, and the last key looked at.

They come behind a key, a number at most; None as the last key says that there are no more.
"""

log = structlog.get_logger(__name__)


class Sweep:
    """One look at everything that is published, and at everything that the rooms hold."""

    def __init__(self, sections: Sequence[Section]) -> None:
        self._sections = {section.name: section for section in sections}
        self._pages: list[_Page] = [_published, *map(_held, sections)]
        self._after: Key | None = None

    @property
    def is_done(self) -> bool:
        """Whether everything has been looked at."""
        return not self._pages

    def step(self, session: Session) -> set[Key]:
        """Look at the next piece; return what would be published differently."""
        before: Documents = {}
        while self._pages and len(before) < PIECE:
            documents, self._after = self._pages[0](session, self._after, PIECE)
            before |= documents
            if self._after is None:
                del self._pages[0]
        return self._differing(session, before)

    def _differing(self, session: Session, before: Documents) -> set[Key]:
        found: set[Key] = set()
        for name in {section for section, _ in before}:
            ids = [document_id for section, document_id in before if section == name]
            after = self._compile(session, name, ids)
            found |= {
                (name, each)
                for each in ids
                if after is None or after.get(each) != before[name, each]
            }
        return found

    def _compile(
        self, session: Session, name: str, ids: list[str]
    ) -> Mapping[str, dict[str, Any] | None] | None:
        """Return documents as they would be published; None when a row spoils them."""
        if name not in self._sections:
            return {}
        try:
            return self._sections[name].compile(session, ids)
        except SQLAlchemyError:
            raise
        except Exception:
            log.exception("section_not_compiled", section=name)
            return None


def _published(session: Session, after: Key | None, limit: int) -> tuple[Documents, Key | None]:
    table = PublishedDocument
    place = table.document_id, table.section
    query = select(table.section, table.document_id, table.document).order_by(*place).limit(limit)
    if after is not None:
        query = query.where(tuple_(*place) > (after[1], after[0]))
    found: Documents = {(name, each): text for name, each, text in session.execute(query)}
    return found, list(found)[-1] if len(found) == limit else None


def _held(section: Section) -> _Page:
    """Return the page that yields what a room holds and is not published."""

    def page(session: Session, after: Key | None, limit: int) -> tuple[Documents, Key | None]:
        ids = section.ids(session, None if after is None else after[1], limit)
        held = [(section.name, each) for each in ids]
        published = consistency.published(session, held)
        missing: Documents = dict.fromkeys(key for key in held if key not in published)
        return missing, held[-1] if len(held) == limit else None

    return page
