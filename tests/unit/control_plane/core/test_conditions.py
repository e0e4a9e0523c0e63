"""Changes need the ETag of what they change; two at once do not both win."""

import threading
import uuid

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.tenants import Tenant
from tests import factories
from tests.operations import MODEL, good_body, make_one_of_each, operations

CHANGING = {"put", "patch", "delete"}


@pytest.fixture
def url(client: FlaskClient, operator: dict[str, str]) -> str:
    """The path of a new model."""
    return str(client.post("/api/models", json=MODEL, headers=operator).headers["Location"])


def test_what_is_new_has_its_place_and_its_version(
    client: FlaskClient, operator: dict[str, str]
) -> None:
    made = client.post("/api/v1/models", json=MODEL, headers=operator)
    assert made.headers["Location"] == f"/api/models/{made.json['id']}"
    shown = client.get(made.headers["Location"], headers=operator)
    assert shown.headers["ETag"] == made.headers["ETag"]


def test_a_change_needs_the_version_it_has_seen(
    client: FlaskClient, operator: dict[str, str], url: str
) -> None:
    seen = {**operator, "If-Match": client.get(url, headers=operator).headers["ETag"]}
    without = client.put(url, json=MODEL, headers=operator)
    assert (without.status_code, without.json["code"]) == (428, "if_match_required")
    first = client.put(url, json=MODEL | {"costPerCall": "2"}, headers=seen)
    assert first.status_code == 200
    assert first.headers["ETag"] == client.get(url, headers=operator).headers["ETag"]
    assert first.headers["ETag"] != seen["If-Match"]
    second = client.put(url, json=MODEL | {"costPerCall": "3"}, headers=seen)
    assert (second.status_code, second.json["code"]) == (412, "precondition_failed")
    assert client.delete(url, headers=seen).status_code == 412
    assert client.get(url, headers=operator).json["costPerCall"] == "2"
    either = {"If-Match": f'"999", {first.headers["ETag"]}'}
    assert client.delete(url, headers=operator | either).status_code == 204


@pytest.mark.parametrize("tag", ["", "x", "W/{}", '"', "*x"])
def test_no_other_header_will_do(
    client: FlaskClient, operator: dict[str, str], url: str, tag: str
) -> None:
    tag = tag.format(client.get(url, headers=operator).headers["ETag"])
    answer = client.put(url, json=MODEL, headers=operator | {"If-Match": tag})
    assert answer.status_code in {412, 428}


def test_every_change_of_the_api_needs_it(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant
) -> None:
    ids = make_one_of_each(client, operator, tenant)
    tried = 0
    for method, path, _ in operations(client):
        if method in CHANGING:
            body = good_body(method, path, ids)
            mine = "sign-ins" in path
            if mine:
                ids["sign_in_id"] = client.get("/api/auth/sign-ins", headers=operator).json[0]["id"]
            call = getattr(client, method)
            answer = call(path.format(**ids), json=body, headers=operator)
            assert (answer.status_code, answer.json["code"]) == (428, "if_match_required"), path
            stale = operator | {"If-Match": '"999999"'}
            answer = call(path.format(**ids), json=body, headers=stale)
            assert (answer.status_code, answer.json["code"]) == (412, "precondition_failed"), path
            gone = {name: str(uuid.uuid4()) for name in ids}
            answer = call(path.format(**gone), json=body, headers=operator)
            assert answer.status_code == 404, path
            tried += 1
    assert tried >= 18


def test_of_many_at_once_one_wins(app: Flask, operator: dict[str, str], url: str) -> None:
    seen = factories.if_match(app.test_client(), url, operator)
    start = threading.Barrier(8)
    statuses = []

    def change(number: int) -> None:
        client = app.test_client()
        start.wait()
        body = MODEL | {"costPerCall": str(number)}
        statuses.append(client.put(url, json=body, headers=seen).status_code)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, *[412] * 7]


def test_a_patch_changes_what_it_names(
    client: FlaskClient, operator: dict[str, str], url: str
) -> None:
    headers = operator | {"If-Match": "*"}
    full = MODEL | {"apiKey": "sk-1", "parameters": {"top_p": 1, "stop": ["x"]}}
    client.put(url, json=full, headers=headers)
    patch = {"isActive": False, "parameters": {"stop": None, "seed": 7}}
    changed = client.patch(url, json=patch, headers=headers)
    assert changed.status_code == 200, changed.text
    assert changed.json["parameters"] == {"top_p": 1, "seed": 7}
    assert (changed.json["isActive"], changed.json["hasApiKey"]) == (False, True)
    assert changed.json["costPerCall"] == "0.01"
    typed = client.patch(
        url,
        data=b'{"isActive": null}',
        content_type="application/merge-patch+json",
        headers=headers,
    )
    assert typed.json["isActive"] is True  # back to its default
    for bad, pointer in (
        ({"costPerCall": 1}, "#/costPerCall"),
        ({"costPerCall": None}, "#/costPerCall"),
        ({"id": "x"}, "#/id"),
        ({"parameters": {"stream": True}}, "#/parameters/stream"),
    ):
        answer = client.patch(url, json=bad, headers=headers)
        assert answer.status_code == 422, bad
        assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert client.patch(url, json=[], headers=headers).status_code == 422
