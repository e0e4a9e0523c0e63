"""What can be set, as frozen sections; `config/defaults.yaml` says what each setting means."""

import dataclasses
import re
import socket
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_PORT = 65535
_METRICS_DISTANCE = 1000
"""How far from a process's own port its metrics are, when nothing else is said."""

MeteredProcess = typing.Literal["gateway", "admin", "worker"]
"""A process that has metrics."""

SecretName = typing.Literal["master", "pepper", "seal", "jwt"]
"""A secret that can stand in a file."""


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
class MetricsSettings:
    """Where the processes tell Prometheus their metrics."""

    host: str
    gateway_port: int | None
    admin_port: int | None
    worker_port: int | None


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
    metrics: MetricsSettings
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

    def metrics_port(self, process: MeteredProcess) -> int | None:
        """Return the port on which *process* tells its metrics; None is nowhere."""
        port: int | None = getattr(self.metrics, f"{process}_port")
        if port is not None:
            return port or None
        distance = 2 * _METRICS_DISTANCE if process == "worker" else _METRICS_DISTANCE
        beside = self.gateway.port if process == "gateway" else self.admin.port
        return beside + distance if beside + distance <= MAX_PORT else beside - distance

    def secret_file(self, name: SecretName) -> Path:
        """Return the file of the secret *name*."""
        named: str | None = getattr(self.security, f"{name}_key_file")
        return Path(named) if named else self.state / "secrets" / f"{name}.key"


SECTIONS: Mapping[str, Any] = {
    name: section
    for name, section in typing.get_type_hints(Settings).items()
    if dataclasses.is_dataclass(section)
}
