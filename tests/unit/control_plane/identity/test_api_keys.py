"""API keys: their text, and what the gateway is told of them."""

import datetime
import re
import zlib
from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane.contract import check
from control_plane.core import clock, tenancy
from control_plane.core.database import Database
from control_plane.identity import documents
from control_plane.identity.service.api_keys import ALPHABET, checksum
from tests import factories

KEY = re.compile(r"ym_live_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")


def number(text: str) -> int:
    """Return the value of base62 digits, most significant first."""
    value = 0
    for digit in text:
        value = value * 62 + ALPHABET.index(digit)
    return value


def compiled(database: Database, ids: list[str] | None = None) -> dict[str, Any]:
    with tenancy.platform_context(), database.session(write=False) as session:
        return documents.compile_credentials(session, ids)


def test_a_key_is_shown_once_and_published_as_a_digest(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database)
    url = f"/api/tenants/{tenant.id}/api-keys"
    made = client.post(url, json={"name": "server"}, headers=operator)
    assert made.status_code == 201
    match = KEY.fullmatch(made.json["key"])
    assert match
    assert number(match[3]) == zlib.crc32(made.json["key"][:-6].encode())
    listed = client.get(url, headers=operator)
    assert listed.json == [{name: made.json[name] for name in made.json if name != "key"}]
    assert listed.json[0]["prefix"] == f"ym_live_{match[1]}"
    document = compiled(database)[match[1]]
    assert document == {
        "tenant": str(tenant.id),
        "key": made.json["id"],
        "digest": database.keyring.digest_key(made.json["key"]),
        "expiresAt": None,
    }
    assert check("credentials", document) == {}


def test_a_revoked_key_is_unpublished(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database)
    url = f"/api/tenants/{tenant.id}/api-keys"
    made = client.post(url, json={"name": "server"}, headers=operator).json
    public_id = made["prefix"].removeprefix("ym_live_")
    assert client.delete(f"{url}/{made['id']}", headers=operator).status_code == 204
    assert client.get(url, headers=operator).json == []
    assert compiled(database, [public_id]) == {public_id: None}
    again = client.delete(f"{url}/{made['id']}", headers=operator)
    assert (again.status_code, again.json["code"]) == (404, "api_key_not_found")


def test_a_key_may_end_but_not_in_the_past(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    url = f"/api/tenants/{factories.make_tenant(database).id}/api-keys"
    soon = clock.now() + datetime.timedelta(hours=1)
    made = client.post(url, json={"name": "k", "expiresAt": soon.isoformat()}, headers=operator)
    (document,) = compiled(database).values()
    assert document["expiresAt"] == int(soon.timestamp())
    assert datetime.datetime.fromisoformat(made.json["expiresAt"]) == soon
    past = (clock.now() - datetime.timedelta(hours=1)).isoformat()
    refused = client.post(url, json={"name": "k", "expiresAt": past}, headers=operator)
    assert [error["pointer"] for error in refused.json["errors"]] == ["#/expiresAt"]


@pytest.mark.parametrize(
    ("text", "expected"), [("", "000000"), ("ym_live_000000000000_", None), ("a", None)]
)
def test_a_checksum_has_six_digits(text: str, expected: str | None) -> None:
    made = checksum(text)
    assert len(made) == 6
    assert number(made) == zlib.crc32(text.encode())
    assert expected in {None, made}
