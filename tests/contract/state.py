"""Reads a case's `state.yaml` into the database: names there become ids, keys and rows here.

Everything is a pure function of the names, so that a case's documents are the same each time.
"""

import base64
import datetime
import hashlib
import uuid
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from control_plane.ai_models.models import AIModel, TenantModelConfig
from control_plane.core import clock
from control_plane.core.database import keyring
from control_plane.core.types import Secret
from control_plane.domains.models import Domain
from control_plane.identity.models import APIKey, APIKeySecret
from control_plane.issuers.models import Issuer, KeySet
from control_plane.routing.models import Route, Upstream
from control_plane.routing.schemas.routes import RouteUpdateSchema
from control_plane.routing.schemas.upstreams import UpstreamUpdateSchema
from control_plane.tenants.models import (
    EVERY_MODEL,
    Tenant,
    TenantConfiguration,
    TenantStatus,
)
from tests.gateway import BASE62, check_of

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())
UPSTREAM_PORT = 9009
"""Stands in state and documents where the test's upstream gets its real port."""

SECRETS = {
    f"YUMEN_SECURITY_{name.upper()}_KEY_FILE": str(Path(__file__).parent / "secrets" / name)
    for name in ("master", "pepper", "seal")
}
"""Fixed secrets of no value to anyone: with them digests and seals are the same each time."""

ISSUER_KEY = serialization.load_pem_private_key(
    (Path(__file__).parent / "secrets" / "issuer.pem").read_bytes(), None
)
assert isinstance(ISSUER_KEY, Ed25519PrivateKey)


def identifier(kind: str, name: str) -> uuid.UUID:
    """Return the id of what a case calls *name*."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}/{name}")


def key_text(name: str, secret_of: str = "") -> str:
    """Return the text of the API key that a case calls *name*, or that id with another's secret."""
    text = f"ym_live_{_letters(name)[:12]}_{_letters(secret_of or name)[12:55]}"
    return text + check_of(text)


def _letters(name: str) -> str:
    return "".join(BASE62[byte % 62] for byte in hashlib.sha512(name.encode()).digest())


def load(session: Session, case: Path) -> None:
    """Write the rows of a case."""
    state = yaml.safe_load((case / "state.yaml").read_text())
    for name, model in state.get("models", {}).items():
        _add_model(session, name, model)
    for name, upstream in state.get("upstreams", {}).items():
        _add_upstream(session, None, name, upstream)
    session.flush()
    for name, tenant in state["tenants"].items():
        session.add(
            Tenant(
                id=identifier("tenant", name),
                name=name,
                status=TenantStatus(tenant.get("status", "active")),
                expiry_date=_moment(tenant.get("expiryDate")),
                configurations=_configuration(tenant),
            )
        )
        session.flush()
        _add_to_tenant(session, identifier("tenant", name), tenant)
    session.flush()


def _configuration(tenant: Mapping[str, Any]) -> TenantConfiguration:
    """Return a tenant's configuration; in a case `aiModelAccess` names models."""
    access = tenant.get("aiModelAccess", [EVERY_MODEL])
    return TenantConfiguration(
        ai_model_access=[
            name if name == EVERY_MODEL else str(identifier("model", name)) for name in access
        ],
        feature_flags=tenant.get("featureFlags", {}),
        ui_theme=tenant.get("uiTheme", {}),
    )


def _add_model(session: Session, name: str, model: Mapping[str, Any]) -> None:
    model_id = identifier("model", name)
    secret = model.get("apiKey")
    session.add(
        AIModel(
            id=model_id,
            name=name,
            provider="openai",
            endpoint=f"http://127.0.0.1:{UPSTREAM_PORT}/v1",
            api_key=Secret(secret) if secret else None,
            parameters=model.get("parameters", {}),
            enforced_parameters=model.get("enforcedParameters", []),
            cost_per_call=Decimal(model.get("costPerCall", "0.01")),
            is_active=model.get("isActive", True),
        )
    )


def _add_to_tenant(session: Session, tenant_id: uuid.UUID, tenant: Mapping[str, Any]) -> None:
    for name, state in tenant.get("domains", {}).items():
        session.add(
            Domain(
                id=identifier("domain", name),
                tenant_id=tenant_id,
                domain_name=name,
                is_verified=state == "verified",
                verification_token="token",
            )
        )
    for name, key in tenant.get("keys", {}).items():
        _add_key(session, tenant_id, name, key)
    for name, issuer in tenant.get("issuers", {}).items():
        _add_issuer(session, tenant_id, name, issuer)
    for name, upstream in tenant.get("upstreams", {}).items():
        _add_upstream(session, tenant_id, name, upstream)
    session.flush()
    for name, route in tenant.get("routes", {}).items():
        _add_route(session, tenant_id, name, route)
    for name, config in tenant.get("models", {}).items():
        session.add(
            TenantModelConfig(
                id=identifier("config", f"{tenant_id}/{name}"),
                tenant_id=tenant_id,
                model_id=identifier("model", name),
                max_calls_per_day=config.get("maxCallsPerDay"),
                custom_parameters=config.get("customParameters", {}),
                cost_multiplier=Decimal(config.get("costMultiplier", "1")),
            )
        )


def _add_key(session: Session, tenant_id: uuid.UUID, name: str, key: Mapping[str, Any]) -> None:
    """Add a key with the secret of its name, and with `rotatedFrom` another one in its grace."""
    former = (
        {key["rotatedFrom"]["secret"]: key["rotatedFrom"]["until"]} if "rotatedFrom" in key else {}
    )
    limits = {limit: key.get(limit) for limit in ("models", "endpoints", "methods", "addresses")}
    session.add(
        APIKey(
            id=identifier("key", name),
            tenant_id=tenant_id,
            name=name,
            secrets=[
                APIKeySecret(
                    public_id=key_text(secret).split("_")[2],
                    tenant_id=tenant_id,
                    digest=keyring(session).digest_key(key_text(secret)),
                    expires_at=_moment(until),
                )
                for secret, until in {**former, name: None}.items()
            ],
            expires_at=_moment(key.get("expiresAt")),
            revoked_at=_moment("2020-01-01T00:00:00Z") if key.get("revoked") else None,
            **limits,
        )
    )


def _add_issuer(
    session: Session, tenant_id: uuid.UUID, name: str, issuer: Mapping[str, Any]
) -> None:
    """Add an issuer whose one key is that of `token_text`."""
    der = ISSUER_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key = {"kid": "1", "algorithm": "EdDSA", "publicKey": base64.b64encode(der).decode()}
    session.add(
        Issuer(
            id=identifier("issuer", name),
            tenant_id=tenant_id,
            issuer=name,
            audiences=issuer["audiences"],
            algorithms=issuer["algorithms"],
            user_claim=issuer.get("userClaim", "sub"),
            clock_leeway=issuer.get("clockLeeway", 0),
            is_active=issuer.get("isActive", True),
            key_set=KeySet(tenant_id=tenant_id, keys=[key]),
        )
    )


def _add_upstream(
    session: Session, tenant_id: uuid.UUID | None, name: str, upstream: Mapping[str, Any]
) -> None:
    """Add an upstream as the API would, by default of the test's own upstream."""
    target = {"host": "127.0.0.1", "port": UPSTREAM_PORT}
    body = {"name": name, "scheme": "http", "targets": [target], **upstream}
    values = UpstreamUpdateSchema().load(body)
    session.add(Upstream(id=identifier("upstream", name), tenant_id=tenant_id, **values))


def _add_route(session: Session, tenant_id: uuid.UUID, name: str, route: Mapping[str, Any]) -> None:
    """Add a route as the API would; in a case `upstream` is a name."""
    upstream = str(identifier("upstream", route["upstream"]))
    values = RouteUpdateSchema().load({"name": name, **route, "upstream": upstream})
    session.add(Route(id=identifier("route", name), tenant_id=tenant_id, **values))


def token_text(claims: Mapping[str, Any]) -> str:
    """Return an end user's token with *claims*, good for a minute, by the key of all issuers."""
    ends = int(clock.now().timestamp()) + 60
    return jwt.encode({"exp": ends, **claims}, ISSUER_KEY, "EdDSA", headers={"kid": "1"})


def _moment(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None
