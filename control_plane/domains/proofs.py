"""Whether domains are still their tenants': asks the DNS, once before a name routes and then daily.

A claim that nobody proves lapses, so that forgotten ones do not pile up. A name that was proved by
the DNS stops routing when its record has been gone for `GRACE`: its owner may have sold it. Servers
that do not answer prove nothing either way.
"""

import datetime
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from control_plane.core import clock, tenancy
from control_plane.core.dns import DnsError, Resolver
from control_plane.core.plugins import JobContext
from control_plane.domains import service
from control_plane.domains.models import Domain

GRACE = datetime.timedelta(days=7)
"""How long the record of a verified name may be gone."""

_SOON = datetime.timedelta(hours=1)
_AT_ONCE = 200
_ASKED_TOGETHER = 8


def is_proved(resolver: Resolver, record: dict[str, str]) -> bool:
    """Tell whether the DNS has the *record* of a domain.

    Raises:
        DnsError: no server said anything of it.
    """
    return record["value"] in resolver.texts(record["name"])


def run_checks(context: JobContext) -> None:
    """Let claims lapse and look verified names up again, as the worker's job."""
    with tenancy.platform_context(), context.database.transaction() as session:
        _drop_lapsed(session)
    with tenancy.platform_context(), context.database.session(write=False) as session:
        due = {domain.id: domain.verification_record for domain in session.scalars(_due())}
    # Nothing of the database is held while the DNS is asked.
    resolver = Resolver(context.settings.dns.servers)
    with ThreadPoolExecutor(_ASKED_TOGETHER) as threads:
        answers = threads.map(lambda record: _ask(resolver, record), due.values())
    found = dict(zip(due, answers, strict=True))
    if found:
        with tenancy.platform_context(), context.database.transaction() as session:
            _apply(session, found)


def _drop_lapsed(session: Session) -> None:
    lapsed = select(Domain).where(Domain.is_verified.is_(False), Domain.expires_at <= clock.now())
    for domain in session.scalars(lapsed.limit(_AT_ONCE)):
        service.remove_domain(session, domain)


def _due() -> Select[Domain]:
    return (
        select(Domain)
        .where(Domain.is_verified.is_(True), Domain.check_at <= clock.now())
        .order_by(Domain.check_at)
        .limit(_AT_ONCE)
    )


def _ask(resolver: Resolver, record: dict[str, str]) -> bool | None:
    """Return whether the record is there, None when nobody says."""
    try:
        return is_proved(resolver, record)
    except DnsError:
        return None


def _apply(session: Session, found: dict[uuid.UUID, bool | None]) -> None:
    """Note what the DNS said; give up what has been missing for too long."""
    now = clock.now()
    _ask_again(session, [key for key, there in found.items() if there], now + service.CHECK_EVERY)
    _ask_again(session, [key for key, there in found.items() if not there], now + _SOON)
    told = [key for key, there in found.items() if there is not None]
    for domain in session.scalars(select(Domain).where(Domain.id.in_(told), Domain.is_verified)):
        if found[domain.id]:
            domain.missing_since = None
        elif domain.missing_since is None:
            domain.missing_since = now
        elif domain.missing_since <= now - GRACE:
            service.withdraw(session, domain)
    session.flush()


def _ask_again(session: Session, domain_ids: Collection[uuid.UUID], at: datetime.datetime) -> None:
    if domain_ids:
        session.execute(update(Domain).where(Domain.id.in_(domain_ids)).values(check_at=at))
