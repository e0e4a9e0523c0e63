"""Secrets that are shown once and replaced one by one: during a rotation two of them are good."""

import dataclasses
import datetime
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from marshmallow import Schema
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core import clock
from control_plane.core.conditions import Versioned
from control_plane.core.errors import Conflict

MOST_LIVE_SECRETS = 2


class LiveSecret:
    """Base of mapped classes whose rows are such secrets, of which a digest is kept."""

    created_at: Mapped[datetime.datetime] = mapped_column(default=clock.now)
    expires_at: Mapped[datetime.datetime | None]

    @property
    def is_live(self) -> bool:
        """Whether its grace, if it has one, goes on."""
        return self.expires_at is None or self.expires_at > clock.now()


class SecretHolder(Versioned):
    """Base of mapped classes whose rows have `secrets`, the oldest first."""

    rotated_at: Mapped[datetime.datetime | None]
    if TYPE_CHECKING:
        id: Any
        secrets: Any

    @property
    def live_secrets(self) -> list[Any]:
        """The secrets that are taken, the oldest first: one, or two during a rotation."""
        return [secret for secret in self.secrets if secret.is_live]


Holder = TypeVar("Holder", bound=SecretHolder)


@dataclasses.dataclass(frozen=True)
class NewSecret(Generic[Holder]):
    """A row that was just given a secret, with its text, which is known only now."""

    row: Holder
    text: str = dataclasses.field(repr=False)

    @property
    def id(self) -> uuid.UUID:
        """The row's id."""
        found: uuid.UUID = self.row.id
        return found

    @property
    def version(self) -> int:
        """The row's version."""
        return self.row.version


class ShowsSecret(Schema):
    """Base of a row's schema that dumps a `NewSecret`; it declares the field *shown_as*."""

    shown_as: ClassVar[str]

    def get_attribute(self, obj: NewSecret[Any], attr: str, default: Any) -> Any:
        """Take that field from the text and the rest from the row."""
        if attr == self.shown_as:
            return obj.text
        return super().get_attribute(obj.row, attr, default)


def begin(row: SecretHolder, grace: datetime.timedelta) -> None:
    """Have the secret of *row* end after *grace*; the caller adds the one that follows it.

    Raises:
        Conflict: two secrets are live already.
    """
    live = row.live_secrets
    if len(live) >= MOST_LIVE_SECRETS:
        detail = "The former secret is still good: wait for the end of its grace."
        raise Conflict("rotation_under_way", detail)
    moment = clock.now()
    row.secrets = live if grace else []
    for secret in row.secrets:
        secret.expires_at = moment + grace
    row.rotated_at = moment
