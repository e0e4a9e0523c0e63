"""What the room domains adds to Yumen."""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.core import pagination
from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.manifest import Kind
from control_plane.core.plugins import Job, Section, hookimpl
from control_plane.domains import documents, manifest, permissions, proofs, routes, service
from control_plane.domains.models import Domain
from control_plane.domains.schemas import DomainSchema

_CHECK_SECONDS = 60


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return [routes.blueprint]


@hookimpl
def yumen_config_sections() -> Iterable[Section]:
    """Return the section `hosts`."""
    return [documents.SECTION]


@hookimpl
def yumen_jobs() -> Iterable[Job]:
    """Return the check of names and claims."""
    return [Job("check_domains", every_seconds=_CHECK_SECONDS, run=proofs.run_checks)]


@hookimpl
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return how domains stand in a manifest."""
    return [manifest.DOMAINS]


@hookimpl
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Give the tenant's names up."""
    return service.remove_domains(session, tenant_id, limit)


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant's domains."""
    for rows in pagination.batches(session, service.domains_of(tenant_id), Domain.id):
        yield "domain", DomainSchema(many=True).dump(rows)


@hookimpl
def yumen_tenant_domains(
    session: Session, tenant_ids: Collection[uuid.UUID]
) -> Mapping[uuid.UUID, Sequence[dict[str, Any]]]:
    """Return the domains of several tenants."""
    found: dict[uuid.UUID, list[dict[str, Any]]] = {}
    schema = DomainSchema()
    for domain in session.scalars(service.domains_of(*tenant_ids)):
        found.setdefault(domain.tenant_id, []).append(schema.dump(domain))
    return found


@hookimpl
def yumen_tenant_of_domain(session: Session, domain_name: str) -> uuid.UUID | None:
    """Return the tenant that has proved a name."""
    return service.find_tenant(session, domain_name)
