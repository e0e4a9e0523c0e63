"""The section `limits` as gateways get it."""

import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane import contract
from control_plane.core import clock, tenancy
from control_plane.core.database import Database
from control_plane.core.plugins import Document
from control_plane.limits import documents
from control_plane.tenants import Tenant
from tests import factories

RULE = {"name": "burst", "scope": ["user"], "limit": 10, "window": "second", "burst": 20}
NOW = datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.UTC)


def compiled(database: Database, *ids: str) -> dict[str, Document | None]:
    with tenancy.platform_context(), database.session(write=False) as session:
        found = documents.compile_limits(session, ids or None)
    for document in found.values():
        assert document is None or contract.check("limits", document) == {}
    return found


def make(client: FlaskClient, headers: dict[str, str], **fields: Any) -> str:
    answer = client.post("/api/limits", json={**RULE, **fields}, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


@pytest.fixture(autouse=True)
def summer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def test_a_tenants_rules_are_its_limits_its_configuration_and_its_models(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    limits = {"requests_per_day": 1000, "tokens_per_minute": 5000, "concurrent": 3}
    tenant = factories.make_tenant(
        database, configurations={"api_call_limits": limits}, time_zone="Asia/Shanghai"
    )
    factories.make_tenant_models(database, [tenant.id])
    url = f"/api/tenants/{tenant.id}/models"
    (model,) = client.get(url, headers=operator).json
    headers = {**operator, **factories.ANY}
    client.patch(f"{url}/{model['id']}", json={"maxCallsPerDay": 7}, headers=headers)
    rule_id = make(client, operator, tenantId=str(tenant.id), match={"user": "li"})
    everybodys = make(client, operator, name="all", scope=["platform"], window="month", burst=None)
    make(client, operator, name="off", isActive=False)
    found = compiled(database)
    document = found[str(tenant.id)]
    assert document is not None
    own, day, tokens, concurrent, daily = document["rules"]
    assert own == {
        "id": rule_id,
        "name": "burst",
        "scope": ["tenant", "user"],
        "match": {"user": "li"},
        "meter": "requests",
        "limit": 10,
        "window": "second",
        "burst": 20,
        "onOutage": "local",
        "zone": [],
    }
    shanghai = [{"from": 1735689600, "offset": 28800}]
    assert (day["id"], day["limit"], day["window"]) == ("requestsPerDay", 1000, "day")
    assert (day["scope"], day["zone"]) == (["tenant"], shanghai)
    assert (tokens["name"], tokens["meter"]) == ("tokensPerMinute", "tokens")
    assert (concurrent["meter"], concurrent["window"]) == ("concurrency", None)
    assert daily["id"] == f"maxCallsPerDay/{model['modelId']}"
    assert (daily["limit"], daily["match"]) == (7, {"model": model["modelId"]})
    assert daily["zone"] == shanghai
    platform = found["platform"]
    assert platform is not None
    assert [each["id"] for each in platform["rules"]] == [everybodys]
    assert platform["rules"][0]["zone"] == [{"from": 1735689600, "offset": 0}]


def test_only_what_is_asked_for_is_compiled_and_nothing_is_no_document(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database
) -> None:
    other = factories.make_tenant(database)
    make(client, operator, tenantId=str(tenant.id))
    make(client, operator)
    whose = str(tenant.id)
    assert compiled(database, whose, str(other.id)).keys() == {whose, str(other.id)}
    assert compiled(database, str(other.id)) == {str(other.id): None}
    assert compiled(database, "platform").keys() == {"platform"}


def test_a_zone_with_summer_time_has_its_changes_for_ten_years(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database, time_zone="Europe/Berlin")
    make(client, operator, tenantId=str(tenant.id), window="day", burst=None)
    document = compiled(database, str(tenant.id))[str(tenant.id)]
    assert document is not None
    zone = document["rules"][0]["zone"]
    assert zone[:2] == [{"from": 1735689600, "offset": 3600}, {"from": 1743296400, "offset": 7200}]
    assert zone[-1]["from"] > NOW.timestamp() + 9 * 365 * 86400
    assert [each["from"] for each in zone] == sorted(each["from"] for each in zone)


def test_ids_are_those_of_tenants_and_then_the_platform(tenant: Tenant, database: Database) -> None:
    other = factories.make_tenant(database)
    first, second = sorted([str(tenant.id), str(other.id)])
    with tenancy.platform_context(), database.session(write=False) as session:
        assert documents.SECTION.ids(session, None, 2) == [first, second]
        assert documents.SECTION.ids(session, None, 9) == [first, second, "platform"]
        assert documents.SECTION.ids(session, second, 1) == ["platform"]
        assert documents.SECTION.ids(session, "platform", 9) == []


@pytest.mark.parametrize(
    ("event", "payload", "document_id"),
    [
        ("limits.changed", {"tenant_id": None}, "platform"),
        ("limits.changed", {"tenant_id": "t"}, "t"),
        ("tenants.configured", {"tenant_id": "t"}, "t"),
        ("tenants.updated", {"tenant_id": "t"}, "t"),
        ("tenants.purged", {"tenant_id": "t"}, "t"),
        ("ai_models.tenant_model_changed", {"tenant_id": "t", "model_id": "m"}, "t"),
    ],
)
def test_what_changes_a_document(event: str, payload: dict[str, Any], document_id: str) -> None:
    assert documents.SECTION.dirty[event](payload) == [document_id]
