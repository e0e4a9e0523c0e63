"""Makes a POST happen once: the same `Idempotency-Key` gets the first answer again.

The answer is kept in the transaction of what it tells of, without the secrets in it: either both
are there, or neither.
"""

import datetime
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Collection
from typing import Any

import flask
from sqlalchemy import String, delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from control_plane.core import clock, tenancy
from control_plane.core.auth import current_actor
from control_plane.core.errors import ApiError, FieldErrors, Invalid
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantFiltered

KEPT = datetime.timedelta(hours=24)
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS = ("ETag", "Location")


class IdempotentAnswer(TenantFiltered, Base):
    """The answer to a request that had a key, without its secrets."""

    __tablename__ = "idempotent_answers"
    audited = False

    actor_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime.datetime] = mapped_column(default=clock.now, index=True)


def once(
    session: Session, view: Callable[[], flask.Response], secrets: Collection[str]
) -> flask.Response:
    """Return the answer of *view*, or its first answer when the request's key was used before.

    Raises:
        Invalid: the key is malformed.
        ApiError: it was used for another request (422).
    """
    key = flask.request.headers.get(HEADER)
    if key is None:
        return view()
    if not _KEY.fullmatch(key):
        raise Invalid(_about_key("Must be 1 to 255 visible ASCII characters."))
    known = _find(session, key)
    if known is not None:
        return _replay(known)
    answer = view()
    try:
        _keep(session, key, answer, secrets)
    except IntegrityError:
        # The same request was faster; what this one did is undone.
        session.rollback()
        known = _find(session, key)
        if known is None:
            raise
        return _replay(known)
    return answer


def _find(session: Session, key: str) -> IdempotentAnswer | None:
    with tenancy.platform_context():
        known = session.get(IdempotentAnswer, (current_actor().user_id, key))
        if known is not None and known.created_at <= clock.now() - KEPT:
            session.delete(known)
            session.flush()
            return None
        return known


def _keep(session: Session, key: str, answer: flask.Response, secrets: Collection[str]) -> None:
    body = answer.get_json()
    with tenancy.platform_context():
        session.execute(
            delete(IdempotentAnswer).where(IdempotentAnswer.created_at <= clock.now() - KEPT)
        )
        session.add(
            IdempotentAnswer(
                actor_id=current_actor().user_id,
                key=key,
                tenant_id=current_actor().tenant_id,
                fingerprint=_fingerprint(),
                status=answer.status_code,
                headers={n: answer.headers[n] for n in _KEPT_HEADERS if n in answer.headers},
                body={name: value for name, value in body.items() if name not in secrets},
            )
        )
        session.flush()


def _replay(known: IdempotentAnswer) -> flask.Response:
    if known.fingerprint != _fingerprint():
        detail = "This key was used for another request, or by a role with other rights."
        raise ApiError(422, "idempotency_key_reused", detail, _about_key(detail))
    answer = flask.jsonify(known.body)
    answer.status_code = known.status
    answer.headers.update({**known.headers, REPLAYED: "true"})
    return answer


def _fingerprint() -> str:
    request = flask.request
    told = f"{request.method} {request.full_path}\n".encode() + request.get_data(cache=True)
    # What was kept may show what a changed role hides by now: then it is another request.
    limits = current_actor().fields
    told += json.dumps(limits, sort_keys=True).encode() if limits else b""
    return hashlib.sha256(told).hexdigest()


def _about_key(detail: str) -> FieldErrors:
    return [{"pointer": HEADER, "detail": detail}]
