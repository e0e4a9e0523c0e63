"""Sees to it that every reference in the published configuration resolves, at every revision."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from control_plane.publishing.channel import Key
from control_plane.publishing.compiler import Compiled
from control_plane.publishing.models import PublishedDocument, PublishedReference

_CHUNK = 300

REFERENCES: Mapping[str, Callable[[dict[str, Any]], Iterable[Key]]] = {
    "hosts": lambda host: [("tenants", host["tenant"])],
    "credentials": lambda credential: [("tenants", credential["tenant"])],
    "tenants": lambda tenant: [("models", each["model"]) for each in tenant["models"].values()],
}


def references(key: Key, document: dict[str, Any] | None) -> set[Key]:
    """Return the documents that *document* needs."""
    find = REFERENCES.get(key[0])
    return set() if document is None or find is None else set(find(document))


def referrers(session: Session, targets: Collection[Key]) -> dict[Key, set[Key]]:
    """Return, for each of *targets*, the published documents that refer to it."""
    found: dict[Key, set[Key]] = {}
    target = tuple_(PublishedReference.target_section, PublishedReference.target_id)
    for chunk in chunks(targets):
        for row in session.scalars(select(PublishedReference).where(target.in_(chunk))):
            key = (row.target_section, row.target_id)
            found.setdefault(key, set()).add((row.section, row.document_id))
    return found


def published(session: Session, wanted: Collection[Key]) -> dict[Key, dict[str, Any]]:
    """Return those of *wanted* that are published, as they are published."""
    key = tuple_(PublishedDocument.section, PublishedDocument.document_id)
    return {
        (row.section, row.document_id): row.document
        for chunk in chunks(wanted)
        for row in session.scalars(select(PublishedDocument).where(key.in_(chunk)))
    }


def refuse_dangling(session: Session, compiled: Compiled) -> None:
    """Refuse documents until every reference resolves in what would then be published.

    A document whose target is missing is refused, and so is the removal of a document that others
    still need: what was published before stays, and stays whole.
    """
    needed = {key: references(key, document) for key, document in compiled.documents.items()}
    present = published(session, {target for targets in needed.values() for target in targets})
    removed = {key for key, document in compiled.documents.items() if document is None}
    needing = referrers(session, removed)

    def resolves(target: Key) -> bool:
        if target in compiled.documents:
            return compiled.documents[target] is not None
        return target in present

    def users(key: Key) -> Iterator[Key]:
        yield from (user for user in needing.get(key, ()) if user not in compiled.documents)
        yield from (user for user in compiled.documents if key in needed[user])

    while True:
        dangling = {
            key: f"refers to {target[0]}/{target[1]}, which is not published"
            for key in compiled.documents
            for target in sorted(needed[key])
            if not resolves(target)
        } or {
            key: f"is still needed by {user[0]}/{user[1]}"
            for key in sorted(removed & compiled.documents.keys())
            for user in users(key)
        }
        if not dangling:
            return
        for key, reason in dangling.items():
            compiled.refuse(key, reason)


def chunks(keys: Collection[Key]) -> Iterator[list[Key]]:
    """Yield *keys* in lists that fit into one statement."""
    ordered = sorted(keys)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]
