"""The page that links in mails lead to: it takes the token and the new password to the API."""

import mimetypes

import flask
from flask.typing import ResponseReturnValue

from control_plane.core.root import project_root
from control_plane.identity.models import Purpose

FOLDER = project_root() / "templates" / "account"

blueprint = flask.Blueprint("account", __name__, url_prefix="/account")

_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'"


@blueprint.get(f"/<any({','.join(Purpose)}):_purpose>")
def page(_purpose: str) -> ResponseReturnValue:
    """Serve the page, which needs no sign-in: the token in its address is the proof."""
    return _file("page.html")


@blueprint.get("/<any(page.css,page.js):name>")
def part(name: str) -> ResponseReturnValue:
    """Serve the page's style or script."""
    return _file(name)


@blueprint.after_request
def protect(response: flask.Response) -> flask.Response:
    """Let nobody frame the page, and nothing load into it or leave it but from here."""
    response.headers["Content-Security-Policy"] = f"{_POLICY}; frame-ancestors 'none'"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _file(name: str) -> flask.Response:
    kind, _ = mimetypes.guess_type(name)
    return flask.Response((FOLDER / name).read_bytes(), mimetype=kind)
