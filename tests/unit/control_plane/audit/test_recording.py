"""Every change is recorded with its cause, in its own transaction, and no secret with it."""

import json
import uuid
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from sqlalchemy.exc import DatabaseError

from control_plane import identity, tenants
from control_plane.audit.models import AuditLog
from control_plane.audit.recording import MOST_BYTES
from control_plane.core import auditing, plugins, tenancy
from control_plane.core.audit_entries import HIDDEN, Action, Entry, Outcome, is_secret, shown
from control_plane.core.auditing import AuditingError
from control_plane.core.database import Database
from control_plane.core.occasions import ActorKind
from control_plane.core.tables import Base
from control_plane.identity import User
from control_plane.tenants import Tenant
from tests import factories
from tests.audit_log import Logs, write
from tests.operations import MODEL

MACHINERY = {
    "AuditCut": "the audit log itself",
    "AuditLog": "the audit log itself",
    "DataKey": "made when a secret is stored; a rotation is recorded as a call",
    "FamiliarNetwork": "follows from sign-ins",
    "IdempotentAnswer": "a copy of an answer",
    "KeySet": "fetched by the worker from what the issuer says",
    "MailedToken": "made and used up by what is recorded",
    "OutboxEvent": "a message of a change that is recorded",
    "PasswordResetRequest": "the request is recorded",
    "PublishedDocument": "made from rows whose changes are recorded",
    "PublishedReference": "made from rows whose changes are recorded",
    "PublishingRefusal": "what nodes report",
    "PublishingRevision": "has its own history",
    "PublishingState": "a counter",
    "QueuedMail": "made and used up by what is recorded",
    "RefreshToken": "renews a sign-in that is recorded",
    "SignInCode": "made and used up by a sign-in that is recorded",
    "UsageEvent": "metered traffic",
    "UsagePending": "metered traffic",
    "UsageQuarantine": "metered traffic",
    "UsageWriter": "metered traffic",
}
SECRETIVE = ("digest", "password", "secret", "token", "ciphertext", "api_key")
NOT_SECRET = {"Domain.verification_token"}
"""Stands in the DNS for everybody."""


def test_every_class_is_audited_or_known_as_machinery() -> None:
    plugins.manager()
    classes = {mapper.class_ for mapper in Base.registry.mappers}
    left_out = {each.__name__ for each in classes if not each.audited}
    assert left_out == MACHINERY.keys()
    assert len(classes) > len(left_out)


def test_no_column_with_a_secret_is_shown() -> None:
    plugins.manager()
    found = {
        f"{mapper.class_.__name__}.{name}": is_secret(column)
        for mapper in Base.registry.mappers
        if mapper.class_.audited
        for name, column in shown(mapper)
        if any(word in name for word in SECRETIVE)
    }
    assert {name for name, hidden in found.items() if not hidden} <= NOT_SECRET
    assert {name for name, hidden in found.items() if hidden} >= {
        "User.password_hash",
        "AIModel.api_key",
    }


def test_a_change_is_recorded_with_who_what_and_from_where(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, logs: Logs
) -> None:
    url = f"/api/tenants/{tenant.id}"
    sent = {**factories.if_match(client, url, operator), "X-Request-Id": "of-the-test"}
    assert client.patch(url, json={"name": "Änderung"}, headers=sent).status_code == 200
    log = logs(tenant.id)[-1]
    assert (log.action, log.outcome, log.actor_type) == ("update", "done", "user")
    assert (log.operation, log.request_id) == ("PATCH /api/tenants/{tenantId}", "of-the-test")
    assert (log.resource_type, log.resource_id) == ("tenant", str(tenant.id))
    assert (log.address, log.actor is not None) == ("127.0.0.1", True)
    assert json.loads(log.before or "") == {"name": tenant.name}
    assert json.loads(log.after or "") == {"name": "Änderung"}


def test_nothing_is_recorded_of_what_is_rolled_back(database: Database, logs: Logs) -> None:
    with tenancy.platform_context(), database.session() as session:
        never = tenants.create_tenant(session, name="never").id
        session.rollback()
        kept = tenants.create_tenant(session, name="kept")
        kept_id = kept.id
        savepoint = session.begin_nested()
        kept.name = "undone"
        session.flush()
        savepoint.rollback()
        kept.contact_person = "Li"
        session.commit()
    assert logs(never) == []
    assert [log.action for log in logs(kept_id)] == ["create", "create", "update"]
    assert logs(kept_id)[-1].after == '{"contactPerson":"Li"}'


def test_a_refused_request_leaves_nothing_but_its_refusal(
    app: Flask, client: FlaskClient, database: Database, tenant: Tenant, logs: Logs
) -> None:
    viewer = factories.sign_in(app, factories.make_user(database, tenant, "viewer"))
    before = len(logs(tenant.id))
    refused = client.post("/api/users", json={"username": "x", "role": "admin"}, headers=viewer)
    assert refused.status_code == 403
    (log,) = logs(tenant.id)[before:]
    assert (log.action, log.outcome, log.operation) == ("call", "refused", "POST /api/users")
    assert json.loads(log.after or "") == {"status": 403, "code": "permission_denied"}


def test_secrets_are_never_shown(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant, logs: Logs
) -> None:
    secret, password = "sk-planted-0123456789", "planted correct horse"
    model = {**MODEL, "apiKey": secret}
    assert client.post("/api/models", json=model, headers=operator).status_code == 201
    user = {"username": "li", "password": password, "role": "viewer", "tenantId": str(tenant.id)}
    assert client.post("/api/users", json=user, headers=operator).status_code == 201
    made = client.post(f"/api/tenants/{tenant.id}/api-keys", json={"name": "k"}, headers=operator)
    login = {"username": "li", "password": password}
    answer = client.post("/api/auth/login", json=login).json
    tokens = (answer["accessToken"], answer["refreshToken"])
    everything = " ".join(
        f"{log.before} {log.after}" for chain in (None, tenant.id) for log in logs(chain)
    )
    for planted in (secret, password, made.json["key"], *tokens, "$argon2", "v1."):
        assert str(planted) not in everything
    assert HIDDEN in everything
    (shown_key,) = [log for log in logs(tenant.id) if log.action == "reveal"]
    assert (shown_key.resource_type, shown_key.resource_id) in {
        ("api_key", made.json["id"]),
        ("api_key_secret", made.json["key"].split("_")[2]),
    }


def test_an_export_is_recorded_as_a_secret_that_was_read(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, logs: Logs
) -> None:
    answer = client.get(f"/api/tenants/{tenant.id}/export", headers=operator)
    kinds = [json.loads(line)["kind"] for line in answer.text.splitlines()]
    assert "auditLog" in kinds
    log = logs(tenant.id)[-1]
    assert (log.action, log.operation) == ("reveal", "GET /api/tenants/{tenantId}/export")


def test_a_sign_in_and_its_end_are_the_users(
    app: Flask, client: FlaskClient, database: Database, tenant: Tenant, logs: Logs
) -> None:
    user = factories.make_user(database, tenant)
    before = len(logs(tenant.id))
    login = {"username": user.username, "password": "not the password at all"}
    assert client.post("/api/auth/login", json=login).status_code == 401
    right = {**login, "password": factories.PASSWORD}
    token = client.post("/api/auth/login", json=right).json["accessToken"]
    client.post("/api/auth/logout", headers={"Authorization": f"Bearer {token}"})
    refused, began, ended = logs(tenant.id)[before:]
    assert (refused.outcome, refused.actor_type, refused.actor) == ("refused", "anonymous", None)
    assert (refused.resource_type, refused.resource_id) == ("user", str(user.id))
    assert (began.action, began.resource_type) == ("create", "user_session")
    assert (ended.action, ended.resource_type) == ("update", "user_session")
    assert {(log.actor_type, log.actor) for log in (began, ended)} == {("user", str(user.id))}


def test_guessing_cannot_fill_the_database(client: FlaskClient, logs: Logs) -> None:
    for number in range(30):
        client.post("/api/auth/login", json={"username": f"n{number}", "password": "x" * 12})
    assert len([log for log in logs() if log.outcome == "refused"]) == 10


def test_what_changes_nothing_is_recorded_as_a_call(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, logs: Logs
) -> None:
    assert client.post(f"/api/tenants/{tenant.id}/activate", headers=operator).status_code == 200
    log = logs(tenant.id)[-1]
    assert (log.action, log.before, log.after) == ("call", None, None)
    assert (log.resource_type, log.resource_id) == ("tenant", str(tenant.id))


def test_statements_that_change_many_rows_are_seen(
    database: Database, tenant: Tenant, logs: Logs
) -> None:
    users = [factories.make_user(database, tenant) for _ in range(2)]
    before = len(logs(tenant.id))
    with tenancy.platform_context(), database.transaction() as session:
        mine = User.id.in_([user.id for user in users])
        session.execute(update(User).where(mine).values(email="a@b.c", version=User.version + 1))
    found = logs(tenant.id)[before:]
    assert {log.resource_id for log in found} == {str(user.id) for user in users}
    assert {(log.before, log.after) for log in found} == {('{"email":null}', '{"email":"a@b.c"}')}
    with (
        tenancy.platform_context(),
        pytest.raises(AuditingError),
        database.transaction() as session,
    ):
        session.execute(update(User), [{"id": users[0].id, "email": "x@y.z"}])


def test_a_transaction_about_two_tenants_is_in_both_chains(database: Database, logs: Logs) -> None:
    made = [factories.make_tenant(database) for _ in range(2)]
    with tenancy.platform_context(), database.transaction() as session:
        for tenant in made:
            tenants.get_tenant(session, tenant.id).name = "both"
    for tenant in made:
        assert json.loads(logs(tenant.id)[-1].after or "") == {"name": "both"}


def test_what_is_too_long_is_kept_as_a_digest(
    database: Database, tenant: Tenant, logs: Logs
) -> None:
    large: dict[str, Any] = {"small": "s", "large": "洞" * MOST_BYTES, "middle": "m" * 9000}
    with tenancy.platform_context(), database.transaction() as session:
        auditing.record(session, Entry(Action.CALL, tenant.id, after=large))
    after = logs(tenant.id)[-1].after or ""
    kept = json.loads(after)
    assert len(after) <= MOST_BYTES
    assert (kept["small"], kept["middle"]) == ("s", large["middle"])
    assert kept["large"]["truncated"] is True
    assert kept["large"]["bytes"] == 6 * MOST_BYTES + 2


def test_nobody_changes_what_is_recorded(database: Database, tenant: Tenant, logs: Logs) -> None:
    for statement in (
        update(AuditLog).values(operation="x").execution_options(synchronize_session=False),
        AuditLog.__table__.delete(),
    ):
        with (
            tenancy.platform_context(),
            pytest.raises(DatabaseError, match=r"only be added|permission denied"),
            database.transaction() as session,
        ):
            session.execute(statement)
    assert logs(tenant.id)


def test_a_purged_tenants_chain_stays(database: Database, tenant: Tenant, logs: Logs) -> None:
    factories.purge_tenant(database, tenant)
    gone = [log.resource_type for log in logs(tenant.id) if log.action is Action.DELETE]
    assert "tenant" in gone


def test_without_a_request_it_is_the_system(database: Database, logs: Logs) -> None:
    write(database, None, 1)
    assert (logs()[-1].actor_type, logs()[-1].actor) == (ActorKind.SYSTEM, None)
    assert logs()[-1].outcome is Outcome.DONE
    assert uuid.UUID(str(logs()[-1].id)).version == 7
    assert identity.User.audited
