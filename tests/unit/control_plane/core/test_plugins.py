"""Rooms declare what they add, parts join their section, and contradictions are refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from marshmallow import Schema
from sqlalchemy.orm import Session

from control_plane.contract import SECTIONS
from control_plane.core import plugins
from control_plane.core.auth import Permission
from control_plane.core.plugins import PluginError, Section, SectionPart, hookimpl

SECTION = Section(
    "things",
    Schema,
    compile=lambda _session, _ids: {"a": {"status": "on"}, "b": {"status": "on"}, "c": None},
    ids=lambda _session, _after, _limit: ["a", "b", "c"],
    dirty={"owner.changed": lambda payload: [payload["id"]], "both.changed": lambda _: ["a"]},
)
PART = SectionPart(
    "things",
    compile=lambda _session, _ids: {"a": {"more": 1}, "c": {"more": 2}},
    dirty={"part.changed": lambda payload: payload["ids"], "both.changed": lambda _: ["b"]},
)


class Declaring:
    """A room that declares what it was given."""

    def __init__(self, **declared: list[Any]) -> None:
        self.declared = declared

    @hookimpl
    def yumen_permissions(self) -> list[Permission]:
        return self.declared.get("permissions", [])

    @hookimpl
    def yumen_config_sections(self) -> list[Section]:
        return self.declared.get("sections", [])

    @hookimpl
    def yumen_section_parts(self) -> list[SectionPart]:
        return self.declared.get("parts", [])


@pytest.fixture
def declare() -> Iterator[Any]:
    registered: list[Declaring] = []

    def register(**declared: list[Any]) -> None:
        room = Declaring(**declared)
        plugins.manager().register(room)
        registered.append(room)

    yield register
    for room in registered:
        plugins.manager().unregister(room)


def test_a_part_joins_the_documents_and_the_dirty_map(declare: Any) -> None:
    declare(parts=[PART])
    declare(sections=[SECTION])
    section = {each.name: each for each in plugins.config_sections()}["things"]
    compiled = section.compile(Session(), None)
    assert compiled == {"a": {"status": "on", "more": 1}, "b": {"status": "on"}, "c": None}
    assert section.dirty["owner.changed"]({"id": "x"}) == ["x"]
    assert section.dirty["part.changed"]({"ids": ["y"]}) == ["y"]
    assert set(section.dirty["both.changed"]({})) == {"a", "b"}


def test_a_part_of_nothing_is_refused(declare: Any) -> None:
    declare(parts=[PART])
    with pytest.raises(PluginError, match="no configuration section things"):
        plugins.config_sections()


def test_a_section_has_one_owner(declare: Any) -> None:
    declare(sections=[SECTION])
    declare(sections=[SECTION])
    with pytest.raises(PluginError, match="section things is declared twice"):
        plugins.config_sections()


def test_a_permission_is_declared_once(declare: Any) -> None:
    declare(permissions=[Permission("tenants:read", "Again.")])
    with pytest.raises(PluginError, match="permission tenants:read is declared twice"):
        plugins.permissions()


def test_the_rooms_declare_the_sections_of_the_contract() -> None:
    assert {each.name: each.schema for each in plugins.config_sections()} == SECTIONS
