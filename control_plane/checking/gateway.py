"""A gateway for one question: nginx in a directory of its own, on a port of loopback."""

import contextlib
import dataclasses
import http.client
import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from control_plane.checking.explanation import Explanation
from control_plane.core.settings import Settings
from control_plane.gateway import nginx_binary, render

_HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 15
_ANSWER_SECONDS: Final = 30
_LEAST_ERROR: Final = 400

Header = tuple[str, str]


class CheckError(Exception):
    """The question could not be asked; the message says why."""


@dataclasses.dataclass(frozen=True)
class Question:
    """A request of which somebody wants to know what would become of it.

    `target` is its path and query; `client` the address that it comes from.
    """

    method: str
    target: str
    host: str
    headers: Sequence[Header]
    body: bytes | None
    client: str
    is_https: bool


@contextlib.contextmanager
def explaining(
    settings: Settings, prepare: Callable[[Path], None], signals: Mapping[str, float]
) -> Iterator[Callable[[Question], Explanation]]:
    """Give a function that asks a gateway with these settings what would become of a request.

    *prepare* writes the configuration that it starts with, as a last good file; *signals* are those
    that hold, `<kind>/<id>` to seconds. The function raises CheckError when nothing is explained.

    Raises:
        CheckError: the gateway does not start.
    """
    with tempfile.TemporaryDirectory(prefix="ym") as directory:
        state = Path(directory)
        if os.geteuid() == 0:
            owner = settings.state.stat()
            os.chown(state, owner.st_uid, owner.st_gid)
        (state / "gateway").mkdir(mode=0o750)
        prepare(state / "gateway" / "last_good")
        own = _settings_of(settings, state)
        secret, file = secrets.token_urlsafe(32), state / "explanation"

        def ask(question: Question) -> Explanation:
            answer = _send(question, own.gateway.port, secret)
            if not file.exists():
                return _refused_before(*answer)
            told = json.loads(file.read_bytes())
            file.unlink()
            return Explanation.read(told)

        explain = {"secret": secret, "file": str(file), "signals": dict(signals)}
        prefix = render(own, explain=explain)
        with _running(prefix, own.gateway.port):
            yield ask


def _settings_of(settings: Settings, state: Path) -> Settings:
    """Return the installation's settings for a gateway that has nothing in common with its own."""
    return dataclasses.replace(
        settings,
        state=state,
        redis=dataclasses.replace(settings.redis, url=f"unix://{state}/no-redis"),
        security=dataclasses.replace(
            settings.security,
            pepper_key_file=str(settings.secret_file("pepper").absolute()),
            seal_key_file=str(settings.secret_file("seal").absolute()),
        ),
        gateway=dataclasses.replace(
            settings.gateway,
            host=_HOST,
            port=_free_port(),
            workers=1,
            node="check",
            trusted_proxies=(f"{_HOST}/32",),
        ),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(prefix: Path, port: int) -> Iterator[None]:
    command = [nginx_binary(), "-p", str(prefix), "-c", "nginx.conf", "-e", "logs/error.log"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait(process, prefix, port)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", prefix: Path, port: int) -> None:
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            with socket.create_connection((_HOST, port), 1):
                return
        except OSError:
            time.sleep(0.02)
    log = prefix / "logs" / "error.log"
    told = log.read_text()[-2000:] if log.exists() else ""
    raise CheckError(f"The gateway that should explain did not start. {told}".rstrip())


def _send(question: Question, port: int, secret: str) -> tuple[int, bytes]:
    """Return status and body of the answer, which matter when nginx refused the request itself."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=_ANSWER_SECONDS)
    own = [
        ("Host", question.host),
        ("X-Yumen-Check", secret),
        ("X-Forwarded-For", question.client),
        ("X-Forwarded-Proto", "https" if question.is_https else "http"),
    ]
    if question.body is not None:
        own.append(("Content-Length", str(len(question.body))))
    try:
        connection.putrequest(
            question.method, question.target, skip_host=True, skip_accept_encoding=True
        )
        for name, value in (*own, *question.headers):
            connection.putheader(name, value)
        connection.endheaders(question.body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CheckError(f"The request cannot be sent: {error}") from error
    finally:
        connection.close()


def _refused_before(status: int, body: bytes) -> Explanation:
    """Return what is to be said of a request that nginx has answered before any step of ours."""
    told: Any = None
    with contextlib.suppress(ValueError):
        told = json.loads(body)
    told = told if isinstance(told, dict) else {}
    error = told.get("error", {})
    return Explanation(
        allowed=status < _LEAST_ERROR,
        answered_by="gateway",
        status=status,
        code=told.get("code") or error.get("code"),
        detail=told.get("detail") or error.get("message"),
    )
