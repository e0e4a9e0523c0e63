"""Refuses settings of the right type that no process could start with."""

import re
from email.utils import parseaddr

from control_plane.core import addresses
from control_plane.core.settings.sections import (
    MAX_PORT,
    MailSettings,
    SecuritySettings,
    Settings,
)

LOG_LEVELS = ("debug", "info", "warning", "error")
MAIL_SECURITY = ("starttls", "tls", "none")


class SettingsError(Exception):
    """A setting is unknown, has the wrong type or cannot be read; the message is one sentence."""


def check_meaning(settings: Settings) -> None:
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
    _check_metrics(settings)
    if settings.database.owner_url is not None and settings.database.url is None:
        raise SettingsError("database.owner_url goes with a PostgreSQL in database.url.")
    _check_networks("security.upstream_allow", settings.security.upstream_allow)
    _check_networks("gateway.trusted_proxies", settings.gateway.trusted_proxies)
    _check_networks("admin.trusted_proxies", settings.admin.trusted_proxies)
    _check_mail(settings.mail)
    _check_master_key(settings.security)


def _check_metrics(settings: Settings) -> None:
    try:
        addresses.parse(settings.metrics.host)
    except ValueError as error:
        raise SettingsError("metrics.host must be an IP address, such as 127.0.0.1.") from error
    for name in ("gateway_port", "admin_port", "worker_port"):
        if (getattr(settings.metrics, name) or 0) > MAX_PORT:
            raise SettingsError(f"metrics.{name} must be at most {MAX_PORT}.")


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
