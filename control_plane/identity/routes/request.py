"""What signing in knows of a request: where it comes from, and who tried before."""

from typing import cast

import flask

from control_plane.core.origin import network_of
from control_plane.identity.service.sessions import Origin
from control_plane.identity.service.throttle import Throttle

EXTENSION = "yumen_throttle"
_LONGEST_AGENT = 200


def origin() -> Origin:
    """Return where the present request comes from."""
    agent = flask.request.headers.get("User-Agent", "")
    readable = "".join(each for each in agent if each.isprintable())[:_LONGEST_AGENT]
    return Origin(network_of(flask.request.remote_addr), readable or None)


def attempts() -> Throttle:
    """Return the application's count of failed attempts."""
    return cast("Throttle", flask.current_app.extensions[EXTENSION])
