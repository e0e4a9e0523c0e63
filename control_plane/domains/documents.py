"""The section `hosts` of the configuration: a verified name and whose requests arrive there."""

from collections.abc import Collection
from typing import Any

from sqlalchemy.orm import Session

from control_plane.contract.documents import HostDocument
from control_plane.core.plugins import Section
from control_plane.domains import service
from control_plane.domains.events import DomainRemoved, DomainVerified


def compile_hosts(
    session: Session, ids: Collection[str] | None
) -> dict[str, dict[str, Any] | None]:
    """Return the documents of the host names *ids*, None for a name that routes nowhere."""
    found = service.verified_hosts(session, ids)
    documents: dict[str, dict[str, Any] | None] = dict.fromkeys(ids or ())
    documents |= {name: {"tenant": str(tenant_id)} for name, tenant_id in found.items()}
    return documents


def _name(payload: dict[str, Any]) -> Collection[str]:
    return [payload["domain_name"]]


SECTION = Section(
    name="hosts",
    schema=HostDocument,
    compile=compile_hosts,
    ids=service.verified_names,
    dirty={DomainVerified.name: _name, DomainRemoved.name: _name},
)
