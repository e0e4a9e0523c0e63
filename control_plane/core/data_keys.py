"""Data keys: one of each tenant and one of the platform encrypt the columns that hold secrets.

They stand in the database, wrapped by a master key. A tenant's is made when it is first needed, and
destroyed with the tenant: whatever a backup still has of him cannot be read any more.
"""

import contextlib
import datetime
import os
import uuid
import zlib
from dataclasses import dataclass
from typing import cast

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import ColumnElement, String, Table, delete, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from control_plane.core import clock, locks, tenancy
from control_plane.core.crypto import SecretError
from control_plane.core.ids import new_id
from control_plane.core.master_keys import MasterKeys, missing
from control_plane.core.settings import Settings
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenancyError, TenantFiltered

KEPT_SECONDS = 60.0
"""How long a process keeps an unwrapped key, so that a destroyed one is soon of no use anywhere."""

_MOST_KEPT = 1000
_KEY_BYTES = 32
_LOCK = 0x596B
"""Sets our advisory locks apart from others of PostgreSQL."""


class DataKey(TenantFiltered, Base):
    """A key of a tenant, or of the platform; the retired ones go when nothing needs them."""

    __tablename__ = "data_keys"
    audited = False

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    master_id: Mapped[str] = mapped_column(String(16), index=True)
    """Which master key has wrapped it."""
    wrapped: Mapped[str] = mapped_column(String(160))
    created_at: Mapped[datetime.datetime] = mapped_column(default=clock.now)
    retired_at: Mapped[datetime.datetime | None]
    """Since when it only decrypts."""


@dataclass(frozen=True)
class Cipher:
    """A data key at work."""

    key_id: uuid.UUID
    aes: AESGCM


class UnknownKeyError(SecretError):
    """There is no such data key (any more)."""


class DataKeys:
    """The data keys as a process uses them; it knows those it has unwrapped for a minute."""

    def __init__(self, settings: Settings) -> None:
        self.masters = MasterKeys(settings)
        self._unwrapped: dict[uuid.UUID, tuple[float, Cipher]] = {}

    def current(self, session: Session, tenant_id: uuid.UUID | None) -> Cipher:
        """Return what encrypts for the tenant, or for the platform; it is made if there is none.

        It stays current until the transaction ends: a rotation waits for that.
        """
        with _scope_of(tenant_id):
            key_id = _find_current(session, tenant_id)
            if key_id is None:
                _lock(session, tenant_id)
                key_id = _find_current(session, tenant_id) or self.make(session, tenant_id)
        return self.find(session, tenant_id, key_id)

    def find(self, session: Session, tenant_id: uuid.UUID | None, key_id: uuid.UUID) -> Cipher:
        """Return what decrypts with a certain key.

        Raises:
            UnknownKeyError: the key was destroyed.
            SecretError: it cannot be unwrapped.
            TenancyError: the code runs for another tenant.
        """
        _refuse_other_scope(tenant_id)
        until, known = self._unwrapped.get(key_id, (0.0, None))
        if known is not None and clock.monotonic() < until:
            return known
        with _scope_of(tenant_id):
            query = select(DataKey.master_id, DataKey.wrapped)
            row = session.execute(query.where(DataKey.id == key_id)).one_or_none()
        if row is None:
            raise UnknownKeyError(f"There is no data key {key_id}.")
        return self._keep(key_id, self.masters.unwrap(*row, aad=wrapping_aad(key_id, tenant_id)))

    def make(self, session: Session, tenant_id: uuid.UUID | None) -> uuid.UUID:
        """Make a current key, where there is none and `_lock` holds."""
        key_id, key = new_id(), os.urandom(_KEY_BYTES)
        master = self.masters.newest()
        wrapped = master.wrap(key, wrapping_aad(key_id, tenant_id))
        values = {"id": key_id, "tenant_id": tenant_id, "master_id": master.id, "wrapped": wrapped}
        # Not as an object of the session, which may be flushing just now.
        session.execute(insert(cast("Table", DataKey.__table__)).values(values))
        return key_id

    def renew(self, session: Session, tenant_id: uuid.UUID | None) -> bool:
        """Retire the current key of a tenant and make another; tell whether there was one.

        Waits for the transactions that use it.
        """
        with _scope_of(tenant_id):
            _lock(session, tenant_id)
            mine = (_is_owned_by(tenant_id), DataKey.retired_at.is_(None))
            retired = session.execute(
                update(DataKey).where(*mine).values(retired_at=clock.now()).returning(DataKey.id)
            )
            if not retired.all():
                return False
            self.make(session, tenant_id)
        return True

    def _keep(self, key_id: uuid.UUID, key: bytes) -> Cipher:
        now = clock.monotonic()
        if len(self._unwrapped) >= _MOST_KEPT:
            self._unwrapped.clear()
        cipher = Cipher(key_id, AESGCM(key))
        self._unwrapped[key_id] = (now + KEPT_SECONDS, cipher)
        return cipher


def refuse_other_masters(session: Session) -> None:
    """See that the master keys of this installation are those that its data keys need.

    Raises:
        SecretError: one is not there.
    """
    masters = data_keys(session).masters
    known = {master.id for master in masters.read()}
    with tenancy.platform_context():
        needed = set(session.scalars(select(DataKey.master_id).distinct()))
    if needed - known:
        raise missing(needed - known, masters.source)


def data_keys(session: Session) -> DataKeys:
    """Return the data keys of the installation that *session* belongs to."""
    return cast("DataKeys", session.info["data_keys"])


def destroy(session: Session, tenant_id: uuid.UUID) -> None:
    """Destroy the keys of a tenant: what is left of him anywhere cannot be read any more."""
    _lock(session, tenant_id)
    session.execute(delete(DataKey).where(DataKey.tenant_id == tenant_id))


def wrapping_aad(key_id: uuid.UUID, tenant_id: uuid.UUID | None) -> str:
    """Return what binds a wrapped key to its row."""
    return f"data_keys|{key_id}|{tenant_id or 'platform'}"


def _refuse_other_scope(tenant_id: uuid.UUID | None) -> None:
    """Keep code that runs for one tenant from another's secrets, even if it got hold of a row."""
    if tenant_id is not None and tenancy.current_tenant_id() not in (None, tenant_id):
        raise TenancyError("A secret of another tenant may not be read or written.")


def _scope_of(tenant_id: uuid.UUID | None) -> contextlib.AbstractContextManager[None]:
    """Enter the platform's scope for its own keys; a tenant's are seen by him and the platform."""
    return tenancy.platform_context() if tenant_id is None else contextlib.nullcontext()


def _find_current(session: Session, tenant_id: uuid.UUID | None) -> uuid.UUID | None:
    query = select(DataKey.id).where(_is_owned_by(tenant_id), DataKey.retired_at.is_(None))
    return session.scalar(query.with_for_update(read=True))


def _is_owned_by(tenant_id: uuid.UUID | None) -> ColumnElement[bool]:
    return DataKey.tenant_id.is_(None) if tenant_id is None else DataKey.tenant_id == tenant_id


def _lock(session: Session, tenant_id: uuid.UUID | None) -> None:
    """Let one transaction at a time make keys for a tenant."""
    locks.hold(session, _LOCK, zlib.crc32(str(tenant_id).encode()) - (1 << 31))
