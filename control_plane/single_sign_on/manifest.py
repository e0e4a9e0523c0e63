"""Identity providers in a manifest: those of the platform, and in each tenant its own."""

import uuid
from collections.abc import Iterable

from sqlalchemy.orm import Session

from control_plane.core import outgoing
from control_plane.core.database import settings
from control_plane.core.manifest import Kind, Values
from control_plane.single_sign_on.models import IdentityProvider
from control_plane.single_sign_on.schemas import IdentityProviderUpdateSchema
from control_plane.single_sign_on.service import providers


def _rows(session: Session, tenant_id: uuid.UUID | None) -> Iterable[IdentityProvider]:
    return session.scalars(providers.providers_of(tenant_id).order_by(IdentityProvider.id))


def _create(session: Session, tenant_id: uuid.UUID | None, values: Values) -> IdentityProvider:
    outgoing.refuse_private("issuer", values["issuer"], settings(session))
    return providers.create_provider(session, tenant_id=tenant_id, **values)


def _update(session: Session, provider: IdentityProvider, values: Values) -> IdentityProvider:
    if provider.issuer != values["issuer"]:
        outgoing.refuse_private("issuer", values["issuer"], settings(session))
    return providers.update_provider(session, provider, **values)


PROVIDERS = Kind(
    section="identityProviders",
    schema=IdentityProviderUpdateSchema,
    keys=("name",),
    rows=_rows,
    create=_create,
    update=_update,
    delete=providers.delete_provider,
    of_tenant=True,
    secrets={"clientSecret": IdentityProvider.client_secret},
)
