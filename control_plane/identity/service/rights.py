"""Nobody gives, or takes from others, rights that he does not have himself."""

from collections.abc import Iterable, Mapping

from control_plane.core import auth
from control_plane.core.auth import Access, Permission
from control_plane.core.errors import Forbidden
from control_plane.identity.models import RoleHolder


def refuse_beyond(permissions: Iterable[Permission], fields: Mapping[str, Access]) -> None:
    """Refuse to work on a role, or for a role, that gives more than the actor has himself.

    That is one of *permissions*, or more of a field: *fields* says of which it does not give all.

    Commands of the installation run without an actor and may do all.

    Raises:
        Forbidden: he lacks something of it.
    """
    actor = auth.find_actor()
    if actor is None:
        return
    beyond = sorted(each.name for each in permissions if not actor.may(each))
    beyond += sorted(
        name
        for name, access in actor.fields.items()
        if fields.get(name, Access.WRITE).exceeds(access)
    )
    if beyond:
        raise Forbidden(
            f"This is for those who have these rights themselves: {', '.join(beyond)}.",
            code="permissions_not_held",
        )


def refuse_stronger(holder: RoleHolder) -> None:
    """Refuse to change who may do more than the actor: his password would be a way up."""
    refuse_beyond(holder.permissions, holder.fields)
