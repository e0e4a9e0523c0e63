"""Column types that mean the same on SQLite and PostgreSQL."""

import datetime
import enum
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Enum, Numeric, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator, TypeEngine

from control_plane.core.decimals import decimal_text

DECIMAL_DIGITS = 38
DECIMAL_PLACES = 12

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A JSON value; None is SQL NULL."""

__all__ = [
    "Decimal12",
    "EncryptedText",
    "Json",
    "Secret",
    "UtcDateTime",
    "Uuid",
    "decimal_sum",
    "plain",
    "text_enum",
]


def text_enum(kind: type[enum.StrEnum]) -> Enum:
    """Return the type of a column that holds the values of *kind*, as text of up to 16 characters.

    The values are not a constraint of the database: a new one needs no migration.
    """
    return Enum(
        kind,
        native_enum=False,
        length=16,
        create_constraint=False,
        values_callable=lambda members: [member.value for member in members],
    )


def plain(value: Decimal) -> Decimal:
    """Return *value* without trailing zeros and without an exponent: 1.50 as 1.5, 1E+2 as 100."""
    return Decimal(decimal_text(value))


class UtcDateTime(TypeDecorator[datetime.datetime]):
    """A moment: aware on both sides, kept in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self,
        value: datetime.datetime | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> datetime.datetime | None:
        """Refuse a naive time, which would mean another moment on another machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time without a zone cannot be stored.")
        return value.astimezone(datetime.UTC)

    def process_result_value(
        self,
        value: datetime.datetime | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> datetime.datetime | None:
        """Give SQLite's naive times their zone back."""
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=datetime.UTC)
        return value.astimezone(datetime.UTC)


class Decimal12(TypeDecorator[Decimal]):
    """An exact decimal of up to 12 places: NUMERIC on PostgreSQL, text on SQLite.

    SQLite's NUMERIC would turn it into a float. On SQLite it therefore orders as text; sums go
    through `decimal_sum`.
    """

    impl = Numeric(DECIMAL_DIGITS, DECIMAL_PLACES)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose text where NUMERIC loses digits."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Text())
        return dialect.type_descriptor(Numeric(DECIMAL_DIGITS, DECIMAL_PLACES))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Refuse what is not exact or does not fit, instead of rounding it."""
        if value is None:
            return None
        if not isinstance(value, Decimal) or not value.is_finite():
            raise TypeError(f"An exact decimal is needed, not {value!r}.")
        exact = plain(value)
        _, digits, exponent = exact.as_tuple()
        places = max(0, -int(exponent))
        if places > DECIMAL_PLACES or len(digits) - places > DECIMAL_DIGITS - DECIMAL_PLACES:
            raise ValueError(f"{value} has more digits than can be stored.")
        return format(exact, "f") if dialect.name == "sqlite" else exact

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        """Return the same Decimal from both databases."""
        return None if value is None else plain(Decimal(value))


class decimal_sum(GenericFunction[Decimal]):  # noqa: N801 - named as it is written in a query
    """The exact sum of a `Decimal12` column; None when there is no row."""

    type = Decimal12()
    inherit_cache = True


@compiles(decimal_sum, "postgresql")
def _sum_on_postgresql(element: decimal_sum, compiler: Any, **options: Any) -> str:
    """PostgreSQL's own sum is exact; SQLite gets an aggregate in `core.database`."""
    return f"sum({compiler.process(element.clauses, **options)})"


class Secret:
    """A text that is stored encrypted, and that nothing shows unless it is revealed on purpose.

    `row.column = Secret("text")` is all that a service does; `core.encryption` does the rest.
    """

    __slots__ = ("ciphertext", "clear")

    def __init__(self, clear: str | None = None, *, ciphertext: str | None = None) -> None:
        self.clear = clear
        """The text, until it is flushed."""
        self.ciphertext = ciphertext
        """What is stored of it."""

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "Secret(…)"


class EncryptedText(TypeDecorator[Secret]):
    """A text that is only stored encrypted, as a `Secret`."""

    impl = Text
    cache_ok = True

    def process_bind_param(
        self,
        value: Secret | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> str | None:
        """Refuse clear text, without repeating it in the message."""
        if value is None:
            return None
        if not isinstance(value, Secret) or value.ciphertext is None:
            raise TypeError("Only an encrypted text may be stored in this column.")
        return value.ciphertext

    def process_result_value(
        self,
        value: str | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> Secret | None:
        """Return what `encryption.reveal` can read."""
        return None if value is None else Secret(ciphertext=value)
