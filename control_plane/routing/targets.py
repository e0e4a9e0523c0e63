"""The targets of upstreams: where they lead, and who else may know them."""

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy.orm import Session

from control_plane.core import base_urls, outgoing, plugins
from control_plane.core.addresses import networks
from control_plane.core.dns import Resolver
from control_plane.core.errors import Invalid
from control_plane.core.settings import Settings

Target = Mapping[str, Any]
_THREADS = 8


def one_name(targets: Sequence[Target]) -> str | None:
    """Return the host name that all targets have, None when there is no such one."""
    hosts = {target["host"] for target in targets}
    if len(hosts) != 1 or _url("https", targets[0]).address is not None:
        return None
    return str(targets[0]["host"])


def discovered(
    session: Session, discovery: str, tenant_id: uuid.UUID | None
) -> Sequence[Target] | None:
    """Return the targets that a plugin knows by a name, None when none does."""
    found: Sequence[Target] | None = plugins.manager().hook.yumen_upstream_targets(
        session=session, discovery=discovery, tenant_id=tenant_id
    )
    return found


def refuse_private(scheme: str, targets: Sequence[Target], settings: Settings) -> None:
    """Check where targets that somebody wants to save lead: see `outgoing.refuse_private`.

    Raises:
        Invalid: one must not be called.
    """
    allowed = networks(settings.security.upstream_allow)
    resolver = Resolver(settings.dns.servers)

    def problem(target: Target) -> str | None:
        try:
            outgoing.judged(_url(scheme, target), allowed, resolver)
        except ValueError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(_THREADS) as threads:
        problems = list(threads.map(problem, targets))
    errors = [
        {"pointer": f"#/targets/{number}/host", "detail": f"The target {told}."}
        for number, told in enumerate(problems)
        if told is not None
    ]
    if errors:
        raise Invalid(errors)


def _url(scheme: str, target: Target) -> base_urls.BaseUrl:
    host = f"[{target['host']}]" if ":" in target["host"] else target["host"]
    return base_urls.parse(f"{scheme}://{host}:{target['port']}")
