"""Multiplies one tenant, with all that it has and all that is published of it, in PostgreSQL.

Whole rows are copied, so that nothing here has to know what a row holds beside its keys.
"""

import time
from decimal import Decimal

from sqlalchemy import Connection, select

from control_plane.ai_models import service as ai_models
from control_plane.ai_models.models import AIModel, TenantModelConfig
from control_plane.core.redis import connect
from control_plane.core.tables import Base
from control_plane.core.tenancy import platform_context
from control_plane.domains.models import Domain
from control_plane.identity.models import APIKey, APIKeySecret
from control_plane.publishing.models import PublishedDocument, PublishedReference
from control_plane.tenants.models import Tenant, TenantConfiguration
from control_plane.tenants.service import configurations
from tests.bench.installation import Installation
from tests.bench.propagation import Client
from tests.stack import until

KEYS_A_TENANT = 10
PUBLISHED_SECONDS = 600

TENANT = "md5('tenant' || n)::uuid"
HOST = "'t' || n || '.example.com'"
TENANT_OF_KEY = f"md5('tenant' || (n + {KEYS_A_TENANT - 1}) / {KEYS_A_TENANT})::uuid"
KEY = "md5('key' || n)::uuid"
PUBLIC_ID = "substr(md5('public' || n), 1, 12)"
DIGEST = "md5('left' || n) || md5('right' || n)"


def equip(installation: Installation, client: Client) -> None:
    """Give the tenant a model and something for its own front end."""
    with platform_context(), installation.database.transaction() as session:
        model_id = session.scalars(select(AIModel.id)).one()
        values = {"model_id": model_id, "cost_multiplier": Decimal(1)}
        ai_models.create_tenant_model(session, client.tenant, values)
        configuration = configurations.get_configuration(session, client.tenant)
        access = configuration.ai_model_access
        flags = {"feature_flags": {"beta": True}, "ai_model_access": access}
        configurations.update_configuration(session, configuration, flags)


def multiply(installation: Installation, client: Client, tenants: int) -> float:
    """Make *tenants* like the client's, each with more keys; return the seconds it took."""
    start = time.perf_counter()
    with installation.database.owner_transaction() as connection:
        _copy_rows(connection, client, tenants)
        _copy_documents(connection, client, tenants)
        # What autovacuum tells PostgreSQL within a minute.
        connection.exec_driver_sql("ANALYZE")
    return time.perf_counter() - start


def publish_anew(installation: Installation) -> float:
    """Empty Redis; return the seconds until the node holds everything under a new epoch."""
    start = time.perf_counter()
    before = installation.node()["applied"]["epoch"]
    with connect(installation.settings) as client:
        client.flushall()
    until(
        lambda: (installation.node().get("applied") or {}).get("epoch", 0) > before,
        "the node holds the new epoch",
        PUBLISHED_SECONDS,
    )
    return time.perf_counter() - start


def _copy_rows(connection: Connection, client: Client, tenants: int) -> None:
    keys = tenants * KEYS_A_TENANT
    own = f"tenant_id = '{client.tenant}'"
    new = "gen_random_uuid()"
    _copy(connection, Tenant, f"id = '{client.tenant}'", tenants, id=TENANT)
    _copy(connection, TenantConfiguration, own, tenants, id=new, tenant_id=TENANT)
    _copy(connection, Domain, own, tenants, id=new, tenant_id=TENANT, domain_name=HOST)
    _copy(connection, TenantModelConfig, own, tenants, id=new, tenant_id=TENANT)
    _copy(connection, APIKey, own, keys, id=KEY, tenant_id=TENANT_OF_KEY)
    _copy(
        connection,
        APIKeySecret,
        own,
        keys,
        public_id=PUBLIC_ID,
        tenant_id=TENANT_OF_KEY,
        key_id=KEY,
        digest=DIGEST,
    )


def _copy_documents(connection: Connection, client: Client, tenants: int) -> None:
    """Copy what is published as the compiler would have made it; `yumen` looks for differences."""
    keys = tenants * KEYS_A_TENANT
    own = f"document_id IN ('{client.tenant}', '{client.host}', '{client.public_id}')"
    with_key = "model.document"
    for name, value in (("tenant", f"{TENANT_OF_KEY}::text"), ("key", f"{KEY}::text")):
        with_key = f"jsonb_set({with_key}, '{{{name}}}', to_jsonb({value}))"
    with_key = f"jsonb_set({with_key}, '{{digest}}', to_jsonb({DIGEST}))"
    with_tenant = f"jsonb_set(model.document, '{{tenant}}', to_jsonb({TENANT}::text))"
    for section, number, document_id, document, target in (
        ("tenants", tenants, f"{TENANT}::text", "model.document", "model.target_id"),
        ("profiles", tenants, f"{TENANT}::text", "model.document", "model.target_id"),
        ("hosts", tenants, HOST, with_tenant, f"{TENANT}::text"),
        ("credentials", keys, PUBLIC_ID, with_key, f"{TENANT_OF_KEY}::text"),
    ):
        chosen = f"{own} AND section = '{section}'"
        _copy(
            connection,
            PublishedDocument,
            chosen,
            number,
            document_id=document_id,
            document=document,
        )
        _copy(
            connection,
            PublishedReference,
            chosen,
            number,
            document_id=document_id,
            target_id=target,
        )


def _copy(
    connection: Connection, table: type[Base], chosen: str, number: int, **changed: str
) -> None:
    """Copy the rows chosen *number* times, with other values in some columns; `n` counts."""
    name, columns = table.__tablename__, [each.name for each in table.__table__.columns]
    values = ", ".join(changed.get(column, f"model.{column}") for column in columns)
    model = f"(SELECT * FROM {name} WHERE {chosen}) AS model"
    into = f"INSERT INTO {name} ({', '.join(columns)})"
    numbers = f"generate_series(1, {number}) AS n"
    connection.exec_driver_sql(f"{into} SELECT {values} FROM {numbers}, {model}")
