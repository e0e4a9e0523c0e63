"""A configuration written out and read in again is the same, on an empty installation too."""

from pathlib import Path

import pytest
import yaml
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core import plugins
from control_plane.core.database import Database
from control_plane.manifest import kinds
from tests import factories
from tests.operations import make_one_of_each
from tests.unit.control_plane.manifest.conftest import Installation

FULL = """
manifest: 1
models:
  - {name: gpt, provider: openai, endpoint: "https://93.184.216.34/v1", costPerCall: "0.0020",
     apiKey: {env: GPT_KEY}, parameters: {temperature: 0.5, stop: ["\\n", 问诊]},
     enforcedParameters: [temperature]}
  - {name: gpt_, provider: openai, endpoint: "http://127.0.0.1:9000", costPerCall: "0",
     isActive: false}
roles:
  - {name: Auditor, description: Sees usage, permissions: ["usage:read", "tenants:read"]}
identityProviders:
  - {name: Company, issuer: "http://127.0.0.1:9000/", clientId: yumen, defaultRole: Auditor,
     clientSecret: {env: SIGN_ON}, scopes: [openid, email], allowedEmailDomains: [example.com]}
limits:
  - {name: everybody, scope: [platform], limit: 1000, window: second, burst: 2000,
     onOutage: closed, match: {model: gpt}}
upstreams:
  - {name: sms, isShared: true, serverName: sms.example.com,
     targets: [{host: 93.184.216.34, port: 443}]}
circuitBreakers:
  - {name: gpt is away, serviceName: gpt, slowCallMilliseconds: 9000, countedStatuses: [429, 503]}
degradationRules:
  - {name: gpt is slow, serviceName: gpt, condition: "p95 > 9000 && rate > 1",
     clearCondition: p95 < 5000, action: fallback, dryRun: true,
     parameters: {answer: {body: '{"error": "later"}'}}}
tenants:
  - id: 0198c0de-0000-7000-8000-000000000001
    name: 诊所
    contactEmail: li@example.com
    timeZone: Europe/Berlin
    expiryDate: 2020-01-01T00:00:00Z
    maxUsers: 3
    configurations:
      aiModelAccess: [gpt]
      featureFlags: {triage: true}
      uiTheme: {color: "#fff"}
      apiCallLimits: {requestsPerSecond: 5}
    domains:
      - {domainName: a.example.com, isVerified: true}
      - {domainName: b.example.com, isPrimary: true}
    models:
      - {model: gpt, maxCallsPerDay: 10, costMultiplier: "1.5", customParameters: {top_p: 1}}
      - {model: gpt_}
    issuers:
      - {issuer: "https://93.184.216.34", audiences: [ai], algorithms: [ES256]}
    limits:
      - {name: 每人, scope: [user, model], meter: tokens, limit: 100000, window: day,
         match: {route: /v1/chat/completions, model: gpt}}
    upstreams:
      - {name: shop, scheme: http, targets: [{host: 127.0.0.1, port: 9000, weight: 3}],
         balancing: consistentHash, hashOn: {source: cookie, name: sid}, passive: {failures: 3},
         healthCheck: {path: /well}, retries: {attempts: 2, statuses: unavailable}}
    routes:
      - {name: shop, path: {kind: prefix, value: /shop}, upstream: shop, domains: [a.example.com],
         stripPrefix: true, methods: [GET], cors: {allowOrigins: ["*"]}, timeouts: {total: 2.5}}
      - {name: sms, path: {kind: regex, value: "/sms/[0-9]+"}, upstream: platform/sms,
         rewrite: {path: /send}, headers: [{name: X-Sms}], authentication: [],
         requestHeaders: {set: {X-Tenant: clinic}, remove: [Cookie]}}
    circuitBreakers:
      - {name: cart, serviceName: shop, endpoint: /shop/cart, mode: disabled,
         consecutiveFailures: null}
      - {name: texts, serviceName: sms, resetTimeout: 10}
    degradationRules:
      - {name: texts instead, serviceName: shop, condition: breaker != "closed", action: fallback,
         parameters: {upstream: sms}, forSeconds: 0}
      - {name: no cart, serviceName: shop, condition: errorRate > 50, action: feature-disable,
         parameters: {endpoint: /shop/cart}, enabled: false}
    roles:
      - {name: Auditor, permissions: ["usage:read"]}
    identityProviders:
      - {name: Clinic, issuer: "http://127.0.0.1:9001", clientId: yumen, isActive: false,
         clientSecret: {env: SIGN_ON}}
  - {name: Second, isSuspended: true, suspensionReason: unpaid}
  - {name: Third}
"""


SECRETS = {"GPT_KEY": "sk-one", "SIGN_ON": "sk-two"}
COPIED = {
    "SECRET_MODELS_GPT_APIKEY": "sk-one",
    "SECRET_IDENTITYPROVIDERS_COMPANY_CLIENTSECRET": "sk-two",
    "SECRET_TENANTS_IDENTITYPROVIDERS_CLINIC_CLIENTSECRET": "sk-two",
}


@pytest.fixture
def full(tmp_path: Path) -> Path:
    path = tmp_path / "full.yaml"
    path.write_text(FULL)
    return path


def test_what_was_exported_makes_the_same_elsewhere(
    here: Installation, elsewhere: Installation, full: Path, tmp_path: Path
) -> None:
    assert here.apply(full, **SECRETS)[-1] == ("26 created, 0 changed, 0 deleted, 0 unchanged.")
    exported = here.run("export")
    assert "sk-" not in exported
    copy = tmp_path / "copy.yaml"
    copy.write_text(exported)
    assert elsewhere.apply(copy, **COPIED)[-1].startswith("26 created,")
    assert elsewhere.run("export") == exported
    assert elsewhere.apply(copy, "--prune", **COPIED) == [
        "0 created, 0 changed, 0 deleted, 26 unchanged."
    ]


def test_every_kind_and_field_is_in_the_round_trip(here: Installation, full: Path) -> None:
    here.apply(full, **SECRETS)
    exported = yaml.safe_load(here.run("export"))
    tenant = exported["tenants"][0]
    for known, found in ((kinds.of_platform(), exported), (kinds.of_tenant(), tenant)):
        for kind in known:
            fields = {each.data_key for each in kind.schema().fields.values()}
            assert fields <= found[kind.section][0].keys(), kind.section
    assert [each["name"] for each in exported["models"]] == ["gpt", "gpt_"]
    assert tenant["configurations"]["aiModelAccess"] == ["gpt"]
    assert tenant["expiryDate"] == "2020-01-01T00:00:00+00:00"
    assert exported["tenants"][1]["suspensionReason"] == "unpaid"


def test_what_the_api_makes_is_in_the_export(
    here: Installation, app: Flask, client: FlaskClient, operator: dict[str, str]
) -> None:
    tenant = factories.make_tenant(app.extensions["yumen_database"])
    make_one_of_each(client, operator, tenant)
    (found,) = yaml.safe_load(here.run("export"))["tenants"]
    assert found["id"] == str(tenant.id)
    for section, path in (("domains", "domains"), ("models", "models")):
        listed = client.get(f"/api/tenants/{tenant.id}/{path}", headers=operator).json
        assert len(found[section]) == len(listed) > 0, section


def test_a_folder_has_a_file_for_each_tenant(
    here: Installation, elsewhere: Installation, full: Path, tmp_path: Path
) -> None:
    here.apply(full, **SECRETS)
    folder = tmp_path / "git"
    (folder / "tenants").mkdir(parents=True)
    (folder / "tenants" / "mine.yaml").write_text("manifest: 1\n")
    here.run("export", "--to", str(folder))
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    assert len(files) == 11
    assert files[:6] == [
        "circuitBreakers.yaml",
        "degradationRules.yaml",
        "identityProviders.yaml",
        "limits.yaml",
        "models.yaml",
        "roles.yaml",
    ]
    assert files[6] == "tenants/0198c0de-0000-7000-8000-000000000001.yaml"
    lines = elsewhere.apply(folder, **COPIED)
    assert lines[-1].startswith("26 created,")
    assert elsewhere.run("export") == here.run("export")

    # A tenant that is gone takes its file with it; what we did not write stays.
    full.write_text("manifest: 1\ntenants: [{name: Second, isSuspended: true}]")
    here.apply(full, "--prune")
    here.run("export", "--to", str(folder))
    assert len(list((folder / "tenants").iterdir())) == 2
    assert (folder / "tenants" / "mine.yaml").exists()


def test_every_room_that_has_rows_of_operators_declares_them(database: Database) -> None:
    sections = {kind.section for kind in plugins.declared("yumen_manifest_kinds")}
    assert sections >= {"tenants", "roles", "domains", "models", "identityProviders"}
