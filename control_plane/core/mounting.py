"""Serves blueprints as one API, and its OpenAPI document."""

import threading
from typing import Any

import flask
import flask_smorest

from control_plane.core.api import Blueprint
from control_plane.core.pagination import PaginationSchema
from control_plane.core.problems import ProblemHandler


class Api(ProblemHandler, flask_smorest.Api):  # type: ignore[misc] # flask-smorest is untyped
    """Mounts blueprints under `/api` and documents them as OpenAPI 3.1.

    The document is written when somebody first asks for it: that takes three times as long as the
    rest of the application's start, and many an application is never asked.
    """

    def __init__(self, app: flask.Flask, **options: Any) -> None:
        self._mounted: list[Blueprint] = []
        self._writing = threading.Lock()
        self._written = ""
        super().__init__(app, **options)

    def mount(self, blueprint: Blueprint) -> None:
        """Serve *blueprint* below `/api`."""
        prefix = f"/api{blueprint.url_prefix or ''}"
        self._app.register_blueprint(blueprint, url_prefix=prefix)
        self._mounted.append(blueprint)

    def _openapi_json(self) -> flask.Response:
        with self._writing:
            if not self._written:
                self._written = self._document()
        return flask.Response(self._written, mimetype="application/json")

    def _document(self) -> str:
        """Return the OpenAPI document of all that is mounted, as JSON."""
        for blueprint in self._mounted:
            name = blueprint.name
            blueprint.register_views_in_doc(self, self._app, self.spec, name=name, parameters=None)
            self.spec.tag({"name": name, "description": blueprint.description})
        return flask.json.dumps(self.spec.to_dict(), indent=2, sort_keys=False)

    def _register_pagination_header(self) -> None:
        header = {"description": "Where this page stands.", "schema": PaginationSchema}
        self.spec.components.header("PAGINATION", header, lazy=True)
