"""An identity provider of loopback that shows its keys, and signs tokens with them."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import algorithms

from tests.http_server import HttpServer, send

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


class IdentityServer(HttpServer):
    """Answers each path with what `pages` has for it: JSON, bytes, or a status."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []
        self.show(*(jwk(name) for name in PRIVATE))

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer as the path says."""
        self.asked.append(request.path)
        page = self.pages.get(request.path, 404)
        text = page if isinstance(page, bytes) else json.dumps(page).encode()
        send(request, page if isinstance(page, int) else 200, text)

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
