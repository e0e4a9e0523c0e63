"""A provider that a test can make lie: it signs whatever it is told to, and counts who asks."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from control_plane.core import clock
from tests.http_server import HttpServer, send
from tests.oidc import CLIENT_ID, Browser

Change = Callable[[dict[str, Any]], Any]


def nothing(_: dict[str, Any]) -> None:
    """Change nothing."""


class DishonestProvider(HttpServer):
    """Honest until a test sets one of its `…_change`s, which edit what it is about to say.

    `bodies` is what it answers instead at a path.
    """

    def __init__(self) -> None:
        super().__init__()
        self.key: RSAKey | ECKey | OctKey = RSAKey.generate_key(2048, {"kid": "one"})
        self.published = [self.key]
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.claims_change = self.metadata_change = self.token_change = nothing
        self.userinfo: dict[str, Any] = {"sub": "li"}
        self.bodies: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.forms: list[dict[str, str]] = []
        self.nonce = ""
        self.issuer = self.url

    def way_back(self, address: str, **changed: str | None) -> str:
        """Return the address that leads back from *address*, its query changed as a test says."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        self.nonce = asked["nonce"]
        query = {"code": "a-code", "state": asked["state"], "iss": self.issuer, **changed}
        told = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        return f"{asked['redirect_uri']}?{told}"

    def lead(self, browser: Browser, provider_id: str, **changed: str | None) -> dict[str, str]:
        """Lead a browser here and back; return what it then has."""
        return browser.come_back(self.way_back(browser.depart(provider_id), **changed))

    def metadata(self) -> dict[str, Any]:
        """Return what it publishes of itself."""
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "authorization_response_iss_parameter_supported": True,
        }
        self.metadata_change(found)
        return found

    def id_token(self) -> str:
        """Return an ID token."""
        now = int(clock.now().timestamp())
        claims = {
            "iss": self.issuer,
            "sub": "li",
            "aud": CLIENT_ID,
            "nonce": self.nonce,
            "iat": now,
            "exp": now + 300,
            "email": "li@example.com",
            "email_verified": True,
        }
        self.claims_change(claims)
        if self.header["alg"] == "none":
            parts = [json.dumps(part).encode() for part in (self.header, claims)]
            encoded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
            return ".".join([*encoded, ""])
        return jwt.encode(self.header, claims, self.key, algorithms=[self.header["alg"]])

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer as the path says, changed as the test says."""
        path = urlsplit(request.path).path
        self.asked[path] += 1
        if path == "/token":
            self.forms.append(dict(parse_qsl(body.decode())))
            found: dict[str, Any] = {
                "access_token": "access",
                "token_type": "Bearer",
                "id_token": self.id_token(),
            }
            self.token_change(found)
        elif path == "/jwks":
            found = {"keys": [key.as_dict(private=False) for key in self.published]}
        elif path == "/userinfo":
            found = self.userinfo
        else:
            found = self.metadata()
        send(request, 200, self.bodies.get(path, json.dumps(found).encode()))
