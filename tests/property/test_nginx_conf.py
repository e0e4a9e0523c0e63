"""Whatever a setting says, nginx.conf keeps its directives: a value is refused or is one argument.

`NGINX_CONF_STRINGS=50000` tries that many texts for each setting; by default it is a few hundred.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from control_plane.core.settings import Settings, load_settings
from control_plane.gateway import RenderError, nginx_binary
from control_plane.gateway.nginx import lua_modules
from control_plane.gateway.rendering import _fill, _parse
from control_plane.gateway.values import template_values

STRINGS = int(os.environ.get("NGINX_CONF_STRINGS", "400"))
PLACES = {
    "host": {"listen"},
    "ca_file": {"proxy_ssl_trusted_certificate", "lua_ssl_trusted_certificate"},
    "trusted_proxies": {"set_real_ip_from", "in geo"},
}
"""Settings that are texts, and the directives whose first argument is one."""

FRAGMENTS = (
    *(
        "127.0.0.1",
        "::1",
        "10.0.0.0/8",
        "fd00::/8",
        "::1%",
        "/etc/ssl/certs/ca-certificates.crt",
        "/a b",
    ),
    *(";", "{", "}", "$host", "${x}", "#", '"', "'", "\\", "\n", "\r\n", "\0", " ", "\t", "\u2028"),
    *("; load_module /x.so", "} server {", "include /etc/passwd;", "@", "%", "../", "?", "*", "~"),
)
TEXTS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=4)), max_size=6).map(
    "".join
)


def configured(state: Path, name: str, value: str) -> Settings:
    loaded = load_settings(None, state, {})
    text: Any = (value,) if name == "trusted_proxies" else value
    gateway = dataclasses.replace(loaded.gateway, **{name: text, "upstream_slots": 1})
    return dataclasses.replace(loaded, gateway=gateway)


def directives(entries: list[dict[str, Any]]) -> list[Any]:
    """Return the directives of a configuration with their arguments.

    What stands in `geo` has no name: each line is taken for the arguments of a directive "in geo".
    """
    found = []
    for entry in entries:
        block = directives(entry.get("block", []))
        if entry["directive"] == "geo":
            block = [("in geo", (name, *args), []) for name, args, _ in block]
        found.append((entry["directive"], tuple(entry["args"]), block))
    return found


def without(entries: list[Any], names: set[str]) -> list[Any]:
    """Return *entries* in which the directives *names* say nothing."""
    return [
        (directive, () if directive in names else args, without(block, names))
        for directive, args, block in entries
    ]


def found(entries: list[Any], names: set[str]) -> list[tuple[str, ...]]:
    """Return the arguments of each directive in *names*."""
    return [
        each
        for directive, args, block in entries
        for each in ([args] if directive in names else []) + found(block, names)
    ]


@pytest.mark.parametrize("name", PLACES)
def test_a_text_is_refused_or_stays_one_argument(name: str, tmp_path: Path) -> None:
    modules = lua_modules(nginx_binary())
    names = PLACES[name]
    usual = {"host": "127.0.0.1", "ca_file": "/etc/x", "trusted_proxies": "10.0.0.0/8"}[name]
    plain = directives(_parse(_fill(template_values(configured(tmp_path, name, usual), modules))))
    assert len(found(plain, names)) > 0
    outcome = {"refused": 0, "taken": 0}

    @settings(
        max_examples=STRINGS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(TEXTS)
    def attack(text: str) -> None:
        try:
            values = template_values(configured(tmp_path, name, text), modules)
        except RenderError:
            outcome["refused"] += 1
            return
        outcome["taken"] += 1
        changed = directives(_parse(_fill(values)))
        assert without(changed, names) == without(plain, names)
        for before, after in zip(found(plain, names), found(changed, names), strict=True):
            assert len(before) == len(after)
            assert not set(after[0]) & set(";{}$#\"'\\\n\r\0"), after

    attack()
    assert outcome["refused"] > 0 < outcome["taken"], outcome
