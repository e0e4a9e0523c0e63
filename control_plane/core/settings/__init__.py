"""The deployment's settings: read from defaults, a file and the environment, then frozen."""

from control_plane.core.settings.judging import SettingsError
from control_plane.core.settings.loading import load_settings
from control_plane.core.settings.sections import (
    SECTIONS,
    DnsSettings,
    MailSettings,
    MeteredProcess,
    RedisSettings,
    SecretName,
    Settings,
)

__all__ = [
    "SECTIONS",
    "DnsSettings",
    "MailSettings",
    "MeteredProcess",
    "RedisSettings",
    "SecretName",
    "Settings",
    "SettingsError",
    "load_settings",
]
