"""nginx.conf takes only checked values, keeps the template's structure, and passes nginx."""

import dataclasses
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from control_plane.core.crypto import ensure_secrets
from control_plane.core.settings import Settings, load_settings
from control_plane.gateway import RenderError, nginx_binary, render
from control_plane.gateway.nginx import judge, lua_modules
from control_plane.gateway.rendering import _compare, _fill, redis_options
from control_plane.gateway.values import template_values


def settings_with(state: Path, **gateway: Any) -> Settings:
    settings = load_settings(None, state, {})
    return dataclasses.replace(settings, gateway=dataclasses.replace(settings.gateway, **gateway))


def test_rendered_files_pass_and_are_private(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    ensure_secrets(settings)
    prefix = render(settings)
    judge(nginx_binary(), prefix)
    node = json.loads((prefix / "node.json").read_text())
    assert node["redis"] == {"socket": str(tmp_path / "redis" / "redis.sock"), "database": 0}
    assert stat.S_IMODE((prefix / "node.json").stat().st_mode) == 0o600
    text = (prefix / "nginx.conf").read_text()
    assert "listen 127.0.0.1:8080 " in text
    assert text.count("upstream yumen_") == settings.gateway.upstream_slots + 1


def test_node_json_holds_no_secret(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    ensure_secrets(settings)
    text = (render(settings) / "node.json").read_text()
    for name in ("master", "pepper", "seal"):
        assert settings.secret_file(name).read_text().strip() not in text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "127.0.0.1; daemon on"),
        ("host", "example.com"),
        ("host", "unix:/tmp/x"),
        ("host", "::1%{}"),
        ("port", 0),
        ("port", 65536),
        ("ca_file", '/etc/ca.pem"; include "/etc/passwd'),
        ("ca_file", "/etc/$host"),
        ("ca_file", "/etc/a;b"),
        ("ca_file", "/etc/a\nb"),
        ("ca_file", "/etc/a\\"),
        ("ca_file", "relative.pem"),
        ("workers", 0),
        ("workers", "2; user root"),
        ("upstream_slots", 5000),
        ("body_limit_mb", -1),
        ("trusted_proxies", ("10.0.0.0/8; deny all",)),
        ("trusted_proxies", ("::1%, deny all",)),
    ],
)
def test_value_of_another_form_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RenderError, match=f"gateway.{name}"):
        render(settings_with(tmp_path, **{name: value}))
    assert sorted(tmp_path.rglob("*")) == before


def test_unknown_log_level_is_refused(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    logging = dataclasses.replace(settings.logging, level="loud")
    with pytest.raises(RenderError, match=r"logging\.level"):
        render(dataclasses.replace(settings, logging=logging))


@pytest.mark.parametrize(
    "injected",
    ['/x"; include "/etc/passwd', '/x"; } server { listen 1; #', '/x" "/y'],
)
def test_value_that_breaks_out_of_its_place_is_noticed(tmp_path: Path, injected: str) -> None:
    values = template_values(settings_with(tmp_path), lua_modules(nginx_binary()))
    _compare(_fill(values), values)
    values["ca_file"] = injected
    with pytest.raises(RenderError):
        _compare(_fill(values), values)


def test_rejected_configuration_leaves_the_old_one(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    ensure_secrets(settings)
    prefix = render(settings)
    before = (prefix / "nginx.conf").read_bytes()
    broken = dataclasses.replace(settings.gateway, ca_file="/nonexistent/ca.pem")
    with pytest.raises(RenderError, match="nginx refuses"):
        render(dataclasses.replace(settings, gateway=broken))
    assert (prefix / "nginx.conf").read_bytes() == before


def test_ipv6_listens(tmp_path: Path) -> None:
    values = template_values(settings_with(tmp_path, host="::1"), [])
    assert values["listen"] == "[::1]:8080"


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("unix:///run/r.sock?db=3", {"socket": "/run/r.sock", "database": 3}),
        ("redis://h:7/2", {"host": "h", "port": 7, "database": 2}),
        ("redis://", {"host": "127.0.0.1", "port": 6379, "database": 0}),
        (
            "redis://u:p%40@h/0",
            {"host": "h", "port": 6379, "database": 0, "username": "u", "password": "p@"},
        ),
    ],
)
def test_redis_url(url: str, options: dict[str, Any]) -> None:
    assert redis_options(url) == options


def test_redis_url_of_another_kind_is_refused() -> None:
    with pytest.raises(RenderError, match=r"redis\.url"):
        redis_options("rediss://h/0")
