"""How far Redis and the gateway nodes are behind what the database says."""

import datetime
from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control_plane.core import clock
from control_plane.core.figures import Family, Figures, Values, bounded
from control_plane.core.plugins import JobContext
from control_plane.core.tenancy import platform_context
from control_plane.publishing import channel, service
from control_plane.publishing.models import (
    PublishingRefusal,
    PublishingRevision,
    PublishingState,
)
from control_plane.publishing.service import Node

MOST_NODES = 200
_FORGOTTEN = datetime.timedelta(hours=1)

_REVISION = Family("yumen_published_revision", "gauge", (), "The newest revision.")
_CURRENT = Family(
    "yumen_published_to_redis", "gauge", (), "1 when Redis holds the newest revision, else 0."
)
_REFUSED = Family(
    "yumen_publishing_refused_documents",
    "gauge",
    (),
    "Documents that could not be published; their last good version goes on serving.",
)
_SILENCE = Family(
    "yumen_node_silence_seconds", "gauge", ("node",), "How long a node has said nothing."
)
_BEHIND = Family(
    "yumen_node_config_behind_revisions",
    "gauge",
    ("node",),
    "Revisions that not every worker of a node holds yet.",
)
_LAG = Family(
    "yumen_node_config_lag_seconds",
    "gauge",
    ("node",),
    "Age of the oldest revision that not every worker of a node holds yet; 0 when all are there.",
)
_NODE_REFUSED = Family(
    "yumen_node_refused_documents",
    "gauge",
    ("node",),
    "Documents that a node refuses; 101 is more than 100.",
)


def _read(context: JobContext) -> Mapping[str, Values]:
    with platform_context(), context.database.session(write=False) as session:
        state = session.get(PublishingState, 1)
        newest = channel.Revision(0, 0)
        if state is not None:
            newest = channel.Revision(state.epoch, state.revision)
        refused = session.scalar(select(func.count()).select_from(PublishingRefusal)) or 0
        now = clock.now()
        nodes = [
            node
            for node in service.list_nodes(session, context.redis)
            if now - node.last_seen < _FORGOTTEN
        ]
        lags = _lags(session, nodes)
    silence = {node.node: max(0.0, (now - node.last_seen).total_seconds()) for node in nodes}
    behind = {node.node: float(newest.number - _held(node)) for node in nodes}
    told = {node.node: float(len(node.refusals) + node.more_refusals) for node in nodes}
    return {
        _REVISION.name: {(): newest.number},
        _CURRENT.name: {(): channel.held(context.redis) == newest},
        _REFUSED.name: {(): refused},
        _SILENCE.name: bounded(silence, MOST_NODES),
        _BEHIND.name: bounded(behind, MOST_NODES),
        _LAG.name: bounded(lags, MOST_NODES),
        _NODE_REFUSED.name: bounded(told, MOST_NODES),
    }


def _held(node: Node) -> int:
    """Return the revision that a node holds; numbers rise through all epochs."""
    return node.applied["revision"] if node.applied else 0


def _lags(session: Session, nodes: Sequence[Node]) -> dict[str, float]:
    """Return, by node, how old the oldest revision is that it does not hold."""
    first_missing: dict[int, float] = {}
    for held in {_held(node) for node in nodes}:
        query = select(func.min(PublishingRevision.created_at)).where(
            PublishingRevision.revision == held + 1
        )
        made = session.scalar(query)
        age = 0.0 if made is None else (clock.now() - made).total_seconds()
        first_missing[held] = max(0.0, age)
    return {node.node: first_missing[_held(node)] for node in nodes}


FIGURES = Figures(
    "publishing", (_REVISION, _CURRENT, _REFUSED, _SILENCE, _BEHIND, _LAG, _NODE_REFUSED), _read
)
