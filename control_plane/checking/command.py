"""The command `yumen check`."""

import dataclasses
import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import click
from sqlalchemy.exc import SQLAlchemyError

from control_plane.checking import documents, live, telling
from control_plane.checking.explanation import Explanation
from control_plane.checking.gateway import CheckError, Question, explaining
from control_plane.core import redis
from control_plane.core.commands import on_installation, upstreams_allowed
from control_plane.core.database import Database
from control_plane.core.settings import Settings
from control_plane.gateway import RenderError
from control_plane.manifest import ManifestError, RefusedError

_OURS: Final = frozenset(
    {"host", "x-yumen-check", "x-forwarded-for", "x-forwarded-proto", "content-length"}
)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REDIS_SECONDS: Final = 2.0
_MOST_NOTES: Final = 20


class _NotCheckedError(click.ClickException):
    """Nothing can be said of the request."""

    exit_code = 2


@click.command()
@click.argument("method")
@click.argument("url")
@click.option("-H", "--header", "headers", multiple=True, help="A header, as 'Name: value'.")
@click.option("-d", "--data", help="The body; @FILE reads it from a file.")
@click.option(
    "--client", default="127.0.0.1", show_default=True, help="The address that it comes from."
)
@click.option(
    "--draft",
    type=click.Path(path_type=Path, exists=True),
    help="A manifest, or a folder of them, as if it had been applied.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer with JSON.")
@on_installation
def check_command(settings: Settings, method: str, url: str, **options: Any) -> None:
    """Explain what would become of a request, step by step.

    Nothing is called, counted or changed. The exit status is 0 when the request would pass, 1 when
    it would be refused, 2 when that cannot be said.
    """
    question = _question(method, url, options)
    if not settings.secret_file("pepper").is_file():
        raise _NotCheckedError(f"There is no installation in {settings.state}: name it by --state.")
    explanation = _explanation(settings, question, options["draft"])
    if options["as_json"]:
        click.echo(json.dumps(explanation.as_json(), indent=1, ensure_ascii=False))
    else:
        click.echo(telling.told(explanation))
    if not explanation.allowed:
        raise SystemExit(1)


def _explanation(settings: Settings, question: Question, draft: Path | None) -> Explanation:
    notes: list[str] = []
    database = Database(settings)

    def prepare(path: Path) -> None:
        with database.session(write=draft is not None) as session:
            unsound = documents.write(session, path, draft)
            session.rollback()
        notes.extend(f"No gateway would take {each}" for each in unsound[:_MOST_NOTES])

    client = redis.connect(settings, socket_timeout=_REDIS_SECONDS)
    try:
        with explaining(_as_running(settings), prepare, live.signals(client)) as ask:
            explanation = ask(question)
    except (ManifestError, RefusedError) as error:
        raise _NotCheckedError(f"The draft cannot be applied.\n{error}") from error
    except SQLAlchemyError as error:
        raise _NotCheckedError(f"The database cannot be read: {error}") from error
    except (CheckError, RenderError) as error:
        raise _NotCheckedError(str(error)) from error
    finally:
        database.close()
    explanation.notes += notes
    with client:
        live.judge(explanation, client)
    return explanation


def _as_running(settings: Settings) -> Settings:
    """Return *settings* as the gateway that `yumen up` starts has them."""
    allowed = upstreams_allowed(settings)
    security = dataclasses.replace(settings.security, upstream_allow=allowed)
    return dataclasses.replace(settings, security=security)


def _question(method: str, url: str, options: Mapping[str, Any]) -> Question:
    if not re.fullmatch("[A-Za-z]+", method):
        raise click.UsageError(f"METHOD must be one such as GET, not {method!r}.")
    scheme, host, target = _parts(url)
    try:
        client = str(ipaddress.ip_address(options["client"]))
    except ValueError as error:
        raise click.UsageError("--client must be an IP address, such as 192.0.2.7.") from error
    return Question(
        method=method.upper(),
        target=target,
        host=host,
        headers=[_header(text) for text in options["headers"]],
        body=_body(options["data"]),
        client=client,
        is_https=scheme == "https",
    )


def _parts(url: str) -> tuple[str, str, str]:
    """Return scheme, host and target of a URL."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        port = f":{parts.port}" if parts.port else ""
    except (ValueError, UnicodeError) as error:
        raise click.UsageError(f"URL is not sound: {error}.") from error
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise click.UsageError("URL must be whole, such as https://api.example.com/v1/models.")
    host = f"[{host}]" if ":" in host else host
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (
        f"?{quote(parts.query, safe='/%:@!$&()*+,;=~?')}" if parts.query else ""
    )
    return parts.scheme, host + port, target


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not _HEADER_NAME.fullmatch(name):
        raise click.UsageError("A header is written as 'Name: value'.")
    if name.lower() in _OURS:
        raise click.UsageError(f"The header {name} follows from the other arguments.")
    if not value.isprintable() or not value.isascii():
        raise click.UsageError(f"The value of the header {name} must be printable ASCII.")
    return name, value


def _body(data: str | None) -> bytes | None:
    if data is None:
        return None
    if data.startswith("@"):
        try:
            return Path(data[1:]).read_bytes()
        except OSError as error:
            raise click.UsageError(f"The body cannot be read: {error}") from error
    return data.encode()
