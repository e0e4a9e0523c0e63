"""Every extension point, in the order of a process's life. Rooms and plugins implement them alike.

Kinds: *declare* (`yumen_<nouns>`: called once, returns data), *react* (`yumen_on_<event>`:
something happened, runs in the transaction it is handed), *collect* (all answers are taken
together) and *decide* (`yumen_<verb>`: the first answer wins).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    import click
    from flask import Flask
    from sqlalchemy.orm import Session

    from control_plane.core.api import Blueprint
    from control_plane.core.audit_entries import Entry
    from control_plane.core.auth import Actor, Permission
    from control_plane.core.figures import Figures
    from control_plane.core.manifest import Kind
    from control_plane.core.plugins import Job, Section, SectionPart, Service

PROJECT = "yumen"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


# -- declare: what a room adds ---------------------------------------------------------------------


@hookspec
def yumen_permissions() -> Iterable[Permission]:
    """Return the permissions that the room's routes require."""
    return ()


@hookspec
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's blueprints; they are mounted under `/api`."""
    return ()


@hookspec
def yumen_config_sections() -> Iterable[Section]:
    """Return the sections of the published configuration that the room owns."""
    return ()


@hookspec
def yumen_section_parts() -> Iterable[SectionPart]:
    """Return what the room adds to the documents of a section that another room owns.

    So ai_models adds `models` to the documents of the section `tenants`, whose owner knows nothing
    of AI models: see `SectionPart`.
    """
    return ()


@hookspec
def yumen_jobs() -> Iterable[Job]:
    """Return what the worker runs at intervals for the room."""
    return ()


@hookspec
def yumen_figures() -> Iterable[Figures]:
    """Return what the worker tells Prometheus of what the room holds."""
    return ()


@hookspec
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return the kinds of objects that `yumen export` writes and `yumen apply` makes."""
    return ()


@hookspec
def yumen_commands(cli: click.Group) -> None:
    """Add the room's commands to `yumen`. Called when the command line starts."""


# -- react: what a room hears ----------------------------------------------------------------------


@hookspec
def yumen_on_startup(app: Flask) -> None:
    """Prepare the control plane's application; called once, before its blueprints are mounted."""


@hookspec
def yumen_record(session: Session, entries: Sequence[Entry]) -> None:
    """Keep what the session's transaction did; called once before it commits, if it did anything.

    Who did it is told by `core.occasions`.
    """


# -- collect: what every room is asked; all answers are taken --------------------------------------


@hookspec
def yumen_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of those of *ids* that are the room's, to show them to people."""


@hookspec
def yumen_services(session: Session, tenant_id: uuid.UUID | None, name: str) -> Collection[str]:
    """Return the keys (`model:<id>`, `upstream:<id>`) of the room's services that *name* names.

    A service is named by its name or by its key. With a tenant only those that it may call count.
    """


@hookspec
def yumen_known_services(session: Session, tenant_id: uuid.UUID | None) -> Iterable[Service]:
    """Return the room's services that can be called; with a tenant only those that it may call."""


@hookspec
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield what the room holds of the tenant: a kind such as `domain`, and objects of that kind.

    The objects are JSON as the API shows them, without secrets, a few hundred at once: see
    `core.pagination.batches`. The transaction ends whenever something was yielded.
    """


@hookspec
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* of the room's rows of the tenant, and return how many were deleted.

    Emit the events that unpublish their documents. Called in the tenant's scope, again and again,
    each time in a transaction of its own, until no room deletes anything; then the tenant's own row
    goes. A room that keeps a row with a foreign key to the tenant prevents that. What must be kept
    after a tenant is gone, such as usage, has no such key and stays.
    """


@hookspec
def yumen_tenant_has(
    session: Session, tenant_id: uuid.UUID, kind: str, object_id: uuid.UUID
) -> bool:
    """Tell whether the tenant has, in this room, the thing of *kind* that *object_id* names.

    Kinds: `key`, what usage shows as a caller: an API key, or an issuer in its place; `route`;
    `upstream`.
    """


# -- decide: what a room answers -------------------------------------------------------------------


@hookspec(firstresult=True)
def yumen_authenticate(session: Session, authorization: str) -> Actor | None:
    """Return who the `Authorization` header of a request stands for.

    Raise `Unauthorized` when it is of a known kind but not good; return None when it is of another
    kind.
    """


@hookspec(firstresult=True)
def yumen_tenant_domains(
    session: Session, tenant_ids: Collection[uuid.UUID]
) -> Mapping[uuid.UUID, Sequence[dict[str, Any]]]:
    """Return the domains of those of the tenants that have any, as the API shows them."""


@hookspec(firstresult=True)
def yumen_tenant_of_domain(session: Session, domain_name: str) -> uuid.UUID | None:
    """Return the tenant that has proved this domain name, None when there is none."""


@hookspec(firstresult=True)
def yumen_unknown_models(session: Session, ids: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
    """Return those of *ids* that are not the id of an AI model."""


@hookspec(firstresult=True)
def yumen_upstream_targets(
    session: Session, discovery: str, tenant_id: uuid.UUID | None
) -> Sequence[Mapping[str, Any]] | None:
    """Return the targets that a plugin knows by the name *discovery*, None when it is not its own.

    Each is `{"host": …, "port": …, "weight": …}`. They are for an upstream of *tenant_id*, None for
    one of the platform; who may use what is the plugin's decision. When they change, it calls
    `routing.targets_changed`.
    """
