"""A tenant's issuers in the API."""

from collections.abc import Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.issuers import documents
from control_plane.issuers.models import Issuer, KeySet
from control_plane.tenants import Tenant
from tests import factories

BODY = {"issuer": "https://93.184.216.34", "audiences": ["https://ai.example.com"]}


def make(client: FlaskClient, headers: Mapping[str, str], tenant: Tenant, **fields: Any) -> Any:
    return client.post(
        f"/api/tenants/{tenant.id}/issuers", json={**BODY, **fields}, headers=headers
    )


def test_a_tenants_admin_says_whose_tokens_are_taken(
    client: FlaskClient, tenant_admin: dict[str, str], tenant: Tenant
) -> None:
    made = make(client, tenant_admin, tenant)
    assert made.status_code == 201
    assert made.json == {
        "id": made.json["id"],
        "tenantId": str(tenant.id),
        **BODY,
        "jwksUrl": None,
        "algorithms": ["RS256", "ES256", "EdDSA"],
        "userClaim": "sub",
        "clockLeeway": 30,
        "isActive": True,
        "keys": [],
        "keysFetchedAt": None,
        "keysError": None,
        "creationDate": made.json["creationDate"],
    }
    url = made.headers["Location"]
    assert client.get(url, headers=tenant_admin).json == made.json
    headers = factories.if_match(client, url, tenant_admin)
    changed = client.put(url, json={**BODY, "userClaim": "email"}, headers=headers)
    assert (changed.status_code, changed.json["userClaim"]) == (200, "email")
    headers = factories.if_match(client, url, tenant_admin)
    patched = client.patch(url, json={"isActive": False}, headers=headers)
    assert (patched.json["isActive"], patched.json["userClaim"]) == (False, "email")
    listed = client.get(f"/api/tenants/{tenant.id}/issuers?sort=-issuer", headers=tenant_admin)
    assert [each["id"] for each in listed.json] == [made.json["id"]]
    headers = factories.if_match(client, url, tenant_admin)
    assert client.delete(url, headers=headers).status_code == 204
    assert client.get(url, headers=tenant_admin).status_code == 404


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"issuer": "login.example.com"}, "#/issuer"),
        ({"issuer": "https://u:p@93.184.216.34"}, "#/issuer"),
        ({"issuer": "https://93.184.216.34?x=1"}, "#/issuer"),
        ({"issuer": "https://10.0.0.1"}, "#/issuer"),
        ({"issuer": "http://93.184.216.34"}, "#/issuer"),
        ({"jwksUrl": "https://169.254.169.254/keys"}, "#/jwksUrl"),
        ({"audiences": []}, "#/audiences"),
        ({"audiences": ["a", "a"]}, "#/audiences"),
        ({"audiences": "a"}, "#/audiences"),
        ({"algorithms": ["none"]}, "#/algorithms/0"),
        ({"algorithms": ["HS256"]}, "#/algorithms/0"),
        ({"algorithms": []}, "#/algorithms"),
        ({"clockLeeway": 301}, "#/clockLeeway"),
        ({"clockLeeway": -1}, "#/clockLeeway"),
        ({"userClaim": ""}, "#/userClaim"),
        ({"keys": []}, "#/keys"),
    ],
)
def test_what_cannot_be_is_named(
    client: FlaskClient,
    tenant_admin: dict[str, str],
    tenant: Tenant,
    fields: dict[str, Any],
    pointer: str,
) -> None:
    answer = make(client, tenant_admin, tenant, **fields)
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]


def test_an_issuer_is_there_once_and_a_tenant_has_not_many(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database
) -> None:
    assert make(client, operator, tenant).status_code == 201
    assert make(client, operator, tenant).json["code"] == "issuer_exists"
    assert make(client, operator, factories.make_tenant(database)).status_code == 201
    for number in range(9):
        issuer = f"https://93.184.216.34/{number}"
        assert make(client, operator, tenant, issuer=issuer).status_code == 201
    answer = make(client, operator, tenant, issuer="https://93.184.216.34/more")
    assert (answer.status_code, answer.json["code"]) == (409, "too_many_issuers")


def test_viewers_see_and_operators_do_not_change(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database
) -> None:
    url = make(client, operator, tenant).headers["Location"]
    for role in ("viewer", "operator"):
        user = factories.make_user(database, tenant, role)
        headers = factories.sign_in(client.application, user)
        assert client.get(url, headers=headers).status_code == 200
        assert make(client, headers, tenant).status_code == 403
        assert client.post(f"{url}/refresh", headers=headers).status_code == 403


def test_a_document_has_what_gateways_need_and_goes_with_the_last_issuer(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database
) -> None:
    made = make(client, operator, tenant).json
    assert compiled(database, tenant) is None  # as long as there are no keys
    key = {"kid": "1", "algorithm": "ES256", "publicKey": "AAAA"}
    with tenancy.tenant_context(tenant.id), database.transaction() as session:
        session.query(KeySet).one().keys = [key]
    assert compiled(database, tenant) == {
        "issuers": [
            {
                "id": made["id"],
                **BODY,
                "algorithms": ["RS256", "ES256", "EdDSA"],
                "userClaim": "sub",
                "leeway": 30,
                "keys": [key],
            }
        ]
    }
    url = f"/api/tenants/{tenant.id}/issuers/{made['id']}"
    client.patch(url, json={"isActive": False}, headers={**operator, **factories.ANY})
    assert compiled(database, tenant) is None
    client.patch(url, json={"isActive": True}, headers={**operator, **factories.ANY})
    assert compiled(database, tenant) is not None
    client.patch(
        url, json={"issuer": "https://93.184.216.34/new"}, headers={**operator, **factories.ANY}
    )
    assert compiled(database, tenant) is None  # another issuer's keys are not its own


def compiled(database: Database, tenant: Tenant) -> Any:
    with tenancy.platform_context(), database.session(write=False) as session:
        return documents.compile_issuers(session, [str(tenant.id)])[str(tenant.id)]


def test_a_purge_takes_issuers_with_it(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database
) -> None:
    make(client, operator, tenant)
    factories.purge_tenant(database, tenant)
    with tenancy.platform_context(), database.session(write=False) as session:
        assert session.query(Issuer).count() == session.query(KeySet).count() == 0
