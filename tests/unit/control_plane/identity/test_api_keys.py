"""API keys: their text, their limits and secrets, and what the gateway is told of them."""

import datetime
import re
import uuid
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane import identity
from control_plane.contract import check
from control_plane.contract.endpoints import ENDPOINTS
from control_plane.core import clock, tenancy
from control_plane.core.database import Database
from control_plane.identity import documents
from control_plane.identity.service.key_text import ALPHABET, checksum
from tests import factories
from tests.factories import ANY, if_match

KEY = re.compile(r"ym_live_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
DAY = datetime.timedelta(days=1)


def number(text: str) -> int:
    """Return the value of base62 digits, most significant first."""
    value = 0
    for digit in text:
        value = value * 62 + ALPHABET.index(digit)
    return value


def compiled(database: Database, ids: list[str] | None = None) -> dict[str, Any]:
    with tenancy.platform_context(), database.session(write=False) as session:
        return documents.compile_credentials(session, ids)


class Keys:
    """A tenant's keys, by the API."""

    def __init__(self, client: FlaskClient, headers: dict[str, str], database: Database) -> None:
        self.client, self.headers = client, headers
        self.tenant_id = factories.make_tenant(database).id
        self.url = f"/api/tenants/{self.tenant_id}/api-keys"

    def make(self, **fields: Any) -> Any:
        """Make a key; return the whole answer."""
        return self.client.post(self.url, json={"name": "k", **fields}, headers=self.headers)

    def rotate(self, key_id: str, **body: Any) -> Any:
        """Rotate a key; return the whole answer."""
        return self.client.post(f"{self.url}/{key_id}/rotate", json=body, headers=self.headers)

    def get(self, key_id: str) -> Any:
        """Return a key as it is now."""
        return self.client.get(f"{self.url}/{key_id}", headers=self.headers).json


@pytest.fixture
def keys(client: FlaskClient, operator: dict[str, str], database: Database) -> Keys:
    return Keys(client, operator, database)


def public_id(key: Any) -> str:
    return str(key["prefix"].removeprefix("ym_live_"))


def test_a_key_is_shown_once_and_published_as_a_digest(keys: Keys, database: Database) -> None:
    made = keys.make(name="server")
    assert made.status_code == 201
    assert made.headers["Location"] == f"{keys.url}/{made.json['id']}"
    match = KEY.fullmatch(made.json["key"])
    assert match
    assert number(match[3]) == zlib.crc32(made.json["key"][:-6].encode())
    listed = keys.client.get(keys.url, headers=keys.headers)
    shown = {name: made.json[name] for name in made.json if name != "key"}
    assert listed.json == [shown]
    assert keys.get(made.json["id"]) == shown
    assert shown["prefix"] == f"ym_live_{match[1]}"
    assert [secret["prefix"] for secret in shown["secrets"]] == [shown["prefix"]]
    document = compiled(database)[match[1]]
    assert document == {
        "tenant": str(keys.tenant_id),
        "key": made.json["id"],
        "digest": database.keyring.digest_key(made.json["key"]),
        "expiresAt": None,
    }
    assert check("credentials", document) == {}


def test_a_repeated_request_makes_one_key_and_shows_it_once(keys: Keys) -> None:
    headers = {**keys.headers, "Idempotency-Key": "once"}
    first, second = (
        keys.client.post(keys.url, json={"name": "k"}, headers=headers) for _ in range(2)
    )
    assert second.json == {name: first.json[name] for name in first.json if name != "key"}
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len(keys.client.get(keys.url, headers=keys.headers).json) == 1


def test_a_revoked_key_is_unpublished(keys: Keys, database: Database) -> None:
    made = keys.make().json
    url = f"{keys.url}/{made['id']}"
    assert keys.client.delete(url, headers=keys.headers).status_code == 428
    assert keys.client.delete(url, headers=keys.headers | ANY).status_code == 204
    assert keys.client.get(keys.url, headers=keys.headers).json == []
    assert compiled(database, [public_id(made)]) == {public_id(made): None}
    for again in (
        keys.client.delete(url, headers=keys.headers | ANY),
        keys.client.get(url, headers=keys.headers),
        keys.rotate(made["id"]),
    ):
        assert (again.status_code, again.json["code"]) == (404, "api_key_not_found")


def test_a_key_may_end_but_not_in_the_past(keys: Keys, database: Database) -> None:
    soon = clock.now() + datetime.timedelta(hours=1)
    made = keys.make(expiresAt=soon.isoformat())
    (document,) = compiled(database).values()
    assert document["expiresAt"] == int(soon.timestamp())
    assert datetime.datetime.fromisoformat(made.json["expiresAt"]) == soon
    past = (clock.now() - datetime.timedelta(hours=1)).isoformat()
    refused = keys.make(expiresAt=past)
    assert [error["pointer"] for error in refused.json["errors"]] == ["#/expiresAt"]


def test_limits_are_normalised_and_published(keys: Keys, database: Database) -> None:
    made = keys.make(
        models=["gpt", "gpt", "embed"],
        endpoints=["/v1/embeddings", "shop"],
        methods=["POST", "PUT"],
        addresses=["10.0.0.0/8", "2001:DB8:0::/32", "::ffff:192.0.2.7", "192.0.2.7", "::1"],
    ).json
    limits = {
        "models": ["gpt", "embed"],
        "endpoints": ["/v1/embeddings", "shop"],
        "methods": ["POST", "PUT"],
        "addresses": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32", "::1/128"],
    }
    document = compiled(database)[public_id(made)]
    assert limits.items() <= made.items()
    assert limits.items() <= document.items()
    assert check("credentials", document) == {}


@pytest.mark.parametrize(
    ("limit", "pointer", "detail"),
    [
        ({"models": []}, "#/models", "null is no limit"),
        ({"addresses": []}, "#/addresses", "null is no limit"),
        ({"addresses": [f"10.0.0.{n}" for n in range(101)]}, "#/addresses", "1 to 100"),
        ({"models": ["a", ""]}, "#/models/1", ""),
        ({"endpoints": ["/v1/models", "/v1/x"]}, "#/endpoints/1", "/v1/chat/completions"),
        ({"endpoints": [""]}, "#/endpoints/0", "name of a route"),
        ({"endpoints": ["x" * 61]}, "#/endpoints/0", "name of a route"),
        ({"methods": ["get"]}, "#/methods/0", "GET"),
        ({"addresses": ["::1", "10.1.2.3/8"]}, "#/addresses/1", "10.0.0.0/8 would be right"),
        ({"addresses": ["10.0.0.0/33"]}, "#/addresses/0", "such as"),
        ({"addresses": ["10.0.0.0/255.0.0.0"]}, "#/addresses/0", "such as"),
        ({"addresses": ["fe80::1%eth0"]}, "#/addresses/0", "such as"),
        ({"addresses": ["010.0.0.1"]}, "#/addresses/0", "such as"),
        ({"addresses": ["localhost"]}, "#/addresses/0", "such as"),
    ],
)
def test_a_limit_that_is_none_is_refused_at_its_place(
    keys: Keys, limit: dict[str, Any], pointer: str, detail: str
) -> None:
    refused = keys.make(**limit)
    assert refused.status_code == 422
    (error,) = refused.json["errors"]
    assert error["pointer"] == pointer
    assert detail in error["detail"]


def test_every_endpoint_can_be_a_limit(keys: Keys) -> None:
    assert keys.make(endpoints=list(ENDPOINTS)).json["endpoints"] == list(ENDPOINTS)


def test_a_put_replaces_and_a_patch_changes(keys: Keys, database: Database) -> None:
    made = keys.make(models=["gpt"], methods=["POST"]).json
    url = f"{keys.url}/{made['id']}"

    def send(method: str, body: dict[str, Any]) -> Any:
        headers = if_match(keys.client, url, keys.headers)
        return keys.client.open(url, method=method, json=body, headers=headers)

    patched = send("PATCH", {"models": ["embed"], "addresses": ["10.0.0.1"]}).json
    assert (patched["models"], patched["methods"], patched["name"]) == (["embed"], ["POST"], "k")
    assert compiled(database)[public_id(made)]["addresses"] == ["10.0.0.1/32"]
    assert send("PATCH", {"models": None}).json["models"] is None
    assert send("PATCH", {"models": []}).json["errors"][0]["pointer"] == "#/models"
    assert send("PATCH", {"key": "x"}).status_code == 422
    put = send("PUT", {"name": "other"}).json
    assert (put["name"], put["methods"], put["addresses"]) == ("other", None, None)
    assert put["prefix"] == made["prefix"]
    stale = keys.client.put(url, json={"name": "x"}, headers={**keys.headers, "If-Match": '"1"'})
    assert stale.status_code == 412


def test_an_expired_key_can_be_renamed_and_extended(keys: Keys, database: Database) -> None:
    made = keys.make(expiresAt=(clock.now() + DAY).isoformat()).json
    url, headers = f"{keys.url}/{made['id']}", keys.headers | ANY
    with tenancy.platform_context(), database.transaction() as session:
        session.get_one(identity.APIKey, uuid.UUID(made["id"])).expires_at = clock.now() - DAY
    ended = keys.get(made["id"])["expiresAt"]
    renamed = keys.client.patch(url, json={"name": "old"}, headers=headers)
    assert (renamed.status_code, renamed.json["expiresAt"]) == (200, ended)
    for days, status in ((-0.5, 422), (1, 200)):
        end = (clock.now() + days * DAY).isoformat()
        patched = keys.client.patch(url, json={"expiresAt": end}, headers=headers)
        assert patched.status_code == status


def test_a_rotation_gives_one_key_two_secrets_for_a_while(keys: Keys, database: Database) -> None:
    made = keys.make(models=["gpt"]).json
    before = clock.now()
    rotated = keys.rotate(made["id"], graceSeconds=3600)
    assert rotated.status_code == 200
    new = rotated.json
    assert new["id"] == made["id"]
    assert KEY.fullmatch(new["key"])
    assert [secret["prefix"] for secret in new["secrets"]] == [made["prefix"], new["prefix"]]
    ends = datetime.datetime.fromisoformat(new["secrets"][0]["expiresAt"])
    assert datetime.timedelta(0) <= ends - before - datetime.timedelta(hours=1) < DAY / 24
    found = compiled(database)
    assert {document["key"] for document in found.values()} == {made["id"]}
    assert found[public_id(made)]["expiresAt"] == int(ends.timestamp())
    assert found[public_id(made)]["digest"] == database.keyring.digest_key(made["key"])
    assert found[public_id(new)]["expiresAt"] is None
    assert found[public_id(new)]["digest"] == database.keyring.digest_key(new["key"])
    assert found[public_id(new)]["models"] == ["gpt"]
    again = keys.rotate(made["id"])
    assert (again.status_code, again.json["code"]) == (409, "rotation_under_way")
    assert made["prefix"] not in again.json["detail"]


def test_a_rotation_without_a_grace_ends_the_former_secret(keys: Keys, database: Database) -> None:
    made = keys.make().json
    texts = {made["key"]}
    for _ in range(3):
        new = keys.rotate(made["id"], graceSeconds=0).json
        assert [secret["prefix"] for secret in new["secrets"]] == [new["prefix"]]
        assert list(compiled(database)) == [public_id(new)]
        texts.add(new["key"])
    assert len(texts) == 4


def test_the_grace_is_a_day_and_then_there_is_room_for_another_rotation(
    keys: Keys, database: Database
) -> None:
    made = keys.make().json
    second = keys.client.post(f"{keys.url}/{made['id']}/rotate", headers=keys.headers).json
    ends = datetime.datetime.fromisoformat(second["secrets"][0]["expiresAt"])
    assert abs(ends - clock.now() - DAY) < datetime.timedelta(minutes=5)
    with tenancy.platform_context(), database.transaction() as session:
        key = session.get_one(identity.APIKey, uuid.UUID(made["id"]))
        key.secrets[0].expires_at = clock.now()
    assert [each["prefix"] for each in keys.get(made["id"])["secrets"]] == [second["prefix"]]
    third = keys.rotate(made["id"]).json
    assert [each["prefix"] for each in third["secrets"]] == [second["prefix"], third["prefix"]]
    assert set(compiled(database)) == {public_id(second), public_id(third)}


@pytest.mark.parametrize("grace", [-1, 31 * 86400, "3600", 1.5, None])
def test_a_grace_that_is_none_is_refused(keys: Keys, grace: Any) -> None:
    refused = keys.rotate(keys.make().json["id"], graceSeconds=grace)
    assert refused.status_code == 422
    assert refused.json["errors"][0]["pointer"] == "#/graceSeconds"


def test_a_repeated_rotation_rotates_once(keys: Keys) -> None:
    made = keys.make().json
    url, headers = f"{keys.url}/{made['id']}/rotate", {**keys.headers, "Idempotency-Key": "r"}
    first, second = (keys.client.post(url, json={}, headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert "key" not in second.json
    assert len(keys.get(made["id"])["secrets"]) == 2


def test_keys_are_sorted(keys: Keys) -> None:
    for name in ("b", "c", "a"):
        keys.make(name=name)
    for sort, names in (("", "bca"), ("?sort=name", "abc"), ("?sort=-createdAt", "acb")):
        listed = keys.client.get(keys.url + sort, headers=keys.headers).json
        assert "".join(key["name"] for key in listed) == names


def test_use_is_noted_once_a_minute_and_is_no_change(keys: Keys, database: Database) -> None:
    made = keys.make()
    key_id = uuid.UUID(made.json["id"])
    first = clock.now()

    def noted(*moments: datetime.datetime) -> Iterator[datetime.datetime | None]:
        for moment in moments:
            with tenancy.platform_context(), database.transaction() as session:
                identity.note_key_use(session, {key_id: moment, uuid.uuid4(): moment})
            last = keys.get(made.json["id"])["lastUsedAt"]
            yield last and datetime.datetime.fromisoformat(last)

    second, minute = datetime.timedelta(seconds=1), datetime.timedelta(minutes=1)
    moments = (first, first + 59 * second, first - minute, first + minute)
    assert list(noted(*moments)) == [first, first, first, first + minute]
    again = keys.client.get(f"{keys.url}/{key_id}", headers=keys.headers)
    assert again.headers["ETag"] == made.headers["ETag"]


@pytest.mark.parametrize(
    ("text", "expected"), [("", "000000"), ("ym_live_000000000000_", None), ("a", None)]
)
def test_a_checksum_has_six_digits(text: str, expected: str | None) -> None:
    made = checksum(text)
    assert len(made) == 6
    assert number(made) == zlib.crc32(text.encode())
    assert expected in {None, made}
