"""What is saved is published: the right documents, once, each change as one small write."""

import uuid
from decimal import Decimal
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from sqlalchemy import insert, select

from control_plane import contract, identity
from control_plane.ai_models.models import AIModel, TenantModelConfig
from control_plane.contract import keys
from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.domains.models import Domain
from control_plane.identity.models import APIKey, APIKeySecret
from control_plane.publishing import Publisher, sweep
from control_plane.publishing.models import PublishedDocument, PublishingRevision
from control_plane.tenants import Tenant, TenantStatus
from tests import factories
from tests.factories import ANY
from tests.integration.publishing.conftest import Configuration, activate, suspend

TENANTS = 10_000


def test_what_the_api_saves_arrives_in_redis_as_the_contract_says(
    client: FlaskClient,
    operator: dict[str, str],
    publisher: Publisher,
    configuration: Configuration,
) -> None:
    def post(path: str, **body: Any) -> dict[str, Any]:
        answer = client.post(path, json=body, headers=operator)
        assert answer.status_code in (200, 201), answer.json
        return dict(answer.json)

    tenant = post("/api/tenants", name="Acme")
    url = f"/api/tenants/{tenant['id']}"
    domain = post(f"{url}/domains", domainName="acme.localhost")
    post(f"{url}/domains", domainName="unverified.localhost")
    post(f"{url}/domains/{domain['id']}/verify", method="manual")
    model = post(
        "/api/models",
        name="chat",
        provider="openai",
        endpoint="https://1.1.1.1/v1",
        apiKey="sk-upstream",
        costPerCall="0.01",
    )
    post(f"{url}/models", modelId=model["id"], costMultiplier="1.5")
    key = post(f"{url}/api-keys", name="first")
    before = configuration.revision
    publisher.cycle()

    assert configuration.documents("hosts") == {"acme.localhost": {"tenant": tenant["id"]}}
    assert configuration.documents("tenants")[tenant["id"]] == {
        "status": "active",
        "expiresAt": None,
        "models": {
            "chat": {
                "model": model["id"],
                "parameters": {},
                "costMultiplier": "1.5",
                "maxCallsPerDay": None,
            }
        },
    }
    credentials = configuration.documents("credentials")
    assert [document["tenant"] for document in credentials.values()] == [tenant["id"]]
    assert list(configuration.documents("models")) == [model["id"]]
    for section in contract.SECTIONS:
        for document_id, envelope in configuration.envelopes(section).items():
            assert contract.check(section, envelope["doc"]) == {}
            assert (envelope["epoch"], envelope["rev"]) == configuration.revision, document_id
    assert configuration.revision == (before[0], before[1] + 1)
    assert len(configuration.log()[-1][1]) == 4
    for secret in ("sk-upstream", key["key"]):
        assert secret.encode() not in b"".join(configuration.dump().values())


def test_a_change_is_one_document_one_log_entry_and_one_history_row(
    database: Database, publisher: Publisher, configuration: Configuration
) -> None:
    tenant, other = factories.make_tenant(database), factories.make_tenant(database)
    publisher.cycle()
    epoch, number = configuration.revision
    suspend(database, tenant)
    publisher.cycle()
    assert configuration.revision == (epoch, number + 1)
    assert configuration.log()[-1] == (f"{epoch}-{number + 1}", [["tenants", str(tenant.id)]])
    assert configuration.documents("tenants")[str(tenant.id)]["status"] == "suspended"
    assert configuration.envelopes("tenants")[str(other.id)]["rev"] == number
    with database.session(write=False) as session:
        row = session.get(PublishingRevision, number + 1)
        assert row is not None
        assert (row.epoch, row.reason) == (epoch, "tenants.suspended")
        assert row.changes == [["tenants", str(tenant.id)]]


def test_history_names_the_person_who_caused_a_publish(
    client: FlaskClient, operator: dict[str, str], database: Database, publisher: Publisher
) -> None:
    tenant = factories.make_tenant(database)
    publisher.cycle()
    client.post(f"/api/tenants/{tenant.id}/suspend", json={}, headers=operator)
    publisher.cycle()
    newest = client.get("/api/gateway/revisions", headers=operator).json[0]
    me = client.get("/api/users", headers=operator).json[0]
    assert (newest["actorId"], newest["reason"]) == (me["id"], "tenants.suspended")
    assert newest["changes"] == [["tenants", str(tenant.id)]]


def test_what_changes_nothing_published_makes_no_revision(
    database: Database, publisher: Publisher, configuration: Configuration
) -> None:
    tenant = factories.make_tenant(database)
    publisher.cycle()
    before = configuration.dump()
    suspend(database, tenant)
    activate(database, tenant)
    publisher.cycle()
    assert configuration.dump() == before


def test_purging_a_tenant_removes_all_its_documents(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    publisher: Publisher,
    configuration: Configuration,
) -> None:
    tenant = factories.make_tenant(database)
    with tenancy.platform_context(), database.transaction() as session:
        identity.create_api_key(session, tenant.id, name="first")
    url = f"/api/tenants/{tenant.id}"
    domain = client.post(f"{url}/domains", json={"domainName": "a.localhost"}, headers=operator)
    client.post(
        f"{url}/domains/{domain.json['id']}/verify", json={"method": "manual"}, headers=operator
    )
    publisher.cycle()
    assert configuration.documents("hosts")
    assert configuration.documents("credentials")
    theme = {"uiTheme": {"color": "red"}}
    assert client.put(f"{url}/configuration", json=theme, headers=operator | ANY).status_code == 200
    publisher.cycle()
    assert configuration.documents("profiles")[str(tenant.id)]["uiTheme"] == theme["uiTheme"]
    factories.purge_tenant(database, tenant)
    publisher.cycle()
    for section in ("hosts", "credentials", "profiles", "tenants"):
        assert configuration.documents(section) == {}, section


def test_an_upgrade_that_compiles_differently_is_published_at_start(
    database: Database, redis_client: redis.Redis, configuration: Configuration
) -> None:
    tenant = factories.make_tenant(database)
    Publisher(database, redis_client).cycle()
    Publisher(database, redis_client).cycle()
    epoch, number = configuration.revision
    with database.transaction() as session:
        row = session.get(PublishedDocument, (str(tenant.id), "tenants"))
        assert row is not None
        row.document = row.document | {"dropped": True}
    Publisher(database, redis_client).cycle()
    assert configuration.revision == (epoch, number + 1)
    document = {"status": "active", "expiresAt": None, "models": {}}
    assert configuration.documents("tenants")[str(tenant.id)] == document


def test_an_upgrade_is_looked_for_in_pieces_and_a_change_waits_for_one_at_most(
    database: Database,
    redis_client: redis.Redis,
    configuration: Configuration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [factories.make_tenant(database) for _ in range(7)]
    first = Publisher(database, redis_client)
    first.cycle()
    monkeypatch.setattr(sweep, "PIECE", 2)
    kept, lost, spoiled = (str(each.id) for each in made[:3])
    theme = {"featureFlags": {}, "uiTheme": {"color": "red"}}
    with database.transaction() as session:
        # As if a former version had published less, more, and something else.
        session.delete(session.get(PublishedDocument, (lost, "tenants")))
        session.add(
            PublishedDocument(section="profiles", document_id=kept, revision=1, document=theme)
        )
        session.add(PublishedDocument(section="old", document_id="x", revision=1, document={}))
        session.get_one(PublishedDocument, (spoiled, "tenants")).document = {"status": "odd"}
    redis_client.flushall()
    second = Publisher(database, redis_client)
    pieces = 1
    while second.cycle():
        suspend(database, made[3])
        second.cycle()
        status = configuration.documents("tenants")[str(made[3].id)]["status"]
        assert status == "suspended"
        activate(database, made[3])
        pieces += 1
    second.cycle()
    assert pieces > 4
    assert len(configuration.documents("tenants")) == 7
    assert configuration.documents("tenants")[spoiled]["status"] == "active"
    assert configuration.documents("profiles") == {}
    assert configuration.documents("old") == {}
    before = configuration.dump()
    third = Publisher(database, redis_client)
    while third.cycle():
        assert configuration.dump() == before
    assert configuration.dump() == before


def _fill(database: Database) -> uuid.UUID:
    """Make many tenants, each with a host, a key and the one model; return one of them."""
    ids = [uuid.uuid4() for _ in range(TENANTS)]
    model_id = uuid.uuid4()
    with tenancy.platform_context(), database.transaction() as session:
        session.add(
            AIModel(
                id=model_id,
                name="chat",
                provider="openai",
                endpoint="https://1.1.1.1/v1",
                cost_per_call=Decimal("0.01"),
            )
        )
        session.flush()
        session.execute(
            insert(Tenant.__table__),
            [{"id": each, "name": str(each), "status": TenantStatus.ACTIVE} for each in ids],
        )
        session.execute(
            insert(Domain.__table__),
            [
                {
                    "tenant_id": each,
                    "domain_name": f"{each}.localhost",
                    "is_verified": True,
                    "verification_token": "t",
                }
                for each in ids
            ],
        )
        session.execute(
            insert(APIKey.__table__), [{"id": each, "tenant_id": each, "name": "k"} for each in ids]
        )
        session.execute(
            insert(APIKeySecret.__table__),
            [
                {
                    "public_id": f"{number:012}",
                    "tenant_id": each,
                    "key_id": each,
                    "digest": f"{number:064x}",
                }
                for number, each in enumerate(ids)
            ],
        )
        session.execute(
            insert(TenantModelConfig.__table__),
            [
                {"tenant_id": each, "model_id": model_id, "cost_multiplier": Decimal(1)}
                for each in ids
            ],
        )
    return ids[TENANTS // 2]


def test_among_ten_thousand_tenants_a_change_still_writes_one_document(
    database: Database,
    redis_client: redis.Redis,
    configuration: Configuration,
) -> None:
    changed = _fill(database)
    publisher = Publisher(database, redis_client)
    while publisher.cycle():
        pass
    redis_any: Any = redis_client
    sizes = {name: redis_any.hlen(keys.config_section(name)) for name in contract.SECTIONS}
    each_once = dict.fromkeys(("hosts", "tenants", "credentials"), TENANTS)
    assert sizes == {**dict.fromkeys(contract.SECTIONS, 0), **each_once, "models": 1}

    epoch, number = configuration.revision
    redis_any.config_resetstat()
    with tenancy.platform_context(), database.session() as session:
        tenant = session.get(Tenant, changed)
        assert tenant is not None
    suspend(database, tenant)
    publisher.cycle()

    assert configuration.log()[-1] == (f"{epoch}-{number + 1}", [["tenants", str(changed)]])
    calls = {name: stat["calls"] for name, stat in redis_any.info("commandstats").items()}
    assert (calls["cmdstat_hset"], calls["cmdstat_xadd"]) == (1, 1)
    rewritten = [
        document_id
        for section in contract.SECTIONS
        for document_id, envelope in configuration.envelopes(section).items()
        if (envelope["epoch"], envelope["rev"]) == (epoch, number + 1)
    ]
    assert rewritten == [str(changed)]
    with database.session(write=False) as session:
        stored = session.scalars(
            select(PublishedDocument.document_id).where(PublishedDocument.revision == number + 1)
        )
        assert list(stored) == [str(changed)]
