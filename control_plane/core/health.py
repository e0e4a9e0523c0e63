"""Tells a supervisor whether this process lives, and whether it can serve."""

import flask
import redis
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from control_plane.core.api import database, settings
from control_plane.core.redis import connect

_TIMEOUT_SECONDS = 1.0

blueprint = flask.Blueprint("health", __name__)


@blueprint.get("/livez")
def live() -> ResponseReturnValue:
    """Answer that the process serves requests."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def ready() -> ResponseReturnValue:
    """Answer 200 when the database and Redis answer, 503 otherwise, and what each does."""
    checks = {"database": _database_answers(), "redis": _redis_answers()}
    good = all(checks.values())
    shown = {name: "ok" if answers else "unreachable" for name, answers in checks.items()}
    return {"status": "ok" if good else "unavailable", "checks": shown}, 200 if good else 503


def _database_answers() -> bool:
    try:
        with database().session(write=False) as session:
            return session.scalar(select(1)) == 1
    except SQLAlchemyError:
        return False


def _redis_answers() -> bool:

    try:
        with connect(settings(), socket_timeout=_TIMEOUT_SECONDS) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
