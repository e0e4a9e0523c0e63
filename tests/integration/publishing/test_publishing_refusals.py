"""A document that is not sound is refused; its last good version and all others go on."""

import random
import uuid
from collections.abc import Collection
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from control_plane.ai_models.events import ModelSaved
from control_plane.ai_models.models import AIModel
from control_plane.contract.documents import SECTIONS
from control_plane.core import tenancy
from control_plane.core.clock import now
from control_plane.core.database import Database
from control_plane.core.events import emit
from control_plane.core.outbox import OutboxEvent
from control_plane.core.plugins import Section
from control_plane.publishing import Publisher, consistency
from control_plane.publishing.models import PublishedDocument, PublishingRefusal
from tests import factories
from tests.integration.publishing.conftest import Configuration, suspend

MODEL = {
    "name": "chat",
    "provider": "openai",
    "endpoint": "https://1.1.1.1/v1",
    "costPerCall": "0.01",
}


class Rows:
    """Rooms of the test's own: what the rows say is what their sections compile to."""

    def __init__(self, database: Database, client: redis.Redis) -> None:
        self.database = database
        self.rows: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
        self.publisher = Publisher(database, client, [self._section(name) for name in SECTIONS])

    def _section(self, name: str) -> Section:
        def compile_rows(_: Session, ids: Collection[str] | None) -> dict[str, Any]:
            wanted = self.rows[name].keys() if ids is None else ids
            found = {each: self.rows[name].get(each) for each in wanted}
            if any(isinstance(document, Exception) for document in found.values()):
                raise RuntimeError("a row cannot be read")
            return found

        def list_ids(_: Session, after: str | None, limit: int) -> list[str]:
            return sorted(each for each in self.rows[name] if each > (after or ""))[:limit]

        return Section(
            name=name,
            schema=SECTIONS[name],
            compile=compile_rows,
            ids=list_ids,
            dirty={f"test.{name}": lambda payload: payload["ids"]},
        )

    def put(self, section: str, **documents: Any) -> None:
        """Change documents (None removes one) and say so."""
        for document_id, document in documents.items():
            if document is None:
                self.rows[section].pop(document_id, None)
            else:
                self.rows[section][document_id] = document
        with self.database.transaction() as session:
            event = OutboxEvent(
                name=f"test.{section}", payload={"ids": list(documents)}, created_at=now()
            )
            session.add(event)

    def all(self) -> dict[tuple[str, str], Any]:
        """Return every row, sound or not, by section and id."""
        return {
            (section, document_id): document
            for section, documents in self.rows.items()
            for document_id, document in documents.items()
        }

    def refusals(self) -> dict[tuple[str, str], str]:
        """Return what is recorded as refused."""
        with self.database.session(write=False) as session:
            rows = session.query(PublishingRefusal)
            return {(row.section, row.document_id): row.reason for row in rows}


@pytest.fixture
def rows(database: Database, redis_client: redis.Redis) -> Rows:
    made = Rows(database, redis_client)
    made.publisher.cycle()
    return made


def _tenant(*models: str, status: str = "active") -> dict[str, Any]:
    entry = {"parameters": {}, "costMultiplier": "1", "maxCallsPerDay": None}
    return {"status": status, "models": {model: entry | {"model": model} for model in models}}


def _id() -> str:
    return str(uuid.uuid4())


def test_a_row_that_does_not_validate_leaves_the_last_good_document_serving(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    publisher: Publisher,
    configuration: Configuration,
) -> None:
    model = client.post("/api/models", json=MODEL, headers=operator).json
    tenant = factories.make_tenant(database)
    publisher.cycle()
    good = configuration.documents("models")

    def save(name: str) -> None:
        with tenancy.platform_context(), database.transaction() as session:
            row = session.get(AIModel, uuid.UUID(model["id"]))
            assert row is not None
            row.name = name
            emit(session, ModelSaved(model_id=row.id))

    save("")
    suspend(database, tenant)
    publisher.cycle()
    assert configuration.documents("models") == good
    assert configuration.documents("tenants")[str(tenant.id)]["status"] == "suspended"
    assert configuration.log()[-1][1] == [["tenants", str(tenant.id)]]
    refused = client.get("/api/gateway/refusals", headers=operator).json
    assert [(each["section"], each["id"]) for each in refused] == [("models", model["id"])]
    assert "name" in refused[0]["reason"]

    save("repaired")
    publisher.cycle()
    assert configuration.documents("models")[model["id"]]["name"] == "repaired"
    assert client.get("/api/gateway/refusals", headers=operator).json == []


def test_a_refusal_alone_makes_no_revision_and_is_logged_once(
    rows: Rows, configuration: Configuration, caplog: pytest.LogCaptureFixture
) -> None:
    before = configuration.dump()
    rows.put("hosts", **{"a.localhost": {"tenant": "nobody"}})
    for _ in range(3):
        rows.put("models")
        rows.publisher.cycle()
    assert configuration.dump() == before
    assert set(rows.refusals()) == {("hosts", "a.localhost")}
    assert caplog.text.count("document_refused") == 1


def test_a_row_that_cannot_be_compiled_spoils_only_itself(
    rows: Rows, configuration: Configuration
) -> None:
    good, bad = _id(), _id()
    rows.put("tenants", **{good: _tenant(), bad: RuntimeError()})
    rows.publisher.cycle()
    assert list(configuration.documents("tenants")) == [good]
    assert "cannot be compiled" in rows.refusals()["tenants", bad]
    rows.put("tenants", **{bad: _tenant()})
    rows.publisher.cycle()
    assert configuration.documents("tenants").keys() == {good, bad}


def test_a_document_whose_target_is_missing_waits_for_it(
    rows: Rows, configuration: Configuration
) -> None:
    tenant = _id()
    rows.put("hosts", **{"a.localhost": {"tenant": tenant}})
    rows.publisher.cycle()
    assert configuration.documents("hosts") == {}
    assert rows.refusals() == {
        ("hosts", "a.localhost"): f"refers to tenants/{tenant}, which is not published"
    }
    rows.put("tenants", **{tenant: _tenant()})
    rows.publisher.cycle()
    assert configuration.documents("hosts") == {"a.localhost": {"tenant": tenant}}
    assert rows.refusals() == {}


def test_a_target_that_is_saved_already_is_published_along(
    rows: Rows, configuration: Configuration
) -> None:
    tenant, model = _id(), _id()
    rows.rows["tenants"][tenant] = _tenant(model)
    rows.rows["models"][model] = _model()
    rows.put("hosts", **{"a.localhost": {"tenant": tenant}})
    rows.publisher.cycle()
    assert len(configuration.log()[-1][1]) == 3
    assert rows.refusals() == {}


def test_what_refers_to_a_removed_document_is_compiled_again(
    rows: Rows, configuration: Configuration
) -> None:
    tenant, model = _id(), _id()
    rows.put("models", **{model: _model()})
    rows.put("tenants", **{tenant: _tenant(model)})
    rows.publisher.cycle()
    rows.rows["tenants"][tenant] = _tenant()
    rows.put("models", **{model: None})
    rows.publisher.cycle()
    assert configuration.documents("models") == {}
    assert configuration.documents("tenants") == {tenant: _tenant()}


def test_a_document_that_is_still_needed_is_not_removed(
    rows: Rows, configuration: Configuration
) -> None:
    tenant, model = _id(), _id()
    rows.put("models", **{model: _model()})
    rows.put("tenants", **{tenant: _tenant(model)})
    rows.publisher.cycle()
    rows.put("models", **{model: None})
    rows.publisher.cycle()
    assert list(configuration.documents("models")) == [model]
    assert rows.refusals() == {("models", model): f"is still needed by tenants/{tenant}"}
    rows.put("tenants", **{tenant: None})
    rows.publisher.cycle()
    assert (configuration.documents("models"), rows.refusals()) == ({}, {})


def _model(name: str = "chat") -> dict[str, Any]:
    return {
        "name": name,
        "provider": "openai",
        "isActive": True,
        "costPerCall": "0.01",
        "endpoint": {"scheme": "https", "host": "1.1.1.1", "port": 443, "path": "/v1"},
        "apiKey": None,
        "parameters": {},
        "enforcedParameters": [],
    }


class Chance:
    """Makes random changes, sound and unsound ones."""

    def __init__(self, rows: Rows, seed: int) -> None:
        self.rows = rows
        self.random = random.Random(seed)
        self.tenants, self.models = [_id() for _ in range(4)], [_id() for _ in range(3)]

    def change(self) -> None:
        kind = self.random.choice([self._host, self._tenant, self._tenant, self._model])
        for _ in range(self.random.randrange(1, 3)):
            kind()

    def _host(self) -> None:
        host = self.random.choice([None, {"tenant": self.random.choice(self.tenants)}])
        self.rows.put("hosts", **{f"{self.random.randrange(4)}.localhost": host})

    def _tenant(self) -> None:
        used = self.random.sample(self.models, self.random.randrange(3))
        tenant = self.random.choice([None, _tenant(*used), _tenant(*used, status="broken")])
        self.rows.put("tenants", **{self.random.choice(self.tenants): tenant})

    def _model(self) -> None:
        model = self.random.choice([None, _model(), _model(""), RuntimeError()])
        self.rows.put("models", **{self.random.choice(self.models): model})


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_every_published_reference_resolves(
    rows: Rows, configuration: Configuration, redis_client: redis.Redis, seed: int
) -> None:
    chance = Chance(rows, seed)
    revisions = [configuration.revision]
    for _ in range(40):
        chance.change()
        if chance.random.random() < 0.1:
            redis_client.flushall()
        rows.publisher.cycle()
        revisions.append(configuration.revision)
        published = _published(configuration)
        for key, document in published.items():
            assert consistency.references(key, document) <= published.keys()
            assert not SECTIONS[key[0]]().validate(document)
        assert published == _kept(rows.database)
        refused = rows.refusals()
        for key, document in rows.all().items():
            assert published.get(key) == document or key in refused, "a change was forgotten"
    assert revisions == sorted(revisions)


def _published(configuration: Configuration) -> dict[tuple[str, str], Any]:
    return {
        (section, document_id): document
        for section in SECTIONS
        for document_id, document in configuration.documents(section).items()
    }


def _kept(database: Database) -> dict[tuple[str, str], Any]:
    with database.session(write=False) as session:
        rows = session.query(PublishedDocument)
        return {(row.section, row.document_id): row.document for row in rows}
