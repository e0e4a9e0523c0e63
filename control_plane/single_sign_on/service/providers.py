"""The verbs of identity providers."""

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import identity, tenants
from control_plane.core import base_urls, pagination, plugins
from control_plane.core.auth import Role
from control_plane.core.encryption import reveal
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order
from control_plane.core.types import Secret
from control_plane.single_sign_on.events import (
    IdentityProviderChanged,
    IdentityProviderCreated,
    IdentityProviderDeleted,
    IdentityProviderEvent,
)
from control_plane.single_sign_on.models import ExternalIdentity, IdentityProvider

_PLAIN = ("name", "issuer", "client_id", "scopes", "allowed_email_domains", "is_active")


@dataclasses.dataclass(frozen=True)
class Party:
    """What Yumen is at a provider: all that a conversation with it needs, without the database."""

    provider_id: uuid.UUID
    issuer: str
    client_id: str
    client_secret: str | None = dataclasses.field(repr=False)
    scopes: tuple[str, ...]


def create_provider(
    session: Session,
    *,
    default_role: str | None = None,
    client_secret: str | None = None,
    tenant_id: uuid.UUID | None = None,
    **fields: Any,
) -> IdentityProvider:
    """Add a provider of a tenant, or of the platform; a tenant's user adds one of his own tenant.

    Raises:
        NotFound: the tenant does not exist, or is not the current scope's.
        Conflict: the name is taken.
        Invalid: there is no such role.
        Forbidden: the actor is not an administrator of all that its users can be.
    """
    tenant_id = tenants.owner_of(session, tenant_id)
    _refuse_lesser(tenant_id)
    provider = IdentityProvider(id=new_id(), tenant_id=tenant_id, **fields)
    _set_default_role(session, provider, default_role)
    provider.client_secret = _as_secret(client_secret)
    session.add(provider)
    _flush(session)
    emit(session, _told(provider, IdentityProviderCreated))
    return provider


def get_provider(session: Session, provider_id: uuid.UUID) -> IdentityProvider:
    """Return a provider that the current scope may see.

    Raises:
        NotFound: there is none.
    """
    provider = session.scalar(select(IdentityProvider).where(IdentityProvider.id == provider_id))
    if provider is None:
        raise NotFound("identity_provider")
    return provider


def list_providers(
    session: Session,
    *,
    page: int,
    page_size: int,
    sort: Order = (),
    tenant_id: uuid.UUID | None = None,
) -> Page[IdentityProvider]:
    """Return the providers that the current scope may see, by name or by *sort*."""
    query = select(IdentityProvider)
    if tenant_id is not None:
        query = providers_of(tenants.get_tenant(session, tenant_id).id)
    query = query.order_by(*pagination.ordering(IdentityProvider, sort or [("name", False)]))
    return pagination.page(session, query, page, page_size)


def update_provider(
    session: Session, provider: IdentityProvider, **fields: Any
) -> IdentityProvider:
    """Change a provider; without `client_secret` among *fields* the stored one stays.

    With another issuer its users are no longer known by it: nobody there need be who he was.

    Raises:
        Conflict: the name is taken.
        Invalid: there is no such role, or the stored secret would be sent to another host.
        Forbidden: the actor is not an administrator of all that its users can be.
    """
    _refuse_lesser(provider.tenant_id)
    moved = fields.get("issuer", provider.issuer) != provider.issuer
    if moved:
        _refuse_other_origin(provider, fields)
        of_provider = ExternalIdentity.provider_id == provider.id
        session.execute(delete(ExternalIdentity).where(of_provider))
    if "default_role" in fields:
        _set_default_role(session, provider, fields["default_role"])
    for name in fields.keys() & _PLAIN:
        setattr(provider, name, fields[name])
    if "client_secret" in fields:
        provider.client_secret = _as_secret(fields["client_secret"])
    _flush(session)
    emit(session, _told(provider, IdentityProviderChanged))
    return provider


def delete_provider(session: Session, provider: IdentityProvider) -> None:
    """Delete a provider; its users stay.

    Raises:
        Forbidden: the actor is not an administrator of all that its users can be.
    """
    _refuse_lesser(provider.tenant_id)
    session.delete(provider)
    session.flush()
    emit(session, _told(provider, IdentityProviderDeleted))


def delete_tenant_providers(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* providers of a tenant that is being purged; return how many."""
    query = select(IdentityProvider.id).where(IdentityProvider.tenant_id == tenant_id).limit(limit)
    ids = session.scalars(query).all()
    session.execute(delete(IdentityProvider).where(IdentityProvider.id.in_(ids)))
    return len(ids)


def providers_of(tenant_id: uuid.UUID | None) -> Select[IdentityProvider]:
    """Return the query for the providers of a tenant, None for those of the platform."""
    return select(IdentityProvider).where(IdentityProvider.tenant_id == tenant_id)


def list_offered(session: Session, tenant: str | None) -> Sequence[IdentityProvider]:
    """Return where users of *tenant*, an id or a verified domain, can sign in.

    Without a tenant these are the users of the platform. A tenant that is not there has nothing.
    """
    tenant_id = None if tenant is None else _tenant_of(session, tenant)
    if tenant is not None and tenant_id is None:
        return []
    query = providers_of(tenant_id).where(IdentityProvider.is_active.is_(True))
    return session.scalars(query.order_by(IdentityProvider.name)).all()


def _tenant_of(session: Session, text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        found: uuid.UUID | None = plugins.manager().hook.yumen_tenant_of_domain(
            session=session, domain_name=text
        )
        return found


def get_offered(session: Session, provider_id: uuid.UUID) -> IdentityProvider:
    """Return a provider at which somebody can sign in.

    Raises:
        NotFound: there is none, or it is not active.
    """
    provider = get_provider(session, provider_id)
    if not provider.is_active:
        raise NotFound("identity_provider")
    return provider


def party_at(provider: IdentityProvider) -> Party:
    """Return what Yumen is at *provider*."""
    return Party(
        provider.id,
        provider.issuer,
        provider.client_id,
        reveal(provider, IdentityProvider.client_secret),
        tuple(provider.scopes),
    )


def _as_secret(text: str | None) -> Secret | None:
    return None if text is None else Secret(text)


def _set_default_role(session: Session, provider: IdentityProvider, name: str | None) -> None:
    if name is not None:
        identity.give_role(session, provider, name, field="defaultRole")
    else:
        provider.built_in_role, provider.custom_role = None, None


def _refuse_lesser(tenant_id: uuid.UUID | None) -> None:
    """Refuse an actor with less than all rights: a provider of his could make him anybody."""
    identity.refuse_beyond(identity.of_role(Role.ADMIN, tenant_id), fields={})


def _refuse_other_origin(provider: IdentityProvider, fields: dict[str, Any]) -> None:
    stored, wanted = base_urls.parse(provider.issuer), base_urls.parse(fields["issuer"])
    if provider.has_client_secret and "client_secret" not in fields and stored != wanted:
        raise Invalid.field(
            "clientSecret",
            "Must be given again, because the issuer changes: a stored secret is never sent to "
            "another one.",
        )


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:  # indexes on names decide, also between two requests at once
        raise Conflict("provider_name_taken", "There is a provider of this name.") from error


def _told(provider: IdentityProvider, kind: type[IdentityProviderEvent]) -> IdentityProviderEvent:
    return kind(provider_id=provider.id, tenant_id=provider.tenant_id)
