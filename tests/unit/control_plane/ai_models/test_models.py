"""AI models through the API, on both databases."""

import base64
import uuid
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from control_plane.ai_models import documents
from control_plane.ai_models.models import AIModel
from control_plane.contract import check
from control_plane.core import tenancy
from control_plane.core.crypto import SecretError
from control_plane.core.database import Database
from control_plane.core.settings import Settings
from tests import factories
from tests.dns_server import DnsServer
from tests.factories import ANY

SECRET = "sk-upstream-0123456789"
MODEL: dict[str, Any] = {
    "name": "chat",
    "provider": "openai",
    "endpoint": "https://api.example.com/v1",
    "apiKey": SECRET,
    "costPerCall": "0.0100",
    "parameters": {"model": "gpt-4o", "stop": [], "seed": 1234567890123456789},
    "enforcedParameters": ["temperature"],
}


def _create(client: FlaskClient, headers: dict[str, str], **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/models", json=MODEL | fields, headers=headers)
    assert answer.status_code == 201, answer.json
    return dict(answer.json)


def _pointers(answer: Any) -> list[str]:
    assert answer.status_code == 422, answer.json
    return [error["pointer"] for error in answer.json["errors"]]


def _document(database: Database, model_id: str) -> Any:
    with tenancy.platform_context(), database.session(write=False) as session:
        return documents.compile_models(session, [model_id])[model_id]


def test_a_model_is_created_shown_listed_and_changed(
    client: FlaskClient, operator: dict[str, str]
) -> None:
    model = _create(client, operator)
    assert (model["costPerCall"], model["isActive"], model["hasApiKey"]) == ("0.01", True, True)
    assert model["parameters"] == MODEL["parameters"]
    url = f"/api/models/{model['id']}"
    assert client.get(url, headers=operator).json == model
    assert client.get("/api/models", headers=operator).json == [model]
    changed = {key: value for key, value in MODEL.items() if key != "apiKey"}
    changed |= {"endpoint": "https://API.example.com:443/v2/", "isActive": False}
    answer = client.put(url, json=changed, headers=operator | ANY)
    assert answer.json["endpoint"] == "https://api.example.com/v2"
    assert (answer.json["isActive"], answer.json["hasApiKey"]) == (False, True)
    assert (
        client.put(url, json=changed | {"apiKey": None}, headers=operator | ANY).json["hasApiKey"]
        is False
    )
    assert client.delete(url, headers=operator | ANY).status_code == 204
    assert client.get(url, headers=operator).json["code"] == "model_not_found"


def test_a_name_is_unique(client: FlaskClient, operator: dict[str, str]) -> None:
    _create(client, operator)
    again = client.post("/api/models", json=MODEL, headers=operator)
    assert (again.status_code, again.json["code"]) == (409, "model_name_taken")
    other = _create(client, operator, name="other")
    renamed = client.put(f"/api/models/{other['id']}", json=MODEL, headers=operator | ANY)
    assert (renamed.status_code, renamed.json["code"]) == (409, "model_name_taken")


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("costPerCall", 0.01, "#/costPerCall"),
        ("costPerCall", 1, "#/costPerCall"),
        ("costPerCall", "-1", "#/costPerCall"),
        ("costPerCall", "1e-3", "#/costPerCall"),
        ("costPerCall", "1000000001", "#/costPerCall"),
        ("costPerCall", None, "#/costPerCall"),
        ("name", "", "#/name"),
        ("name", "a b", "#/name"),
        ("name", "chat\n", "#/name"),
        ("name", "x" * 129, "#/name"),
        ("provider", "unknown", "#/provider"),
        ("endpoint", "https://user:secret@api.example.com/v1", "#/endpoint"),
        ("endpoint", "https://api.example.com/v1?key=1", "#/endpoint"),
        ("endpoint", "http://api.example.com/v1", "#/endpoint"),
        ("endpoint", "https://10.0.0.1/v1", "#/endpoint"),
        ("endpoint", 1, "#/endpoint"),
        ("apiKey", "two words", "#/apiKey"),
        ("apiKey", "line\r\nX-Header: 1", "#/apiKey"),
        ("apiKey", "", "#/apiKey"),
        ("parameters", [], "#/parameters"),
        ("parameters", {"stream": True}, "#/parameters/stream"),
        ("parameters", {"Stream_Options": {}}, "#/parameters/Stream_Options"),
        ("parameters", {"model": 1}, "#/parameters/model"),
        ("enforcedParameters", "temperature", "#/enforcedParameters"),
        ("enforcedParameters", ["stream"], "#/enforcedParameters/0"),
        ("enforcedParameters", ["a", "a"], "#/enforcedParameters"),
        ("isActive", "true", "#/isActive"),
        ("unknownField", 1, "#/unknownField"),
    ],
)
def test_what_is_wrong_is_refused_naming_the_field(
    client: FlaskClient, operator: dict[str, str], field: str, value: Any, pointer: str
) -> None:
    answer = client.post("/api/models", json=MODEL | {field: value}, headers=operator)
    assert _pointers(answer) == [pointer]
    assert "secret" not in answer.text
    assert client.get("/api/models", headers=operator).json == []


@pytest.mark.parametrize(
    "records",
    [
        {"A": ["10.0.0.1"]},
        {"A": ["127.0.0.1", "169.254.169.254"]},
        {"A": ["1.1.1.1"], "AAAA": ["fd00::1"]},
        {"AAAA": ["::ffff:10.0.0.1"]},
        {"AAAA": ["64:ff9b::a9fe:a9fe"]},
        {"AAAA": ["2002:a9fe:a9fe::1"]},
    ],
)
def test_a_name_that_leads_inside_is_refused(
    client: FlaskClient,
    operator: dict[str, str],
    dns_server: DnsServer,
    records: dict[str, list[str]],
) -> None:
    for kind, found in records.items():
        dns_server.records["rebound.example.com", kind] = found
    sent = MODEL | {"endpoint": "https://rebound.example.com/v1"}
    assert _pointers(client.post("/api/models", json=sent, headers=operator)) == ["#/endpoint"]
    model = _create(client, operator)
    url = f"/api/models/{model['id']}"
    assert _pointers(client.put(url, json=sent, headers=operator | ANY)) == ["#/endpoint"]


def test_public_allowed_and_unknown_names_are_accepted(
    client: FlaskClient, operator: dict[str, str], dns_server: DnsServer
) -> None:
    dns_server.records["public.example.com", "A"] = ["1.1.1.1"]
    dns_server.records["local.example.com", "A"] = ["127.0.0.2"]
    for number, endpoint in enumerate(
        (
            "https://public.example.com/v1",
            "https://local.example.com/v1",
            "http://local.example.com:9000/v1",
            "http://localhost:9000/v1",
            "http://127.0.0.1:9000",
            "https://not-yet.example.com/v1",
        )
    ):
        model = _create(client, operator, name=f"m{number}", endpoint=endpoint)
        assert model["endpoint"] == endpoint


def test_the_upstreams_key_never_comes_back(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    settings: Settings,
    capfd: pytest.CaptureFixture[str],
) -> None:
    created = client.post("/api/models", json=MODEL, headers=operator)
    model_id = created.json["id"]
    shown = client.get(f"/api/models/{model_id}", headers=operator)
    refused = client.post("/api/models", json=MODEL | {"name": ""}, headers=operator)
    with tenancy.platform_context(), database.session(write=False) as session:
        row = session.scalar(select(AIModel))
        assert row is not None
        stored = [repr(row), str(vars(row)), str(list(session.execute(select(AIModel.api_key))))]
    document = _document(database, model_id)
    said = capfd.readouterr()
    everything = [created.text, shown.text, refused.text, *stored, str(document), *said]
    if database.is_sqlite:
        everything.append((settings.state / "yumen.db").read_bytes().decode("latin-1"))
        everything.append((settings.state / "yumen.db-wal").read_bytes().decode("latin-1"))
    assert not [text for text in everything if SECRET in text]


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example.com/v1",
        "https://api.example.com:8443/v1",
        "http://127.0.0.1:9000/v1",
    ],
)
def test_a_stored_key_is_never_sent_to_another_host(
    client: FlaskClient, operator: dict[str, str], database: Database, endpoint: str
) -> None:
    model = _create(client, operator)
    headers = operator | {"If-Match": "*"}
    url = f"/api/models/{model['id']}"
    without_key = {key: value for key, value in MODEL.items() if key != "apiKey"}
    moved = without_key | {"endpoint": endpoint}
    assert _pointers(client.put(url, json=moved, headers=headers | ANY)) == ["#/apiKey"]
    assert client.get(url, headers=operator).json["endpoint"] == MODEL["endpoint"]
    given = client.put(url, json=moved | {"apiKey": "sk-for-there"}, headers=headers | ANY)
    assert (given.status_code, given.json["endpoint"]) == (200, endpoint)
    removed = client.patch(
        url, json={"endpoint": MODEL["endpoint"], "apiKey": None}, headers=headers
    )
    assert (removed.status_code, removed.json["hasApiKey"]) == (200, False)
    assert _document(database, model["id"])["apiKey"] is None
    # Without a stored key there is nothing to leak.
    assert client.put(url, json=moved, headers=headers | ANY).status_code == 200


def test_the_document_is_what_the_contract_says(
    client: FlaskClient, operator: dict[str, str], database: Database, settings: Settings
) -> None:
    model = _create(client, operator)
    document = _document(database, model["id"])
    assert check("models", document) == {}
    sealed = base64.b64decode(document.pop("apiKey"))
    assert document == {
        "name": "chat",
        "provider": "openai",
        "isActive": True,
        "costPerCall": "0.01",
        "endpoint": {"scheme": "https", "host": "api.example.com", "port": 443, "path": "/v1"},
        "parameters": {"model": '"gpt-4o"', "stop": "[]", "seed": "1234567890123456789"},
        "enforcedParameters": ["temperature"],
    }
    cipher = AESGCM(bytes.fromhex(settings.secret_file("seal").read_text()))
    place = f"models/{model['id']}".encode()
    assert cipher.decrypt(sealed[:12], sealed[12:], place).decode() == SECRET
    with pytest.raises(InvalidTag):
        cipher.decrypt(sealed[:12], sealed[12:], b"models/another")
    missing = str(uuid.uuid4())
    assert _document(database, missing) is None


def test_the_stored_key_works_in_its_own_row_only(
    client: FlaskClient, operator: dict[str, str], session: Session
) -> None:
    session.close()  # on SQLite this session would keep the request from writing
    first, second = _create(client, operator), _create(client, operator, name="other")
    with session:
        rows = {str(row.id): row for row in session.scalars(select(AIModel))}
        moved = update(AIModel).where(AIModel.id == rows[second["id"]].id)
        session.execute(moved.values(api_key=rows[first["id"]].api_key))
        with pytest.raises(SecretError, match="cannot be decrypted"):
            documents.compile_models(session, [second["id"]])


def test_tenants_see_the_models_configured_for_them_without_where_they_are_served(
    app: Flask, client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database)
    admin = factories.sign_in(app, factories.make_user(database, tenant))
    shown, hidden = _create(client, operator), _create(client, operator, name="hidden")
    client.post(f"/api/tenants/{tenant.id}/models", json={"modelId": shown["id"]}, headers=operator)
    listed = client.get("/api/models", headers=admin)
    assert [model["name"] for model in listed.json] == ["chat"]
    for private in ("endpoint", "apiKey", "hasApiKey", "parameters", "enforcedParameters"):
        assert private not in listed.json[0]
    assert "example.com" not in listed.text
    assert client.get(f"/api/models/{hidden['id']}", headers=admin).status_code == 404
    assert client.post("/api/models", json=MODEL, headers=admin).status_code == 403
    url = f"/api/models/{shown['id']}"
    assert client.put(url, json=MODEL, headers=admin | ANY).status_code == 403
    assert client.delete(url, headers=admin | ANY).status_code == 403
