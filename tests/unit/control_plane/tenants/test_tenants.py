"""Tenants through the API, on both databases."""

import datetime
import json
import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import clock, tenancy
from control_plane.core.database import Database
from control_plane.core.outbox import OutboxEvent
from control_plane.tenants import documents, service
from tests import factories


def _events(database: Database) -> list[str]:
    with database.session(write=False) as session:
        return list(session.scalars(select(OutboxEvent.name).order_by(OutboxEvent.id)))


def test_a_tenant_is_created_shown_and_listed(
    client: FlaskClient, operator: dict[str, str]
) -> None:
    sent = {
        "name": "玉门医院",
        "contactPerson": "李医生",
        "contactEmail": "li@example.com",
        "contactPhone": "+86 10 1234",
        "maxUsers": 3,
        "configurations": {"featureFlags": {"beta": True}, "uiTheme": {"color": "#123456"}},
    }
    created = client.post("/api/tenants", json=sent, headers=operator)
    assert created.status_code == 201
    assert created.json.items() >= sent.items()
    assert created.json["status"] == "active"
    shown = client.get(f"/api/tenants/{created.json['id']}", headers=operator)
    assert shown.json == created.json
    assert client.get("/api/tenants", headers=operator).json == [created.json]


def test_an_update_keeps_what_it_does_not_name(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database, name="Old", contact_person="Li")
    changed = client.put(f"/api/tenants/{tenant.id}", json={"name": "New"}, headers=operator)
    assert (changed.json["name"], changed.json["contactPerson"]) == ("New", "Li")
    for part in ({"uiTheme": {"color": "red"}}, {"featureFlags": {"beta": True}}):
        body = {"configurations": part}
        changed = client.put(f"/api/tenants/{tenant.id}", json=body, headers=operator)
    assert changed.json["configurations"] == {
        "featureFlags": {"beta": True},
        "uiTheme": {"color": "red"},
    }


def test_suspending_and_activating_move_the_published_status(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database)
    url = f"/api/tenants/{tenant.id}"
    suspended = client.post(f"{url}/suspend", json={"reason": "unpaid"}, headers=operator)
    assert (suspended.json["status"], suspended.json["suspensionReason"]) == ("suspended", "unpaid")
    assert _document(database, tenant.id) == {"status": "suspended", "models": {}}
    again = client.post(f"{url}/suspend", json={"reason": "unpaid"}, headers=operator)
    assert again.status_code == 200
    active = client.post(f"{url}/activate", headers=operator)
    assert (active.json["status"], active.json["suspensionReason"]) == ("active", None)
    assert _events(database)[1:] == ["tenants.created", "tenants.suspended", "tenants.activated"]


def _document(database: Database, tenant_id: uuid.UUID) -> Any:
    with tenancy.platform_context(), database.session(write=False) as session:
        return documents.compile_tenants(session, [str(tenant_id)])[str(tenant_id)]


def test_a_deleted_tenant_is_gone_with_his_users_and_keys(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database)
    user = factories.make_user(database, tenant)
    client.post(f"/api/tenants/{tenant.id}/api-keys", json={"name": "k"}, headers=operator)
    assert client.delete(f"/api/tenants/{tenant.id}", headers=operator).status_code == 204
    for url in (f"/api/tenants/{tenant.id}", f"/api/users/{user.id}"):
        assert client.get(url, headers=operator).status_code == 404
    assert _document(database, tenant.id) is None
    assert _events(database)[-2:] == ["identity.api_key_revoked", "tenants.deleted"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/name"),
        ({"name": ""}, "#/name"),
        ({"name": 7}, "#/name"),
        ({"name": "x", "maxUsers": "7"}, "#/maxUsers"),
        ({"name": "x", "maxUsers": -1}, "#/maxUsers"),
        ({"name": "x", "maxUsers": 2**40}, "#/maxUsers"),
        ({"name": "x", "contactEmail": "nobody"}, "#/contactEmail"),
        ({"name": "x", "expiryDate": "2026-01-01T00:00:00"}, "#/expiryDate"),
        ({"name": "x", "expiryDate": "9999-12-31T23:59:59-23:00"}, "#/expiryDate"),
        ({"name": "x", "expiryDate": "0001-01-01T00:00:00+14:00"}, "#/expiryDate"),
        ({"name": "x", "surprise": 1}, "#/surprise"),
        ({"name": "x", "status": "active"}, "#/status"),
        ({"name": "x", "configurations": {"featureFlags": {"a": 1}}}, "#/configurations/feature"),
        ({"name": "nul \x00"}, "#/name"),
        ({"name": "half \ud800"}, "#/name"),
        ({"name": "x", "configurations": {"uiTheme": {"\x00": "a"}}}, "#/configurations/uiTheme"),
    ],
)
def test_what_is_wrong_is_pointed_at(
    client: FlaskClient, operator: dict[str, str], body: dict[str, Any], pointer: str
) -> None:
    sent = {"data": json.dumps(body), "content_type": "application/json"}
    answer = client.post("/api/tenants", **sent, headers=operator)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert [error["pointer"][: len(pointer)] for error in answer.json["errors"]] == [pointer]


def test_pages_of_a_list_say_where_they_stand(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    names = [factories.make_tenant(database).name for _ in range(5)]
    second = client.get("/api/tenants?page=2&pageSize=2", headers=operator)
    assert [tenant["name"] for tenant in second.json] == names[2:4]
    assert second.headers["X-Pagination"] == (
        '{"total": 5, "totalPages": 3, "firstPage": 1, "lastPage": 3,'
        ' "page": 2, "previousPage": 1, "nextPage": 3}'
    )
    assert client.get("/api/tenants?page=9", headers=operator).json == []
    for query in (
        "page=0",
        "pageSize=101",
        "page=x",
        "sort=name",
        f"page={10**30}",
        "page=1&page=2",
    ):
        refused = client.get(f"/api/tenants?{query}", headers=operator)
        assert refused.status_code == 422, query
        assert refused.json["errors"][0]["pointer"].startswith("?"), query


def test_a_tenant_whose_time_is_over_is_stopped(session: Session) -> None:
    soon = clock.now() - datetime.timedelta(seconds=1)
    over = tenants.create_tenant(session, name="over", expiry_date=soon)
    later = clock.now() + datetime.timedelta(days=1)
    going = tenants.create_tenant(session, name="going", expiry_date=later)
    assert service.expire_tenants(session) == 1
    assert (over.status.value, going.status.value) == ("inactive", "active")
    with pytest.raises(Exception, match="expiry date is past"):
        tenants.activate_tenant(session, over.id)
    service.update_tenant(session, over.id, expiry_date=later)
    assert tenants.activate_tenant(session, over.id).status.value == "active"
