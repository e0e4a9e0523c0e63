"""Sees to it that every reference in the published configuration resolves, at every revision."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.publishing.channel import Key
from control_plane.publishing.compiler import Compiled
from control_plane.publishing.models import PublishedDocument, PublishedReference

_CHUNK = 500

REFERENCES: Mapping[str, Callable[[dict[str, Any]], Iterable[Key]]] = {
    "hosts": lambda host: [("tenants", host["tenant"])],
    "credentials": lambda credential: [("tenants", credential["tenant"])],
    "tenants": lambda tenant: [("models", each["model"]) for each in tenant["models"].values()],
    "routes": lambda document: [("upstreams", each["upstream"]) for each in document["routes"]],
}


def references(key: Key, document: dict[str, Any] | None) -> set[Key]:
    """Return the documents that *document* needs."""
    find = REFERENCES.get(key[0])
    return set() if document is None or find is None else set(find(document))


def referrers(session: Session, targets: Collection[Key]) -> dict[Key, set[Key]]:
    """Return, for each of *targets*, the published documents that refer to it."""
    found: dict[Key, set[Key]] = {}
    table = PublishedReference
    query = select(table.target_id, table.section, table.document_id)
    for section, ids in chunks(targets):
        chosen = query.where(table.target_section == section, table.target_id.in_(ids))
        for target_id, user_section, user_id in session.execute(chosen):
            found.setdefault((section, target_id), set()).add((user_section, user_id))
    return found


def published(session: Session, wanted: Collection[Key]) -> dict[Key, dict[str, Any]]:
    """Return those of *wanted* that are published, as they are published."""
    table = PublishedDocument
    query = select(table.document_id, table.document)
    return {
        (section, document_id): document
        for section, ids in chunks(wanted)
        for document_id, document in session.execute(
            query.where(table.section == section, table.document_id.in_(ids))
        )
    }


def neighbours(session: Session, compiled: Compiled) -> set[Key]:
    """Return what has to be compiled along with *compiled* to make it whole.

    That is every document that still names one that is gone, and every document that is named but
    not published yet: it may be saved already, and its own event only be further down the outbox.
    """
    gone = {key for key, document in compiled.documents.items() if document is None}
    targets = {
        target
        for key, document in compiled.documents.items()
        for target in references(key, document)
        if not compiled.seen(target)
    }
    users = {user for found in referrers(session, gone).values() for user in found}
    missing = targets - published(session, targets).keys()
    return {key for key in users | missing if not compiled.seen(key)}


def refuse_dangling(session: Session, compiled: Compiled) -> None:
    """Refuse documents until every reference resolves in what would then be published.

    The removal of a document that others still need is refused, and so is a document whose target
    is missing: what was published before stays, and stays whole.
    """
    needed = {key: references(key, document) for key, document in compiled.documents.items()}
    gone = {key for key, document in compiled.documents.items() if document is None}
    targets = {target for found in needed.values() for target in found}
    present = published(session, targets | gone)
    removed = gone & present.keys()
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
            key: f"is still needed by {user[0]}/{user[1]}"
            for key in removed & compiled.documents.keys()
            for user in users(key)
        } or {
            key: f"refers to {target[0]}/{target[1]}, which is not published"
            for key in compiled.documents
            for target in needed[key]
            if not resolves(target)
        }
        if not dangling:
            return
        for key, reason in dangling.items():
            compiled.refuse(key, reason)


def chunks(keys: Collection[Key]) -> Iterator[tuple[str, list[str]]]:
    """Yield section and document ids of *keys*, no more ids at once than one statement takes."""
    ids: dict[str, list[str]] = {}
    for section, document_id in keys:
        ids.setdefault(section, []).append(document_id)
    for section, found in ids.items():
        for start in range(0, len(found), _CHUNK):
            yield section, found[start : start + _CHUNK]
