"""One caller, and one tenant, may send so many requests a minute; others do not feel it."""

import dataclasses

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.app import create_app
from control_plane.core.database import Database
from control_plane.core.settings import Settings
from control_plane.tenants import Tenant
from tests import factories


@pytest.fixture
def settings(settings: Settings) -> Settings:
    admin = dataclasses.replace(
        settings.admin, caller_requests_per_minute=5, tenant_requests_per_minute=8
    )
    return dataclasses.replace(settings, admin=admin)


def statuses(client: FlaskClient, headers: dict[str, str], count: int) -> list[int]:
    return [client.get("/api/auth/me", headers=headers).status_code for _ in range(count)]


def test_a_caller_and_a_tenant_have_their_quotas(
    app: Flask, client: FlaskClient, database: Database, tenant: Tenant
) -> None:
    first, second = (
        factories.sign_in(app, factories.make_user(database, tenant)) for _ in range(2)
    )
    assert statuses(client, first, 6) == [200] * 5 + [429]
    refused = client.get("/api/auth/me", headers=first)
    assert (refused.json["code"], refused.content_type) == (
        "quota_exceeded",
        "application/problem+json",
    )
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert statuses(client, second, 4) == [200] * 3 + [429]
    other = factories.sign_in(app, factories.make_user(database, factories.make_tenant(database)))
    assert statuses(client, other, 1) == [200]


def test_all_processes_count_together(app: Flask, settings: Settings, database: Database) -> None:
    user = factories.sign_in(app, factories.make_user(database))
    second = create_app(settings)
    assert statuses(app.test_client(), user, 3) == [200] * 3
    assert statuses(second.test_client(), user, 3) == [200] * 2 + [429]
    second.extensions["yumen_database"].close()


def test_without_redis_requests_pass_and_each_process_counts(
    settings: Settings, database: Database
) -> None:
    away = dataclasses.replace(settings.redis, url="unix:///nowhere.sock")
    app = create_app(dataclasses.replace(settings, redis=away))
    user = factories.sign_in(app, factories.make_user(database))
    assert statuses(app.test_client(), user, 6) == [200] * 5 + [429]
    app.extensions["yumen_database"].close()
