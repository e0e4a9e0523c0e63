"""Usage over HTTP on both databases: sums, groups, days, the list of calls, who may see what."""

import base64
import datetime
import json
import uuid
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from control_plane.contract.journal import FLAG_STREAM, Outcome, Record, UsageSource
from control_plane.core.database import Database
from control_plane.core.tenancy import platform_context
from control_plane.tenants import Tenant
from control_plane.usage.models import UsageEvent
from tests import factories
from tests.journal_writer import KEY, MODEL, begin, end
from tests.usage_events import WRITER, store

NOON = 1_794_974_400_000_000  # 2026-11-18T04:00:00Z, noon in Shanghai
HOUR = 3_600_000_000
PERIOD = "from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z"


@pytest.fixture
def tenant(database: Database) -> Tenant:
    return factories.make_tenant(database)


def calls(tenant: Tenant) -> list[Record]:
    """Return a complete, an aborted and a failed call, one with unknown tokens, and an orphan."""
    other = {"key": uuid.uuid4(), "model": uuid.UUID(int=0), "endpoint": "/v1/embeddings"}
    begun = [
        begin(1, tenant=tenant.id, started_us=NOON, flags=FLAG_STREAM),
        begin(2, tenant=tenant.id, started_us=NOON + 13 * HOUR),
        begin(3, tenant=tenant.id, started_us=NOON, **other),
        begin(4, tenant=tenant.id, started_us=NOON),
        begin(5, tenant=tenant.id, started_us=NOON),
    ]
    return [
        *begun,
        end(begun[0], events=9, user_id="anna", first_byte_us=1500),
        end(begun[1], Outcome.ABORTED, tokens_out=1),
        end(begun[2], Outcome.FAILED, status=502, upstream_status=0, response_bytes=0),
        end(begun[3], usage_source=UsageSource.UNKNOWN),
    ]


def get(client: FlaskClient, headers: dict[str, str], path: str) -> Any:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_sums(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    store(database, calls(tenant))
    usage = get(client, operator, f"/api/tenants/{tenant.id}/usage?{PERIOD}")
    assert usage == {
        "from": "2026-11-01T00:00:00+00:00",
        "to": "2026-12-01T00:00:00+00:00",
        "calls": 4,
        "errors": 2,
        "orphans": 1,
        "tokensIn": 21,
        "tokensOut": 23,
        "bytesIn": 500,
        "bytesOut": 900,
        "cost": "0.045",
        "groups": [],
    }


def test_groups(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    store(database, calls(tenant))

    def groups(by: str) -> dict[str | None, tuple[int, int, str]]:
        path = f"/api/tenants/{tenant.id}/usage?{PERIOD}&groupBy={by}"
        found = get(client, operator, path)["groups"]
        return {g["key"]: (g["calls"], g["orphans"], g["cost"]) for g in found}

    assert groups("day") == {"2026-11-18": (3, 1, "0.045"), "2026-11-19": (1, 0, "0")}
    assert groups("model") == {str(MODEL): (3, 1, "0.045"), None: (1, 0, "0")}
    assert groups("endpoint") == {
        "/v1/chat/completions": (3, 1, "0.045"),
        "/v1/embeddings": (1, 0, "0"),
    }
    assert groups("key")[str(KEY)] == (3, 1, "0.045")


def test_names_are_shown_while_they_exist(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    key = client.post(
        f"/api/tenants/{tenant.id}/api-keys", json={"name": "shop"}, headers=operator
    ).json
    record = begin(1, tenant=tenant.id, key=uuid.UUID(key["id"]), started_us=NOON)
    store(database, [record, end(record)])
    path = f"/api/tenants/{tenant.id}/usage?{PERIOD}&groupBy=key"
    (group,) = get(client, operator, path)["groups"]
    assert (group["key"], group["name"]) == (key["id"], "shop")


def test_the_default_is_the_last_30_days(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant
) -> None:
    usage = get(client, operator, f"/api/tenants/{tenant.id}/usage")
    start, stop = (datetime.datetime.fromisoformat(usage[name]) for name in ("from", "to"))
    assert stop - start == datetime.timedelta(days=30)
    assert usage["calls"] == 0
    assert usage["cost"] == "0"


def test_the_period_begins_within_and_ends_before(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    record = begin(1, tenant=tenant.id, started_us=NOON)
    store(database, [record, end(record)])

    def count(start: str, stop: str) -> int:
        path = f"/api/tenants/{tenant.id}/usage?from={start}&to={stop}"
        return int(get(client, operator, path)["calls"])

    assert count("2026-11-18T04:00:00Z", "2026-11-18T04:00:01Z") == 1
    assert count("2026-11-18T12:00:00%2B08:00", "2026-11-18T12:00:00.000001%2B08:00") == 1
    assert count("2026-11-18T03:00:00Z", "2026-11-18T04:00:00Z") == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("to=2026-11-31", "to"),
        ("from=2026-11-18T00:00", "from"),
        ("from=1969-12-31", "from"),
        ("from=2026-11-19&to=2026-11-18", "from"),
        ("from=2026-11-18T00:00:00", "from"),
        ("from=1969-01-01T00:00:00Z", "from"),
        ("to=9999-12-31T23:59:59Z", "to"),
        ("from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z", "from"),
        ("from=2026-11-01T00:00:00Z&to=2026-11-01T00:00:00Z", "from"),
        ("groupBy=tenant", "groupBy"),
        ("colour=red", "colour"),
    ],
)
def test_a_bad_query_names_the_field(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, query: str, field: str
) -> None:
    answer = client.get(f"/api/tenants/{tenant.id}/usage?{query}", headers=operator)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json["errors"]] == [f"?{field}"]


def test_a_call_as_the_api_shows_it(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    store(database, calls(tenant))
    events = get(client, operator, f"/api/tenants/{tenant.id}/usage/events?{PERIOD}")
    by_id = {event["id"]: event for event in events}
    assert by_id[f"{WRITER}-1"] == {
        "id": f"{WRITER}-1",
        "tenantId": str(tenant.id),
        "apiEndpoint": "/v1/chat/completions",
        "timestamp": "2026-11-18T04:00:00+00:00",
        "responseTime": 2.5,
        "firstByteTime": 1.5,
        "statusCode": 200,
        "requestSize": 100,
        "responseSize": 300,
        "cost": "0.0225",
        "userId": "anna",
        "requestId": "request-1",
        "modelId": str(MODEL),
        "model": None,
        "apiKeyId": str(KEY),
        "tokensIn": 7,
        "tokensOut": 11,
        "tokensCached": 0,
        "tokensReasoning": 0,
        "outcome": "complete",
        "stream": True,
        "usageSource": "provider",
        "upstreamStatus": 200,
        "events": 9,
    }
    failed, unknown, orphan = (by_id[f"{WRITER}-{seq}"] for seq in (3, 4, 5))
    assert (failed["outcome"], failed["upstreamStatus"], failed["modelId"]) == (
        "failed",
        None,
        None,
    )
    assert (unknown["tokensIn"], unknown["usageSource"]) == (None, "unknown")
    assert (orphan["outcome"], orphan["statusCode"], orphan["cost"]) == ("orphan", None, "0")


def test_the_cursor_is_stable_while_calls_come(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    begun = [begin(seq, tenant=tenant.id, started_us=NOON + seq // 3) for seq in range(1, 24)]
    store(database, [*begun, *map(end, begun)], dead=False)
    path: str | None = f"/api/tenants/{tenant.id}/usage/events?limit=5&{PERIOD}"
    seen: list[str] = []
    while path:
        answer = client.get(path, headers=operator)
        assert answer.status_code == 200, answer.text
        seen += [event["id"] for event in answer.json]
        link = answer.headers.get("Link")
        path = link[1 : link.index(">")] if link else None
        newer = begin(100 + len(seen), tenant=tenant.id, started_us=NOON + HOUR)
        store(database, [newer, end(newer)], dead=False)
    assert seen == [
        f"{WRITER}-{seq}" for seq in sorted(range(1, 24), key=lambda s: (-(s // 3), -s))
    ]


@pytest.mark.parametrize("cursor", ["x", "W10", "WzEsMl0", "bnVsbA", ""])
def test_a_foreign_cursor_is_refused(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, cursor: str
) -> None:
    path = f"/api/tenants/{tenant.id}/usage/events?cursor={cursor}"
    answer = client.get(path, headers=operator)
    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"] == "?cursor"


@pytest.mark.parametrize(
    "position", [[2**70, "node-a-1-1", 1], [1, "a\0b", 1], [1, "\ud800", 1], [-1, "node-a-1-1", 1]]
)
def test_a_forged_cursor_is_refused(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, position: list[Any]
) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")
    path = f"/api/tenants/{tenant.id}/usage/events?cursor={cursor}"
    assert client.get(path, headers=operator).status_code == 422


def test_a_tenant_sees_its_own_calls_only(
    app: Flask, client: FlaskClient, database: Database, tenant: Tenant
) -> None:
    other = factories.make_tenant(database)
    mine, theirs = begin(1, tenant=tenant.id, started_us=NOON), begin(2, tenant=other.id)
    store(database, [mine, theirs, end(mine), end(theirs)])
    user = factories.sign_in(app, factories.make_user(database, tenant))
    assert get(client, user, f"/api/tenants/{tenant.id}/usage?{PERIOD}")["calls"] == 1
    events = get(client, user, f"/api/tenants/{tenant.id}/usage/events?{PERIOD}")
    assert [event["requestId"] for event in events] == ["request-1"]
    for path in ("usage", "usage/events"):
        assert client.get(f"/api/tenants/{other.id}/{path}", headers=user).status_code == 404
        assert client.get(f"/api/tenants/{uuid.uuid4()}/{path}", headers=user).status_code == 404
        assert client.get(f"/api/tenants/{tenant.id}/{path}").status_code == 401


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    prices=st.lists(
        st.tuples(
            st.decimals("0", "1000000000", places=6).map("{:f}".format),
            st.decimals("0", "1000000", places=6).map("{:f}".format),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_the_sum_of_costs_is_exact(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    prices: list[tuple[str, str]],
) -> None:
    with platform_context(), database.transaction() as session:
        session.execute(delete(UsageEvent))
    begun = [
        begin(seq, tenant=tenant.id, started_us=NOON, cost_per_call=cost, cost_multiplier=factor)
        for seq, (cost, factor) in enumerate(prices * 3, start=1)
    ]
    store(database, [*begun, *map(end, begun)], dead=False)
    usage = get(client, operator, f"/api/tenants/{tenant.id}/usage?{PERIOD}")
    # In units of 10^-12, so that the sum is one of integers.
    units = sum(_units(cost) * _units(factor) for cost, factor in prices * 3)
    whole, rest = divmod(units, 10**12)
    assert usage["cost"] == f"{whole}.{rest:012d}".rstrip("0").rstrip(".")


def _units(price: str) -> int:
    return int(price.replace(".", ""))


def test_plain_call_without_a_key(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    nothing = {"key": uuid.UUID(int=0), "model": uuid.UUID(int=0)}
    free = {"cost_per_call": "0", "cost_multiplier": "0", "endpoint": "orders"}
    begun = begin(1, tenant=tenant.id, started_us=NOON, **nothing, **free)
    store(database, [end(begun, usage_source=UsageSource.UNKNOWN)])
    path = f"/api/tenants/{tenant.id}/usage"
    (event,) = get(client, operator, f"{path}/events?{PERIOD}")
    assert (event["apiEndpoint"], event["apiKeyId"], event["modelId"]) == ("orders", None, None)
    assert (event["outcome"], event["cost"]) == ("complete", "0")
    (group,) = get(client, operator, f"{path}?{PERIOD}&groupBy=key")["groups"]
    assert (group["key"], group["calls"]) == (None, 1)
