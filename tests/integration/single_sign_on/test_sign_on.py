"""People sign in at a certified provider: who gets in as whom, and who does not."""

import threading
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from sqlalchemy import func, select

from control_plane import tenants
from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.identity import User
from control_plane.single_sign_on.models import ExternalIdentity, SignInCode
from control_plane.tenants import Tenant
from tests import factories
from tests.oidc import Browser, OidcProvider

Add = Make = Operate = Callable[..., Any]
LI = {"email": "li@example.com", "email_verified": True}


def me(browser: Browser, told: dict[str, str]) -> Any:
    """Return who is signed in by what the browser came back with."""
    tokens = browser.exchange(told)
    assert tokens.status_code == 200, tokens.text
    headers = {"Authorization": f"Bearer {tokens.json['accessToken']}"}
    return browser.client.get("/api/auth/me", headers=headers).json


def counted(database: Database, entity: Any) -> int:
    with tenancy.platform_context(), database.session(write=False) as session:
        return int(session.scalar(select(func.count()).select_from(entity)) or 0)


def test_a_first_sign_in_makes_a_user_with_the_default_role(
    provider: OidcProvider, add: Add, browser: Browser, tenant: Tenant, database: Database
) -> None:
    provider.set_accounts({"li": LI})
    told = browser.sign_in(add(tenant, defaultRole="viewer"), "li", returnTo="/console?page=2")
    user = me(browser, told)
    assert user["tenantId"] == str(tenant.id)
    # A viewer sees addresses masked, his own too.
    assert (user["username"], user["email"]) == ("li@example.com", "l***@example.com")
    assert (user["role"], user["status"]) == ("viewer", "active")
    assert user["lastLogin"] is not None
    assert counted(database, ExternalIdentity) == 1
    assert counted(database, SignInCode) == 0


def test_the_next_sign_in_is_the_same_user_whatever_his_address_is_by_then(
    provider: OidcProvider, add: Add, app: Flask, tenant: Tenant, database: Database
) -> None:
    provider.set_accounts({"li": LI})
    provider_id = add(tenant, defaultRole="viewer")
    first, second = Browser(app.test_client()), Browser(app.test_client())
    user = me(first, first.sign_in(provider_id, "li"))
    provider.set_accounts({"li": {"email": "new@example.com", "email_verified": False}})
    assert me(second, second.sign_in(provider_id, "li"))["id"] == user["id"]
    assert counted(database, ExternalIdentity) == 1


def test_a_verified_address_leads_to_the_user_who_has_it(
    provider: OidcProvider,
    add: Add,
    browser: Browser,
    make_user: Make,
    tenant: Tenant,
) -> None:
    provider.set_accounts({"li": {"email": "LI@Example.com", "email_verified": True}})
    known = make_user(tenant)
    user = me(browser, browser.sign_in(add(tenant), "li"))
    assert (user["id"], user["role"]) == (known["id"], "operator")


def test_the_platforms_provider_signs_in_users_of_the_platform(
    provider: OidcProvider,
    add: Add,
    browser: Browser,
    make_user: Make,
    tenant: Tenant,
) -> None:
    provider.set_accounts({"li": LI})
    make_user(tenant, username="li-of-tenant")
    known = make_user(None)
    assert me(browser, browser.sign_in(add(None), "li"))["id"] == known["id"]


@pytest.mark.parametrize(
    "case",
    [
        ({"email": "li@example.com", "email_verified": False}, {}, "email_unverified"),
        ({"email": "li@example.com"}, {}, "email_unverified"),
        ({}, {}, "email_unverified"),
        (LI, {"allowedEmailDomains": ["other.com"]}, "email_not_allowed"),
        ({**LI, "email": "x@sub.example.com"}, {}, "user_unknown"),
        ({**LI, "email": "li@evil.com\u0000@example.com"}, {}, "email_unverified"),
        ({**LI, "email": "lı@example.com"}, {}, "email_unverified"),
        ({**LI, "email": "a:b@example.com"}, {}, "email_unverified"),
    ],
)
def test_nobody_is_linked_who_is_not_proved_to_be_him(
    provider: OidcProvider,
    add: Add,
    browser: Browser,
    make_user: Make,
    tenant: Tenant,
    case: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    account, fields, error = case
    provider.set_accounts({"li": account})
    make_user(tenant)
    assert browser.sign_in(add(tenant, **fields), "li") == {"error": error}


def test_two_users_of_one_address_are_not_guessed_between(
    provider: OidcProvider,
    add: Add,
    browser: Browser,
    make_user: Make,
    tenant: Tenant,
) -> None:
    provider.set_accounts({"li": LI})
    for name in ("li", "li-2"):
        make_user(tenant, username=name)
    assert browser.sign_in(add(tenant), "li") == {"error": "email_ambiguous"}


def test_an_address_of_another_tenant_does_not_lead_there(
    provider: OidcProvider,
    add: Add,
    browser: Browser,
    make_user: Make,
    tenant: Tenant,
    database: Database,
) -> None:
    provider.set_accounts({"li": LI})
    other = factories.make_tenant(database)
    theirs = make_user(other, username="li@example.com")
    of_platform = make_user(None, username="li")
    user = me(browser, browser.sign_in(add(tenant, defaultRole="viewer"), "li"))
    assert user["id"] not in {theirs["id"], of_platform["id"]}
    assert user["tenantId"] == str(tenant.id)
    # The name is taken over there, so this user's has a mark.
    assert user["username"].startswith("li@example.com~")


def test_a_locked_user_is_kept_out_and_an_invited_one_gets_in(
    provider: OidcProvider,
    add: Add,
    app: Flask,
    operate: Operate,
    tenant: Tenant,
) -> None:
    provider.set_accounts({"li": LI})
    provider_id = add(tenant, defaultRole="viewer")
    browser = Browser(app.test_client())
    user = me(browser, browser.sign_in(provider_id, "li"))
    url = f"/api/users/{user['id']}"
    told = Browser(app.test_client())
    waiting = told.sign_in(provider_id, "li")
    operate("post", f"{url}/lock")
    assert told.exchange(waiting).json["code"] == "user_locked"
    assert Browser(app.test_client()).sign_in(provider_id, "li") == {"error": "user_locked"}
    unlocked = operate("post", f"{url}/unlock").json
    assert unlocked["status"] == "inactive"  # he has no password
    again = Browser(app.test_client())
    assert me(again, again.sign_in(provider_id, "li"))["status"] == "active"


def test_a_tenant_that_is_full_takes_nobody_else(
    provider: OidcProvider, add: Add, browser: Browser, database: Database
) -> None:
    provider.set_accounts({"li": LI})
    full = factories.make_tenant(database, max_users=0)
    told = browser.sign_in(add(full, defaultRole="viewer"), "li")
    assert told == {"error": "user_limit_reached"}


def test_a_user_of_a_suspended_tenant_gets_in_as_with_a_password(
    provider: OidcProvider, add: Add, browser: Browser, tenant: Tenant, database: Database
) -> None:
    provider.set_accounts({"li": LI})
    provider_id = add(tenant, defaultRole="viewer")
    with tenancy.platform_context(), database.transaction() as session:
        tenants.suspend_tenant(session, tenant.id, reason=None)
    assert me(browser, browser.sign_in(provider_id, "li"))["status"] == "active"


def test_an_inactive_provider_is_not_there(
    provider: OidcProvider,
    add: Add,
    browser: Browser,
    operate: Operate,
    tenant: Tenant,
) -> None:
    provider.set_accounts({"li": LI})
    provider_id = add(tenant, defaultRole="viewer")
    address = browser.sign_in_there(browser.depart(provider_id), "li")
    url = f"/api/identity-providers/{provider_id}"
    operate("patch", url, json={"isActive": False})
    assert browser.come_back(address) == {"error": "identity_provider_not_found"}
    gone = browser.client.get(f"/api/auth/providers/{provider_id}/login")
    assert (gone.status_code, gone.json["code"]) == (404, "identity_provider_not_found")
    offered = browser.client.get(f"/api/auth/providers?tenant={tenant.id}")
    assert offered.json == []


def test_a_sign_in_page_learns_names_only(
    add: Add,
    browser: Browser,
    operate: Operate,
    tenant: Tenant,
    database: Database,
) -> None:
    of_tenant, of_platform = add(tenant), add(None, name="Platform")
    add(factories.make_tenant(database), name="Of another")
    url = f"/api/tenants/{tenant.id}/domains"
    domain = operate("post", url, json={"domainName": "ai.example.com"}).json

    def offered(query: str) -> Any:
        return browser.client.get(f"/api/auth/providers{query}").json

    assert offered("") == [{"id": of_platform, "name": "Platform"}]
    assert offered(f"?tenant={tenant.id}") == [{"id": of_tenant, "name": "Company"}]
    assert offered(f"?tenant={uuid.uuid4()}") == []
    assert offered("?tenant=ai.example.com") == []  # not proved yet
    operate("post", f"{url}/{domain['id']}/verify", json={"method": "manual"})
    assert offered("?tenant=AI.example.com") == [{"id": of_tenant, "name": "Company"}]


def test_the_same_person_twice_at_once_is_one_user(
    provider: OidcProvider, add: Add, app: Flask, tenant: Tenant, database: Database
) -> None:
    provider.set_accounts({"li": LI})
    provider_id = add(tenant, defaultRole="viewer")
    browsers = [Browser(app.test_client()) for _ in range(4)]
    back = [each.sign_in_there(each.depart(provider_id), "li") for each in browsers]
    found: list[Any] = []

    def come(browser: Browser, address: str) -> None:
        found.append(me(browser, browser.come_back(address))["id"])

    threads = [
        threading.Thread(target=come, args=pair) for pair in zip(browsers, back, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert counted(database, ExternalIdentity) == 1
    with tenancy.tenant_context(tenant.id), database.session(write=False) as session:
        assert len(session.scalars(select(User)).all()) == 1


def test_the_request_is_one_of_the_code_flow_with_pkce(
    provider: OidcProvider, add: Add, browser: Browser, tenant: Tenant
) -> None:
    provider_id = add(tenant)
    asked = parse_qs(urlsplit(browser.depart(provider_id)).query)
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["code_challenge"][0]) == 43
    assert len(asked["state"][0]) == len(asked["nonce"][0]) == 43
    assert asked["scope"] == ["openid email profile"]
    again = parse_qs(urlsplit(browser.depart(provider_id)).query)
    for name in ("state", "nonce", "code_challenge"):
        assert asked[name] != again[name]


def test_a_tenants_providers_are_exported_and_go_with_it(
    provider: OidcProvider,
    add: Add,
    browser: Browser,
    operate: Operate,
    tenant: Tenant,
    database: Database,
) -> None:
    provider.set_accounts({"li": LI})
    me(browser, browser.sign_in(add(tenant, defaultRole="viewer"), "li"))
    text = operate("get", f"/api/tenants/{tenant.id}/export").text
    assert '"kind": "identityProvider"' in text or '"kind":"identityProvider"' in text
    assert "not-a-real-secret" not in text
    factories.purge_tenant(database, tenant)
    assert counted(database, ExternalIdentity) == 0
