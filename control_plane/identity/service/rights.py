"""Nobody gives, or takes from others, rights that he does not have himself."""

from collections.abc import Iterable

from control_plane.core import auth
from control_plane.core.auth import Permission
from control_plane.core.errors import Forbidden
from control_plane.identity.models import RoleHolder


def refuse_beyond(permissions: Iterable[Permission]) -> None:
    """Refuse to work on a role, or for a role, with *permissions* that the actor lacks.

    Commands of the installation run without an actor and may do all.

    Raises:
        Forbidden: he lacks some.
    """
    actor = auth.find_actor()
    if actor is None:
        return
    beyond = sorted(each.name for each in permissions if not actor.may(each))
    if beyond:
        raise Forbidden(
            f"This is for those who have these permissions themselves: {', '.join(beyond)}.",
            code="permissions_not_held",
        )


def refuse_stronger(holder: RoleHolder) -> None:
    """Refuse to change who may do more than the actor: his password would be a way up."""
    refuse_beyond(holder.permissions)
