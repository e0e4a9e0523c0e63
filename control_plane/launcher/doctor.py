"""`yumen doctor`: looks at everything an installation needs, and says what to do where it fails."""

import dataclasses
import importlib.metadata
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis
from packaging.markers import Marker
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from control_plane.core import row_security, tenant_schemas
from control_plane.core.clock import now
from control_plane.core.crypto import SECRET_NAMES, SecretError, ensure_secrets
from control_plane.core.database import Database
from control_plane.core.master_keys import MasterKeys
from control_plane.core.migrations import missing as missing_migrations
from control_plane.core.redis import connect
from control_plane.core.root import project_root
from control_plane.core.settings import Settings
from control_plane.gateway import RenderError, nginx_binary, render
from control_plane.launcher import requirements
from control_plane.launcher.installation import is_held
from control_plane.launcher.preflight import listen_error, listeners

_FREE_BYTES: Final = 1024**3
_CLOCK_SECONDS: Final = 2.0
_REDIS_SECONDS: Final = 2.0
_OLDEST_REDIS: Final = (6, 2)
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: *; *(.*?))? *\\?$", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """What a check saw; without `remedy` it is well."""

    text: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def check_python(_settings: Settings) -> Iterator[Finding]:
    """Compare the Python packages with those that are locked."""
    locked = (project_root() / "requirements" / "runtime.txt").read_text("utf-8")
    wrong = []
    count = 0
    for name, version, condition in _PIN.findall(locked):
        if condition and not Marker(condition).evaluate():
            continue
        count += 1
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = ""
        if found != version:
            wrong.append(f"{name} {version} is locked, {found or 'nothing'} is installed")
    if wrong:
        yield Finding("; ".join(wrong), "Run `make setup`.")
    else:
        yield Finding(f"{count} packages as locked")


def check_packages(settings: Settings) -> Iterator[Finding]:
    """Look for nginx, its Lua modules and Redis."""
    private = settings.redis.url is None
    for requirement in requirements.missing(private_redis=private):
        yield Finding(
            f"no {requirement.name}", f"Run `make setup`, or install {requirement.package}."
        )
    nginx = _version(nginx_binary, "-v")
    server = _version(requirements.find_redis, "--version") if private else ""
    yield Finding(", ".join(found for found in (nginx, server) if found))


def _version(find: Callable[[], str | None], option: str) -> str:
    """Return what a program calls itself and its version; nothing when it is not there."""
    try:
        program = find()
    except RenderError:
        return ""
    if program is None:
        return ""
    done = subprocess.run([program, option], capture_output=True, text=True, check=False)
    number = re.search(r"\d+(\.\d+)+", done.stdout or done.stderr)
    return f"{Path(program).name} {number.group() if number else 'of unknown version'}"


def check_state(settings: Settings) -> Iterator[Finding]:
    """Look at the state directory and who can read the secrets."""
    state = settings.state
    if not state.exists():
        yield Finding(f"{state} is not there yet; `yumen up` makes it")
        return
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(f"{state} is not ours to write", "Run as its owner, or choose --state.")
        return
    yield Finding(str(state))


def check_secrets(settings: Settings) -> Iterator[Finding]:
    """Look at who can read the secret files, and whether the master keys are there."""
    for name in SECRET_NAMES:
        file = settings.secret_file(name)
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield Finding(f"others can read {file}", f"Run `chmod 600 {file}`.")
    masters = MasterKeys(settings)
    is_file = settings.security.master_key_source == "file"
    if is_file and not settings.secret_file("master").exists():
        yield Finding("made by the first start")
        return
    try:
        newest, *others = masters.read()
    except SecretError as error:
        yield Finding(error.message, "Correct it, or restore it from your backup.")
        return
    earlier = f" and {len(others)} before it" if others else ""
    yield Finding(f"master key {newest.id}{earlier}, from {masters.source}")


def check_ports(settings: Settings) -> Iterator[Finding]:
    """See whether the ports are free, or ours."""
    if is_held(settings.state):
        yield Finding("Yumen runs and has its ports")
        return
    for side, option, host, port in listeners(settings):
        reason = listen_error(host, port)
        if reason:
            yield Finding(f"{host}:{port}: {reason}", f"Stop it, or choose another with {option}.")
        else:
            yield Finding(f"{host}:{port} is free for {side}")


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Ask Redis whether it keeps what it is given."""
    if settings.redis.url is None and not is_held(settings.state):
        yield Finding("starts with `yumen up`")
        return
    try:
        with connect(settings, socket_timeout=_REDIS_SECONDS) as client:
            info: Any = client.info()
            policy = info["maxmemory_policy"]
            skew = abs(client.time()[0] - now().timestamp())
    except redis.RedisError as error:
        yield Finding(f"does not answer: {error}", "Start Redis, or correct redis.url.")
        return
    yield from _judge_redis(info, policy, skew)


def _judge_redis(info: Mapping[str, Any], policy: str, skew: float) -> Iterator[Finding]:
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_REDIS:
        yield Finding(f"Redis {version} is too old", "Install Redis 6.2 or newer.")
    if policy != "noeviction":
        yield Finding(f"maxmemory-policy is {policy}", "Set it to noeviction: no key may vanish.")
    if not info["aof_enabled"]:
        yield Finding("appendonly is off", "Set `appendonly yes`: usage passes through Redis.")
    if skew > _CLOCK_SECONDS:
        yield Finding(f"its clock is {skew:.0f} s off ours", "Let NTP set both clocks.")
    yield Finding(f"Redis {version} answers")


def check_database(settings: Settings) -> Iterator[Finding]:
    """Connect, and look for migrations that are missing."""
    if settings.database.url is None and not (settings.state / "yumen.db").exists():
        yield Finding("SQLite, made by `yumen up`")
        return
    database = Database(settings)
    try:
        with database.session(write=False) as session:
            session.execute(select(1))
            behind = tenant_schemas.behind(session.connection())
        absent = missing_migrations(database)
        is_owner = row_security.owns_tables(database.engine)
        database.refuse_unsafe_start()
    except row_security.PowerfulRoleError as error:
        yield Finding("its role is above row-level security", error.message)
        return
    except SecretError as error:
        yield Finding("its secrets cannot be read", error.message)
        return
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        yield Finding(f"does not answer: {reason}", "Start it, or correct database.url.")
        return
    finally:
        database.engine.dispose()
    if is_owner:
        yield Finding(
            "the role in database.url owns the tables, and could drop what keeps tenants apart",
            "Make an ordinary role for database.url, and name the owner in database.owner_url.",
        )
    if behind:
        yield Finding(f"lacks tables in {', '.join(behind)}", "Run `yumen db upgrade`.")
    if absent:
        yield Finding(f"lacks {', '.join(sorted(absent))}", "Run `yumen db upgrade`.")
    else:
        yield Finding(f"{database.engine.dialect.name} answers, the schema is up to date")


def check_nginx(settings: Settings) -> Iterator[Finding]:
    """Render nginx.conf in a throw-away place and let nginx test it."""
    with tempfile.TemporaryDirectory(prefix="ym") as folder:
        security = dataclasses.replace(
            settings.security,
            master_key=None,
            master_key_command=None,
            master_key_file=None,
            pepper_key_file=None,
            seal_key_file=None,
            jwt_key_file=None,
        )
        trial = dataclasses.replace(settings, state=Path(folder), security=security)
        ensure_secrets(trial)
        try:
            render(trial)
        except RenderError as error:
            yield Finding(str(error), "Correct the setting it names, or run `make setup`.")
            return
    yield Finding("nginx accepts its configuration")


def check_clock(_settings: Settings) -> Iterator[Finding]:
    """Compare the clock with the files of Yumen itself, which are not from the future."""
    newest = max(file.stat().st_mtime for file in (project_root() / "config").iterdir())
    behind = newest - now().timestamp()
    if behind > _CLOCK_SECONDS:
        yield Finding(f"the clock is {behind:.0f} s before our own files", "Let NTP set it.")
    else:
        yield Finding(f"{now():%Y-%m-%d %H:%M:%S} UTC")


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Look for room for journal, database and logs."""
    there = next(path for path in (settings.state, *settings.state.parents) if path.exists())
    free = shutil.disk_usage(there).free
    shown = f"{free / 1024**3:.1f} GB free for {settings.state}"
    if free < _FREE_BYTES:
        yield Finding(shown, "Free some: a gateway without room for its journal refuses calls.")
    else:
        yield Finding(shown)


CHECKS: Final[Mapping[str, Check]] = {
    "Python": check_python,
    "programs": check_packages,
    "state": check_state,
    "secrets": check_secrets,
    "ports": check_ports,
    "Redis": check_redis,
    "database": check_database,
    "nginx.conf": check_nginx,
    "clock": check_clock,
    "disk": check_disk,
}
