"""Everything the rooms hold of a tenant, in batches, so that its size does not matter."""

import itertools
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from control_plane.core import auth, plugins, tenancy
from control_plane.core.auth import Actor
from control_plane.core.database import Database

Batch = Sequence[dict[str, Any]]


def export_tenant(
    database: Database, tenant_id: uuid.UUID, actor: Actor | None = None
) -> Iterator[Batch]:
    """Yield all that is kept of a tenant, secrets left out; the last object says that it is all.

    It is what *actor* may see, who is told because the request is over when its answer is read.
    Nothing is held between two batches: neither a transaction, which a slow reader would keep open,
    nor the tenant's scope, which belongs to whoever asks.
    """
    count = 0
    with database.session(write=False) as session:
        rooms = plugins.manager().hook.yumen_export_tenant(session=session, tenant_id=tenant_id)
        # pluggy calls the last registered first.
        batches = itertools.chain.from_iterable(reversed(rooms))
        while True:
            with tenancy.tenant_context(tenant_id), auth.acting_as(actor):
                found = next(batches, None)
                session.rollback()
            if found is None:
                break
            kind, objects = found
            count += len(objects)
            yield [{"kind": kind, **each} for each in objects]
    yield [{"kind": "end", "count": count}]
