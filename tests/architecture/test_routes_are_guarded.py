"""Every route says who may use it, and the OpenAPI document lists them all."""

import json
import re
from collections.abc import Iterator

import openapi_spec_validator
import pytest
from click.testing import CliRunner
from flask import Flask
from flask.views import MethodView

from control_plane import cli
from control_plane.contract import camel_case
from control_plane.core import plugins
from control_plane.core.api import Blueprint

OPEN_WITHOUT_GUARD = {
    "account.page",
    "account.part",
    "health.live",
    "health.ready",
    "docs_assets",
    "api-docs.openapi_json",
    "api-docs.openapi_swagger_ui",
}
PUBLIC = {
    ("POST", "/api/auth/invitation/accept"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/password-reset"),
    ("POST", "/api/auth/password-reset/confirm"),
    ("GET", "/api/auth/providers"),
    ("GET", "/api/auth/providers/<uuid:provider_id>/callback"),
    ("GET", "/api/auth/providers/<uuid:provider_id>/login"),
    ("POST", "/api/auth/providers/exchange"),
    ("POST", "/api/auth/refresh-token"),
    ("POST", "/api/oauth/token"),
}

pytestmark = pytest.mark.parametrize("database_url", [None], ids=["sqlite"])


def guards(app: Flask) -> Iterator[tuple[str, str, str | None]]:
    """Yield method, path and guard of each operation of the API."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint in OPEN_WITHOUT_GUARD:
            continue
        view_class = getattr(app.view_functions[rule.endpoint], "view_class", None)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            view = getattr(view_class, method.lower(), None)
            outermost = getattr(view, "guarded_view", None) is view
            yield method, rule.rule, getattr(view, "guard", None) if outermost else None


def test_every_operation_has_its_guard(app: Flask) -> None:
    names = {permission.name for permission in plugins.permissions()}
    found = list(guards(app))
    assert len(found) > 25
    assert not [each for each in found if each[2] not in names | {"public"}]
    assert {(method, path) for method, path, guard in found if guard == "public"} == PUBLIC
    assert names == {guard for _, _, guard in found} - {"public"} | {"domains:approve"}


def test_the_command_lists_every_operation(app: Flask) -> None:
    printed = CliRunner().invoke(cli.main, ["routes", "--json"]).output
    listed = [(each["method"], each["path"], each["permission"]) for each in json.loads(printed)]
    served = [
        (
            method,
            re.sub(r"<(?:\w+:)?(\w+)>", lambda name: f"{{{camel_case(name[1])}}}", path),
            guard,
        )
        for method, path, guard in guards(app)
    ]
    assert sorted(listed) == sorted(served)
    table = CliRunner().invoke(cli.main, ["routes"]).output.splitlines()
    assert table[0].split() == ["METHOD", "PATH", "PERMISSION", "ROOM"]
    assert len(table) == len(listed) + 1
    columns = {name: table[0].index(name) for name in ("PATH", "PERMISSION", "ROOM")}
    assert all(line[at - 1] == " " != line[at] for line in table for at in columns.values())


@pytest.mark.parametrize("guarded", [False, True])
def test_a_forgotten_guard_is_refused_at_import(app: Flask, guarded: bool) -> None:
    blueprint = Blueprint("forgetful", __name__, url_prefix="/forgetful")

    class Forgetful(MethodView):
        def get(self) -> None:
            """Do nothing."""

        if guarded:
            get = blueprint.response(204)(blueprint.public(get))

    with pytest.raises(TypeError, match=r"Forgetful\.get needs require"):
        blueprint.route("")(Forgetful)


def test_the_openapi_document_is_valid_and_complete(app: Flask) -> None:
    document = app.test_client().get("/api/openapi.json").json
    openapi_spec_validator.validate(document)
    assert document["openapi"].startswith("3.1.")
    listed = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations.keys() - {"parameters"}
    }
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint not in OPEN_WITHOUT_GUARD
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert listed == served
    for path, operations in document["paths"].items():
        for method in operations.keys() - {"parameters"}:
            assert operations[method]["summary"], f"{method} {path} has no docstring"


def test_the_documentation_page_loads_only_from_here(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/api/docs").text
    assert "http://" not in page
    assert "https://" not in page
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"):
        assert f"/api/docs/assets/{asset}" in page
        with client.get(f"/api/docs/assets/{asset}") as answer:
            assert answer.status_code == 200
