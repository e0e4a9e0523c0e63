"""Domains through the API, on both databases, with a DNS server of the test's own."""

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import IntegrityError

from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.core.errors import Conflict
from control_plane.core.settings import DnsSettings, Settings
from control_plane.domains import documents, service
from control_plane.domains.models import Domain, Method
from control_plane.tenants import Tenant
from tests import factories
from tests.dns_server import DnsServer
from tests.factories import ANY


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture
def settings(settings: Settings, dns_server: DnsServer) -> Settings:
    return dataclasses.replace(settings, dns=DnsSettings(servers=(dns_server.address,)))


def _claim(
    client: FlaskClient, headers: dict[str, str], tenant: Tenant, name: str, **fields: Any
) -> dict[str, Any]:
    sent = {"domainName": name, **fields}
    answer = client.post(f"/api/tenants/{tenant.id}/domains", json=sent, headers=headers)
    assert answer.status_code == 201, answer.json
    return dict(answer.json)


def _verify(
    client: FlaskClient, headers: dict[str, str], domain: dict[str, Any], **body: str
) -> Any:
    url = f"/api/tenants/{domain['tenantId']}/domains/{domain['id']}/verify"
    return client.post(url, json=body, headers=headers)


def _hosts(database: Database, *names: str) -> dict[str, Any]:
    with tenancy.platform_context(), database.session(write=False) as session:
        return documents.compile_hosts(session, names or None)


def test_a_claim_is_shown_with_the_record_that_proves_it(
    client: FlaskClient, tenant_admin: dict[str, str], tenant: Tenant
) -> None:
    domain = _claim(client, tenant_admin, tenant, "API.Example.COM.")
    assert domain["domainName"] == "api.example.com"
    assert (domain["isVerified"], domain["isPrimary"], domain["sslEnabled"]) == (False, True, False)
    record = domain["verificationRecord"]
    assert (record["type"], record["name"]) == ("TXT", "_yumen.api.example.com")
    assert len(record["value"]) > len("yumen-verification=") + 30
    url = f"/api/tenants/{tenant.id}/domains"
    assert client.get(f"{url}/{domain['id']}", headers=tenant_admin).json == domain
    listed = client.get(url, headers=tenant_admin)
    assert listed.json == [domain]
    assert '"total": 1' in listed.headers["X-Pagination"]


@pytest.mark.parametrize("name", ["127.0.0.1", "a.example.com:80", "*.com", "a_b.c", ""])
def test_what_is_not_a_domain_name_is_refused_naming_the_field(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, name: str
) -> None:
    url = f"/api/tenants/{tenant.id}/domains"
    answer = client.post(url, json={"domainName": name}, headers=operator)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == ["#/domainName"]


def test_a_tenant_has_each_name_once_and_one_primary(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant
) -> None:
    first = _claim(client, operator, tenant, "a.example.com")
    second = _claim(client, operator, tenant, "b.example.com")
    third = _claim(client, operator, tenant, "c.example.com", isPrimary=True)
    url = f"/api/tenants/{tenant.id}/domains"
    again = client.post(url, json={"domainName": "A.example.com"}, headers=operator)
    assert (again.status_code, again.json["code"]) == (409, "domain_exists")

    def primaries() -> list[str]:
        listed = client.get(url, headers=operator).json
        return [domain["id"] for domain in listed if domain["isPrimary"]]

    assert (first["isPrimary"], second["isPrimary"]) == (True, False)
    assert primaries() == [third["id"]]
    client.post(f"{url}/{second['id']}/primary", headers=operator)
    assert primaries() == [second["id"]]


def test_the_dns_proves_a_domain(
    client: FlaskClient,
    tenant_admin: dict[str, str],
    tenant: Tenant,
    database: Database,
    dns_server: DnsServer,
) -> None:
    domain = _claim(client, tenant_admin, tenant, "api.example.com")
    record = domain["verificationRecord"]
    early = _verify(client, tenant_admin, domain, method="dns")
    assert (early.status_code, early.json["code"]) == (409, "domain_not_proved")
    assert "verificationRecord" in early.json["detail"]
    dns_server.records[record["name"], "TXT"] = ['"v=spf1"', '"yumen-verification=0"']
    assert _verify(client, tenant_admin, domain, method="dns").status_code == 409
    assert _hosts(database) == {}
    dns_server.records[record["name"], "TXT"].append(f'"{record["value"]}"')
    assert _verify(client, tenant_admin, domain, method="dns").json["isVerified"] is True
    assert _hosts(database) == {"api.example.com": {"tenant": str(tenant.id)}}
    assert set(dns_server.asked) == {"_yumen.api.example.com"}


def test_only_an_operator_of_the_platform_verifies_by_hand(
    client: FlaskClient, tenant_admin: dict[str, str], operator: dict[str, str], tenant: Tenant
) -> None:
    domain = _claim(client, tenant_admin, tenant, "demo.localhost")
    refused = _verify(client, tenant_admin, domain, method="manual")
    assert (refused.status_code, refused.json["code"]) == (403, "permission_denied")
    assert _verify(client, operator, domain, method="manual").json["isVerified"] is True
    assert _verify(client, operator, domain, method="manual").status_code == 200
    assert _verify(client, operator, domain, method="magic").status_code == 422


def test_many_claim_a_name_and_one_verifies_it(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    other = factories.make_tenant(database)
    mine = _claim(client, operator, tenant, "api.example.com")
    theirs = _claim(client, operator, other, "api.example.com")
    assert _verify(client, operator, mine, method="manual").status_code == 200
    late = _verify(client, operator, theirs, method="manual")
    assert (late.status_code, late.json["code"]) == (409, "domain_taken")
    assert _hosts(database) == {"api.example.com": {"tenant": str(tenant.id)}}
    url = f"/api/tenants/{tenant.id}/domains/{mine['id']}"
    assert client.delete(url, headers=operator | ANY).status_code == 204
    assert _hosts(database, "api.example.com") == {"api.example.com": None}
    assert _verify(client, operator, theirs, method="manual").status_code == 200


def test_of_two_who_verify_at_the_same_moment_one_succeeds(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    claims = [
        _claim(client, operator, owner, "api.example.com")
        for owner in (tenant, factories.make_tenant(database))
    ]
    together = threading.Barrier(len(claims), timeout=10)
    outcomes: list[str] = []

    def verify(claim: dict[str, Any]) -> None:
        together.wait()
        try:
            with tenancy.platform_context(), database.transaction() as session:
                owned = next(row for row in session.query(Domain) if str(row.id) == claim["id"])
                service.verify_domain(session, owned, Method.MANUAL)
            outcomes.append("verified")
        except Conflict as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=verify, args=(claim,)) for claim in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["domain_taken", "verified"]


def test_the_database_itself_keeps_names_and_primaries_unique(database: Database) -> None:
    def add(**fields: Any) -> None:
        with tenancy.platform_context(), database.transaction() as session:
            session.add(Domain(verification_token="t", **fields))

    one, two = factories.make_tenant(database), factories.make_tenant(database)
    add(tenant_id=one.id, domain_name="a.example.com", is_verified=True, is_primary=True)
    add(tenant_id=two.id, domain_name="a.example.com")
    with pytest.raises(IntegrityError):
        add(tenant_id=two.id, domain_name="A.example.com".lower(), is_verified=True)
    with pytest.raises(IntegrityError):
        add(tenant_id=one.id, domain_name="b.example.com", is_primary=True)


def test_another_tenants_domain_is_unknown(
    client: FlaskClient, tenant_admin: dict[str, str], operator: dict[str, str], database: Database
) -> None:
    other = factories.make_tenant(database)
    theirs = _claim(client, operator, other, "api.example.com")
    for path in (
        f"/api/tenants/{other.id}/domains",
        f"/api/tenants/{other.id}/domains/{theirs['id']}",
    ):
        assert client.get(path, headers=tenant_admin).status_code == 404


def test_purging_a_tenant_gives_its_names_up(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    domain = _claim(client, operator, tenant, "api.example.com")
    _verify(client, operator, domain, method="manual")
    factories.purge_tenant(database, tenant)
    assert _hosts(database, "api.example.com") == {"api.example.com": None}


def test_a_wildcard_is_proved_at_the_name_below_it_and_is_no_primary_domain(
    client: FlaskClient,
    tenant_admin: dict[str, str],
    tenant: Tenant,
    database: Database,
    dns_server: DnsServer,
) -> None:
    url = f"/api/tenants/{tenant.id}/domains"
    sent = {"domainName": "*.example.com", "isPrimary": True}
    refused = client.post(url, json=sent, headers=tenant_admin)
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json["errors"]] == ["#/isPrimary"]
    domain = _claim(client, tenant_admin, tenant, "*.Example.com")
    assert (domain["domainName"], domain["isPrimary"]) == ("*.example.com", False)
    primary = client.post(f"{url}/{domain['id']}/primary", headers=tenant_admin)
    assert (primary.status_code, primary.json["code"]) == (409, "wildcard_domain")
    record = domain["verificationRecord"]
    assert record["name"] == "_yumen.example.com"
    dns_server.records[record["name"], "TXT"] = [f'"{record["value"]}"']
    assert _verify(client, tenant_admin, domain).status_code == 200
    assert _hosts(database) == {"*.example.com": {"tenant": str(tenant.id)}}
    with tenancy.platform_context(), database.session(write=False) as session:
        owners = [
            service.find_tenant(session, name)
            for name in ("A.example.com", "example.com", "a.b.example.com")
        ]
    assert owners == [tenant.id, None, None]
