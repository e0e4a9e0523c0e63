"""What services are called: people write names, rows and gateways have keys."""

import uuid
from collections.abc import Iterable

from sqlalchemy.orm import Session

from control_plane.core import plugins, tenancy
from control_plane.core.errors import Invalid


def key_of(session: Session, tenant_id: uuid.UUID | None, name: str, *, pointer: str) -> str:
    """Return the key of the service that *name* names for a tenant, or for the platform.

    Raises:
        Invalid: there is none, or there are several; it names the field *pointer*.
    """
    hook = plugins.manager().hook
    answers = hook.yumen_services(session=session, tenant_id=tenant_id, name=name)
    keys: list[str] = sorted({key for answer in answers for key in answer})
    if not keys:
        raise Invalid.field(
            pointer, f"There is no AI model and no upstream called {name} that may be called."
        )
    if len(keys) > 1:
        raise Invalid.field(pointer, f"Several services are called so: write {' or '.join(keys)}.")
    return keys[0]


def is_of(session: Session, tenant_id: uuid.UUID, key: str) -> bool:
    """Tell whether a service is the tenant's own, so that nobody else calls it."""
    kind, _, id_ = key.partition(":")
    answers = plugins.manager().hook.yumen_tenant_has(
        session=session, tenant_id=tenant_id, kind=kind, object_id=uuid.UUID(id_)
    )
    return any(answers)


def names_of(session: Session, keys: Iterable[str]) -> dict[str, str]:
    """Return what services are called; one that is gone is called by its key."""
    ids = {key: uuid.UUID(key.partition(":")[2]) for key in keys}
    found: dict[uuid.UUID, str] = {}
    with tenancy.platform_context():  # the shared ones are nobody's
        hook = plugins.manager().hook
        for answer in hook.yumen_names(session=session, ids=set(ids.values())) if ids else ():
            found |= answer
    return {key: found.get(service_id, key) for key, service_id in ids.items()}
