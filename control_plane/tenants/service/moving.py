"""Moves a tenant's business data into a schema of its own, or back, all of it or nothing.

Rows, `isolation` and the end of the suspension change in one transaction: whatever ends the process
leaves the tenant whole in one place, at worst suspended, and a second run finishes.
"""

import time
import uuid

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from control_plane.core import clock, tenancy, tenant_schemas
from control_plane.core.database import Database, is_busy
from control_plane.core.errors import Conflict
from control_plane.core.events import emit
from control_plane.core.plugins import JobContext
from control_plane.tenants.events import TenantActivated, TenantMoved
from control_plane.tenants.models import Isolation, Tenant, TenantStatus
from control_plane.tenants.service.lifecycle import suspend_tenant
from control_plane.tenants.service.tenants import get_tenant, refuse_without_schemas

MOVING = "Its data is being moved."
"""Why a tenant is suspended meanwhile; with another reason it stays so."""

_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.05


def move_tenant(database: Database, tenant_id: uuid.UUID, isolation: Isolation) -> int | None:
    """Move a tenant; return how many rows were, None when it is there already.

    Whoever changes its business data meanwhile waits, or is told that the database is busy.

    Raises:
        NotFound: there is no such tenant.
        Invalid: the database has no schemas.
        Conflict: the tenant is deleted, or as many tenants have a schema as may.
        OperationalError: the database is away, or others left no moment for the move.
    """
    with tenancy.platform_context():
        with database.transaction() as session:
            refuse_without_schemas(session)
            tenant = _living(session, tenant_id)
            if tenant.isolation is isolation and not _is_held(tenant):
                return None
            if tenant.status is TenantStatus.ACTIVE:
                suspend_tenant(session, tenant_id, reason=MOVING)
        try:
            return _switch(database, tenant_id, isolation)
        except BaseException:
            with database.transaction() as session:
                _resume(session, get_tenant(session, tenant_id, lock=True))
            raise


def run_drop_left(context: JobContext) -> None:
    """Drop the schemas that tenants have left, as the worker's job."""
    try:
        with tenancy.platform_context(), context.database.transaction() as session:
            tenant_schemas.drop_left(session)
    except OperationalError as error:
        if not is_busy(error):
            raise  # else the next time will do: they are empty


def _switch(database: Database, tenant_id: uuid.UUID, isolation: Isolation) -> int:
    """Move the rows, say so of the tenant and serve it again; wait for a moment when that can be.

    To change tables waits for those who use them, but not long, because others wait behind.
    """
    move = tenant_schemas.enter if isolation is Isolation.SCHEMA else tenant_schemas.leave
    deadline = clock.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with database.transaction() as session:
                moved = move(session, tenant_id)
                tenant = _living(session, tenant_id)
                tenant.isolation = isolation
                session.flush()
                emit(session, TenantMoved(tenant_id=tenant_id, isolation=isolation.value))
                _resume(session, tenant)
                return moved
        except OperationalError as error:
            if not is_busy(error) or clock.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def _living(session: Session, tenant_id: uuid.UUID) -> Tenant:
    """Return a tenant, held until the transaction ends.

    Raises:
        Conflict: it is deleted, and waits for its purge.
    """
    tenant = get_tenant(session, tenant_id, lock=True)
    if tenant.purge_date is not None:
        raise Conflict("tenant_deleted", "The tenant is deleted; activate it to undo that.")
    return tenant


def _is_held(tenant: Tenant) -> bool:
    return tenant.is_suspended and tenant.suspension_reason == MOVING


def _resume(session: Session, tenant: Tenant) -> None:
    """Serve the tenant again, if it was the move that suspended it."""
    if _is_held(tenant):
        tenant.status = TenantStatus.ACTIVE
        tenant.suspension_reason = None
        session.flush()
        emit(session, TenantActivated(tenant_id=tenant.id))
