"""Claims that lapse, and verified names whose record goes away, with a real DNS server."""

import dataclasses
import datetime
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from control_plane.core import clock, tenancy
from control_plane.core.database import Database
from control_plane.core.plugins import JobContext
from control_plane.core.settings import DnsSettings, Settings
from control_plane.domains import documents, proofs
from control_plane.tenants import Tenant
from tests import factories
from tests.dns_server import DnsServer
from tests.factories import ANY

DAY = datetime.timedelta(days=1)
NAME = "ai.example.com"


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture
def settings(settings: Settings, dns_server: DnsServer) -> Settings:
    return dataclasses.replace(settings, dns=DnsSettings(servers=(dns_server.address,)))


class World:
    """A tenant's domains through the API, the worker's job, and a clock that can be turned."""

    def __init__(
        self,
        client: FlaskClient,
        operator: dict[str, str],
        database: Database,
        settings: Settings,
        dns_server: DnsServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.client, self.operator, self.database = client, operator, database
        self.dns_server, self._monkeypatch = dns_server, monkeypatch
        self._context = JobContext(settings, database, redis.Redis.from_url(settings.redis_url))

    def claim(self, tenant: Tenant, name: str = NAME) -> dict[str, Any]:
        url = f"/api/tenants/{tenant.id}/domains"
        answer = self.client.post(url, json={"domainName": name}, headers=self.operator)
        assert answer.status_code == 201, answer.json
        return dict(answer.json)

    def set_record(self, domain: dict[str, Any]) -> None:
        record = domain["verificationRecord"]
        self.dns_server.records[record["name"], "TXT"] = [f'"{record["value"]}"']

    def verify(self, domain: dict[str, Any], method: str = "dns") -> Any:
        url = f"/api/tenants/{domain['tenantId']}/domains/{domain['id']}/verify"
        return self.client.post(url, json={"method": method}, headers=self.operator)

    def shown(self, domain: dict[str, Any]) -> Any:
        url = f"/api/tenants/{domain['tenantId']}/domains/{domain['id']}"
        answer = self.client.get(url, headers=self.operator)
        return answer.json if answer.status_code == 200 else None

    def remove(self, domain: dict[str, Any]) -> None:
        url = f"/api/tenants/{domain['tenantId']}/domains/{domain['id']}"
        assert self.client.delete(url, headers=self.operator | ANY).status_code == 204

    def routes(self) -> bool:
        with tenancy.platform_context(), self.database.session(write=False) as session:
            return documents.compile_hosts(session, [NAME])[NAME] is not None

    def check(self, after: datetime.timedelta) -> None:
        later = clock.now() + after
        self._monkeypatch.setattr(clock, "now", lambda: later)
        proofs.run_checks(self._context)


@pytest.fixture
def world(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    settings: Settings,
    dns_server: DnsServer,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    return World(client, operator, database, settings, dns_server, monkeypatch)


def test_a_claim_that_nobody_proves_lapses(world: World, tenant: Tenant) -> None:
    lapsing, kept = world.claim(tenant), world.claim(tenant, "kept.example.com")
    assert lapsing["expiresAt"] is not None
    assert world.verify(kept, "manual").json["expiresAt"] is None
    world.check(6 * DAY)
    assert world.shown(lapsing) is not None
    world.check(2 * DAY)
    assert (world.shown(lapsing), world.shown(kept)["isVerified"]) == (None, True)


def test_a_name_stops_routing_when_its_record_has_been_gone_for_a_week(
    world: World, tenant: Tenant
) -> None:
    domain = world.claim(tenant)
    world.set_record(domain)
    verified = world.verify(domain).json
    assert (verified["verificationMethod"], verified["missingSince"]) == ("dns", None)
    world.dns_server.records.clear()
    world.check(DAY / 2)
    assert world.shown(domain)["missingSince"] is None
    world.check(DAY)
    missing = world.shown(domain)
    assert (missing["missingSince"] is not None, missing["isVerified"]) == (True, True)
    world.check(6 * DAY)
    assert world.routes()
    world.check(2 * DAY)
    gone = world.shown(domain)
    assert (gone["isVerified"], gone["verifiedAt"], world.routes()) == (False, None, False)
    world.set_record(domain)
    assert world.verify(domain).status_code == 200
    assert world.routes()


def test_a_record_that_comes_back_in_time_begins_anew(world: World, tenant: Tenant) -> None:
    domain = world.claim(tenant)
    world.set_record(domain)
    world.verify(domain)
    world.dns_server.records.clear()
    world.check(2 * DAY)
    world.set_record(domain)
    world.check(5 * DAY)
    assert world.shown(domain)["missingSince"] is None
    world.dns_server.records.clear()
    world.check(3 * DAY)
    assert world.routes()


def test_servers_that_fail_take_no_name_away(world: World, tenant: Tenant) -> None:
    domain = world.claim(tenant)
    world.dns_server.fails = True
    early = world.verify(domain)
    assert (early.status_code, early.json["code"]) == (409, "domain_not_proved")
    assert "answers" in early.json["detail"]
    world.dns_server.fails = False
    world.set_record(domain)
    world.verify(domain)
    world.dns_server.fails = True
    for _ in range(3):
        world.check(7 * DAY)
    assert (world.routes(), world.shown(domain)["missingSince"]) == (True, None)


def test_names_are_looked_up_once_a_day_and_not_those_verified_by_hand(
    world: World, tenant: Tenant
) -> None:
    domain, by_hand = world.claim(tenant), world.claim(tenant, "hand.example.com")
    world.set_record(domain)
    world.verify(domain)
    world.verify(by_hand, "manual")
    world.dns_server.asked.clear()
    version = world.shown(domain)
    for _ in range(8):
        world.check(DAY / 4)
    assert dict(world.dns_server.asked) == {f"_yumen.{NAME}": 2}
    assert world.shown(domain) == version


@pytest.mark.parametrize("name", ["example.com", "a.ai.example.com", "x.y.ai.example.com"])
def test_names_above_and_below_another_tenants_are_not_taken_over(
    world: World, tenant: Tenant, name: str
) -> None:
    other = factories.make_tenant(world.database)
    assert world.verify(world.claim(tenant), "manual").status_code == 200
    near = world.claim(other, name)
    world.set_record(near)
    refused = world.verify(near)
    assert (refused.status_code, refused.json["code"]) == (409, "domain_taken")
    assert NAME not in refused.json["detail"]
    own = world.claim(tenant, name)
    world.set_record(own)
    assert world.verify(own).status_code == 200
    world.remove(own)
    assert world.verify(near, "manual").status_code == 200


@pytest.mark.parametrize(
    ("held", "wanted", "status"),
    [
        ("*.example.com", "ai.example.com", 409),
        ("*.example.com", "example.com", 409),
        ("*.example.com", "*.ai.example.com", 409),
        ("ai.example.com", "*.example.com", 409),
        ("ai.example.com", "*.ai.example.com", 409),
        ("*.ai.example.com", "*.example.com", 409),
        ("*.ai.example.com", "*.ui.example.com", 200),
        ("*.example.com", "example.org", 200),
    ],
)
def test_a_wildcard_holds_the_names_below_it(
    world: World, tenant: Tenant, held: str, wanted: str, status: int
) -> None:
    other = factories.make_tenant(world.database)
    assert world.verify(world.claim(tenant, held), "manual").status_code == 200
    near = world.claim(other, wanted)
    world.set_record(near)
    assert world.verify(near).status_code == status


@pytest.mark.parametrize("name", ["xai.example.com", "i.example.com", "com.example"])
def test_names_that_only_look_alike_are_free(world: World, tenant: Tenant, name: str) -> None:
    other = factories.make_tenant(world.database)
    assert world.verify(world.claim(tenant), "manual").status_code == 200
    near = world.claim(other, name)
    world.set_record(near)
    assert world.verify(near).status_code == 200
