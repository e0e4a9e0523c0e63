"""PostgreSQL's own catalogue says that no table of tenants was forgotten."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from control_plane.core.database import Database
from control_plane.tenants.models import Isolation
from tests import factories

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

REFERENCES_TO_SHARED = {
    "fk_routes_upstream_id_upstreams": "the platform's shared ones, too: the service looks which",
}
"""References that may lead out of the tenant, and why."""

UNIQUE_OVER_THE_PLATFORM = {
    "uq_users_username": "one signs in by the name alone",
    "uq_users_username_key": "one signs in by the name alone",
    "uq_api_keys_public_id": "a gateway finds the tenant by it",
    "pk_api_key_secrets": "a gateway finds the tenant by it",
    "uq_domains_verified_name": "a gateway finds the tenant by it",
    "uq_identity_providers_platform_name": "holds rows of the platform only",
    "uq_limits_platform_name": "holds rows of the platform only",
    "uq_circuit_breakers_platform_name": "holds rows of the platform only",
    "uq_degradation_rules_platform_name": "holds rows of the platform only",
    "uq_upstreams_platform_name": "holds rows of the platform only",
    "uq_roles_platform_name": "holds rows of the platform only",
    "uq_audit_logs_platform_seq": "holds rows of the platform only",
    "pk_idempotent_answers": "begins with the actor, who belongs to one tenant",
    "usage_events_pkey": "a writer, which serves all tenants, counts its calls",
    "pk_usage_events": "a writer, which serves all tenants, counts its calls",
}

# A day of usage is read through its parent only; the schemas of tenants have walls of their own.
TENANTS_TABLES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (n.nspname = 'public' AND NOT c.relispartition
        OR n.nspname = 'shared' OR n.nspname LIKE 't\\_%') AND (c.relname = 'tenants' OR EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'))
"""
UNPROTECTED = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.oid = ANY (CAST(:tables AS regclass[]))
    AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (
        SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd = '*'
        AND p.polqual IS NOT NULL AND p.polwithcheck IS NOT NULL))
"""
# What hangs on a row of a tenant is the tenant's, whether it names him or not.
CHILDREN = """
SELECT DISTINCT f.conrelid::regclass::text FROM pg_constraint f
    WHERE f.contype = 'f' AND f.confrelid = ANY (CAST(:tables AS regclass[]))
"""
# A reference that names no tenant is good beside one that does: it holds where the tenant is null.
SINGLE_REFERENCES = """
SELECT f.conname FROM pg_constraint f WHERE f.contype = 'f'
    AND f.conrelid = ANY (CAST(:tables AS regclass[]))
    AND f.confrelid = ANY (CAST(:tables AS regclass[])) AND f.confrelid <> 'tenants'::regclass
    AND NOT EXISTS (SELECT FROM pg_constraint g JOIN pg_attribute a
        ON a.attrelid = g.conrelid AND a.attnum = g.conkey[1] AND a.attname = 'tenant_id'
        WHERE g.contype = 'f' AND g.conrelid = f.conrelid AND g.confrelid = f.confrelid
        AND g.conkey @> f.conkey)
"""
UNIQUES = """
SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_attribute a
    ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indisunique AND i.indrelid = ANY (CAST(:tables AS regclass[]))
    AND a.attname <> 'tenant_id' AND NOT (i.indisprimary AND i.indnatts = 1 AND a.attname = 'id')
"""
VIEWS = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE relkind IN ('v', 'm') AND nspname NOT IN ('pg_catalog', 'information_schema')
    AND NOT coalesce(reloptions @> ARRAY['security_invoker=true'], false)
"""


@pytest.fixture
def catalogue(database: Database) -> Iterator[Connection]:
    """The owner, who may look into every schema, in a database where a tenant has one."""
    tenant = factories.make_tenant(database, isolation=Isolation.SCHEMA)
    with database.owner_transaction() as owner:
        assert f"t_{tenant.id.hex}.tenant_model_configs" in tables(owner)
        yield owner


def tables(catalogue: Connection) -> list[str]:
    """Return the tables whose rows belong to tenants by themselves."""
    found = list(catalogue.scalars(text(TENANTS_TABLES)))
    assert {"tenants", "users", "api_keys", "usage_events"} <= set(found)
    return found


def ask(catalogue: Connection, question: str, among: list[str]) -> set[str]:
    return set(catalogue.scalars(text(question), {"tables": among}))


def family(catalogue: Connection) -> list[str]:
    """Return the tables of tenants and all that refer to them, directly or not."""
    found: set[str] = set(tables(catalogue))
    while True:
        more = found | ask(catalogue, CHILDREN, sorted(found))
        if more == found:
            return sorted(found)
        found = more


def test_every_table_is_protected_for_reading_and_writing(catalogue: Connection) -> None:
    assert ask(catalogue, UNPROTECTED, family(catalogue)) == set()


def test_no_reference_leads_to_another_tenant(catalogue: Connection) -> None:
    found = ask(catalogue, SINGLE_REFERENCES, tables(catalogue))
    assert found - REFERENCES_TO_SHARED.keys() == set()


def test_what_is_unique_is_so_within_a_tenant(catalogue: Connection) -> None:
    found = ask(catalogue, UNIQUES, tables(catalogue))
    assert found - UNIQUE_OVER_THE_PLATFORM.keys() == set()


def test_a_view_shows_what_its_reader_may_see(catalogue: Connection) -> None:
    assert set(catalogue.scalars(text(VIEWS))) == set()


def test_a_forgotten_table_would_be_noticed(database: Database) -> None:
    with database.owner_transaction() as owner:
        owner.execute(text("CREATE TABLE forgotten (tenant_id uuid, code text UNIQUE)"))
        owner.execute(text("CREATE TABLE child (api_key uuid REFERENCES api_keys, tenant_id uuid)"))
        owner.execute(text("CREATE VIEW every_tenant AS SELECT * FROM tenants"))
        assert ask(owner, UNPROTECTED, family(owner)) == {"forgotten", "child"}
        assert "forgotten_code_key" in ask(owner, UNIQUES, tables(owner))
        references = ask(owner, SINGLE_REFERENCES, tables(owner))
        assert references - REFERENCES_TO_SHARED.keys() == {"child_api_key_fkey"}
        assert set(owner.scalars(text(VIEWS))) == {"every_tenant"}
