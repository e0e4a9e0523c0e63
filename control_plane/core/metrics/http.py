"""Counts the requests of the administration API, and the database connections that they use."""

from typing import Any

import flask
from prometheus_client import CollectorRegistry
from sqlalchemy import event
from sqlalchemy.pool import QueuePool

from control_plane.core import clock
from control_plane.core.database import Database
from control_plane.core.figures import OTHER, Family
from control_plane.core.metrics.families import counter, gauge, histogram, text_of

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUESTS = Family(
    "yumen_http_requests_total",
    "counter",
    ("method", "route", "status"),
    "Requests, by route as the API's documentation writes it and by the class of the status.",
)
DURATION = Family(
    "yumen_http_request_duration_seconds",
    "histogram",
    ("method", "route"),
    "Time until the answer was made.",
)
IN_FLIGHT = Family(
    "yumen_http_requests_in_flight", "gauge", (), "Requests that are being worked on."
)
POOL = Family(
    "yumen_database_pool_connections",
    "gauge",
    (),
    "Connections that the processes keep open to the database at most.",
)
IN_USE = Family(
    "yumen_database_connections_in_use", "gauge", (), "Connections that are used right now."
)
FAMILIES = (REQUESTS, DURATION, IN_FLIGHT, POOL, IN_USE)


class HttpMetrics:
    """The metrics of one application."""

    def __init__(self, app: flask.Flask, database: Database) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = counter(REQUESTS, registry)
        self._duration = histogram(DURATION, registry)
        self._in_flight = gauge(IN_FLIGHT, registry)
        self._in_use = gauge(IN_USE, registry)
        self._pool = database.engine.pool
        gauge(POOL, registry).set(self._pool.size() if isinstance(self._pool, QueuePool) else 1)
        event.listen(self._pool, "checkout", self._note_use)
        app.before_request(self._begin)
        app.after_request(self._end)
        app.teardown_request(self._leave)

    def text(self) -> bytes:
        """Return the metrics of all processes that serve this application."""
        return text_of(self._registry)

    def _begin(self) -> None:
        flask.g.metered_since = clock.monotonic()
        self._in_flight.inc()

    def _end(self, response: flask.Response) -> flask.Response:
        request = flask.request
        method = request.method if request.method in _METHODS else OTHER
        route = OTHER if request.url_rule is None else request.url_rule.rule
        self._requests.labels(method, route, f"{response.status_code // 100}xx").inc()
        seconds = clock.monotonic() - flask.g.metered_since
        self._duration.labels(method, route).observe(seconds)
        return response

    def _leave(self, _error: BaseException | None) -> None:
        if flask.g.pop("metered_since", None) is not None:
            self._in_flight.dec()
        self._note_use()

    def _note_use(self, *_: Any) -> None:
        if isinstance(self._pool, QueuePool):
            self._in_use.set(self._pool.checkedout())
