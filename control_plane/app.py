"""Puts the control plane's web application together: the only wiring."""

import re
import uuid
from pathlib import Path
from typing import Any

import flask
import flask_swagger_ui
import structlog
from apispec.ext.marshmallow import MarshmallowPlugin
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

import control_plane
from control_plane.core import health, logging, plugins, quotas, schemas
from control_plane.core.addresses import networks
from control_plane.core.api import close_session
from control_plane.core.database import Database
from control_plane.core.metrics import HttpMetrics, OwnListener
from control_plane.core.mounting import Api
from control_plane.core.origin import ProxiedClients
from control_plane.core.settings import Settings
from control_plane.core.versions import VersionedPaths

MAX_BODY_BYTES = 1 << 20

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_DOCS_ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"


def create_app(settings: Settings) -> flask.Flask:
    """Return the control plane's WSGI application."""
    logging.configure(settings)
    app = flask.Flask("control_plane", static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        API_TITLE="Yumen",
        API_VERSION=control_plane.__version__,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api",
        OPENAPI_SWAGGER_UI_PATH="/docs",
        OPENAPI_SWAGGER_UI_URL="/api/docs/assets/",
        API_SPEC_OPTIONS=_spec_options(),
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.extensions["yumen_settings"] = settings
    app.extensions["yumen_database"] = database = Database(settings)
    database.refuse_unsafe_start()
    metered = HttpMetrics(app, database)
    app.before_request(_begin_request)
    app.after_request(_end_request)
    quotas.configure(app, settings)
    app.teardown_request(close_session)
    app.register_blueprint(health.blueprint)
    app.add_url_rule("/api/docs/assets/<path:filename>", "docs_assets", _docs_asset)
    hooks = plugins.manager().hook
    hooks.yumen_on_startup(app=app)
    documented = MarshmallowPlugin(schema_name_resolver=schemas.name_of)
    api = Api(app, spec_kwargs={"marshmallow_plugin": documented})
    for blueprint in plugins.declared("yumen_blueprints"):
        api.mount(blueprint)
    app.wsgi_app = VersionedPaths(app.wsgi_app)  # type: ignore[method-assign]
    proxies = networks(settings.admin.trusted_proxies)
    app.wsgi_app = ProxiedClients(app.wsgi_app, proxies)  # type: ignore[method-assign]
    port = settings.metrics_port("admin")
    if port is not None:
        app.wsgi_app = OwnListener(  # type: ignore[method-assign]
            app.wsgi_app, port, metered.text
        )
    return app


def _spec_options() -> dict[str, Any]:
    """Return what the OpenAPI document says once for all operations."""
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return {
        "info": {
            "description": control_plane.__doc__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"accessToken": []}],
        "components": {"securitySchemes": {"accessToken": scheme}},
    }


def _begin_request() -> None:
    """Give the request an id, and refuse a body or a path that no view could use."""
    given = flask.request.headers.get("X-Request-Id", "")
    flask.g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    structlog.contextvars.bind_contextvars(request_id=flask.g.request_id)
    if (flask.request.content_length or 0) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if "\x00" in flask.request.path:
        raise NotFound


def _end_request(response: flask.Response) -> flask.Response:
    structlog.contextvars.unbind_contextvars("request_id")
    response.headers["X-Request-Id"] = flask.g.get("request_id", "")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _docs_asset(filename: str) -> ResponseReturnValue:
    """Serve the scripts and styles of the documentation page from this machine."""
    return flask.send_from_directory(_DOCS_ASSETS, filename, max_age=86400)
