"""Keeps tenants apart in PostgreSQL itself: a policy on each table, the scope in each transaction.

The policies let a transaction see what its setting `yumen.tenant` names: one tenant, or `platform`.
Without it nothing is seen. The setting ends with the transaction, so that a pooled connection
carries nothing over. On SQLite all of this does nothing.
"""

from typing import Any

import click
import sqlalchemy as sa
from alembic import op
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.core import tenancy
from control_plane.core.tenancy import TenancyError

POLICY = "yumen_tenant"
SETTING = "yumen.tenant"

_HELD = "yumen_scope"
_SET = f"SELECT current_setting('{SETTING}', true), set_config('{SETTING}', %s, true)"
_POWERFUL = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"


_OWNS = """
SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user)
"""
_GRANTED = """
SELECT CASE WHEN relname = 'alembic_version' THEN 'v'
        WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgname = 'append_only')
        THEN 'append' ELSE relkind::text END, oid::regclass::text
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
    AND relkind IN ('r', 'p', 'S', 'v') AND NOT relispartition
UNION ALL SELECT 'f', oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND prosecdef
"""
_RIGHTS = {
    "r": "SELECT, INSERT, UPDATE, DELETE ON",
    "p": "SELECT, INSERT, UPDATE, DELETE ON",
    "append": "SELECT, INSERT ON",
    "v": "SELECT ON",
    "S": "USAGE ON SEQUENCE",
    "f": "EXECUTE ON FUNCTION",
}


class PowerfulRoleError(click.ClickException):
    """The application's role is above row-level security."""

    def __init__(self) -> None:
        super().__init__(
            "The role in database.url is a superuser or has BYPASSRLS, so nothing in PostgreSQL"
            " would keep tenants apart: name an ordinary role (docs/operators/install.md)."
        )


def protect(table: str, column: str = "tenant_id") -> None:
    """Let each transaction see and write its scope's rows of *table* only; for migrations.

    Rows whose *column* is null belong to the platform. The bounds are sub-selects so that they are
    computed once a statement, and a range so that one condition serves an index for both kinds of
    scope.
    """
    if not _is_postgresql():
        return
    seen = f"{column} BETWEEN (SELECT yumen_first_tenant()) AND (SELECT yumen_last_tenant())"
    columns = sa.inspect(op.get_bind()).get_columns(table)
    if next(each["nullable"] for each in columns if each["name"] == column):
        seen += f" OR {column} IS NULL AND (SELECT yumen_is_platform())"
    _force(table, seen)


def protect_through(table: str, column: str, parent: str) -> None:
    """Let a row of *table* be seen by whoever sees the row of *parent* that its *column* names.

    For what has no tenant of its own, as a user's sign-ins.
    """
    if _is_postgresql():
        there = f"SELECT FROM {parent} AS parent WHERE parent.id = {table}.{column}"
        _force(table, f"(SELECT yumen_is_platform()) OR EXISTS ({there})")


def unprotect(table: str) -> None:
    """Undo `protect` or `protect_through`."""
    if _is_postgresql():
        op.execute(f"DROP POLICY {POLICY} ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


def append_only(table: str, *, unless: str = "false") -> None:
    """Let rows of *table* only be added, by whomever; a row `old` may go for which *unless* is so.

    On both databases. The application's role does not even get the right to change them.
    """
    told = f"Rows of {table} can only be added."
    if not _is_postgresql():
        for verb, condition in (("UPDATE", "true"), ("DELETE", f"NOT ({unless})")):
            op.execute(
                f"CREATE TRIGGER append_only_{table}_{verb.lower()} BEFORE {verb} ON {table}"
                f" WHEN {condition} BEGIN SELECT RAISE(ABORT, '{told}'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION yumen_keep_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF TG_OP = 'DELETE' AND {unless} THEN RETURN old; END IF;"
        f" RAISE EXCEPTION '{told}'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION yumen_keep_{table}()"
    )
    op.execute(
        f"CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION yumen_keep_{table}()"
    )


def append_freely(table: str) -> None:
    """Undo `append_only`."""
    if _is_postgresql():
        op.execute(f"DROP FUNCTION yumen_keep_{table}() CASCADE")
    else:
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER append_only_{table}_{verb}")


def _force(table: str, seen: str) -> None:
    op.execute(f"CREATE POLICY {POLICY} ON {table} USING ({seen}) WITH CHECK ({seen})")
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def grant(connection: Connection, role: str) -> None:
    """Give the application's *role* what it needs of the owner's tables, and nothing else.

    Days of usage are left out: they are reached through their parent.
    """
    known = connection.execute(
        sa.text("SELECT :role = current_user, EXISTS (SELECT FROM pg_roles WHERE rolname = :role)"),
        {"role": role},
    ).one()
    if known[0]:
        return
    if not known[1]:
        raise click.ClickException(
            f"PostgreSQL has no role {role}, which database.url names: create it first."
        )
    grantee = connection.dialect.identifier_preparer.quote(role)
    for kind, name in connection.exec_driver_sql(_GRANTED).all():
        connection.exec_driver_sql(f"GRANT {_RIGHTS[kind]} {name} TO {grantee}")


def owns_tables(engine: Engine) -> bool:
    """Tell whether the role of *engine* could switch its own row-level security off."""
    if engine.dialect.name != "postgresql":
        return False
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql(_OWNS).scalar())


def carry_scope(engine: Engine) -> None:
    """Put the scope of the code into each transaction of *engine* before it can read a row."""
    event.listen(engine, "begin", _begin)
    event.listen(engine, "before_cursor_execute", _before_statement)


def refuse_powerful_roles(engine: Engine) -> None:
    """Refuse every connection of *engine* that row-level security would not hold back."""
    event.listen(engine, "connect", _check_role)


def _begin(connection: Connection) -> None:
    connection.info[_HELD] = ""


def _before_statement(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
    """Set the scope when it changed, in one round trip, and see that none was left over."""
    if statement.startswith("ROLLBACK TO SAVEPOINT"):
        # The setting goes back to what it was, and a failed transaction takes no other statement.
        connection.info[_HELD] = None
        return
    held, wanted = connection.info.get(_HELD), tenancy.scope_text()
    if held == wanted:
        return
    connection.info[_HELD] = wanted
    try:
        (before, _after) = connection.exec_driver_sql(_SET, (wanted,)).one()
    except BaseException:
        connection.info[_HELD] = None
        raise
    if held == "" and before:
        connection.invalidate()
        raise TenancyError(f"A new transaction began in the scope {before} of another one.")


def _check_role(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(_POWERFUL)
    row = cursor.fetchone()
    cursor.close()
    connection.rollback()
    if row is not None and row[0]:
        connection.close()
        raise PowerfulRoleError
