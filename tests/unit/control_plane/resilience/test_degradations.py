"""Degradation rules in the API, and what gateways get of them."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane import contract
from control_plane.core import plugins, tenancy
from control_plane.core.database import Database
from control_plane.resilience import documents
from control_plane.resilience.models import DegradationRule
from control_plane.tenants import Tenant
from tests import factories
from tests.operations import MODEL

URL = "/api/degradation-rules"
TARGETS = {"serverName": "shop.example.com", "targets": [{"host": "93.184.216.34", "port": 443}]}
RULE = {
    "name": "shop is slow",
    "serviceName": "shop",
    "condition": "p95 > 2000",
    "action": "timeout-increase",
    "parameters": {"factor": 2},
}
NOTHING = dict.fromkeys(("factor", "feature", "endpoint", "model", "upstream", "answer"))
DEFAULTS = {
    "clearCondition": None,
    "forSeconds": 10,
    "clearForSeconds": 30,
    "ttlSeconds": 60,
    "dryRun": False,
    "enabled": True,
}
INACTIVE = {"active": False, "since": None, "reason": None}


@pytest.fixture
def upstream(client: FlaskClient, operator: dict[str, str]) -> str:
    """The key of an upstream that every tenant may use."""
    return make_upstream(client, operator, "shop", isShared=True)


def make_upstream(client: FlaskClient, headers: dict[str, str], name: str, **fields: Any) -> str:
    body = {**TARGETS, "name": name, **fields}
    answer = client.post("/api/upstreams", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return f"upstream:{answer.json['id']}"


def make_model(client: FlaskClient, headers: dict[str, str], name: str) -> str:
    answer = client.post("/api/models", json={**MODEL, "name": name}, headers=headers)
    assert answer.status_code == 201, answer.text
    return f"model:{answer.json['id']}"


def make_rule(client: FlaskClient, headers: dict[str, str], **fields: Any) -> Any:
    answer = client.post(URL, json={**RULE, **fields}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json


def compiled(database: Database, service: str) -> Any:
    with tenancy.platform_context(), database.session(write=False) as session:
        document = documents.compile_degradations(session, [service])[service]
    if document is not None:
        assert contract.check("degradations", document) == {}
    return None if document is None else document["rules"]


def test_each_verb_does_what_it_says(
    client: FlaskClient, operator: dict[str, str], upstream: str, database: Database
) -> None:
    made = client.post(URL, json=RULE, headers=operator)
    assert made.status_code == 201, made.text
    shown = {"parameters": {**NOTHING, "factor": 2.0}}
    assert made.json == {
        "id": made.json["id"],
        "tenantId": None,
        **RULE,
        **shown,
        **DEFAULTS,
        **INACTIVE,
        "creationDate": made.json["creationDate"],
    }
    document = {
        "id": made.json["id"],
        "name": "shop is slow",
        "tenant": None,
        "action": "timeout-increase",
        **shown,
    }
    assert compiled(database, upstream) == [document]
    url = made.headers["Location"]
    disabled = {"action": "feature-disable", "parameters": {"endpoint": "/cart"}}
    body = {**RULE, "serviceName": upstream, **disabled, "clearCondition": "p95 < 500"}
    assert client.put(url, json=body, headers=operator).status_code == 428
    headers = factories.if_match(client, url, operator)
    changed = client.put(url, json=body, headers=headers)
    assert (changed.status_code, changed.json["serviceName"]) == (200, "shop")
    assert client.put(url, json=body, headers=headers).status_code == 412
    headers = factories.if_match(client, url, operator)
    patch = {"parameters": {"endpoint": None, "feature": "stream"}, "forSeconds": 0}
    patched = client.patch(url, json=patch, headers=headers)
    assert patched.json["parameters"] == {**NOTHING, "feature": "stream"}
    assert (patched.json["forSeconds"], patched.json["clearCondition"]) == (0, "p95 < 500")
    assert client.get(URL, headers=operator).json == [patched.json]
    (rule,) = compiled(database, upstream)
    assert (rule["action"], rule["parameters"]) == ("feature-disable", patched.json["parameters"])
    headers = factories.if_match(client, url, operator)
    assert client.delete(url, headers=headers).status_code == 204
    assert client.get(url, headers=operator).status_code == 404
    assert compiled(database, upstream) is None


@pytest.mark.usefixtures("upstream")
def test_gateways_get_only_rules_to_obey(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database, upstream: str
) -> None:
    make_rule(client, operator, name="dry", dryRun=True)
    make_rule(client, operator, name="off", enabled=False)
    assert compiled(database, upstream) is None
    ours = make_rule(client, operator, name="platform")
    own = make_rule(client, operator, name="tenant", tenantId=str(tenant.id))
    found = [(rule["id"], rule["tenant"]) for rule in compiled(database, upstream)]
    assert found == [(own["id"], str(tenant.id)), (ours["id"], None)], "a tenant's own goes first"


def test_a_fallback_is_named_by_people_and_known_by_its_id(
    client: FlaskClient, operator: dict[str, str], upstream: str, database: Database
) -> None:
    other, gpt, mini = (
        make_upstream(client, operator, "reserve"),
        make_model(client, operator, "gpt"),
        make_model(client, operator, "mini"),
    )
    fallback = {"action": "fallback", "condition": 'breaker == "open"'}
    rule = make_rule(client, operator, **fallback, parameters={"upstream": "reserve"})
    assert rule["parameters"] == {**NOTHING, "upstream": "reserve"}
    (found,) = compiled(database, upstream)
    assert found["parameters"] == {**NOTHING, "upstream": other.partition(":")[2]}
    make_rule(
        client,
        operator,
        **fallback,
        name="gpt is away",
        serviceName="gpt",
        parameters={"model": mini},
    )
    (found,) = compiled(database, gpt)
    assert found["parameters"] == {**NOTHING, "model": mini.partition(":")[2]}
    answer = {"body": "later", "contentType": "text/plain; charset=utf-8"}
    make_rule(client, operator, **fallback, name="static", parameters={"answer": answer})
    assert compiled(database, upstream)[1]["parameters"] == {
        **NOTHING,
        "answer": {"status": 503, **answer},
    }
    wrong = {
        "shop": "Must be another one",
        "nobody": "There is no AI model and no upstream",
        mini: "Must name an upstream.",
    }
    for name, told in wrong.items():
        body = {**RULE, **fallback, "name": "new", "parameters": {"upstream": name}}
        refused = client.post(URL, json=body, headers=operator)
        (error,) = refused.json["errors"]
        assert error["pointer"] == "#/parameters/upstream"
        assert told in error["detail"]
    body = {**RULE, **fallback, "name": "new", "parameters": {"model": "mini"}}
    (error,) = client.post(URL, json=body, headers=operator).json["errors"]
    assert (error["pointer"], "is an upstream" in error["detail"]) == ("#/parameters/model", True)


ANSWER = {"action": "fallback", "parameters": {"answer": {"body": ""}}}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"serviceName": "nobody"}, "serviceName"),
    ({"serviceName": ""}, "serviceName"),
    ({"name": ""}, "name"),
    ({"name": "慢"}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"condition": "p95 > "}, "condition"),
    ({"condition": "p96 > 1"}, "condition"),
    ({"condition": 1}, "condition"),
    ({"clearCondition": "p95"}, "clearCondition"),
    ({"forSeconds": -1}, "forSeconds"),
    ({"forSeconds": 3601}, "forSeconds"),
    ({"clearForSeconds": -1}, "clearForSeconds"),
    ({"ttlSeconds": 9}, "ttlSeconds"),
    ({"action": "panic"}, "action"),
    ({"parameters": {}}, "parameters"),
    ({"parameters": {"factor": 1}}, "parameters/factor"),
    ({"parameters": {"factor": 101}}, "parameters/factor"),
    ({"parameters": {"factor": "2"}}, "parameters/factor"),
    ({"parameters": {"factor": True}}, "parameters/factor"),
    ({"parameters": {"factor": 2, "feature": "stream"}}, "parameters/feature"),
    ({"parameters": {"speed": 2}}, "parameters/speed"),
    ({"action": "feature-disable", "parameters": {"feature": "tools"}}, "parameters/feature"),
    ({"action": "feature-disable", "parameters": {"endpoint": "cart"}}, "parameters/endpoint"),
    (
        {"action": "feature-disable", "parameters": {"feature": "stream", "endpoint": "/"}},
        "parameters",
    ),
    ({"action": "fallback", "parameters": {"factor": 2}}, "parameters/factor"),
    ({"action": "fallback", "parameters": {"answer": {}}}, "parameters/answer/body"),
    (
        {"action": "fallback", "parameters": {"answer": {"body": "", "status": 100}}},
        "parameters/answer/status",
    ),
    (
        {"action": "fallback", "parameters": {"answer": {"body": "", "contentType": "a\nb: c"}}},
        "parameters/answer/contentType",
    ),
    ({"active": True}, "active"),
]


@pytest.mark.usefixtures("upstream")
def test_what_cannot_be_is_named(client: FlaskClient, operator: dict[str, str]) -> None:
    for fields, name in WRONG:
        answer = client.post(URL, json={**RULE, **fields}, headers=operator)
        assert answer.status_code == 422, fields
        pointers = [error["pointer"] for error in answer.json["errors"]]
        assert pointers == [f"#/{name}"], fields


@pytest.mark.usefixtures("upstream")
def test_a_condition_is_refused_with_its_place(
    client: FlaskClient, operator: dict[str, str]
) -> None:
    body = {**RULE, "condition": "rate > 1 &&\n p96 > 2000"}
    (error,) = client.post(URL, json=body, headers=operator).json["errors"]
    assert error["detail"].startswith("Line 2, column 2: There is no metric p96; there are error")


def test_a_tenant_has_its_own_and_sees_no_others(
    client: FlaskClient,
    operator: dict[str, str],
    tenant_admin: dict[str, str],
    tenant: Tenant,
    upstream: str,
    database: Database,
) -> None:
    other = factories.make_tenant(database)
    hidden = [make_rule(client, operator, tenantId=owner)["id"] for owner in (None, str(other.id))]
    mine = make_rule(client, tenant_admin)
    assert mine["tenantId"] == str(tenant.id)
    assert client.get(URL, headers=tenant_admin).json == [mine]
    for rule_id in hidden:
        assert client.get(f"{URL}/{rule_id}", headers=tenant_admin).status_code == 404
        headers = {**tenant_admin, **factories.ANY}
        assert client.delete(f"{URL}/{rule_id}", headers=headers).status_code == 404
    assert client.get(f"{URL}?tenantId={tenant.id}", headers=operator).json == [mine]
    assert {each["tenant"] for each in compiled(database, upstream)} == {
        None,
        str(other.id),
        str(tenant.id),
    }


@pytest.mark.usefixtures("upstream")
def test_a_tenant_does_not_learn_how_much_others_call(
    client: FlaskClient, operator: dict[str, str], tenant_admin: dict[str, str], tenant: Tenant
) -> None:
    make_upstream(client, tenant_admin, "own")
    for service, condition, status in (
        ("shop", "errorRate > 50", 201),
        ("shop", "errorRate > 50 && rate > 1", 422),
        ("shop", "concurrency > 10", 422),
        ("shop", "nodeLoad > 90", 422),
        ("own", "errorRate > 50 && rate > 1", 201),
        ("own", "nodeLoad > 90", 422),
    ):
        body = {**RULE, "serviceName": service, "condition": condition}
        body["name"] = f"{service} {len(condition)}"
        for headers, owner in ((tenant_admin, {}), (operator, {"tenantId": str(tenant.id)})):
            answer = client.post(URL, json={**body, **owner}, headers=headers)
            wanted = status if status == 422 or headers is tenant_admin else 409
            assert answer.status_code == wanted, (service, condition, answer.text)
    body = {**RULE, "clearCondition": "rate < 1"}
    (error,) = client.post(URL, json=body, headers=tenant_admin).json["errors"]
    assert error["pointer"] == "#/clearCondition"


def test_a_tenant_names_only_what_it_may_call(
    client: FlaskClient, operator: dict[str, str], tenant_admin: dict[str, str], upstream: str
) -> None:
    key = make_upstream(client, operator, "reserve")  # not shared
    for fields, pointer in (
        ({"serviceName": key}, "#/serviceName"),
        ({"action": "fallback", "parameters": {"upstream": key}}, "#/parameters/upstream"),
        ({"action": "fallback", "parameters": {"upstream": "reserve"}}, "#/parameters/upstream"),
    ):
        answer = client.post(URL, json={**RULE, **fields}, headers=tenant_admin)
        assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, pointer)


@pytest.mark.usefixtures("upstream")
def test_a_name_is_there_once_for_each_owner_and_rules_are_bounded(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant
) -> None:
    for owner in (None, str(tenant.id)):
        answers = [
            client.post(URL, json={**RULE, "tenantId": owner}, headers=operator) for _ in range(2)
        ]
        assert [each.status_code for each in answers] == [201, 409]
        assert answers[1].json["code"] == "degradation_rule_exists"
    for number in range(19):
        make_rule(client, operator, name=f"rule {number}")
    answer = client.post(URL, json={**RULE, "name": "one more"}, headers=operator)
    assert (answer.status_code, answer.json["code"]) == (409, "too_many_degradation_rules")


@pytest.mark.usefixtures("upstream")
def test_export_and_purge_take_a_tenants_rules(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database
) -> None:
    for owner in (None, str(tenant.id)):
        make_rule(client, operator, tenantId=owner)
    with tenancy.platform_context(), database.session(write=False) as session:
        rooms = plugins.manager().hook.yumen_export_tenant(session=session, tenant_id=tenant.id)
        rows = [row for room in rooms for kind, found in room if kind == "degradationRule"
                for row in found]  # fmt: skip
    assert [(row["tenantId"], row["serviceName"]) for row in rows] == [(str(tenant.id), "shop")]
    assert not rows[0].keys() & INACTIVE.keys()
    factories.purge_tenant(database, tenant)
    with tenancy.platform_context(), database.session(write=False) as session:
        assert [each.tenant_id for each in session.query(DegradationRule)] == [None]
