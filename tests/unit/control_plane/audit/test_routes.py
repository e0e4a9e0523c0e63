"""`GET /api/audit-logs` shows each his own, filtered, some at a time."""

import datetime
import uuid
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core.database import Database
from control_plane.tenants import Tenant
from tests import factories
from tests.audit_log import write

URL = "/api/audit-logs"


def test_a_tenants_admin_sees_his_tenants_chain_only(
    client: FlaskClient, database: Database, tenant: Tenant, tenant_admin: dict[str, str]
) -> None:
    other = factories.make_tenant(database)
    shown = client.get(URL, headers=tenant_admin).json
    assert {each["tenantId"] for each in shown} == {str(tenant.id)}
    for unknown in (other.id, uuid.uuid4()):
        asked = client.get(f"{URL}?tenantId={unknown}", headers=tenant_admin)
        assert (asked.status_code, asked.json["code"]) == (404, "tenant_not_found")
    mine = client.get(f"{URL}?tenantId={tenant.id}", headers=tenant_admin)
    assert mine.json == shown


def test_the_platform_sees_all_or_one(
    client: FlaskClient, database: Database, tenant: Tenant, operator: dict[str, str]
) -> None:
    write(database, None, 1)
    chains = {each["tenantId"] for each in client.get(URL, headers=operator).json}
    assert {None, str(tenant.id)} <= chains
    one = client.get(f"{URL}?tenantId={tenant.id}", headers=operator).json
    assert {each["tenantId"] for each in one} == {str(tenant.id)}


def test_a_viewer_sees_nothing(
    app: Flask, client: FlaskClient, database: Database, tenant: Tenant
) -> None:
    viewer = factories.sign_in(app, factories.make_user(database, tenant, "viewer"))
    assert client.get(URL, headers=viewer).status_code == 403


def test_the_cursor_leads_through_all_once(
    client: FlaskClient, database: Database, operator: dict[str, str]
) -> None:
    write(database, None, 7)
    found, url = [], f"{URL}?limit=3&resourceType=thing"
    while url:
        answer = client.get(url, headers=operator)
        found += [each["seq"] for each in answer.json]
        url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert len(found) == 7
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"resourceId": "2"}, 1),
        ({"resourceType": "thing", "action": "call"}, 4),
        ({"resourceType": "thing", "action": "delete"}, 0),
        ({"resourceType": "thing", "actorType": "system"}, 4),
        ({"resourceType": "thing", "outcome": "refused"}, 0),
        ({"resourceType": "thing", "from": "2126-01-01T00:00:00Z"}, 0),
        ({"resourceType": "thing", "to": "2126-01-01T00:00:00Z"}, 4),
        ({"requestId": "none"}, 0),
        ({"actor": str(uuid.uuid4())}, 0),
    ],
)
def test_filters_choose(
    client: FlaskClient,
    database: Database,
    operator: dict[str, str],
    query: dict[str, str],
    count: int,
) -> None:
    write(database, None, 4)
    assert len(client.get(f"{URL}?{urlencode(query)}", headers=operator).json) == count


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "action=x",
        "from=yesterday",
        "from=0001-01-01T00:00:00%2B14:00",
        "limit=0",
        "tenantId=x",
        "to=9999-12-31T23:59:59-14:00",
        "unknown=1",
    ],
)
def test_a_bad_query_is_refused(client: FlaskClient, operator: dict[str, str], query: str) -> None:
    answer = client.get(f"{URL}?{query}", headers=operator)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == f"?{query.partition('=')[0]}"


def test_one_entry_is_shown_to_whom_it_concerns(
    client: FlaskClient,
    database: Database,
    tenant: Tenant,
    operator: dict[str, str],
    tenant_admin: dict[str, str],
) -> None:
    write(database, None, 1)
    newest = client.get(f"{URL}?resourceType=thing", headers=operator).json[0]
    assert client.get(f"{URL}/{newest['id']}", headers=operator).json == newest
    assert newest["after"] == {"number": 0}
    assert datetime.datetime.fromisoformat(newest["timestamp"]).tzinfo is not None
    assert client.get(f"{URL}/{newest['id']}", headers=tenant_admin).status_code == 404
