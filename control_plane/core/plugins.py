"""Loads the rooms and what they declare; a room is a plugin that is always there."""

import dataclasses
import functools
import importlib
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy
from sqlalchemy.orm import Session

from control_plane import rooms
from control_plane.core import hookspecs
from control_plane.core.auth import Permission
from control_plane.core.settings import Settings

if TYPE_CHECKING:
    import redis
    from marshmallow import Schema

    from control_plane.core.database import Database

hookimpl = hookspecs.hookimpl

Document = dict[str, Any]
DirtyMap = Mapping[str, Callable[[dict[str, Any]], Collection[str]]]
"""Event name to a function that tells, from the event's payload, the ids of changed documents."""


@dataclasses.dataclass(frozen=True)
class Section:
    """The published documents that a room owns.

    `compile(session, ids)` returns the documents of *ids*, of all when *ids* is None; None as a
    document means that it is removed. `ids(session, after, limit)` returns, in an order of its own,
    up to *limit* ids behind *after*; there may be no document of an id. Both run in the platform's
    scope.
    """

    name: str
    schema: "type[Schema]"
    compile: Callable[[Session, Collection[str] | None], dict[str, Document | None]]
    ids: Callable[[Session, str | None, int], Sequence[str]]
    dirty: DirtyMap


@dataclasses.dataclass(frozen=True)
class SectionPart:
    """What a room adds to the documents of another room's section.

    `compile(session, ids)` returns, by document id, the top-level fields to add, for all documents
    when *ids* is None; a document without anything to add is left out. `dirty` works as a
    section's and yields the *owner's* document ids: ai_models returns tenant ids there.
    """

    section: str
    compile: Callable[[Session, Collection[str] | None], dict[str, Document]]
    dirty: DirtyMap


@dataclasses.dataclass(frozen=True)
class Service:
    """What calls go to: its key (`model:<id>`, `upstream:<id>`), its name, and whose it is."""

    key: str
    name: str
    owner: uuid.UUID | None
    """The tenant; None is the platform."""


@dataclasses.dataclass(frozen=True)
class JobContext:
    """What a job works with."""

    settings: Settings
    database: "Database"
    redis: "redis.Redis"


@dataclasses.dataclass(frozen=True)
class Job:
    """What the worker runs every *every_seconds*."""

    name: str
    every_seconds: float
    run: Callable[[JobContext], None]


class PluginError(Exception):
    """Rooms or plugins contradict each other."""


@functools.cache
def manager() -> pluggy.PluginManager:
    """Return the plugin manager with all rooms registered."""
    plugins = pluggy.PluginManager(hookspecs.PROJECT)
    plugins.add_hookspecs(hookspecs)
    for room in rooms.ROOMS:
        plugins.register(importlib.import_module(f"{room}.plugin"), name=room)
    plugins.check_pending()
    return plugins


def declared(hook: str) -> list[Any]:
    """Return what all rooms declare through *hook*, in the order of the rooms."""
    # pluggy calls the last registered first.
    answers = reversed(getattr(manager().hook, hook)())
    return [item for answer in answers for item in answer]


def permissions() -> list[Permission]:
    """Return the permissions of all rooms.

    Raises:
        PluginError: two have one name.
    """
    found: list[Permission] = declared("yumen_permissions")
    _refuse_duplicates("permission", (permission.name for permission in found))
    return found


def config_sections() -> list[Section]:
    """Return the sections of the configuration, each with the parts that other rooms add.

    Raises:
        PluginError: two sections have one name, or a part belongs to no section.
    """
    found: list[Section] = declared("yumen_config_sections")
    _refuse_duplicates("configuration section", (section.name for section in found))
    sections = {section.name: section for section in found}
    for part in declared("yumen_section_parts"):
        if part.section not in sections:
            raise PluginError(f"There is no configuration section {part.section} to add to.")
        sections[part.section] = _with_part(sections[part.section], part)
    return list(sections.values())


def _with_part(section: Section, part: SectionPart) -> Section:
    """Return *section* whose documents carry what *part* adds."""

    def compile_all(session: Session, ids: Collection[str] | None) -> dict[str, Document | None]:
        additions = part.compile(session, ids)
        return {
            key: None if document is None else {**document, **additions.get(key, {})}
            for key, document in section.compile(session, ids).items()
        }

    return dataclasses.replace(
        section, compile=compile_all, dirty=_union(section.dirty, part.dirty)
    )


def _union(first: DirtyMap, second: DirtyMap) -> DirtyMap:
    """Return a map under which a document is dirty when either says so."""

    def both(name: str) -> Callable[[dict[str, Any]], Collection[str]]:
        return lambda payload: {*first[name](payload), *second[name](payload)}

    shared = {name: both(name) for name in first.keys() & second.keys()}
    return {**first, **second, **shared}


def _refuse_duplicates(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PluginError(f"The {kind} {name} is declared twice.")
        seen.add(name)
