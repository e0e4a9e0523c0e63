"""What is known of publishing: the nodes, what they hold, what was published and refused."""

import datetime
import json
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.contract import NodeStatusSchema, keys
from control_plane.core import pagination
from control_plane.core.pagination import Page
from control_plane.publishing.models import (
    PublishingRefusal,
    PublishingRevision,
    PublishingState,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Node:
    """A gateway node as it last reported itself."""

    node: str
    applied: dict[str, int] | None
    current: dict[str, int]
    workers: int
    refusals: list[dict[str, Any]]
    more_refusals: bool
    memory_bytes: int | None
    memory_free_bytes: int | None
    last_seen: datetime.datetime

    @property
    def is_current(self) -> bool:
        """Whether the node holds the newest revision."""
        return self.applied == self.current


def list_nodes(session: Session, client: redis.Redis) -> list[Node]:
    """Return the gateway nodes that have reported themselves, by name."""
    state = session.get(PublishingState, 1)
    current = {
        "epoch": 0 if state is None else state.epoch,
        "revision": 0 if state is None else state.revision,
    }
    seen: Any = client.zrange(keys.NODES, 0, -1, withscores=True)
    with client.pipeline(transaction=False) as pipe:
        for name, _ in seen:
            pipe.hget(keys.node(name.decode()), "status")
        reports = pipe.execute()
    nodes = [
        _node(name.decode(), milliseconds, _status(report), current)
        for (name, milliseconds), report in zip(seen, reports, strict=True)
    ]
    return sorted(nodes, key=lambda node: node.node)


def _status(report: bytes | None) -> dict[str, Any] | None:
    """Return a node's report, None if it sent none that can be read."""
    try:
        status = json.loads(report or b"null")
        problems = NodeStatusSchema().validate(status or {})
    except ValueError as error:
        problems = {"_schema": [str(error)]}
    if report is not None and problems:
        log.warning("node_status_unsound", problems=problems)
    return None if problems else status


def _node(
    name: str, milliseconds: float, status: dict[str, Any] | None, current: dict[str, int]
) -> Node:
    held = {} if status is None else status
    applied = {"epoch": held["epoch"], "revision": held["revision"]} if held.get("epoch") else None
    return Node(
        node=name,
        applied=applied,
        current=current,
        workers=len(held.get("workers", ())),
        refusals=held.get("refusals", []),
        more_refusals=held.get("moreRefusals", False),
        memory_bytes=held.get("memoryBytes"),
        memory_free_bytes=held.get("memoryFreeBytes"),
        last_seen=datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC),
    )


def list_revisions(session: Session, *, page: int, page_size: int) -> Page[PublishingRevision]:
    """Return what was published, the newest first."""
    query = select(PublishingRevision).order_by(PublishingRevision.revision.desc())
    return pagination.page(session, query, page, page_size)


def list_refusals(session: Session, *, page: int, page_size: int) -> Page[PublishingRefusal]:
    """Return the documents that could not be published, the latest first."""
    query = select(PublishingRefusal).order_by(
        PublishingRefusal.refused_at.desc(),
        PublishingRefusal.section,
        PublishingRefusal.document_id,
    )
    return pagination.page(session, query, page, page_size)
