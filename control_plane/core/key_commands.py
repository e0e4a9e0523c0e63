"""`yumen keys`: shows and replaces what encrypts the secrets in the database."""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click
from sqlalchemy import Column, select
from sqlalchemy.orm import Session

from control_plane.core import auditing, encryption, plugins, tenancy
from control_plane.core.audit_entries import Action, Entry
from control_plane.core.commands import on_installation
from control_plane.core.data_keys import DataKey, refuse_other_masters
from control_plane.core.database import Database
from control_plane.core.key_rotation import rotate
from control_plane.core.leader import Leader
from control_plane.core.settings import Settings
from control_plane.core.tables import Base

_BATCH = 500


@click.group()
def keys() -> None:
    """Look after the keys that encrypt secrets in the database."""


@keys.command("rotate")
@click.option("--master", is_flag=True, help="Only the master key, which wraps the data keys.")
@click.option("--data", is_flag=True, help="Only the data keys, which encrypt the secrets.")
@on_installation
def rotate_command(settings: Settings, *, master: bool, data: bool) -> None:
    """Replace the master key and the data keys while everything runs.

    What a rotation that was ended has left to do, the next one does.
    """
    plugins.manager()
    database = Database(settings)
    leader = Leader(settings, database, "keys")
    try:
        if not leader.holds():
            raise click.ClickException("Another rotation is running.")
        with database.session(write=False) as session:
            refuse_other_masters(session)
        with database.transaction() as session:
            auditing.record(session, Entry(Action.CALL, resource_type="data_key"))
        unreadable = rotate(
            database,
            Base.metadata.sorted_tables,
            click.echo,
            master=master or not data,
            data=data or not master,
        )
    finally:
        leader.release()
        database.close()
    for column, row_id in sorted(unreadable):
        click.echo(f"{column} of {row_id} cannot be decrypted.", err=True)
    if unreadable:
        raise click.ClickException("No key was dropped. Set these secrets again, then repeat this.")


@keys.command("status")
@on_installation
def status_command(settings: Settings) -> None:
    """Show which keys there are and what they encrypt; exit with 1 when one is missing."""
    plugins.manager()
    database = Database(settings)
    masters = database.data_keys.masters
    try:
        known = masters.read()
        with tenancy.platform_context(), database.session(write=False) as session:
            data_keys = session.execute(
                select(DataKey.id, DataKey.master_id, DataKey.retired_at)
            ).all()
            wrapped = Counter(master_id for _, master_id, _ in data_keys)
            for age, master in zip(["newest", *["earlier"] * len(known)], known, strict=False):
                click.echo(f"master key {master.id} ({age}): wraps {wrapped[master.id]} data keys")
            states: dict[uuid.UUID | None, str]
            states = {key: "retired" if retired else "current" for key, _, retired in data_keys}
            click.echo(f"data keys: {_counted(states.values())}")
            for column in encryption.encrypted_columns(Base.metadata.sorted_tables):
                click.echo(f"{column}: {_counted(_keys_of(session, column, states))}")
            refuse_other_masters(session)
    finally:
        database.close()


def _keys_of(
    session: Session, column: Column[Any], states: Mapping[uuid.UUID | None, str]
) -> Iterator[str]:
    """Yield of each secret in a column what has become of its key."""
    secrets = select(column).where(column.is_not(None)).execution_options(yield_per=_BATCH)
    for secret in session.scalars(secrets):
        is_former = secret.ciphertext.startswith(f"{encryption.FORMER_VERSION}.")
        key_id = encryption.key_of(secret)
        yield "master key itself" if is_former else f"{states.get(key_id, 'lost')} keys"


def _counted(kinds: Iterable[str]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(kinds).items())) or "none"
