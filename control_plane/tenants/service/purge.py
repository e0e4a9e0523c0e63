"""Deletes what rooms hold of tenants whose purge date has come, a bounded part in a transaction.

Whatever ends the worker in between leaves a tenant that is still deleted and still due: the next
run goes on with what is left. The tenant's own row goes last.
"""

import uuid

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import clock, data_keys, plugins, tenancy, tenant_schemas
from control_plane.core.database import Database
from control_plane.core.events import emit
from control_plane.core.plugins import JobContext
from control_plane.tenants.events import TenantPurged
from control_plane.tenants.models import Isolation, Tenant

ROWS = 500
"""What a room may delete in one transaction."""

_STEPS = 100
"""Transactions of one run for one tenant: other jobs wait meanwhile."""

log = structlog.get_logger(__name__)


def run_purge(context: JobContext) -> None:
    """Purge the tenants that are due, as the worker's job; one that fails holds up no other."""
    for tenant_id in _due(context.database):
        try:
            _purge(context.database, tenant_id)
        except Exception:
            log.exception("tenant_not_purged", tenant=str(tenant_id))


def _due(database: Database) -> list[uuid.UUID]:
    query = select(Tenant.id).where(Tenant.purge_date <= clock.now()).order_by(Tenant.purge_date)
    with tenancy.platform_context(), database.session(write=False) as session:
        return list(session.scalars(query))


def _purge(database: Database, tenant_id: uuid.UUID) -> None:
    for _ in range(_STEPS):
        # In the tenant's scope a room's mistake cannot reach another tenant's rows.
        with tenancy.tenant_context(tenant_id), database.transaction() as session:
            if purge_part(session, tenant_id):
                return


def purge_part(session: Session, tenant_id: uuid.UUID) -> bool:
    """Delete a part of what is kept of a tenant that is due; return whether that was the last."""
    query = select(Tenant).where(Tenant.id == tenant_id, Tenant.purge_date <= clock.now())
    tenant = session.scalar(query.with_for_update())
    if tenant is None:  # gone already, or activated at the last moment
        return True
    deleted = plugins.manager().hook.yumen_purge_tenant(
        session=session, tenant_id=tenant_id, limit=ROWS
    )
    if any(deleted):
        return False
    if tenant.isolation is Isolation.SCHEMA:
        tenant_schemas.leave(session, tenant_id)  # nothing is left to take along
    data_keys.destroy(session, tenant_id)
    session.delete(tenant)
    session.flush()
    emit(session, TenantPurged(tenant_id=tenant_id))
    log.info("tenant_purged", tenant=str(tenant_id))
    return True
