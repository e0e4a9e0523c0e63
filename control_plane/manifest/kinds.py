"""The kinds of objects that rooms declare, and how one of a kind looks in a manifest."""

import functools
import hashlib
import re
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from control_plane.core import plugins
from control_plane.core.manifest import Kind, Row
from control_plane.manifest.files import TENANTS, Object

SECRET_PREFIX = "SECRET_"  # noqa: S105 - the name of a variable


def of_platform() -> list[Kind]:
    """Return the kinds at the top of a manifest; tenants, which refer to the others, are last."""
    kinds = [kind for kind in _declared() if kind.of_platform]
    return sorted(kinds, key=lambda kind: kind.section == TENANTS)


def of_tenant() -> list[Kind]:
    """Return the kinds inside each tenant."""
    return [kind for kind in _declared() if kind.of_tenant]


@functools.cache
def _declared() -> tuple[Kind, ...]:
    kinds: list[Kind] = plugins.declared("yumen_manifest_kinds")
    for of_same_place in ("of_platform", "of_tenant"):
        sections = [kind.section for kind in kinds if getattr(kind, of_same_place)]
        if len(set(sections)) < len(sections):
            raise plugins.PluginError("Two kinds have one section of the manifest.")
    return tuple(kinds)


def shown(kind: Kind, row: Row) -> Object:
    """Return *row* as its schema dumps it: without secrets, with the ids of what it refers to."""
    found: Object = kind.schema().dump(row)
    return found


class Names:
    """What stands in a manifest for the ids of referenced objects."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str, dict[str, str]] = {}

    def name(self, kind: Kind, value: Object) -> Object:
        """Return *value* with names in the place of ids."""
        return _replaced(kind, value, self._names)

    def resolve(self, kind: Kind, value: Object) -> Object:
        """Return *value* with ids in the place of names; what is no name is left to the schema."""
        return _replaced(kind, value, lambda section: _turned(self._names(section)))

    def forget(self, section: str) -> None:
        """Look the section's objects up again: some were added or changed."""
        self._known.pop(section, None)

    def _names(self, section: str) -> dict[str, str]:
        if section not in self._known:
            (kind,) = (each for each in of_platform() if each.section == section)
            rows = kind.rows(self._session, None)
            self._known[section] = {str(row.id): shown(kind, row)[kind.keys[-1]] for row in rows}
        return self._known[section]


def _turned(names: dict[str, str]) -> dict[str, str]:
    return {name: key for key, name in names.items()}


def _replaced(kind: Kind, value: Object, of: Callable[[str], dict[str, str]]) -> Object:
    for path, section in kind.references.items():
        value = _replaced_at(value, path.split("."), of(section))
    return value


def _replaced_at(value: Any, path: list[str], names: dict[str, str]) -> Any:
    if path:
        if not isinstance(value, dict) or path[0] not in value:
            return value
        return {**value, path[0]: _replaced_at(value[path[0]], path[1:], names)}
    if isinstance(value, list):
        return [_replaced_at(each, [], names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


class SecretNames:
    """Gives each stored secret the environment variable that stands for it in an export."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def reference(self, place: str) -> dict[str, str]:
        """Return what stands for the secret at *place*, such as `models/gpt/apiKey`."""
        name = SECRET_PREFIX + re.sub(r"[^A-Z0-9]+", "_", place.upper())
        if name in self._given:
            # Two names that differ in signs only.
            name += "_" + hashlib.sha256(place.encode()).hexdigest()[:8].upper()
        self._given.add(name)
        return {"env": name}


def key_of(kind: Kind, value: Object) -> str:
    """Return how an object is called in messages and in the names of its secrets."""
    named = [value[key] for key in reversed(kind.keys) if value.get(key) is not None]
    return str(named[0]) if named else "?"
