"""Encrypts what is assigned to an `EncryptedText` column, and decrypts it for who asks on purpose.

A ciphertext is bound to its place: copied to another tenant, table, column or row it does not open.
It is `v2.<data key>.<base64 of nonce, ciphertext and tag>`. Before there were data keys it was
`v1.<base64>`, made with the master key itself: that can still be read, and a rotation replaces it.
"""

import contextlib
import functools
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast, overload

from cryptography.exceptions import InvalidTag
from sqlalchemy import Column, Table, inspect
from sqlalchemy.orm import InstrumentedAttribute, Mapper, Session, object_session

from control_plane.core import crypto
from control_plane.core.crypto import SecretError
from control_plane.core.data_keys import Cipher, UnknownKeyError, data_keys
from control_plane.core.ids import new_id
from control_plane.core.types import EncryptedText, Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = "v2"
FORMER_VERSION = "v1"


@dataclass(frozen=True)
class Place:
    """Where a secret is stored, and so what its ciphertext is good for."""

    tenant_id: uuid.UUID | None
    table: str
    column: str
    row_id: uuid.UUID

    @classmethod
    def of(cls, row: Any, column: Column[Any]) -> Self:
        """Return the place of *row*'s value in *column*."""
        table = column.table
        return cls(
            row.tenant_id if "tenant_id" in table.columns else None,
            table.name,
            column.name,
            row.id,
        )

    def __str__(self) -> str:
        return f"{self.table}.{self.column} of {self.row_id}"

    @property
    def aad(self) -> str:
        """The associated data of its ciphertext."""
        return f"{self.tenant_id or 'platform'}|{self.former_aad}"

    @property
    def former_aad(self) -> str:
        """The associated data of a ciphertext of the former version."""
        return f"{self.table}|{self.column}|{self.row_id}"


@overload
def reveal(row: Any, attribute: InstrumentedAttribute[Secret]) -> str: ...


@overload
def reveal(row: Any, attribute: InstrumentedAttribute[Secret | None]) -> str | None: ...


def reveal(row: Any, attribute: InstrumentedAttribute[Any]) -> str | None:
    """Return the text of a secret of *row*, such as `reveal(model, AIModel.api_key)`.

    Raises:
        SecretError: it was not encrypted for this place, or its key is gone.
    """
    secret: Secret | None = getattr(row, attribute.key)
    if secret is None or secret.clear is not None:
        return None if secret is None else secret.clear
    session = object_session(row)
    if session is None:
        raise SecretError("A secret is revealed while its row is in a session.")
    place = Place.of(row, attribute.property.columns[0])
    try:
        return decrypt(session, place, secret)
    except UnknownKeyError:
        # A rotation may have replaced both the key and the ciphertext since the row was read.
        session.refresh(row, [attribute.key])
        secret = getattr(row, attribute.key)
        return None if secret is None else decrypt(session, place, secret)


def encrypt(cipher: Cipher, place: Place, clear: str) -> Secret:
    """Return a text as it is stored in *place*."""
    sealed = crypto.encrypt(cipher.aes, clear, place.aad)
    return Secret(ciphertext=f"{VERSION}.{cipher.key_id.hex}.{sealed}")


def decrypt(session: Session, place: Place, secret: Secret) -> str:
    """Return the text of what is stored in *place*.

    Raises:
        UnknownKeyError: its data key is gone.
        SecretError: it was not encrypted for this place.
    """
    version, _, rest = (secret.ciphertext or "").partition(".")
    key_id = key_of(secret)
    ways: list[tuple[AESGCM, str]] = []
    if key_id is not None:
        ways = [(data_keys(session).find(session, place.tenant_id, key_id).aes, place.aad)]
    elif version == FORMER_VERSION:
        masters = data_keys(session).masters.read()
        ways = [(master.cipher, place.former_aad) for master in masters]
    for cipher, aad in ways:
        with contextlib.suppress(InvalidTag):
            return crypto.decrypt(cipher, rest.rpartition(".")[2], aad)
    raise SecretError(f"The secret in {place} cannot be decrypted.")


def key_of(secret: Secret) -> uuid.UUID | None:
    """Return the data key that a stored secret is encrypted with; the former version had none."""
    version, _, rest = (secret.ciphertext or "").partition(".")
    try:
        return uuid.UUID(hex=rest.partition(".")[0]) if version == VERSION else None
    except ValueError:
        return None


def encrypt_flush(session: Session, *_: object) -> None:
    """Encrypt the secrets of new and changed rows (SQLAlchemy's `before_flush`)."""
    for row in (*session.new, *session.dirty):
        state = inspect(row)
        for name, column in _encrypted(state.mapper).items():
            for value in state.attrs[name].history.added or ():
                if value is not None:
                    setattr(row, name, _encrypted_value(session, row, column, value))


def _encrypted_value(session: Session, row: Any, column: Column[Any], value: Any) -> Secret:
    if not isinstance(value, Secret) or value.clear is None:
        # What is stored elsewhere is good there only.
        raise TypeError(f"{column} takes a Secret with a text of its own.")
    if row.id is None:
        row.id = new_id()
    place = Place.of(row, column)
    return encrypt(data_keys(session).current(session, place.tenant_id), place, value.clear)


@functools.cache
def _encrypted(mapper: Mapper[Any]) -> dict[str, Column[Any]]:
    """Return the attributes of a mapped class that are secrets."""
    return {
        mapper.get_property_by_column(column).key: column
        for column in encrypted_columns([cast("Table", mapper.local_table)])
    }


def encrypted_columns(tables: Iterable[Table]) -> list[Column[Any]]:
    """Return every column of *tables* that holds secrets."""
    columns = [column for table in tables for column in table.columns]
    return [column for column in columns if isinstance(column.type, EncryptedText)]
