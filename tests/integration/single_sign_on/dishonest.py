"""A provider that a test can make lie: it signs whatever it is told to, and counts who asks."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from control_plane.core import clock
from tests.oidc import CLIENT_ID, Browser

Change = Callable[[dict[str, Any]], Any]


def nothing(_: dict[str, Any]) -> None:
    """Change nothing."""


class DishonestProvider:
    """Honest until a test sets one of its `…_change`s, which edit what it is about to say.

    `bodies` is what it answers instead at a path.
    """

    def __init__(self) -> None:
        self.key: RSAKey | ECKey | OctKey = RSAKey.generate_key(2048, {"kid": "one"})
        self.published = [self.key]
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.claims_change = self.metadata_change = self.token_change = nothing
        self.userinfo: dict[str, Any] = {"sub": "li"}
        self.bodies: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.forms: list[dict[str, str]] = []
        self.nonce = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self, b"")

            def do_POST(self) -> None:
                outer._answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

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

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
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
        text = self.bodies.get(path, json.dumps(found).encode())
        request.send_response(200)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)
