"""Has recorded what a request did, beyond the rows it changed: calls, shown secrets, refusals.

Refusals are recorded in a transaction of their own, and only so many a minute: nobody can fill the
database by being refused. How many were left out is told by the next one that is recorded.
"""

import collections
import contextlib
import dataclasses
import re
import threading
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import flask
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from control_plane.contract import camel_case
from control_plane.core import auditing, auth, clock, occasions
from control_plane.core.audit_entries import Action, Entry, Outcome
from control_plane.core.errors import ApiError
from control_plane.core.occasions import ActorKind, Occasion, Subject
from control_plane.core.origin import network_of

if TYPE_CHECKING:
    from control_plane.core.database import Database

READING = frozenset({"GET", "HEAD", "OPTIONS"})

MOST_OF_ONE = 10
"""Refusals of one actor, or of one network that nobody signed in from, recorded in a minute."""

MOST_OF_ALL = 60
"""Refusals recorded in a minute by one process."""

_EXTENSION = "yumen_refusals"
_MINUTE_SECONDS = 60.0
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def request_recorded() -> Iterator[None]:
    """Run the block as the present request, and have it recorded when it is refused."""
    request = flask.request
    rule = "" if request.url_rule is None else request.url_rule.rule
    path = _PARAMETER.sub(lambda match: f"{{{camel_case(match[1])}}}", rule)
    occasion = Occasion(
        f"{request.method} {path}",
        ActorKind.ANONYMOUS,
        request_id=flask.g.get("request_id"),
        address=(request.remote_addr or "")[:45] or None,
        subject=_subject(request.view_args or {}),
    )
    with occasions.during(occasion):
        try:
            yield
        except ApiError as error:
            if _matters(error.status):
                _record_refusal(error.status, error.code)
            raise


def note_call(session: Session, response: Any, *, reveals: bool) -> None:
    """Have recorded that a secret was shown, or that something was done that left no change."""
    status = getattr(response, "status_code", 200)
    if status >= 400:
        return
    touched = auditing.first_entry(session)
    if reveals:
        entry = _entry(Action.REVEAL)
        if touched is not None:
            entry = dataclasses.replace(
                entry,
                tenant_id=touched.tenant_id,
                resource_type=touched.resource_type,
                resource_id=touched.resource_id,
            )
        auditing.record(session, entry)
    elif touched is None and flask.request.method not in READING:
        auditing.record(session, _entry(Action.CALL))


def note_refusal(response: Any) -> None:
    """Have recorded that a view answered, without raising, that it refuses.

    To be called when the request's own transaction is over.
    """
    status = getattr(response, "status_code", 200)
    if _matters(status):
        _record_refusal(status, None)


def _subject(arguments: dict[str, Any]) -> Subject:
    """Return what the path names: its last parameter."""
    tenant_id = arguments.get("tenant_id")
    if not arguments:
        return Subject(None, None, None)
    name, value = list(arguments.items())[-1]
    return Subject(
        tenant_id if isinstance(tenant_id, uuid.UUID) else None,
        name.removesuffix("_id"),
        str(value),
    )


def _entry(action: Action) -> Entry:
    actor, subject = auth.find_actor(), occasions.current().subject
    tenant_id = None if actor is None else actor.tenant_id
    if subject is None:
        return Entry(action, tenant_id)
    return Entry(action, subject.tenant_id or tenant_id, subject.resource_type, subject.resource_id)


def _matters(status: int) -> bool:
    """Tell whether a refusal is recorded: nobody could prove who he is, or somebody may not do it.

    An access token that is over is no such thing: it is refused before the request begins.
    """
    return status in {401, 403}


def _record_refusal(status: int, code: str | None) -> None:
    app = flask.current_app
    # What the request did is undone first: on SQLite nobody else can write meanwhile.
    opened: Session | None = flask.g.pop("session", None)
    if opened is not None:
        opened.close()
    refusals = cast("_Refusals", app.extensions.setdefault(_EXTENSION, _Refusals()))
    actor = auth.find_actor()
    who = network_of(flask.request.remote_addr) if actor is None else str(actor.user_id)
    left_out = refusals.admit(who)
    if left_out is None:
        return
    after: dict[str, Any] = {"status": int(status)}
    if code is not None:
        after["code"] = code
    if left_out:
        after["refusalsLeftOut"] = left_out
    entry = dataclasses.replace(_entry(Action.CALL), outcome=Outcome.REFUSED, after=after)
    database = cast("Database", app.extensions["yumen_database"])
    try:
        with database.transaction() as session:
            auditing.record(session, entry)
    except SQLAlchemyError:
        log.exception("refusal_not_recorded")


class _Refusals:
    """How many refusals were recorded in the present minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._counts: collections.Counter[str] = collections.Counter()
        self._left_out = 0

    def admit(self, who: str) -> int | None:
        """Return how many were left out before this one, None when it is to be left out too."""
        with self._lock:
            now = clock.monotonic()
            if now >= self._until:
                self._until = now + _MINUTE_SECONDS
                self._counts.clear()
            if self._counts[who] >= MOST_OF_ONE or self._counts.total() >= MOST_OF_ALL:
                self._left_out += 1
                return None
            self._counts[who] += 1
            left_out, self._left_out = self._left_out, 0
            return left_out
