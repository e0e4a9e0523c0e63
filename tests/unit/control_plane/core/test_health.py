"""Health: what a supervisor reads from it."""

from flask import Flask

from control_plane.app import create_app
from control_plane.core.settings import Settings, load_settings


def test_a_sound_installation_is_ready(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/livez").json == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json == {"status": "ok", "checks": {"database": "ok", "redis": "ok"}}


def test_without_redis_it_lives_but_is_not_ready(settings: Settings) -> None:
    environ = {"YUMEN_REDIS_URL": "unix:///nowhere/redis.sock"}
    elsewhere = load_settings(state=settings.state, environ=environ)
    app = create_app(elsewhere)
    ready = app.test_client().get("/readyz")
    assert (ready.status_code, ready.json["checks"]["redis"]) == (503, "unreachable")
    assert app.test_client().get("/livez").status_code == 200
    app.extensions["yumen_database"].close()
