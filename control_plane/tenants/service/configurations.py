"""A tenant's configuration: the AI models it may use, its flags, its looks and its limits."""

import dataclasses
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import plugins
from control_plane.core.errors import Invalid, NotFound
from control_plane.core.events import emit
from control_plane.tenants.events import TenantConfigured
from control_plane.tenants.models import EVERY_MODEL, Tenant, TenantConfiguration


@dataclasses.dataclass(frozen=True)
class CallLimits:
    """How much a tenant may call, and the time zone of its days and months."""

    time_zone: str
    limits: Mapping[str, int]
    """`requests_per_second`, `requests_per_minute`, `requests_per_day`, `requests_per_month`,
    `tokens_per_minute` and `concurrent`, as far as they are limited."""


def get_configuration(session: Session, tenant_id: uuid.UUID) -> TenantConfiguration:
    """Return the configuration of a tenant that the current scope may see.

    Raises:
        NotFound: there is no such tenant.
    """
    query = select(TenantConfiguration).where(TenantConfiguration.tenant_id == tenant_id)
    configuration = session.scalar(query)
    if configuration is None:
        raise NotFound("tenant")
    return configuration


def update_configuration(
    session: Session, configuration: TenantConfiguration, values: Mapping[str, Any]
) -> TenantConfiguration:
    """Change a tenant's configuration.

    Raises:
        Invalid: an AI model that is allowed from now on does not exist.
    """
    known = configuration.ai_model_access
    access = values.get("ai_model_access", known)
    refuse_unknown_models(session, access, "aiModelAccess", known=known)
    for name, value in values.items():
        setattr(configuration, name, value)
    session.flush()
    emit(session, TenantConfigured(tenant_id=configuration.tenant_id))
    return configuration


def refuse_unknown_models(
    session: Session, access: Sequence[str], field: str, *, known: Collection[str] = ()
) -> None:
    """Refuse ids in *access* that are no AI model's, unless they stood there before.

    A model that was deleted meanwhile must not keep a tenant from being configured.

    Raises:
        Invalid: it points at each of them.
    """
    added = {each: uuid.UUID(each) for each in access if each not in {EVERY_MODEL, *known}}
    if not added:
        return
    unknown = plugins.manager().hook.yumen_unknown_models(
        session=session, ids=frozenset(added.values())
    )
    errors = [
        {"pointer": f"#/{field}/{index}", "detail": "There is no such model."}
        for index, each in enumerate(access)
        if added.get(each) in unknown
    ]
    if errors:
        raise Invalid(errors)


def restricted_models(
    session: Session, tenant_ids: Collection[uuid.UUID] | None
) -> dict[uuid.UUID, frozenset[uuid.UUID]]:
    """Return the AI models that tenants may use, for those that may not use all.

    Of the tenants *tenant_ids*, of all when it is None.
    """
    columns = (TenantConfiguration.tenant_id, TenantConfiguration.ai_model_access)
    query = select(*columns).where(TenantConfiguration.ai_model_access != [EVERY_MODEL])
    if tenant_ids is not None:
        query = query.where(TenantConfiguration.tenant_id.in_(tenant_ids))
    return {
        tenant_id: frozenset(map(uuid.UUID, access)) for tenant_id, access in session.execute(query)
    }


def call_limits(
    session: Session, tenant_ids: Collection[uuid.UUID] | None
) -> dict[uuid.UUID, CallLimits]:
    """Return how much tenants may call: of the tenants *tenant_ids*, of all when it is None."""
    query = select(Tenant.id, Tenant.time_zone, TenantConfiguration.api_call_limits).join(
        TenantConfiguration, TenantConfiguration.tenant_id == Tenant.id
    )
    if tenant_ids is not None:
        query = query.where(Tenant.id.in_(tenant_ids))
    return {
        tenant_id: CallLimits(zone, limits) for tenant_id, zone, limits in session.execute(query)
    }
