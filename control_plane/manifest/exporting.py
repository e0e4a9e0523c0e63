"""Reads the whole configuration out of the database."""

import uuid
from collections.abc import Iterator

from sqlalchemy.orm import Session

from control_plane.core import tenancy, tenant_schemas
from control_plane.core.manifest import Kind, Row
from control_plane.manifest import kinds
from control_plane.manifest.files import TENANTS, Object
from control_plane.manifest.kinds import Names, SecretNames


def exported(session: Session) -> Iterator[tuple[str, Iterator[Object]]]:
    """Yield each section of the manifest with its objects, read one after the other.

    The transaction sees one state of things, however long it takes.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    export = _Export(session)
    with tenancy.platform_context(), tenant_schemas.none_moving(session):
        for kind in kinds.of_platform():
            yield kind.section, export.objects(kind, None, "")


class _Export:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._names = Names(session)
        self._secrets = SecretNames()

    def objects(self, kind: Kind, tenant_id: uuid.UUID | None, above: str) -> Iterator[Object]:
        for row in kind.rows(self._session, tenant_id):
            value = self._names.name(kind, kinds.shown(kind, row))
            value = {key: value[key] for key in kind.keys} | value
            place = f"{above}{kind.section}/{kinds.key_of(kind, value)}"
            value |= self._secrets_of(kind, row, place)
            if kind.section == TENANTS:
                value |= self._inside(row, f"{place}/")
            yield value

    def _inside(self, tenant: Row, above: str) -> Object:
        with tenancy.tenant_context(tenant.id):
            found = {
                kind.section: list(self.objects(kind, tenant.id, above))
                for kind in kinds.of_tenant()
            }
        return {section: objects for section, objects in found.items() if objects}

    def _secrets_of(self, kind: Kind, row: Row, place: str) -> Object:
        return {
            name: self._secrets.reference(f"{place}/{name}")
            for name, attribute in kind.secrets.items()
            if getattr(row, attribute.key) is not None
        }
