"""An identity provider of loopback that shows its keys, and signs tokens with them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import algorithms

PRIVATE: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
_TO_JWK: dict[str, Any] = {
    "RS256": algorithms.RSAAlgorithm,
    "ES256": algorithms.ECAlgorithm,
    "EdDSA": algorithms.OKPAlgorithm,
}


def jwk(algorithm: str, key: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a public key as a JWK that is called by its algorithm."""
    public = (key or PRIVATE[algorithm]).public_key()
    return {**_TO_JWK[algorithm].to_jwk(public, as_dict=True), "kid": algorithm, **fields}


class IdentityServer:
    """Answers each path with what `pages` has for it: JSON, bytes, or a status."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                page = outer.pages.get(self.path, 404)
                body = page if isinstance(page, bytes) else json.dumps(page).encode()
                self.send_response(page if isinstance(page, int) else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self.show(*(jwk(name) for name in PRIVATE))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def show(self, *keys: Any) -> None:
        """Have these keys, and say where they are."""
        self.pages["/.well-known/openid-configuration"] = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
        }
        self.pages["/keys"] = {"keys": list(keys)}

    def token(self, algorithm: str = "ES256", **claims: Any) -> str:
        """Return a token that it signed."""
        return jwt.encode(
            {"iss": self.url, **claims}, PRIVATE[algorithm], algorithm, headers={"kid": algorithm}
        )
