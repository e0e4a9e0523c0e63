"""The deployment's settings: read from defaults, a file and the environment, then frozen."""

import dataclasses
import difflib
import os
import re
import socket
import types
import typing
from collections.abc import Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import yaml

from control_plane.core import addresses
from control_plane.core.root import project_root

SecretName = typing.Literal["master", "pepper", "seal", "jwt"]
"""A secret that can stand in a file."""

ENVIRONMENT_PREFIX = "YUMEN_"
NOT_SETTINGS = frozenset({"YUMEN_CONFIG", "YUMEN_STATE"})
"""Variables with the prefix that say where the settings are."""

LOG_LEVELS = ("debug", "info", "warning", "error")
MAIL_SECURITY = ("starttls", "tls", "none")
MAY_BE_ZERO = frozenset(
    {
        "gateway.drain_seconds",
        "gateway.keepalive_seconds",
        "journal.retention_hours",
        "tenants.purge_grace_days",
    }
)
MAX_PORT = 65535


class SettingsError(Exception):
    """A setting is unknown, has the wrong type or cannot be read; the message is one sentence."""


@dataclasses.dataclass(frozen=True)
class DatabaseSettings:
    """Where rows are kept."""

    url: str | None
    owner_url: str | None
    pool_size: int
    tenant_schemas: int


@dataclasses.dataclass(frozen=True)
class RedisSettings:
    """What carries the configuration and usage."""

    url: str | None


@dataclasses.dataclass(frozen=True)
class AdminSettings:
    """Where the control plane listens, and how much it takes from whom."""

    host: str
    port: int
    workers: int
    threads: int
    caller_requests_per_minute: int
    tenant_requests_per_minute: int
    trusted_proxies: tuple[str, ...]
    public_url: str | None


@dataclasses.dataclass(frozen=True)
class GatewaySettings:
    """How the gateway node of this machine runs."""

    host: str
    port: int
    workers: int
    node: str | None
    body_limit_mb: int
    drain_seconds: int
    connect_seconds: int
    read_seconds: int
    keepalive_seconds: int
    config_memory_mb: int
    allowance_memory_mb: int
    ca_file: str
    upstream_slots: int
    counted_services: int
    counted_tenants: int
    trusted_proxies: tuple[str, ...]
    client_header_seconds: int
    client_body_seconds: int


@dataclasses.dataclass(frozen=True)
class JournalSettings:
    """The gateway's usage journal."""

    segment_mb: int
    retention_hours: int
    sync_ms: int


@dataclasses.dataclass(frozen=True)
class UsageSettings:
    """What becomes of usage events."""

    retention_days: int
    resend_seconds: int


@dataclasses.dataclass(frozen=True)
class AuditSettings:
    """What becomes of the audit log."""

    retention_days: int


@dataclasses.dataclass(frozen=True)
class TenantsSettings:
    """What becomes of tenants."""

    purge_grace_days: int


@dataclasses.dataclass(frozen=True)
class SecuritySettings:
    """Secrets, tokens and which networks upstreams may be in."""

    upstream_allow: tuple[str, ...]
    access_token_minutes: int
    refresh_token_days: int
    master_key: str | None = dataclasses.field(repr=False)
    master_key_command: str | None
    master_key_file: str | None
    pepper_key_file: str | None
    seal_key_file: str | None
    jwt_key_file: str | None

    @property
    def master_key_source(self) -> typing.Literal["environment", "command", "file"]:
        """Where the master keys come from."""
        if self.master_key is not None:
            return "environment"
        return "file" if self.master_key_command is None else "command"


@dataclasses.dataclass(frozen=True)
class MailSettings:
    """What takes the mail that is sent."""

    host: str | None
    port: int
    security: str
    username: str | None
    password_file: str | None
    ca_file: str | None
    sender: str


@dataclasses.dataclass(frozen=True)
class DnsSettings:
    """Whom the control plane asks about names."""

    servers: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class DemoSettings:
    """What stands behind the demo model."""

    upstream: str | None
    upstream_key: str | None = dataclasses.field(repr=False)
    upstream_model: str | None


@dataclasses.dataclass(frozen=True)
class LoggingSettings:
    """How much is logged."""

    level: str


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of an installation, and the state directory it lives in."""

    state: Path
    database: DatabaseSettings
    redis: RedisSettings
    admin: AdminSettings
    gateway: GatewaySettings
    journal: JournalSettings
    usage: UsageSettings
    audit: AuditSettings
    tenants: TenantsSettings
    security: SecuritySettings
    mail: MailSettings
    dns: DnsSettings
    demo: DemoSettings
    logging: LoggingSettings

    @property
    def database_url(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database.url or f"sqlite:///{self.state / 'yumen.db'}"

    @property
    def redis_url(self) -> str:
        """The URL of Redis, with the default filled in."""
        return self.redis.url or f"unix://{self.state / 'redis' / 'redis.sock'}?db=0"

    @property
    def public_url(self) -> str:
        """Where people reach the control plane, with the default filled in."""
        if self.admin.public_url is not None:
            return self.admin.public_url.rstrip("/")
        return f"http://{self.admin.host}:{self.admin.port}"

    @property
    def node(self) -> str:
        """The name of this gateway node, with the default filled in."""
        if self.gateway.node is not None:
            return self.gateway.node
        name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")
        return name[:32] or "node"

    def secret_file(self, name: SecretName) -> Path:
        """Return the file of the secret *name*."""
        named: str | None = getattr(self.security, f"{name}_key_file")
        return Path(named) if named else self.state / "secrets" / f"{name}.key"


SECTIONS: Mapping[str, Any] = {
    name: section
    for name, section in typing.get_type_hints(Settings).items()
    if dataclasses.is_dataclass(section)
}


def load_settings(
    config: Path | None = None,
    state: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings: defaults, then the file *config*, then *environ*.

    Raises:
        SettingsError: a setting is unknown or wrong, or a file cannot be read.
    """
    environ = os.environ if environ is None else environ
    values = _read(project_root() / "config" / "defaults.yaml")
    if config is not None:
        _merge(values, _read(config), source=str(config))
    _merge(values, _from_environment(environ), source="the environment")
    sections = {
        name: section(
            **{
                key: _checked(f"{name}.{key}", value, typing.get_type_hints(section)[key])
                for key, value in values[name].items()
            }
        )
        for name, section in SECTIONS.items()
    }
    settings = Settings(state=(state or Path(".yumen")).absolute(), **sections)
    _check_meaning(settings)
    return settings


def _check_meaning(settings: Settings) -> None:
    """Refuse values of the right type that no process could start with."""
    if not re.fullmatch(r"[a-z0-9-]{1,32}", settings.node):
        raise SettingsError("gateway.node must be 1 to 32 of the characters a-z, 0-9 and -.")
    if settings.logging.level not in LOG_LEVELS:
        raise SettingsError(f"logging.level must be one of {', '.join(LOG_LEVELS)}.")
    for name, port in {
        "admin": settings.admin.port,
        "gateway": settings.gateway.port,
        "mail": settings.mail.port,
    }.items():
        if port > MAX_PORT:
            raise SettingsError(f"{name}.port must be at most {MAX_PORT}.")
    if settings.database.owner_url is not None and settings.database.url is None:
        raise SettingsError("database.owner_url goes with a PostgreSQL in database.url.")
    _check_networks("security.upstream_allow", settings.security.upstream_allow)
    _check_networks("gateway.trusted_proxies", settings.gateway.trusted_proxies)
    _check_networks("admin.trusted_proxies", settings.admin.trusted_proxies)
    _check_mail(settings.mail)
    _check_master_key(settings.security)


def _check_mail(mail: MailSettings) -> None:
    if mail.security not in MAIL_SECURITY:
        raise SettingsError(f"mail.security must be one of {', '.join(MAIL_SECURITY)}.")
    if mail.username is not None and mail.security == "none":
        raise SettingsError("mail.username needs mail.security: a password is not sent in clear.")
    if "@" not in parseaddr(mail.sender)[1] or not mail.sender.isprintable():
        raise SettingsError("mail.sender must be like: Yumen <yumen@example.com>.")


def _check_master_key(security: SecuritySettings) -> None:
    given = (security.master_key, security.master_key_command, security.master_key_file)
    if sum(source is not None for source in given) > 1:
        raise SettingsError(
            "Only one of security.master_key, .master_key_command and .master_key_file can be set."
        )


def _check_networks(name: str, texts: tuple[str, ...]) -> None:
    try:
        addresses.networks(texts)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}.") from error


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the sections in the YAML file at *path*."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"Cannot read {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    sections = {} if loaded is None else loaded
    if not isinstance(sections, dict):
        raise SettingsError(f"{path} must hold sections, such as `gateway:`.")
    for name, section in sections.items():
        if section is not None and not isinstance(section, dict):
            raise SettingsError(f"{path}: section {name} must hold settings, not {section!r}.")
    return {str(name): section or {} for name, section in sections.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what the environment sets, as texts."""
    found: dict[str, dict[str, Any]] = {}
    for variable, text in environ.items():
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in NOT_SETTINGS:
            section, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
            found.setdefault(section, {})[key] = text
    return found


def _merge(
    values: dict[str, dict[str, Any]], changes: Mapping[str, Mapping[str, Any]], *, source: str
) -> None:
    """Lay *changes* over *values*, refusing what is not a setting."""
    known = [f"{section}.{key}" for section, keys in values.items() for key in keys]
    for section, keys in changes.items():
        if section not in values:
            raise SettingsError(_unknown(section, list(values), source))
        for key, value in keys.items():
            if key not in values[section]:
                raise SettingsError(_unknown(f"{section}.{key}", known, source))
            values[section][key] = value


def _unknown(name: str, known: list[str], source: str) -> str:
    """Return the sentence for an unknown setting, with the nearest known name."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"Unknown setting {name} in {source}; did you mean {nearest}?"


def _checked(name: str, value: Any, kind: Any) -> Any:
    """Return *value* as *kind*; texts from the environment are converted."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None or (value == "" and type(None) in options):
        if type(None) in options:
            return None
        raise SettingsError(f"{name} must not be empty.")
    if typing.get_origin(options[0]) is tuple:
        return _as_list(name, value)
    if options[0] is int:
        return _as_whole_number(name, value, least=0 if name in MAY_BE_ZERO else 1)
    if not isinstance(value, str):
        raise SettingsError(f"{name} must be text, not {value!r}.")
    return value


def _as_list(name: str, value: Any) -> tuple[str, ...]:
    """Return a list of texts, also from its comma separated form."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise SettingsError(f"{name} must be a list of texts, not {value!r}.")
    return tuple(item.strip() for item in items if item.strip())


def _as_whole_number(name: str, value: Any, least: int) -> int:
    """Return a whole number of at least *least*, also from its text form."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if type(value) is not int or value < least:
        raise SettingsError(f"{name} must be a whole number from {least} up, not {value!r}.")
    return value
