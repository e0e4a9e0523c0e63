"""Renders the gateway's files, has them judged, and only then puts them in place."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import crossplane
import jinja2

from control_plane.core.root import project_root
from control_plane.core.settings import Settings
from control_plane.gateway.nginx import RenderError, judge, lua_modules, nginx_binary
from control_plane.gateway.values import Values, template_values

_FOLDERS: Final = ("journal", "tmp", "logs")
_MEGABYTE: Final = 1024 * 1024

# Stands for every text value when the template's own shape is taken.
_NEUTRAL: Final = "/x"


def render(settings: Settings, *, explain: Mapping[str, Any] | None = None) -> Path:
    """Write nginx.conf and node.json under STATE/gateway; return nginx's prefix directory.

    With *explain* it is a gateway that forwards nothing: it writes into `file` what would become of
    a request that carries the text `secret`, while the `signals` (name to seconds) hold, and
    refuses every other (explain.lua).

    Nothing is replaced unless the new files have passed: every value has its strict form, the text
    parses to exactly the directives of the template, and nginx accepts it.

    Raises:
        RenderError: they have not passed; the message says why.
    """
    binary = nginx_binary()
    prefix = settings.state / "gateway"
    values = template_values(settings, lua_modules(binary))
    text = _fill(values)
    _compare(text, values)
    told = _node(settings, prefix) | ({} if explain is None else {"explain": dict(explain)})
    node = json.dumps(told, indent=1) + "\n"
    with tempfile.TemporaryDirectory(prefix="ym") as trial:
        _write(Path(trial), text, node)
        judge(binary, Path(trial))
    _write(prefix, text, node)
    return prefix


def _fill(values: Values) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(project_root() / "templates" / "openresty"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 -- no HTML; values.py lets no character through that matters
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("nginx.conf.j2").render(values)


def _write(prefix: Path, text: str, node: str) -> None:
    for folder in (prefix, *(prefix / name for name in _FOLDERS)):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    owner = prefix.parent.stat()
    for name, content in (("nginx.conf", text), ("node.json", node)):
        temporary = prefix / f".{name}.new"
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(prefix / name)
    if os.geteuid() == 0:
        for path in (prefix, *prefix.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)


def _compare(text: str, values: Values) -> None:
    """Refuse a text in which a value became more than one argument of its directive."""
    neutral: Values = {
        name: [_NEUTRAL] * len(value)
        if isinstance(value, list)
        else _NEUTRAL
        if isinstance(value, str)
        else value
        for name, value in values.items()
    }
    if _tree(_parse(text)) != _tree(_parse(_fill(neutral))):
        raise RenderError("A setting changed the structure of nginx.conf; it is not used.")


def _parse(text: str) -> list[dict[str, Any]]:
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        parsed = crossplane.parse(file.name, single=True, check_ctx=False, check_args=False)
    if parsed["status"] != "ok":
        raise RenderError(f"nginx.conf does not parse: {parsed['errors']}")
    directives: list[dict[str, Any]] = parsed["config"][0]["parsed"]
    return directives


def _tree(directives: list[dict[str, Any]], *, named: bool = True) -> list[Any]:
    """Return names of directives and how many arguments they have; lines of `geo` have no name."""
    return [
        (
            entry["directive"] if named else None,
            len(entry["args"]),
            _tree(entry.get("block", []), named=entry["directive"] != "geo"),
        )
        for entry in directives
    ]


def _node(settings: Settings, prefix: Path) -> dict[str, Any]:
    """Return what openresty/lua/yumen/core/node.lua reads."""
    gateway = settings.gateway
    return {
        "node": settings.node,
        "journal": str(prefix / "journal"),
        "last_good": str(prefix / "last_good"),
        "shipper_file": str(prefix / "shipper.json"),
        "contract": str(project_root() / "openresty" / "contract" / "documents.v1.json"),
        "redis": redis_options(settings.redis_url),
        "pepper_file": str(settings.secret_file("pepper").absolute()),
        "seal_file": str(settings.secret_file("seal").absolute()),
        "segment_bytes": settings.journal.segment_mb * _MEGABYTE,
        "upstream_slots": gateway.upstream_slots,
        "upstream_allow": list(settings.security.upstream_allow),
        "keepalive_seconds": gateway.keepalive_seconds,
        "timeouts": {
            "connect": gateway.connect_seconds,
            "send": gateway.client_body_seconds,
            "read": gateway.read_seconds,
        },
        "counted_services": gateway.counted_services,
        "counted_tenants": gateway.counted_tenants,
    }


def redis_options(url: str) -> dict[str, str | int]:
    """Return the parts of a Redis URL as the gateway's client takes them.

    Raises:
        RenderError: the URL's form is not one that the gateway can connect to.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"unix", "redis"}:
        raise RenderError("redis.url must start with unix:// or redis://.")
    options: dict[str, str | int]
    if parts.scheme == "unix":
        options = {"socket": unquote(parts.path)}
        database = parse_qs(parts.query).get("db", ["0"])[0]
    else:
        options = {"host": parts.hostname or "127.0.0.1", "port": parts.port or 6379}
        database = parts.path.strip("/") or "0"
    if not database.isdigit():
        raise RenderError("redis.url must name its database by a number.")
    options["database"] = int(database)
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    return options
