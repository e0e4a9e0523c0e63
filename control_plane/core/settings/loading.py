"""Reads settings from their defaults, a file and the environment."""

import difflib
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from control_plane.core.root import project_root
from control_plane.core.settings.judging import SettingsError, check_meaning
from control_plane.core.settings.sections import SECTIONS, Settings

ENVIRONMENT_PREFIX = "YUMEN_"
NOT_SETTINGS = frozenset({"YUMEN_CONFIG", "YUMEN_STATE"})
"""Variables with the prefix that say where the settings are."""

MAY_BE_ZERO = frozenset(
    {
        "gateway.drain_seconds",
        "gateway.keepalive_seconds",
        "journal.retention_hours",
        "metrics.admin_port",
        "metrics.gateway_port",
        "metrics.worker_port",
        "tenants.purge_grace_days",
    }
)


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
    check_meaning(settings)
    return settings


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
