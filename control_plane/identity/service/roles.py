"""The verbs of custom roles."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import pagination, tenancy
from control_plane.core.auth import Permission, Role
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.known_fields import KnownField, known_fields
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order
from control_plane.identity import permissions
from control_plane.identity.events import RoleCreated, RoleDeleted, RoleUpdated
from control_plane.identity.models import CustomRole, RoleHolder, User
from control_plane.identity.service.rights import refuse_beyond


def create_role(
    session: Session,
    *,
    name: str,
    permissions: Iterable[str],
    field_permissions: Mapping[str, str] | None = None,
    description: str | None = None,
    tenant_id: uuid.UUID | None = None,
) -> CustomRole:
    """Make a role of a tenant, or of the platform; a tenant's user makes one of his own tenant.

    Raises:
        NotFound: the tenant does not exist, or is not the current scope's.
        Conflict: the name is taken.
        Invalid: the name is a built-in role's, or a permission cannot be in such a role.
        Forbidden: the role would give what the actor does not have.
    """
    tenant_id = tenants.owner_of(session, tenant_id)
    role = CustomRole(
        id=new_id(),
        tenant_id=tenant_id,
        name=name,
        description=description,
        permissions=[],
        field_permissions={},
    )
    _set_rights(role, permissions, field_permissions or {})
    _refuse_taken(session, role, name)
    session.add(role)
    _flush(session)
    emit(session, RoleCreated(role_id=role.id, tenant_id=role.tenant_id))
    return role


def get_role(session: Session, role_id: uuid.UUID) -> CustomRole:
    """Return a custom role that the current scope may see.

    Raises:
        NotFound: there is none.
    """
    role = session.scalar(select(CustomRole).where(CustomRole.id == role_id))
    if role is None:
        raise NotFound("role")
    return role


def give_role(session: Session, holder: RoleHolder, name: str, *, field: str = "role") -> None:
    """Give *holder*, whose tenant is set, the role that is known by *name* there.

    Raises:
        Invalid: there is no such role; the answer says so of *field*.
        Forbidden: the role gives what the actor does not have himself.
    """
    role = _find_role(session, name, holder.tenant_id, field)
    holder.built_in_role = role if isinstance(role, Role) else None
    holder.custom_role = role if isinstance(role, CustomRole) else None
    refuse_beyond(holder.permissions, holder.fields)


def list_roles(
    session: Session,
    *,
    page: int,
    page_size: int,
    sort: Order = (),
    tenant_id: uuid.UUID | None = None,
) -> Page[CustomRole]:
    """Return the custom roles that the current scope may see, oldest first by default."""
    query = select(CustomRole)
    if tenant_id is not None:
        query = query.where(CustomRole.tenant_id == tenants.get_tenant(session, tenant_id).id)
    query = query.order_by(*pagination.ordering(CustomRole, sort))
    return pagination.page(session, query, page, page_size)


def update_role(session: Session, role: CustomRole, **fields: Any) -> CustomRole:
    """Change a role; what its users may do changes with their next request.

    Raises:
        Conflict: the name is taken.
        Invalid: the name is a built-in role's, or a permission cannot be in such a role.
        Forbidden: the role gives, or would give, what the actor does not have.
    """
    refuse_beyond(role.gives, role.fields)
    _set_rights(
        role,
        fields.pop("permissions", role.permissions),
        fields.pop("field_permissions", role.field_permissions),
    )
    if fields.get("name", role.name) != role.name:
        _refuse_taken(session, role, fields["name"])
    for name, value in fields.items():
        setattr(role, name, value)
    _flush(session)
    emit(session, RoleUpdated(role_id=role.id, tenant_id=role.tenant_id))
    return role


def delete_role(session: Session, role: CustomRole) -> None:
    """Delete a role that nobody has.

    Raises:
        Conflict: somebody has it.
        Forbidden: the actor lacks one of its permissions.
    """
    refuse_beyond(role.gives, role.fields)
    in_use = Conflict("role_in_use", "Somebody has this role: give him another one first.")
    if session.scalar(select(User.id).where(User.custom_role_id == role.id).limit(1)) is not None:
        raise in_use
    session.delete(role)
    try:
        session.flush()
    except IntegrityError as error:  # it was given meanwhile: the foreign key of users refuses
        raise in_use from error
    emit(session, RoleDeleted(role_id=role.id, tenant_id=role.tenant_id))


def delete_tenant_roles(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* roles of a tenant that is being purged and has no users any more."""
    query = select(CustomRole.id).where(CustomRole.tenant_id == tenant_id).limit(limit)
    ids = session.scalars(query).all()
    session.execute(delete(CustomRole).where(CustomRole.id.in_(ids)))
    return len(ids)


def list_permissions(*, page: int, page_size: int) -> Page[Permission]:
    """Return what roles of the current scope can hold, by name."""
    found = sorted(permissions.of_scope(tenancy.current_tenant_id()), key=lambda each: each.name)
    first = (page - 1) * page_size
    return Page(items=found[first : first + page_size], total=len(found))


def _find_role(
    session: Session, name: str, tenant_id: uuid.UUID | None, field: str
) -> Role | CustomRole:
    if name in {each.value for each in Role}:
        return Role(name)
    query = select(CustomRole).where(CustomRole.name == name, _is_of(tenant_id))
    role = session.scalar(query)
    if role is None:
        detail = "Must be admin, operator, viewer, or the name of a custom role of the same tenant."
        raise Invalid.field(field, detail)
    return role


def list_fields(*, page: int, page_size: int) -> Page[KnownField]:
    """Return the fields that roles can name, by name."""
    found = list(known_fields().values())
    first = (page - 1) * page_size
    return Page(items=found[first : first + page_size], total=len(found))


def _set_rights(
    role: CustomRole, names: Iterable[str], field_permissions: Mapping[str, str]
) -> None:
    wanted = sorted(set(names))
    possible = {each.name: each for each in permissions.of_scope(role.tenant_id)}
    impossible = [name for name in wanted if name not in possible]
    if impossible:
        whose = "the platform" if role.tenant_id is None else "a tenant"
        detail = (
            f"A role of {whose} cannot hold: {', '.join(impossible)}. See GET /api/permissions."
        )
        raise Invalid.field("permissions", detail)
    _refuse_unknown_fields(role, field_permissions)
    role.permissions, role.field_permissions = wanted, dict(field_permissions)
    refuse_beyond((possible[name] for name in wanted), role.fields)


def _refuse_unknown_fields(role: CustomRole, field_permissions: Mapping[str, str]) -> None:
    errors = []
    # What the role has already may stay, also when no room knows the field any more.
    for name, access in field_permissions.items() - role.field_permissions.items():
        field = known_fields().get(name)
        if field is None:
            detail = "There is no such field. See GET /api/permissions/fields."
        elif access not in field.access:
            detail = f"Must be one of {', '.join(field.access)}."
        else:
            continue
        escaped = name.replace("~", "~0").replace("/", "~1")
        errors.append({"pointer": f"#/fieldPermissions/{escaped}", "detail": detail})
    if errors:
        raise Invalid(sorted(errors, key=lambda each: each["pointer"]))


def _refuse_taken(session: Session, role: CustomRole, name: str) -> None:
    if name.casefold() in {each.value for each in Role}:
        raise Invalid.field("name", "This is the name of a built-in role.")
    query = select(CustomRole.id).where(CustomRole.name == name, _is_of(role.tenant_id))
    if session.scalar(query) is not None:
        raise _taken()


def _is_of(tenant_id: uuid.UUID | None) -> Any:
    if tenant_id is None:
        return CustomRole.tenant_id.is_(None)
    return CustomRole.tenant_id == tenant_id


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:  # two requests at once: the indexes on names let one pass
        raise _taken() from error


def _taken() -> Conflict:
    return Conflict("role_name_taken", "There is a role of this name.")
