"""What can be done with service clients, and how one proves who it is."""

import datetime
import hmac
import secrets
import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from control_plane import identity, tenants
from control_plane.core import clock, occasions, pagination, rotation
from control_plane.core.auth import Actor
from control_plane.core.database import keyring
from control_plane.core.errors import NotFound, Unauthorized
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.moments import refuse_past
from control_plane.core.occasions import ActorKind
from control_plane.core.pagination import Page
from control_plane.core.rotation import NewSecret
from control_plane.core.schemas import Order
from control_plane.service_clients.events import (
    ServiceClientChanged,
    ServiceClientCreated,
    ServiceClientDeleted,
    ServiceClientEvent,
    ServiceClientRotated,
)
from control_plane.service_clients.models import ServiceClient, ServiceClientSecret

PREFIX = "ym_client_"


def create_client(
    session: Session,
    *,
    name: str,
    role: str,
    is_active: bool = True,
    expires_at: datetime.datetime | None = None,
    tenant_id: uuid.UUID | None = None,
) -> NewSecret[ServiceClient]:
    """Make a client of a tenant, or of the platform; a tenant's user makes one of his own tenant.

    Raises:
        NotFound: the tenant does not exist, or is not the current scope's.
        Invalid: there is no such role for it, or it would have expired already.
        Forbidden: the role gives what the actor does not have himself.
    """
    tenant_id = tenants.owner_of(session, tenant_id)
    refuse_past("expiresAt", expires_at)
    client = ServiceClient(
        id=new_id(), tenant_id=tenant_id, name=name, is_active=is_active, expires_at=expires_at
    )
    identity.give_role(session, client, role)
    session.add(client)
    text = _add_secret(session, client)
    session.flush()
    emit(session, _told(client, ServiceClientCreated))
    return NewSecret(client, text)


def get_client(session: Session, client_id: uuid.UUID) -> ServiceClient:
    """Return a client that the current scope may see.

    Raises:
        NotFound: there is none.
    """
    client = session.scalar(select(ServiceClient).where(ServiceClient.id == client_id))
    if client is None:
        raise NotFound("service_client")
    return client


def list_clients(
    session: Session,
    *,
    page: int,
    page_size: int,
    sort: Order = (),
    tenant_id: uuid.UUID | None = None,
) -> Page[ServiceClient]:
    """Return the clients that the current scope may see, the oldest first by default."""
    query = select(ServiceClient)
    if tenant_id is not None:
        query = clients_of(tenants.get_tenant(session, tenant_id).id)
    query = query.order_by(*pagination.ordering(ServiceClient, sort or [("created_at", False)]))
    return pagination.page(session, query, page, page_size)


def update_client(session: Session, client: ServiceClient, **fields: Any) -> ServiceClient:
    """Change a client; it counts with its next request.

    Raises:
        Invalid: there is no such role for it, or the new end is in the past.
        Forbidden: it has, or would have, rights that the actor does not have.
    """
    identity.refuse_stronger(client)
    changed = {name: value for name, value in fields.items() if value != getattr(client, name)}
    if "expires_at" in changed:
        refuse_past("expiresAt", changed["expires_at"])
    if "role" in changed:
        identity.give_role(session, client, changed.pop("role"))
    for name, value in changed.items():
        setattr(client, name, value)
    session.flush()
    emit(session, _told(client, ServiceClientChanged))
    return client


def rotate_secret(
    session: Session, client: ServiceClient, grace: datetime.timedelta
) -> NewSecret[ServiceClient]:
    """Give a client a second secret; the first one, and what it got, ends after *grace*.

    Raises:
        Conflict: two secrets are live already.
        Forbidden: the client has rights that the actor does not have.
    """
    identity.refuse_stronger(client)
    rotation.begin(client, grace)
    text = _add_secret(session, client)
    session.flush()
    emit(session, _told(client, ServiceClientRotated))
    return NewSecret(client, text)


def delete_client(session: Session, client: ServiceClient) -> None:
    """Delete a client; its tokens end with it.

    Raises:
        Forbidden: it has rights that the actor does not have.
    """
    identity.refuse_stronger(client)
    session.delete(client)
    session.flush()
    emit(session, _told(client, ServiceClientDeleted))


def delete_tenant_clients(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* clients of a tenant that is being purged; return how many."""
    query = select(ServiceClient.id).where(ServiceClient.tenant_id == tenant_id).limit(limit)
    ids = session.scalars(query).all()
    session.execute(delete(ServiceClient).where(ServiceClient.id.in_(ids)))
    return len(ids)


def clients_of(tenant_id: uuid.UUID) -> Select[ServiceClient]:
    """Return the query for a tenant's clients."""
    return select(ServiceClient).where(ServiceClient.tenant_id == tenant_id)


def client_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of those of *ids* that are service clients."""
    rows = session.execute(
        select(ServiceClient.id, ServiceClient.name).where(ServiceClient.id.in_(ids))
    )
    return {client_id: name for client_id, name in rows}  # noqa: C416 - a Row is no pair


def find_secret(
    session: Session, client_id: str, text: str
) -> tuple[ServiceClient, ServiceClientSecret] | None:
    """Return the client whom id and secret name, and the secret; None when they name none."""
    digest = keyring(session).digest_key(text)
    client = _find(session, client_id)
    if client is not None:
        occasions.concern(client.tenant_id, "service_client", client.id)
    if client is None or not client.may_act:
        return None
    for secret in client.live_secrets:
        if hmac.compare_digest(secret.digest, digest):
            occasions.prove(client.id, ActorKind.CLIENT)
            return client, secret
    return None


def note_use(session: Session, client: ServiceClient) -> None:
    """Write down that a client got a token; it is no change of the client."""
    session.execute(
        update(ServiceClient)
        .where(ServiceClient.id == client.id)
        .values(last_used_at=clock.now())
        .execution_options(synchronize_session=False)
    )


def actor_of(
    session: Session, client_id: uuid.UUID, secret_id: uuid.UUID, scope: Collection[str] | None
) -> Actor:
    """Return who acts by a token that was given for a secret, with the rights it has now.

    Raises:
        Unauthorized: the client or that secret is over, or the client is not active.
    """
    client = session.scalar(select(ServiceClient).where(ServiceClient.id == client_id))
    live = () if client is None else (secret.id for secret in client.live_secrets)
    if client is None or not client.may_act or secret_id not in live:
        raise Unauthorized("client_ended", "This service client, or its secret, has ended.")
    rights = client.rights if scope is None else client.rights.intersection(scope)
    return Actor(client.id, client.tenant_id, rights, fields=client.fields)


def _find(session: Session, client_id: str) -> ServiceClient | None:
    try:
        known = uuid.UUID(client_id)
    except ValueError:
        return None
    return session.scalar(select(ServiceClient).where(ServiceClient.id == known))


def _add_secret(session: Session, client: ServiceClient) -> str:
    text = PREFIX + secrets.token_urlsafe(32)
    digest = keyring(session).digest_key(text)
    client.secrets.append(ServiceClientSecret(id=new_id(), digest=digest, created_at=clock.now()))
    return text


def _told(client: ServiceClient, kind: type[ServiceClientEvent]) -> ServiceClientEvent:
    return kind(client_id=client.id, tenant_id=client.tenant_id)
