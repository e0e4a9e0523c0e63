"""Makes the configuration what a manifest says, all of it or nothing."""

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from marshmallow import ValidationError
from sqlalchemy.orm import Session

from control_plane.core import locks, tenancy
from control_plane.core.encryption import reveal
from control_plane.core.errors import ApiError, FieldErrors
from control_plane.core.manifest import Kind, Row, Values
from control_plane.core.problems import field_errors
from control_plane.manifest import kinds
from control_plane.manifest.files import (
    TENANTS,
    Entry,
    ManifestError,
    Object,
    Sections,
    entries,
    secret_of,
)
from control_plane.manifest.kinds import Names

_LOCK = 0x59754D6170706C79
SECRET = "(secret)"  # noqa: S105 - what is shown instead of one


@dataclasses.dataclass(frozen=True)
class Change:
    """What became of one object."""

    sign: str
    """`+` created, `~` changed, `-` deleted."""
    name: str
    fields: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    """Wire name to what was and what is, for a changed object."""


@dataclasses.dataclass
class Outcome:
    """What was done, or would be."""

    changes: list[Change] = dataclasses.field(default_factory=list)
    unchanged: int = 0
    kept_secrets: list[str] = dataclasses.field(default_factory=list)
    """Secrets that stay as they are, because what the manifest names for them is not there."""


class RefusedError(Exception):
    """A manifest cannot be applied; each problem names the file, the object and the field."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))


def apply(session: Session, sections: Sections, *, prune: bool = False) -> Outcome:
    """Make the configuration what *sections* say, in the session's transaction.

    With *prune* what a given section does not name is deleted; a section that is absent is left
    alone.

    Raises:
        RefusedError: something in it cannot be; the transaction must be rolled back.
    """
    locks.hold(session, _LOCK)
    work = _Apply(session, prune=prune)
    work.sections(kinds.of_platform(), sections, _Place())
    if not work.problems:
        work.delete_rest()
    if work.problems:
        raise RefusedError(work.problems)
    return work.outcome


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where sections stand: in the platform, or in one tenant."""

    tenant_id: uuid.UUID | None = None
    path: str = ""

    def name(self, kind: Kind, value: Object) -> str:
        """Return how an object there is called."""
        return f"{self.path}{kind.section}/{kinds.key_of(kind, value)}"

    def scope(self) -> AbstractContextManager[None]:
        """Return the scope in which its objects are read and written."""
        if self.tenant_id is None:
            return tenancy.platform_context()
        return tenancy.tenant_context(self.tenant_id)


class _Apply:
    def __init__(self, session: Session, *, prune: bool) -> None:
        self.outcome = Outcome()
        self.problems: list[str] = []
        self._session = session
        self._prune = prune
        self._names = Names(session)
        self._rest: list[tuple[Kind, Row, _Place, str]] = []

    def sections(self, known: list[Kind], given: Sections, place: _Place) -> None:
        """Apply the sections of one place; what cannot be is noted, and the rest looked at too."""
        for section in sorted(given.keys() - {kind.section for kind in known}):
            there = ", ".join(kind.section for kind in known)
            self.problems.append(f"{place.path}{section}: there is no such section, but {there}.")
        with place.scope():
            for kind in known:
                if kind.section in given:
                    self._section(kind, given[kind.section], place)

    def delete_rest(self) -> None:
        """Delete what the manifest does not name, what refers to others first."""
        for kind, row, place, name in reversed(self._rest):
            with place.scope(), self._noting(name):
                kind.delete(self._session, row)
            self.outcome.changes.append(Change("-", name))

    def _section(self, kind: Kind, given: list[Entry], place: _Place) -> None:
        stored = [
            (self._names.name(kind, kinds.shown(kind, row)), row)
            for row in kind.rows(self._session, place.tenant_id)
        ]
        named: set[tuple[str, Any]] = set()
        found: list[Row] = []
        for entry in given:
            value = entry.value
            with self._noting(f"{entry.file}: {place.name(kind, value)}"):
                value, inside = _divided(kind, entry)
                row = _find(kind, value, stored, named)
                row = self._object(kind, value, row, place, Path(entry.file).parent)
                found.append(row)
                if kind.section == TENANTS:
                    name = place.name(kind, value)
                    self.sections(kinds.of_tenant(), inside, _Place(row.id, f"{name}/"))
        self._names.forget(kind.section)
        if self._prune:
            self._rest += [
                (kind, row, place, place.name(kind, value))
                for value, row in stored
                if row not in found
            ]

    def _object(
        self, kind: Kind, value: Object, row: Row | None, place: _Place, folder: Path
    ) -> Row:
        """Create or change one object, unless it is as it shall be."""
        name = place.name(kind, value)
        secrets = self._secrets(kind, value, row, name, folder)
        open_fields = {key: each for key, each in value.items() if key not in kind.secrets}
        given = {**self._names.resolve(kind, open_fields), **secrets}
        values: Values = kind.schema().load(given)
        if row is None:
            self.outcome.changes.append(Change("+", name))
            return kind.create(self._session, place.tenant_id, values)
        fields = self._differences(kind, values, row, secrets)
        if fields:
            kind.update(self._session, row, values)
            self.outcome.changes.append(Change("~", name, fields))
        else:
            self.outcome.unchanged += 1
        return row

    def _secrets(
        self, kind: Kind, value: Object, row: Row | None, name: str, folder: Path
    ) -> dict[str, str | None]:
        """Return the secrets that the object shall have; those that stay are not among them."""
        found: dict[str, str | None] = {}
        for field, attribute in kind.secrets.items():
            reference = value.get(field)
            if reference is None:
                found |= {field: None} if field in value else {}
                continue
            try:
                secret = secret_of(reference, folder, os.environ)
            except ManifestError as error:
                raise ManifestError(f"{field}: {error}") from error
            if secret is not None:
                found[field] = secret
            elif row is not None and getattr(row, attribute.key) is not None:
                self.outcome.kept_secrets.append(f"{name}/{field}")
            else:
                raise ManifestError(f"{field}: there is nothing in {reference}.")
        return found

    def _differences(
        self, kind: Kind, values: Values, row: Row, secrets: Mapping[str, str | None]
    ) -> dict[str, tuple[Any, Any]]:
        current = self._names.name(kind, kinds.shown(kind, row))
        fields = dict(_unequal(current, self._names.name(kind, kinds.shown(kind, values))))
        for name, secret in secrets.items():
            if reveal(row, kind.secrets[name]) != secret:
                fields[name] = (SECRET, None if secret is None else SECRET)
        return fields

    @contextlib.contextmanager
    def _noting(self, where: str) -> Iterator[None]:
        """Note what is wrong with one object."""
        try:
            yield
        except ValidationError as error:
            self.problems += _told(where, field_errors(error.messages))
        except ManifestError as error:
            self.problems.append(f"{where}: {error}")
        except ApiError as error:
            # What the database refused has ended the transaction: there is no going on.
            told = _told(where, error.errors) or [f"{where}: {error.detail}"]
            raise RefusedError([*self.problems, *told]) from error


def _unequal(
    current: Object, wanted: Object, above: str = ""
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield where *wanted* says otherwise than *current*; a dot leads inside."""
    for name, value in wanted.items():
        before = current.get(name)
        if isinstance(before, dict) and isinstance(value, dict) and before.keys() == value.keys():
            yield from _unequal(before, value, f"{above}{name}.")
        elif before != value:
            yield f"{above}{name}", (before, value)


def _divided(kind: Kind, entry: Entry) -> tuple[Object, Sections]:
    """Return an entry's own fields, and the sections inside it."""
    if kind.section != TENANTS:
        return entry.value, {}
    sections = {each.section for each in kinds.of_tenant()}
    own = {name: value for name, value in entry.value.items() if name not in sections}
    inside = {
        section: entries(entry.file, section, entry.value[section])
        for section in sections & entry.value.keys()
    }
    return own, inside


def _find(
    kind: Kind, value: Object, stored: list[tuple[Object, Row]], named: set[tuple[str, Any]]
) -> Row | None:
    """Return the row that *value* is about, None when it is new."""
    key = next((key for key in kind.keys if value.get(key) is not None), None)
    if key is None:
        raise ManifestError(f"{kind.keys[-1]}: is missing.")
    if (key, str(value[key])) in named:
        raise ManifestError("stands in the manifest twice.")
    named.add((key, str(value[key])))
    rows = [row for shown, row in stored if shown.get(key) == value[key]]
    if len(rows) > 1:
        raise ManifestError(f"several have this {key}: say which by its {kind.keys[0]}.")
    return rows[0] if rows else None


def _told(where: str, errors: FieldErrors) -> list[str]:
    return [f"{where}{each['pointer'].removeprefix('#')}: {each['detail']}" for each in errors]
