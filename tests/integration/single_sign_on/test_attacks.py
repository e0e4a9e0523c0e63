"""Attacks on single sign-on from the browser's side."""

import datetime
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from control_plane.core import clock
from control_plane.tenants import Tenant
from tests.integration.single_sign_on.dishonest import DishonestProvider
from tests.oidc import CLIENT_SECRET, Browser, OidcProvider

Add = Callable[..., Any]
LI = {"li": {"email": "li@example.com", "email_verified": True}}
EXCHANGE = "/api/auth/providers/exchange"
NOT_BEGUN = (400, "sign_in_not_begun")

pytestmark = pytest.mark.parametrize("database_url", [None], ids=["sqlite"])


def answered(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def test_only_the_browser_that_went_can_come_back(
    provider: OidcProvider, add: Add, app: Flask, tenant: Tenant
) -> None:
    """Somebody else's way back, sent as a link, signs nobody in."""
    provider.set_accounts(LI)
    attacker, victim = Browser(app.test_client()), Browser(app.test_client())
    provider_id = add(tenant, defaultRole="viewer")
    back = urlsplit(attacker.sign_in_there(attacker.depart(provider_id), "li"))
    assert answered(victim.client.get(f"{back.path}?{back.query}")) == NOT_BEGUN
    victim.depart(provider_id)  # with a sign-in of his own under way it is no better
    assert answered(victim.client.get(f"{back.path}?{back.query}")) == NOT_BEGUN
    told = attacker.come_back(back.geturl())
    assert answered(victim.exchange(told)) == NOT_BEGUN
    assert attacker.exchange(told).status_code == 200


def test_a_changed_state_is_refused(
    provider: OidcProvider, add: Add, browser: Browser, tenant: Tenant
) -> None:
    provider.set_accounts(LI)
    back = browser.sign_in_there(browser.depart(add(tenant)), "li")
    state = parse_qs(urlsplit(back).query)["state"][0]
    for changed in ("x" * 43, state[:-1], state.swapcase(), "%00"):
        parts = urlsplit(back.replace(state, changed))
        answer = browser.client.get(f"{parts.path}?{parts.query}")
        assert answer.status_code in (400, 422), changed


def test_a_code_is_good_once_on_both_ways(
    provider: OidcProvider, add: Add, browser: Browser, tenant: Tenant
) -> None:
    provider.set_accounts(LI)
    provider_id = add(tenant, defaultRole="viewer")
    back = browser.sign_in_there(browser.depart(provider_id), "li")
    told = browser.come_back(back)
    assert browser.come_back(back) == {"error": "provider_refused"}  # the provider's code is used
    again = browser.sign_in(provider_id, "li")
    assert browser.exchange(again).status_code == 200
    assert answered(browser.exchange(again)) == NOT_BEGUN  # its cookie went with it
    assert answered(browser.exchange(told)) == NOT_BEGUN


def test_a_code_without_its_state_is_worth_nothing(
    provider: OidcProvider, add: Add, browser: Browser, tenant: Tenant
) -> None:
    provider.set_accounts(LI)
    provider_id = add(tenant, defaultRole="viewer")
    told, other = browser.sign_in(provider_id, "li"), browser.sign_in(provider_id, "li")
    mixed = browser.exchange({"code": told["code"], "state": other["state"]})
    assert answered(mixed) == (401, "invalid_sign_in_code")
    assert browser.exchange(told).status_code == 200


def test_what_waits_too_long_is_over(
    provider: OidcProvider,
    add: Add,
    browser: Browser,
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider.set_accounts(LI)
    provider_id = add(tenant, defaultRole="viewer")
    told = browser.sign_in(provider_id, "li")
    back = urlsplit(browser.sign_in_there(browser.depart(provider_id), "li"))
    moment = clock.now()
    monkeypatch.setattr(clock, "now", lambda: moment + datetime.timedelta(seconds=61))
    assert answered(browser.exchange(told)) == (401, "invalid_sign_in_code")
    monkeypatch.setattr(clock, "now", lambda: moment + datetime.timedelta(seconds=601))
    assert answered(browser.client.get(f"{back.path}?{back.query}")) == NOT_BEGUN


def test_an_answer_for_one_provider_is_not_taken_at_another(
    provider: OidcProvider, add: Add, browser: Browser, tenant: Tenant
) -> None:
    """Else a tenant's own provider could answer for the platform's."""
    provider.set_accounts(LI)
    of_tenant, of_platform = add(tenant), add(None, defaultRole="admin")
    back = urlsplit(browser.sign_in_there(browser.depart(of_tenant), "li"))
    path = back.path.replace(of_tenant, of_platform)
    assert answered(browser.client.get(f"{path}?{back.query}")) == NOT_BEGUN


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "\\\\evil.example",
        "/%0d%0aSet-Cookie:x=y\r\n",
        "/x#code=mine",
        "javascript:alert(1)",
        "",
        "console",
        "/" + "x" * 600,
        "/é",
    ],
)
def test_the_way_leads_nowhere_else(
    provider: OidcProvider, add: Add, browser: Browser, tenant: Tenant, path: str
) -> None:
    url = f"/api/auth/providers/{add(tenant)}/login"
    answer = browser.client.get(url, query_string={"returnTo": path})
    assert answered(answer) == (422, "validation_failed")
    assert answer.json["errors"][0]["pointer"] == "?returnTo"


def test_the_cookie_shows_and_allows_nothing(
    add: Add, browser: Browser, tenant: Tenant, app: Flask
) -> None:
    asked = parse_qs(urlsplit(browser.depart(add(tenant))).query)
    state, nonce = asked["state"][0], asked["nonce"][0]
    answer = browser.client.get(f"/api/auth/providers/{add(tenant, name='x')}/login")
    header = answer.headers["Set-Cookie"]
    for attribute in ("HttpOnly", "SameSite=Lax", "Path=/api", "Max-Age=600"):
        assert attribute in header
    for cookie in browser.client._cookies.values():
        assert state not in cookie.value
        assert nonce not in cookie.value
        changed = cookie.value[:-6] + (
            "AAAAA=" if not cookie.value.endswith("AAAAA=") else "BBBBB="
        )
        browser.client.set_cookie(cookie.key, changed, path="/api")
    told = {"code": "x", "state": state}
    assert answered(browser.client.post(EXCHANGE, json=told)) == NOT_BEGUN


def test_cookies_of_unfinished_sign_ins_do_not_pile_up(
    trusted: str, liar: DishonestProvider, browser: Browser
) -> None:
    addresses = [browser.depart(trusted) for _ in range(12)]
    assert len(browser.client._cookies) == 5
    assert browser.come_back(liar.way_back(addresses[-1])).keys() == {"code", "state"}


def test_no_token_and_no_secret_is_in_an_address_or_a_log(
    provider: OidcProvider,
    add: Add,
    browser: Browser,
    tenant: Tenant,
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider.set_accounts(LI)
    caplog.set_level("DEBUG")
    there = browser.depart(add(tenant, defaultRole="viewer"))
    told = browser.come_back(browser.sign_in_there(there, "li"))
    tokens = browser.exchange(told).json
    assert told.keys() == {"code", "state"}
    printed = caplog.text
    assert "/token" in printed  # the alarm works: calls to the provider are in it
    for secret in (CLIENT_SECRET, told["code"], tokens["accessToken"], tokens["refreshToken"]):
        assert secret not in printed
        assert secret not in there


def test_what_the_provider_refuses_is_told_and_nothing_more(
    trusted: str, liar: DishonestProvider, browser: Browser
) -> None:
    told = liar.lead(browser, trusted, code=None, error="access_denied")
    assert told == {"error": "provider_refused"}
    assert liar.asked["/token"] == 0
