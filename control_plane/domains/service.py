"""What can be done with a tenant's domains."""

import datetime
import secrets
import uuid
from collections.abc import Collection

from sqlalchemy import ColumnElement, Select, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import clock, locks, pagination, tenancy
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order
from control_plane.domains import names
from control_plane.domains.events import DomainRemoved, DomainVerified
from control_plane.domains.models import CLAIM, Domain, Method

CHECK_EVERY = datetime.timedelta(hours=24)
"""How often the DNS is asked whether it still proves a name."""

_LOCK = 0x5975_446F


def list_domains(
    session: Session,
    tenant_id: uuid.UUID,
    *,
    page: int,
    page_size: int,
    sort: Order = (),
    is_verified: bool | None = None,
) -> Page[Domain]:
    """Return a tenant's domains, the oldest first unless *sort* says otherwise."""
    tenants.get_tenant(session, tenant_id)
    query = select(Domain).where(Domain.tenant_id == tenant_id)
    if is_verified is not None:
        query = query.where(Domain.is_verified.is_(is_verified))
    query = query.order_by(*pagination.ordering(Domain, sort))
    return pagination.page(session, query, page, page_size)


def get_domain(session: Session, tenant_id: uuid.UUID, domain_id: uuid.UUID) -> Domain:
    """Return one domain of a tenant.

    Raises:
        NotFound: the tenant has no such domain.
    """
    domain = session.get(Domain, domain_id)
    if domain is None or domain.tenant_id != tenant_id:
        raise NotFound("domain")
    return domain


def find_tenant(session: Session, domain_name: str) -> uuid.UUID | None:
    """Return the tenant that has proved a name, however it is written; None when there is none."""
    try:
        name = names.normalise(domain_name)
    except ValueError:
        return None
    hosts = verified_hosts(session, [name, names.wildcard_of(name)])
    return hosts.get(name) or hosts.get(names.wildcard_of(name))


def add_domain(
    session: Session, tenant_id: uuid.UUID, *, domain_name: str, is_primary: bool | None
) -> Domain:
    """Claim a name for a tenant; his first domain becomes the primary one unless told otherwise.

    Raises:
        Conflict: the tenant has the name already.
        Invalid: a wildcard is to be the primary domain.
    """
    tenants.get_tenant(session, tenant_id)
    known = session.scalars(select(Domain).where(Domain.tenant_id == tenant_id)).all()
    if any(domain.domain_name == domain_name for domain in known):
        raise Conflict("domain_exists", f"This tenant has {domain_name} already.")
    is_one = not names.is_wildcard(domain_name)
    if is_primary and not is_one:
        raise Invalid.field("isPrimary", "A wildcard cannot be the primary domain.")
    if is_primary is None:
        is_primary = is_one and not any(domain.is_primary for domain in known)
    if is_primary:
        _clear_primary(session, tenant_id)
    domain = Domain(
        tenant_id=tenant_id,
        domain_name=domain_name,
        is_primary=is_primary,
        verification_token=secrets.token_hex(16),
    )
    session.add(domain)
    session.flush()
    return domain


def make_primary(session: Session, domain: Domain) -> Domain:
    """Make *domain* its tenant's primary one.

    Raises:
        Conflict: it is a wildcard, which is no place to be sent to.
    """
    if names.is_wildcard(domain.domain_name):
        raise Conflict("wildcard_domain", "A wildcard cannot be the primary domain.")
    _clear_primary(session, domain.tenant_id)
    domain.is_primary = True
    session.flush()
    return domain


def remove_domain(session: Session, domain: Domain) -> None:
    """Give a name up."""
    if domain.is_verified:
        emit(session, DomainRemoved(tenant_id=domain.tenant_id, domain_name=domain.domain_name))
    session.delete(domain)
    session.flush()


def remove_domains(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Give up to *limit* names of a tenant up; return how many."""
    domains = session.scalars(domains_of(tenant_id).limit(limit)).all()
    for domain in domains:
        remove_domain(session, domain)
    return len(domains)


def domains_of(*tenant_ids: uuid.UUID) -> Select[Domain]:
    """Return the query for the domains of tenants, the oldest first."""
    return select(Domain).where(Domain.tenant_id.in_(tenant_ids)).order_by(Domain.id)


def verify_domain(session: Session, domain: Domain, method: Method) -> Domain:
    """Let the name route to its tenant; who may say that it is his is the caller's decision.

    By hand also a name above or below one of another tenant's can be verified: so a platform gives
    its tenants names of its own.

    Raises:
        Conflict: another tenant has verified the name, or one above or below it, before.
    """
    if domain.is_verified:
        return domain
    # One at a time: nobody verifies a name while somebody does the one above it.
    locks.hold(session, _LOCK)
    taken = Conflict("domain_taken", "Another tenant has verified this name.")
    if method is Method.DNS and _has_relatives(session, domain):
        raise Conflict(
            "domain_taken",
            "Another tenant has verified a name above or below this one: ask the platform's "
            "operator to verify it by hand.",
        )
    domain.is_verified = True
    domain.verified_at = clock.now()
    domain.verification_method = method
    domain.check_at = domain.verified_at + CHECK_EVERY if method is Method.DNS else None
    domain.expires_at = None
    try:
        session.flush()
    except IntegrityError as error:  # the index on verified names lets one tenant have it
        raise taken from error
    emit(session, DomainVerified(tenant_id=domain.tenant_id, domain_name=domain.domain_name))
    return domain


def withdraw(session: Session, domain: Domain) -> None:
    """Let a name route no longer; it is a claim again, and may be proved again."""
    domain.is_verified = False
    domain.verified_at = domain.verification_method = None
    domain.check_at = domain.missing_since = None
    domain.expires_at = clock.now() + CLAIM
    session.flush()
    emit(session, DomainRemoved(tenant_id=domain.tenant_id, domain_name=domain.domain_name))


def verified_hosts(session: Session, names: Collection[str] | None) -> dict[str, uuid.UUID]:
    """Return verified name to tenant, for *names* or, with None, for all."""
    query = select(Domain.domain_name, Domain.tenant_id).where(Domain.is_verified.is_(True))
    if names is not None:
        query = query.where(Domain.domain_name.in_(names))
    return {name: tenant_id for name, tenant_id in session.execute(query)}  # noqa: C416 - a Row


def verified_names(session: Session, after: str | None, limit: int) -> list[str]:
    """Return up to *limit* verified names that come behind *after*."""
    verified = Domain.is_verified.is_(True)
    return pagination.keys_after(session, Domain.domain_name, after, limit, verified)


def _has_relatives(session: Session, domain: Domain) -> bool:
    """Tell whether another tenant has verified a name above or below this one."""
    base, column = names.base(domain.domain_name), Domain.domain_name
    held = [base, *names.above(base)]
    held += [names.WILDCARD + name for name in held]
    related: ColumnElement[bool] = or_(
        column.in_(held), column.endswith("." + base, autoescape=True)
    )
    theirs = Domain.is_verified.is_(True), Domain.tenant_id != domain.tenant_id
    with tenancy.platform_context():
        return session.scalar(select(Domain.id).where(*theirs, related).limit(1)) is not None


def _clear_primary(session: Session, tenant_id: uuid.UUID) -> None:
    session.execute(
        update(Domain)
        .where(Domain.tenant_id == tenant_id, Domain.is_primary.is_(True))
        .values(is_primary=False, version=Domain.version + 1)
    )
