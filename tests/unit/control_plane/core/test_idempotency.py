"""A request that makes a secret can be repeated without making two."""

import datetime
import threading

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core import clock
from control_plane.tenants import Tenant


@pytest.fixture
def url(tenant: Tenant) -> str:
    return f"/api/tenants/{tenant.id}/api-keys"


def test_a_repeated_request_does_nothing_again(
    client: FlaskClient, operator: dict[str, str], url: str
) -> None:
    headers = operator | {"Idempotency-Key": "one"}
    first = client.post(url, json={"name": "k"}, headers=headers)
    again = client.post(url, json={"name": "k"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert "key" in first.json
    assert again.json == {name: value for name, value in first.json.items() if name != "key"}
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert len(client.get(url, headers=operator).json) == 1
    other = client.post(url, json={"name": "k"}, headers=operator | {"Idempotency-Key": "two"})
    assert other.json["id"] != first.json["id"]


def test_a_key_is_for_one_request_of_one_user(
    client: FlaskClient, operator: dict[str, str], tenant_admin: dict[str, str], url: str
) -> None:
    key = {"Idempotency-Key": "one"}
    client.post(url, json={"name": "k"}, headers=operator | key)
    other = client.post(url, json={"name": "other"}, headers=operator | key)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    mine = client.post(url, json={"name": "k"}, headers=tenant_admin | key)
    assert "key" in mine.json


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
def test_a_malformed_key_is_refused(
    client: FlaskClient, operator: dict[str, str], url: str, key: str
) -> None:
    headers = operator | {"Idempotency-Key": key}
    answer = client.post(url, json={"name": "k"}, headers=headers)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "Idempotency-Key")


def test_a_refused_request_may_be_mended(
    client: FlaskClient, operator: dict[str, str], url: str
) -> None:
    headers = operator | {"Idempotency-Key": "one"}
    assert client.post(url, json={}, headers=headers).status_code == 422
    assert client.post(url, json={"name": "k"}, headers=headers).status_code == 201


def test_a_key_is_forgotten_after_a_day(
    client: FlaskClient, operator: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = operator | {"Idempotency-Key": "one"}
    first = client.post(url, json={"name": "k"}, headers=headers)
    later = clock.now() + datetime.timedelta(hours=25)
    monkeypatch.setattr("control_plane.core.idempotency.clock.now", lambda: later)
    again = client.post(url, json={"name": "k"}, headers=headers)
    assert again.json["id"] != first.json["id"]


def test_of_many_at_once_one_makes_it(app: Flask, operator: dict[str, str], url: str) -> None:
    headers = operator | {"Idempotency-Key": "one"}
    start = threading.Barrier(6)
    answers = []

    def send() -> None:
        client = app.test_client()
        start.wait()
        answers.append(client.post(url, json={"name": "k"}, headers=headers))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("key" in answer.json for answer in answers) == 1
    assert len(app.test_client().get(url, headers=operator).json) == 1
