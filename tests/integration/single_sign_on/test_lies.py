"""Attacks on single sign-on by a provider that lies."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from control_plane.core import clock
from control_plane.tenants import Tenant
from tests.integration.single_sign_on.dishonest import Change, DishonestProvider, nothing
from tests.oidc import CLIENT_ID, CLIENT_SECRET, Browser

Add = Callable[..., Any]
NOT_GOOD = {"error": "provider_answer_invalid"}

pytestmark = pytest.mark.parametrize("database_url", [None], ids=["sqlite"])


def _without_address(claims: dict[str, Any]) -> None:
    """Leave the address to userinfo."""
    del claims["email"], claims["email_verified"]


def answered(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def test_an_honest_answer_is_taken(trusted: str, liar: DishonestProvider, browser: Browser) -> None:
    """The liar can be honest: else the attacks below would show nothing."""
    assert liar.lead(browser, trusted).keys() == {"code", "state"}
    (form,) = liar.forms
    assert form["client_secret"] == CLIENT_SECRET
    assert len(form["code_verifier"]) == 43


CLAIMS: Mapping[str, Change] = {
    "another nonce": lambda claims: claims.update(nonce="x"),
    "no nonce": lambda claims: claims.pop("nonce"),
    "another client": lambda claims: claims.update(aud="somebody-else"),
    "another client first": lambda claims: claims.update(aud=["somebody-else", CLIENT_ID]),
    "another client's, by our name": lambda claims: claims.update(aud="other", azp=CLIENT_ID),
    "authorized for another": lambda claims: claims.update(azp="somebody-else"),
    "no audience": lambda claims: claims.pop("aud"),
    "another issuer": lambda claims: claims.update(iss="https://accounts.google.com"),
    "no issuer": lambda claims: claims.pop("iss"),
    "over": lambda claims: claims.update(exp=claims["iat"] - 61, iat=claims["iat"] - 600),
    "no end": lambda claims: claims.pop("exp"),
    "of tomorrow": lambda claims: claims.update(iat=claims["iat"] + 86400),
    "not yet": lambda claims: claims.update(nbf=claims["iat"] + 86400),
    "nobody": lambda claims: claims.pop("sub"),
    "no name": lambda claims: claims.update(sub=""),
    "a number": lambda claims: claims.update(sub=7),
    "too long a name": lambda claims: claims.update(sub="x" * 256),
    "an end in words": lambda claims: claims.update(exp="tomorrow"),
    "another access token": lambda claims: claims.update(at_hash="x"),
}


@pytest.mark.parametrize("lie", CLAIMS)
def test_an_id_token_that_is_not_for_this_sign_in_is_refused(
    trusted: str, liar: DishonestProvider, browser: Browser, lie: str
) -> None:
    liar.claims_change = CLAIMS[lie]
    assert liar.lead(browser, trusted) == NOT_GOOD


def test_an_id_token_that_is_not_signed_by_its_issuer_is_refused(
    trusted: str, liar: DishonestProvider, browser: Browser
) -> None:
    honest = liar.key
    public = honest.as_pem(private=False)
    for header, key in (
        ({"alg": "none"}, honest),
        ({"alg": "none", "kid": "one"}, honest),
        ({"alg": "RS256", "kid": "one"}, RSAKey.generate_key(2048)),
        ({"alg": "ES256", "kid": "one"}, ECKey.generate_key("P-256")),
        ({"alg": "HS256", "kid": "one"}, OctKey.import_key(CLIENT_SECRET)),
        ({"alg": "HS256"}, OctKey.import_key(CLIENT_SECRET)),
        ({"alg": "HS256", "kid": "one"}, OctKey.import_key(public.replace(b"-----", b"_____"))),
        ({"alg": "RS256", "kid": "two"}, RSAKey.generate_key(2048)),
    ):
        liar.header, liar.key = header, key
        assert liar.lead(browser, trusted) == NOT_GOOD, header


def test_a_secret_that_a_provider_publishes_signs_nothing(
    trusted: str, liar: DishonestProvider, browser: Browser
) -> None:
    liar.key = OctKey.import_key("0123456789abcdef0123456789abcdef", {"kid": "secret"})
    liar.header = {"alg": "HS256", "kid": "secret"}
    liar.published = [*liar.published, liar.key]
    assert liar.lead(browser, trusted) == NOT_GOOD


def test_a_new_key_is_fetched_and_an_unknown_one_not_again_and_again(
    trusted: str, liar: DishonestProvider, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar.lead(browser, trusted)
    liar.key = RSAKey.generate_key(2048, {"kid": "two"})
    liar.header = {"alg": "RS256", "kid": "two"}
    liar.published = [*liar.published, liar.key]
    moment = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: moment + 11)
    assert liar.lead(browser, trusted).keys() == {"code", "state"}
    assert liar.asked["/jwks"] == 2
    liar.header = {"alg": "RS256", "kid": "three"}
    for _ in range(5):
        assert liar.lead(browser, trusted) == NOT_GOOD
    assert liar.asked["/jwks"] == 2  # the floor: ten seconds
    monkeypatch.setattr(clock, "monotonic", lambda: moment + 22)
    liar.lead(browser, trusted)
    assert liar.asked["/jwks"] == 3


@pytest.mark.parametrize("iss", ["https://accounts.google.com", None, ""])
def test_an_answer_of_another_issuer_is_refused(
    trusted: str, liar: DishonestProvider, browser: Browser, iss: str | None
) -> None:
    back = liar.way_back(browser.depart(trusted), iss=iss)
    parts = urlsplit(back)
    answer = browser.client.get(f"{parts.path}?{parts.query}")
    if iss == "":
        assert answer.status_code == 422
    else:
        assert dict(parse_qsl(urlsplit(answer.headers["Location"]).fragment)) == NOT_GOOD
    assert liar.asked["/token"] == 0


def test_userinfo_of_somebody_else_is_refused(
    trusted: str, liar: DishonestProvider, browser: Browser
) -> None:
    liar.claims_change = _without_address
    liar.userinfo = {"sub": "boss", "email": "boss@example.com", "email_verified": True}
    assert liar.lead(browser, trusted) == NOT_GOOD
    liar.userinfo = {"sub": "li", "email": "li@example.com", "email_verified": True}
    assert liar.lead(browser, trusted).keys() == {"code", "state"}


def test_userinfo_may_say_that_the_address_is_verified(
    trusted: str, liar: DishonestProvider, browser: Browser
) -> None:
    liar.claims_change = lambda claims: claims.pop("email_verified")
    assert liar.lead(browser, trusted) == {"error": "email_unverified"}
    liar.userinfo = {"sub": "li", "email_verified": "true"}
    assert liar.lead(browser, trusted).keys() == {"code", "state"}


METADATA: Mapping[str, Change] = {
    "another issuer": lambda found: found.update(issuer="https://accounts.google.com"),
    "a slash more": lambda found: found.update(issuer=found["issuer"] + "/"),
    "no issuer": lambda found: found.pop("issuer"),
    "no keys": lambda found: found.pop("jwks_uri"),
    "no token endpoint": lambda found: found.update(token_endpoint=None),
    "a script": lambda found: found.update(authorization_endpoint="javascript:alert(1)//x.y/"),
    "a line more": lambda found: found.update(
        authorization_endpoint=found["authorization_endpoint"] + "\r\nSet-Cookie: x=y"
    ),
    "a user": lambda found: found.update(authorization_endpoint="https://google.com@evil.test/"),
    "a file": lambda found: found.update(jwks_uri="file:///etc/passwd"),
}


@pytest.mark.parametrize("lie", METADATA)
def test_a_provider_that_is_not_what_it_should_be_is_not_gone_to(
    trusted: str, liar: DishonestProvider, browser: Browser, lie: str
) -> None:
    liar.metadata_change = METADATA[lie]
    answer = browser.client.get(f"/api/auth/providers/{trusted}/login")
    assert answered(answer) == (502, "provider_answer_invalid")
    assert "Location" not in answer.headers


@pytest.mark.parametrize("endpoint", ["token_endpoint", "jwks_uri", "userinfo_endpoint"])
@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/", "https://10.0.0.1/x"]
)
def test_a_provider_cannot_send_us_into_the_private_network(
    trusted: str, liar: DishonestProvider, browser: Browser, endpoint: str, url: str
) -> None:
    liar.metadata_change = lambda found: found.update({endpoint: url})
    liar.claims_change = _without_address
    assert liar.lead(browser, trusted) == {"error": "provider_unreachable"}


def test_the_answer_of_the_token_endpoint_may_be_anything(
    trusted: str, liar: DishonestProvider, browser: Browser
) -> None:
    for change, error in (
        (lambda found: found.pop("id_token"), "provider_answer_invalid"),
        (lambda found: found.update(id_token=7), "provider_answer_invalid"),
        (lambda found: found.update(id_token="x"), "provider_answer_invalid"),
        (lambda found: found.update(id_token="eyJhbGciOiJSUzI1NiJ9..x"), "provider_answer_invalid"),
        (lambda found: found.update(error="invalid_grant"), "provider_refused"),
        (lambda found: found.update(error={"a": 1}), "provider_refused"),
    ):
        liar.token_change = change
        assert liar.lead(browser, trusted) == {"error": error}


def test_the_log_tells_why(
    trusted: str, liar: DishonestProvider, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    liar.token_change = lambda found: found.update(error="invalid_client")
    liar.lead(browser, trusted)
    printed = caplog.text
    for told in ("sign_in_failed", trusted, "provider_refused", "invalid_client"):
        assert told in printed
    assert CLIENT_SECRET not in printed


@pytest.mark.parametrize("path", ["/token", "/jwks", "/userinfo"])
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b"[" * 200_000, b'{"keys": [[]]}']
)
def test_whatever_a_provider_answers_nobody_is_signed_in(
    trusted: str, liar: DishonestProvider, browser: Browser, path: str, body: bytes
) -> None:
    liar.claims_change = _without_address
    liar.bodies[path] = body
    told = liar.lead(browser, trusted)
    assert told.keys() == {"error"}
    assert told["error"] in {"provider_answer_invalid", "provider_unreachable"}


def test_a_provider_that_fails_is_asked_once_in_a_while(
    trusted: str, liar: DishonestProvider, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger who begins sign-ins makes us call a broken provider no oftener."""
    url, document = f"/api/auth/providers/{trusted}/login", "/.well-known/openid-configuration"
    liar.metadata_change = lambda found: found.clear()
    for _ in range(5):
        assert answered(browser.client.get(url)) == (502, "provider_answer_invalid")
    assert liar.asked[document] == 1
    liar.metadata_change = nothing
    moment = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: moment + 11)
    assert browser.client.get(url).status_code == 302
    assert liar.asked[document] == 2


def test_a_provider_that_is_away_is_told(add: Add, browser: Browser, tenant: Tenant) -> None:
    with DishonestProvider() as gone:
        provider_id = add(tenant, issuer=gone.issuer)
    url = f"/api/auth/providers/{provider_id}/login"
    assert answered(browser.client.get(url)) == (502, "provider_unreachable")
