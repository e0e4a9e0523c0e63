"""How the rows of a chain hang together: each is signed with a key, over the one before it."""

import dataclasses
import hmac
import uuid
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement

from control_plane.audit.models import AuditCut, AuditLog
from control_plane.core.crypto import Keyring
from control_plane.core.plain import canonical, plain

ORIGIN = "0" * 64
"""What the first row of a chain hangs on."""

SIGNED = (
    "id",
    "tenant_id",
    "created_at",
    "actor_type",
    "actor",
    "operation",
    "action",
    "resource_type",
    "resource_id",
    "outcome",
    "before",
    "after",
    "request_id",
    "address",
)
"""The columns that a row's hash covers. Its number follows from its place."""

PLATFORM = "platform"


@dataclasses.dataclass(frozen=True)
class Link:
    """A row's place in its chain, and its hash."""

    seq: int
    hash: str


START = Link(0, ORIGIN)


def name_of(tenant_id: uuid.UUID | None) -> str:
    """Return what a chain is called: by its tenant's id, or `platform`."""
    return PLATFORM if tenant_id is None else str(tenant_id)


def of(entity: type[AuditLog | AuditCut], tenant_id: uuid.UUID | None) -> ColumnElement[bool]:
    """Return the condition for rows of one chain, in the form that an index serves."""
    return entity.tenant_id.is_(None) if tenant_id is None else entity.tenant_id == tenant_id


def key_of(keyring: Keyring) -> bytes:
    """Return the key of this installation's chains."""
    return keyring.derived_key("audit")


def hash_of(key: bytes, prev: str, row: Any) -> str:
    """Return the hash of *row*, which hangs on the row whose hash is *prev*."""
    signed = canonical([prev, *(plain(getattr(row, name)) for name in SIGNED)])
    return hmac.new(key, signed.encode("ascii"), sha256).hexdigest()


def proof_of(key: bytes, tenant_id: uuid.UUID | None, cut: Link) -> str:
    """Return what proves that the chain's beginning was dropped by us."""
    signed = canonical(["cut", name_of(tenant_id), cut.seq, cut.hash])
    return hmac.new(key, signed.encode("ascii"), sha256).hexdigest()


def is_whole(key: bytes, row: AuditLog) -> bool:
    """Tell whether *row* is as it was written."""
    return hmac.compare_digest(hash_of(key, row.prev, row), row.hash)
