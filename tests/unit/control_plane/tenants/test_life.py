"""A tenant's life: suspended, activated, expired, deleted, purged; on both databases."""

import datetime
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control_plane.core import clock, plugins, tenancy
from control_plane.core.auth import Role
from control_plane.core.database import Database
from control_plane.core.outbox import OutboxEvent
from control_plane.core.plugins import JobContext, hookimpl
from control_plane.core.settings import Settings
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantFiltered
from control_plane.domains.models import Domain
from control_plane.tenants import Tenant, documents
from control_plane.tenants.service import lifecycle, purge
from tests import factories
from tests.factories import ANY

DAY = datetime.timedelta(days=1)


@pytest.fixture
def worker(settings: Settings, database: Database) -> JobContext:
    """What the worker's jobs work with."""
    return JobContext(settings=settings, database=database, redis=None)  # type: ignore[arg-type]


@pytest.fixture
def url(tenant: Tenant) -> str:
    return f"/api/tenants/{tenant.id}"


def events(database: Database) -> list[str]:
    with database.session(write=False) as session:
        return list(session.scalars(select(OutboxEvent.name).order_by(OutboxEvent.id)))


def document(database: Database, tenant_id: uuid.UUID) -> Any:
    with tenancy.platform_context(), database.session(write=False) as session:
        return documents.compile_tenants(session, [str(tenant_id)])[str(tenant_id)]


def turn_clock(monkeypatch: pytest.MonkeyPatch, by: datetime.timedelta) -> None:
    later = clock.now() + by
    monkeypatch.setattr(clock, "now", lambda: later)


def rows_of(database: Database, tenant_id: uuid.UUID) -> dict[str, int]:
    """Return how many rows of which table belong to a tenant."""
    found = {}
    with tenancy.tenant_context(tenant_id), database.session(write=False) as session:
        for mapper in Base.registry.mappers:
            if issubclass(mapper.class_, TenantFiltered):
                query = select(func.count()).select_from(mapper.class_)
                if count := session.scalar(query.where(mapper.class_.tenant_id == tenant_id)):
                    found[mapper.class_.__name__] = count
    return found


def test_suspending_and_activating_move_the_published_status(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant, url: str
) -> None:
    suspended = client.post(f"{url}/suspend", json={"reason": "unpaid"}, headers=operator)
    assert (suspended.json["status"], suspended.json["suspensionReason"]) == ("suspended", "unpaid")
    assert document(database, tenant.id) == {
        "status": "suspended",
        "expiresAt": None,
        "models": {},
    }
    again = client.post(f"{url}/suspend", json={"reason": "unpaid"}, headers=operator)
    assert again.status_code == 200
    active = client.post(f"{url}/activate", headers=operator)
    assert (active.json["status"], active.json["suspensionReason"]) == ("active", None)
    assert client.post(f"{url}/activate", headers=operator).status_code == 200
    assert events(database)[-3:] == ["tenants.created", "tenants.suspended", "tenants.activated"]


def test_a_tenant_expires_and_is_extended(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    worker: JobContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = clock.now() + datetime.timedelta(seconds=90)
    over = factories.make_tenant(database, name="over", expiry_date=end)
    going = factories.make_tenant(database, name="going", expiry_date=end + DAY)
    assert document(database, over.id)["expiresAt"] == int(end.timestamp())
    lifecycle.run_expiry(worker)
    assert document(database, over.id)["status"] == "active"
    turn_clock(monkeypatch, datetime.timedelta(seconds=91))
    lifecycle.run_expiry(worker)
    assert document(database, over.id)["status"] == "inactive"
    assert document(database, going.id)["status"] == "active"
    assert events(database)[-1] == "tenants.expired"
    url = f"/api/tenants/{over.id}"
    refused = client.post(f"{url}/activate", headers=operator)
    assert (refused.status_code, refused.json["code"]) == (409, "tenant_expired")
    extended = {"expiryDate": (end + 2 * DAY).isoformat()}
    assert client.patch(url, json=extended, headers=operator | ANY).json["status"] == "inactive"
    assert client.post(f"{url}/activate", headers=operator).json["status"] == "active"
    assert document(database, over.id) == {
        "status": "active",
        "expiresAt": int((end + 2 * DAY).timestamp()),
        "models": {},
    }


def test_more_tenants_than_one_transaction_takes_expire_in_one_run(
    database: Database, worker: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = clock.now() + DAY
    made = [factories.make_tenant(database, expiry_date=end) for _ in range(5)]
    turn_clock(monkeypatch, 2 * DAY)
    monkeypatch.setattr(lifecycle, "_EXPIRE_AT_ONCE", 2)
    lifecycle.run_expiry(worker)
    assert {document(database, each.id)["status"] for each in made} == {"inactive"}


def test_a_deleted_tenant_waits_for_its_purge_and_can_come_back(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    url: str,
    worker: JobContext,
) -> None:
    client.post(f"{url}/suspend", json={"reason": "unpaid"}, headers=operator)
    assert client.delete(url, headers=operator).status_code == 428
    assert client.delete(url, headers=operator | ANY).status_code == 204
    deleted = client.get(url, headers=operator).json
    assert (deleted["status"], deleted["suspensionReason"]) == ("inactive", None)
    left = datetime.datetime.fromisoformat(deleted["purgeDate"]) - clock.now()
    assert 29.9 * DAY < left < 30 * DAY
    assert document(database, tenant.id)["status"] == "inactive"
    assert client.delete(url, headers=operator | ANY).status_code == 204
    assert client.get(url, headers=operator).json == deleted
    refused = client.post(f"{url}/suspend", headers=operator)
    assert (refused.status_code, refused.json["code"]) == (409, "tenant_deleted")
    purge.run_purge(worker)
    back = client.post(f"{url}/activate", headers=operator).json
    assert (back["status"], back["purgeDate"]) == ("active", None)
    assert events(database)[-2:] == ["tenants.deleted", "tenants.activated"]


def furnish(client: FlaskClient, operator: dict[str, str], database: Database, url: str) -> None:
    """Give a tenant something in each room."""
    tenant_id = uuid.UUID(url.rpartition("/")[2])
    with tenancy.platform_context(), database.session(write=False) as session:
        tenant = session.get_one(Tenant, tenant_id)
    for _ in range(3):
        user = factories.make_user(database, tenant)
    factories.sign_in(client.application, user)
    model = {
        "name": f"chat-{tenant_id}",
        "provider": "openai",
        "endpoint": "https://api.example.com/v1",
        "costPerCall": "0.01",
    }
    model_id = client.post("/api/models", json=model, headers=operator).json["id"]
    for kind, body in (
        ("domains", {"domainName": f"{tenant_id}.example.com"}),
        ("models", {"modelId": model_id}),
        *[("api-keys", {"name": f"key {number}"}) for number in range(5)],
    ):
        answer = client.post(f"{url}/{kind}", json=body, headers=operator)
        assert answer.status_code == 201, answer.text


def test_a_purge_takes_all_of_one_tenant_and_nothing_of_another(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    worker: JobContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"/api/tenants/{tenant.id}"
    other = factories.make_tenant(database)
    furnish(client, operator, database, url)
    furnish(client, operator, database, f"/api/tenants/{other.id}")
    before = rows_of(database, other.id)
    assert len(rows_of(database, tenant.id)) >= 6
    client.delete(url, headers=operator | ANY)
    monkeypatch.setattr(purge, "ROWS", 2)
    turn_clock(monkeypatch, 31 * DAY)
    purge.run_purge(worker)
    assert rows_of(database, tenant.id).keys() == {"AuditLog"}, "what was done stays known"
    assert rows_of(database, other.id) == before
    assert document(database, tenant.id) is None
    assert events(database).count("identity.api_key_revoked") == 5
    assert events(database)[-1] == "tenants.purged"


def test_a_purge_goes_on_where_a_killed_worker_left_it(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    worker: JobContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"/api/tenants/{tenant.id}"
    furnish(client, operator, database, url)
    client.delete(url, headers=operator | ANY)
    with tenancy.platform_context(), database.transaction() as session:
        session.add(Domain(tenant_id=tenant.id, domain_name="b.example.com", verification_token=""))
    turn_clock(monkeypatch, 31 * DAY)
    monkeypatch.setattr(purge, "ROWS", 1)
    monkeypatch.setattr(purge, "_STEPS", 1)
    before = rows_of(database, tenant.id)
    purge.run_purge(worker)
    between = rows_of(database, tenant.id)
    assert 0 < sum(between.values()) < sum(before.values())
    refused = client.post(f"{url}/activate", headers=operator)
    assert (refused.status_code, refused.json["code"]) == (409, "tenant_being_purged")
    for _ in range(20):
        purge.run_purge(worker)
    assert rows_of(database, tenant.id).keys() == {"AuditLog"}, "what was done stays known"


class Refusing:
    """A room that cannot delete what it holds of one tenant."""

    def __init__(self, tenant_id: uuid.UUID) -> None:
        self._tenant_id = tenant_id

    @hookimpl
    def yumen_purge_tenant(self, session: Session, tenant_id: uuid.UUID, limit: int) -> int:
        if tenant_id == self._tenant_id:
            raise RuntimeError("not this one")
        return 0


@pytest.fixture
def refusing(tenant: Tenant) -> Iterator[None]:
    room = Refusing(tenant.id)
    plugins.manager().register(room)
    yield
    plugins.manager().unregister(room)


@pytest.mark.usefixtures("refusing")
def test_a_tenant_that_cannot_be_purged_holds_up_no_other(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    worker: JobContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = factories.make_tenant(database)
    for each in (tenant, other):
        client.delete(f"/api/tenants/{each.id}", headers=operator | ANY)
    turn_clock(monkeypatch, 31 * DAY)
    purge.run_purge(worker)
    assert document(database, tenant.id)["status"] == "inactive"
    assert document(database, other.id) is None


def test_a_purge_at_once_is_for_deleted_tenants_and_administrators(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    url: str,
    worker: JobContext,
) -> None:
    refused = client.post(f"{url}/purge", headers=operator)
    assert (refused.status_code, refused.json["code"]) == (409, "tenant_not_deleted")
    client.delete(url, headers=operator | ANY)
    lesser = factories.sign_in(
        client.application, factories.make_user(database, role=Role.OPERATOR)
    )
    assert client.post(f"{url}/purge", headers=lesser).status_code == 403
    ordered = client.post(f"{url}/purge", headers=operator)
    assert ordered.status_code == 202
    assert datetime.datetime.fromisoformat(ordered.json["purgeDate"]) <= clock.now()
    assert client.post(f"{url}/activate", headers=operator).status_code == 409
    purge.run_purge(worker)
    assert client.get(url, headers=operator).status_code == 404
