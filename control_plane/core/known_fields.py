"""The register of fields that roles can name: what the schemas of all rooms say that they are."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping

from control_plane.core import field_rights, plugins
from control_plane.core.auth import Access
from control_plane.core.schemas import Schema


@dataclasses.dataclass(frozen=True)
class KnownField:
    """A field of what the API shows or takes."""

    resource: str
    field: str
    contact: bool
    """It is contact data, which can be masked."""

    @property
    def name(self) -> str:
        """What roles call it."""
        return f"{self.resource}.{self.field}"

    @property
    def id(self) -> str:
        """What others refer to it by: its name, which never changes."""
        return self.name

    @property
    def access(self) -> list[Access]:
        """How much of it a role can give."""
        return [each for each in Access if each is not Access.MASKED or self.contact]


@functools.cache
def known_fields() -> Mapping[str, KnownField]:
    """Return all fields, by name and in the order of names."""
    plugins.manager()  # loads the rooms
    found: dict[str, KnownField] = {}
    for schema in _schemas(Schema):
        masks = field_rights.masks_of(schema)
        for attribute, field in schema._declared_fields.items():  # noqa: SLF001
            name = field_rights.wire_name(attribute, field)
            if schema.resource is None or name in schema.always_shown:
                continue
            known = KnownField(schema.resource, name, name in masks)
            # Of two schemas one may only take the field: a form needs no mask.
            if known.contact or known.name not in found:
                found[known.name] = known
    return dict(sorted(found.items()))


@functools.cache
def masked_contacts() -> Mapping[str, Access]:
    """Return what keeps contact data from somebody, and nothing else."""
    return {name: Access.MASKED for name, field in known_fields().items() if field.contact}


def _schemas(base: type[Schema]) -> Iterator[type[Schema]]:
    """Yield the schemas that say of which resource they are, those derived from others too."""
    for schema in base.__subclasses__():
        yield schema
        yield from _schemas(schema)
