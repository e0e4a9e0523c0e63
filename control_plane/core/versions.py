"""Serves the API's versions, and says in each answer of an old one when it ends."""

import dataclasses
import datetime
import re
from collections.abc import Iterable, Mapping
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PATH = re.compile(r"/api/(?P<version>[^/]+)(?P<rest>(?s:/.*)?)")


@dataclasses.dataclass(frozen=True)
class Version:
    """A version of the API, served below `/api/<name>` and, when it is the present one, `/api`."""

    deprecated: datetime.datetime | None = None
    """Since when, or from when on, clients should use another version (RFC 9745)."""
    sunset: datetime.datetime | None = None
    """When it will stop to be served (RFC 8594)."""
    successor: str | None = None
    """The version to use instead."""

    def headers(self) -> list[tuple[str, str]]:
        """Return what each of its answers says about its end."""
        found = []
        if self.deprecated is not None:
            found.append(("Deprecation", f"@{int(self.deprecated.timestamp())}"))
        if self.sunset is not None:
            at = self.sunset.astimezone(datetime.UTC)
            found.append(("Sunset", format_datetime(at, usegmt=True)))
        if self.successor is not None:
            found.append(("Link", f'</api/{self.successor}>; rel="successor-version"'))
        return found


VERSIONS: Mapping[str, Version] = {"v1": Version()}
"""All that are served, by name."""


class VersionedPaths:
    """WSGI middleware that serves `/api/<version>/…` as `/api/…`."""

    def __init__(
        self, application: "WSGIApplication", versions: Mapping[str, Version] = VERSIONS
    ) -> None:
        self._application = application
        self._versions = versions

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Serve one request."""
        path = _PATH.fullmatch(environ.get("PATH_INFO", ""))
        version = self._versions.get(path["version"]) if path else None
        if path is None or version is None:
            return self._application(environ, start_response)
        environ["PATH_INFO"] = "/api" + path["rest"]
        told = version.headers()

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, *told], *error)

        return self._application(environ, start)
