"""What was used of a counter, by the usage that the database has."""

import datetime
import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from control_plane import usage
from control_plane.ai_models.models import TenantModelConfig
from control_plane.contract import keys
from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.limits import seeding
from control_plane.tenants import Tenant
from tests import factories, usage_events
from tests.journal_writer import MODEL, STARTED_US, begin, end

DAY = datetime.datetime.fromtimestamp(STARTED_US / 1e6, datetime.UTC).replace(
    hour=0, minute=0, second=0, microsecond=0
)
PERIOD = usage.Period(DAY, DAY + datetime.timedelta(days=1), "UTC")
KEY, OTHER_KEY = uuid.uuid4(), uuid.uuid4()


def used(database: Database, name: str) -> int | None:
    counter = seeding.parse(keys.ALLOWANCE_COUNTER + name)
    with tenancy.platform_context(), database.session(write=False) as session:
        return seeding.used_of(session, counter, PERIOD)


def make(client: FlaskClient, headers: dict[str, str], **fields: Any) -> str:
    body = {"name": "x", "scope": ["tenant"], "limit": 9, "window": "day", **fields}
    answer = client.post("/api/limits", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


@pytest.fixture
def calls(database: Database, tenant: Tenant) -> Tenant:
    """Five calls of the tenant of that day, one of them under way; one of the day before."""
    other = factories.make_tenant(database)
    records = [
        end(begin(1, tenant=tenant.id, key=KEY, user_id="li/1")),
        end(begin(2, tenant=tenant.id, key=KEY, endpoint="/v1/embeddings")),
        end(begin(3, tenant=tenant.id, key=OTHER_KEY, model=uuid.uuid4())),
        begin(4, tenant=tenant.id, key=KEY),
        end(begin(5, tenant=other.id, key=KEY)),
        end(begin(6, tenant=tenant.id, key=KEY, started_us=STARTED_US - 86_400_000_000)),
        end(begin(7, tenant=tenant.id, key=OTHER_KEY, user_id="li/1")),
    ]
    usage_events.store(database, records, dead=False)
    return tenant


def test_calls_and_tokens_are_counted_by_what_the_counter_is_of(
    client: FlaskClient, operator: dict[str, str], database: Database, calls: Tenant
) -> None:
    whose = f"{calls.id}/"
    own = {"tenantId": str(calls.id)}
    rule = make(client, operator, **own)
    assert used(database, f"{whose}{rule}/tenant:{calls.id}") == 5
    rule = make(client, operator, name="k", scope=["key"], **own)
    assert used(database, f"{whose}{rule}/key:{KEY}") == 3
    assert used(database, f"{whose}{rule}/key:{uuid.uuid4()}") == 0
    rule = make(client, operator, name="u", scope=["user", "model"], **own)
    assert used(database, f"{whose}{rule}/tenant:{calls.id}/user:li%2F1/model:{MODEL}") == 2
    match = {"route": "/v1/embeddings"}
    rule = make(client, operator, name="r", match=match, meter="tokens", **own)
    assert used(database, f"{whose}{rule}/tenant:{calls.id}") == 18
    rule = make(client, operator, name="t", meter="tokens", **own)
    assert used(database, f"{whose}{rule}/tenant:{calls.id}") == 4 * 18


def test_a_rule_of_the_platform_counts_the_calls_of_all(
    client: FlaskClient, operator: dict[str, str], database: Database, calls: Tenant
) -> None:
    rule = make(client, operator, scope=["platform"])
    assert used(database, f"platform/{rule}") == 6
    rule = make(client, operator, name="each")
    assert used(database, f"platform/{rule}/tenant:{calls.id}") == 5


@pytest.mark.usefixtures("calls")
def test_a_rule_that_is_gone_has_no_use(database: Database, tenant: Tenant) -> None:
    assert used(database, f"{tenant.id}/{uuid.uuid4()}/tenant:{tenant.id}") is None
    assert used(database, f"{uuid.uuid4()}/requestsPerDay") is None


def test_a_day_of_a_model_is_rebuilt_by_its_model(database: Database, tenant: Tenant) -> None:
    factories.make_tenant_models(database, [tenant.id])
    with tenancy.tenant_context(tenant.id), database.transaction() as session:
        config = session.scalars(select(TenantModelConfig)).one()
        config.max_calls_per_day = 5
        model = config.model_id
    records = [end(begin(1, tenant=tenant.id, model=model)), end(begin(2, tenant=tenant.id))]
    usage_events.store(database, records)
    assert (
        used(database, f"{tenant.id}/maxCallsPerDay%2F{model}/tenant:{tenant.id}/model:{model}")
        == 1
    )


def test_only_keys_of_counters_are_read() -> None:
    with pytest.raises(ValueError, match="not a counter"):
        seeding.parse("yumen:v1:nodes")
