"""The keys of issuers: which are taken, when they are fetched, what stays when that fails."""

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import redis
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask.testing import FlaskClient
from sqlalchemy import func, select

from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.core.outbox import OutboxEvent
from control_plane.core.plugins import JobContext
from control_plane.core.settings import Settings
from control_plane.issuers.fetching import FetchError, fetch, run_fetching
from control_plane.issuers.models import KeySet
from control_plane.tenants import Tenant
from tests import factories
from tests.identity_server import IdentityServer, jwk

Run = Callable[[], Mapping[str, Any]]


@pytest.fixture
def context(settings: Settings, database: Database) -> JobContext:
    return JobContext(settings, database, redis.Redis.from_url(str(settings.redis.url)))


@pytest.fixture
def issuer_url(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, provider: IdentityServer
) -> str:
    """The path of an issuer that is the provider."""
    made = client.post(
        f"/api/tenants/{tenant.id}/issuers",
        json={"issuer": provider.url, "audiences": ["ai"]},
        headers=operator,
    )
    assert made.status_code == 201, made.text
    return str(made.headers["Location"])


@pytest.fixture
def run(context: JobContext, client: FlaskClient, operator: dict[str, str], issuer_url: str) -> Run:
    """Run the job, and return the issuer as it is then."""

    def job() -> Mapping[str, Any]:
        run_fetching(context)
        found: Mapping[str, Any] = client.get(issuer_url, headers=operator).json
        return found

    return job


def events(database: Database) -> int:
    with tenancy.platform_context(), database.session(write=False) as session:
        query = select(func.count()).where(OutboxEvent.name == "issuers.changed")
        return session.scalar(query) or 0


def make_due(database: Database, tenant: Tenant) -> None:
    with tenancy.tenant_context(tenant.id), database.transaction() as session:
        key_set = session.scalars(select(KeySet)).one()
        key_set.due_at -= datetime.timedelta(hours=1)


def test_fetching_is_no_change_of_the_issuer(
    run: Run, client: FlaskClient, operator: dict[str, str], issuer_url: str
) -> None:
    etag = client.get(issuer_url, headers=operator).headers["ETag"]
    assert run()["keys"]
    assert client.get(issuer_url, headers=operator).headers["ETag"] == etag


def test_keys_are_fetched_published_and_looked_up_again(
    run: Run, provider: IdentityServer, database: Database, tenant: Tenant
) -> None:
    before = events(database)
    found = run()
    assert [(key["kid"], key["algorithm"]) for key in found["keys"]] == [
        ("RS256", "RS256"),
        ("ES256", "ES256"),
        ("EdDSA", "EdDSA"),
    ]
    assert (found["keysError"], found["keysFetchedAt"] is None) == (None, False)
    assert events(database) == before + 1
    asked = list(provider.asked)
    run()
    assert provider.asked == asked  # not due

    make_due(database, tenant)
    run()
    assert len(provider.asked) == 2 * len(asked)
    assert events(database) == before + 1  # nothing is new

    provider.show(jwk("ES256", kid="next"))
    make_due(database, tenant)
    assert [key["kid"] for key in run()["keys"]] == ["next"]
    assert events(database) == before + 2


def test_a_refresh_does_not_wait_for_the_next_turn(
    run: Run,
    provider: IdentityServer,
    client: FlaskClient,
    operator: dict[str, str],
    issuer_url: str,
) -> None:
    run()
    provider.show(jwk("ES256", kid="next"))
    assert client.post(f"{issuer_url}/refresh", headers=operator).status_code == 200
    assert [key["kid"] for key in run()["keys"]] == ["next"]


def test_keys_stay_while_their_issuer_does_not_answer(
    run: Run, provider: IdentityServer, database: Database, tenant: Tenant
) -> None:
    good = run()
    provider.pages["/keys"] = 503
    make_due(database, tenant)
    found = run()
    assert found["keys"] == good["keys"]
    assert found["keysError"] == f"{provider.url}/keys answered 503."
    provider.show(jwk("ES256"))
    make_due(database, tenant)
    assert run()["keysError"] is None


def test_an_inactive_issuer_is_not_asked(
    run: Run, client: FlaskClient, operator: dict[str, str], issuer_url: str, provider: Any
) -> None:
    client.patch(issuer_url, json={"isActive": False}, headers={**operator, **factories.ANY})
    run()
    assert provider.asked == []


def test_what_was_changed_meanwhile_is_not_overwritten(
    run: Run,
    provider: IdentityServer,
    client: FlaskClient,
    operator: dict[str, str],
    issuer_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def other_url(settings: Settings, issuer: str, jwks_url: str | None) -> Any:
        keys = fetch(settings, issuer, jwks_url)
        client.patch(
            issuer_url,
            json={"jwksUrl": f"{provider.url}/other"},
            headers={**operator, **factories.ANY},
        )
        return keys

    monkeypatch.setattr("control_plane.issuers.fetching.fetch", other_url)
    assert run()["keys"] == []


def test_only_keys_that_can_verify_are_taken(settings: Settings, provider: IdentityServer) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    other_curve = ec.generate_private_key(ec.SECP384R1())
    provider.show(
        jwk("ES256", kid="good"),
        jwk("RS256", weak, kid="short"),
        jwk("ES256", other_curve, kid="other curve"),
        jwk("ES256", kid="encrypts", use="enc"),
        jwk("RS256", kid="other algorithm", alg="RS512"),
        jwk("ES256", kid=7),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric", "alg": "HS256"},
        {"kty": "EC", "kid": "nonsense"},
        {"kty": "new"},
        "text",
        None,
    )
    keys = fetch(settings, provider.url, None)
    assert [key["kid"] for key in keys] == ["good"]


@pytest.mark.parametrize(
    ("pages", "problem"),
    [
        ({"/.well-known/openid-configuration": 404}, "answered 404."),
        ({"/.well-known/openid-configuration": [1]}, "answered no JSON object."),
        ({"/.well-known/openid-configuration": {"issuer": "https://evil"}}, "calls itself"),
        ({"/keys": {"keys": {}}}, "has no list `keys`."),
        ({"/keys": {"keys": []}}, "no key for RS256, ES256 or EdDSA."),
        ({"/keys": {"keys": [{}] * 51}}, "more than 50 keys."),
        ({"/keys": {"keys": ["x" * (1 << 20)]}}, "too long"),
        ({"/keys": 302}, "answered 302."),
        ({"/keys": b"[" * 100_000}, "gave no answer to be read"),
        ({"/keys": b"{"}, "gave no answer to be read"),
    ],
)
def test_what_is_no_key_set_is_told(
    settings: Settings, provider: IdentityServer, pages: dict[str, Any], problem: str
) -> None:
    provider.pages |= pages
    with pytest.raises(FetchError, match=re.escape(problem)):
        fetch(settings, provider.url, None)


def test_discovery_may_not_lead_into_a_private_network(
    settings: Settings, provider: IdentityServer
) -> None:
    provider.pages["/.well-known/openid-configuration"] = {
        "issuer": provider.url,
        "jwks_uri": "http://169.254.169.254/latest",
    }
    with pytest.raises(FetchError, match=r"169\.254\.169\.254"):
        fetch(settings, provider.url, None)
