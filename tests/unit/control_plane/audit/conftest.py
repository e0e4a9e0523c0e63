"""What tests of the audit log share."""

import uuid
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from control_plane.audit import chain
from control_plane.audit.models import AuditLog
from control_plane.core import tenancy
from control_plane.core.database import Database
from tests.audit_log import Logs


@pytest.fixture
def logs(database: Database) -> Logs:
    """Returns what was recorded, the oldest first, of one chain."""

    def read(tenant_id: uuid.UUID | None = None) -> Sequence[AuditLog]:
        with tenancy.platform_context(), database.session(write=False) as session:
            mine = select(AuditLog).where(chain.of(AuditLog, tenant_id))
            return session.scalars(mine.order_by(AuditLog.seq)).all()

    return read
