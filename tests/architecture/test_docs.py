"""The documentation says what is there: links lead somewhere, and nothing is left out."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from control_plane.cli import main
from control_plane.core import errors, problems
from control_plane.core.root import project_root
from control_plane.identity.service import throttle

ROOT = project_root()
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").glob("*.md")]
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE_ROW = re.compile(r"^\| \d{3} \| `([a-z_]+)` \|", re.MULTILINE)
LUA_CODES = (
    re.compile(r"(?:return|nil,|or) \d{3}, \"([a-z_]+)\"$", re.MULTILINE),
    re.compile(r"return (?:nil, )?\"((?:upstream|model)_[a-z_]+)\"$", re.MULTILINE),
    re.compile(r"\[\d{3}\] = \"([a-z_]+)\""),
)
STANDING = {"tenant_suspended", "tenant_inactive", "invalid_api_key", "invalid_token"}
"""Codes that are put together, in `standing.lua`."""


def _anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken


def test_generated_parts_are_fresh() -> None:
    check = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    result = subprocess.run(check, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_setting_is_described() -> None:
    described = (ROOT / "docs" / "settings.md").read_text()
    reference = yaml.safe_load((ROOT / "config" / "defaults.yaml").read_text())
    missing = [
        f"{section}.{name}"
        for section, settings in reference.items()
        for name in settings
        if f"`YUMEN_{section}_{name}`".upper() not in described.upper()
    ]
    assert not missing


def test_every_policy_has_a_page() -> None:
    policies = {path.stem for path in (ROOT / "openresty/lua/yumen/policies").glob("*.lua")}
    assert policies - {"example"} == {
        path.stem for path in (ROOT / "docs" / "policies").glob("*.md")
    }


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "adr" / "index.md").read_text()
    pages = [path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md")]
    assert [name for name in pages if f"({name})" not in index] == []


def _python_codes() -> Iterator[str]:
    """Yield the codes of errors that the control plane raises."""
    for path in (ROOT / "control_plane").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield from _raised(node, node.func.id)


def _raised(call: ast.Call, name: str) -> Iterator[str]:
    texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    named = {word.arg: word.value for word in call.keywords}
    code = named.get("code")
    if isinstance(code, ast.Constant) and name in {"Forbidden", "ApiError"}:
        yield str(code.value)
    elif name == "NotFound" and texts:
        yield f"{texts[0]}_not_found"
    elif name in {"Conflict", "Unauthorized"} and texts:
        yield str(texts[0])
    elif name == "ApiError" and len(texts) > 1:
        yield str(texts[1])


def _http_codes() -> Iterator[str]:
    """Yield the codes of errors that Flask raises, and of those with a code by default."""
    yield from problems._CODES.values()
    yield errors.Forbidden("x").code
    yield errors.Invalid([]).code
    yield throttle.TooManyAttempts(1).code


def test_every_code_of_the_api_is_described() -> None:
    described = set(CODE_ROW.findall((ROOT / "docs" / "api.md").read_text()))
    raised = {*_python_codes(), *_http_codes()}
    assert len(raised) > 10
    assert raised - described == set(), "not described"
    assert described - raised == set(), "described, but nothing raises them"


def test_every_code_of_the_gateway_is_described() -> None:
    described = set(CODE_ROW.findall((ROOT / "docs" / "gateway.md").read_text()))
    answered = {
        code
        for path in (ROOT / "openresty" / "lua").rglob("*.lua")
        for pattern in LUA_CODES
        for code in pattern.findall(path.read_text())
    } | STANDING
    assert len(answered) > 10
    assert answered - described == set(), "not described"
    assert described - answered == set(), "described, but nothing answers them"


def test_commands_in_the_documentation_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    known = {
        "make": set(re.findall(r"^([a-z-]+):.*?## ", makefile, re.MULTILINE)),
        "yumen": set(main.list_commands(click.Context(main))),
    }
    wrong = []
    for page in PAGES:
        code = re.findall(r"`[^`]+`|```.*?```", page.read_text(), re.DOTALL)
        for program, name in re.findall(r"\b(make|yumen) ([a-z][a-z-]*)", " ".join(code)):
            if name not in known[program]:
                wrong.append(f"{page.relative_to(ROOT)}: {program} {name}")
    assert not wrong


def test_both_readmes_say_the_same_to_a_shell() -> None:
    english, chinese = (
        re.findall(r"^```(?:sh)?\n(.*?)^```", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
        for name in ("README.md", "README.zh-CN.md")
    )
    commands = [re.sub(r"\s+#.*", "", block) for block in english if "│" not in block]
    assert len(commands) == 4
    assert commands == [
        re.sub(r"\s+#.*", "", block).replace("你好", "Hello")
        for block in chinese
        if "│" not in block
    ]
