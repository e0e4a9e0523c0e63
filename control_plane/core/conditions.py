"""Conditional requests: nobody changes what he has not seen (RFC 9110 §13, ETag and If-Match)."""

from typing import Any, TypeVar

import flask
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from control_plane.core.audit_entries import UNAUDITED
from control_plane.core.errors import ApiError

CHANGING = frozenset({"PUT", "PATCH", "DELETE"})
"""Methods that need `If-Match`."""


class Versioned:
    """Base of mapped classes with a version, which each change raises and the ETag shows.

    A bulk update of such a table must raise `version` too.
    """

    version: Mapped[int] = mapped_column(server_default="1", info=UNAUDITED)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}


Row = TypeVar("Row", bound=Versioned)


def matched(row: Row) -> Row:
    """Return *row* when the request's `If-Match` names its version.

    Raises:
        ApiError: the header is not there (428), or the row has changed since (412).
    """
    if "If-Match" not in flask.request.headers:
        detail = "Send the ETag of what you change in the header If-Match."
        raise ApiError(428, "if_match_required", detail)
    if not flask.request.if_match.contains(str(row.version)):
        raise changed_meanwhile()
    return row


def changed_meanwhile() -> ApiError:
    """Return the answer to a change of something that another request has changed before."""
    if flask.request.method in CHANGING:
        detail = "This has changed since you saw it: get it again."
        return ApiError(412, "precondition_failed", detail)
    return ApiError(409, "changed_meanwhile", "Another request changed this at the same time.")


def headers_of(found: Any, status: int) -> dict[str, str]:
    """Return the headers that go with a view's answer: `ETag`, and `Location` of what is new."""
    headers = {}
    version = getattr(found, "version", None)
    if isinstance(version, int):
        headers["ETag"] = f'"{version}"'
    if status == 201 and hasattr(found, "id"):
        headers["Location"] = f"{flask.request.path}/{found.id}"
    return headers
