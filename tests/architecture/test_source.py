"""What every source file keeps to: its size, its sentence, and what it leaves to `core`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.core.root import project_root

ROOT = project_root()
MAX_LINES = 400
SUFFIXES = {".py", ".lua", ".j2"}
FOLDERS = ("control_plane", "openresty", "plugins", "templates", "tests")
GENERATED = ROOT / "openresty" / "contract"
BANNED_NAMES = {"utils", "helpers", "common", "base", "misc", "util", "helper"}


def sources(*suffixes: str) -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and GENERATED not in path.parents:
                yield path


def product() -> list[Path]:
    return [path for path in sources(".py") if ROOT / "tests" not in path.parents]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_no_file_is_too_long() -> None:
    long = {relative(path): lines(path) for path in sources(*SUFFIXES) if lines(path) > MAX_LINES}
    assert not long


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert not [relative(path) for path in sources(".py", ".lua") if path.stem in BANNED_NAMES]


@pytest.mark.parametrize("path", [*sources(".py")], ids=relative)
def test_a_module_begins_with_its_sentence(path: Path) -> None:
    text = path.read_text()
    if not text.strip():
        return
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "has no docstring"
    first = docstring.split("\n\n")[0]
    assert first.rstrip()[-1] in ".!?:", f"not a sentence: {first}"


def _calls(tree: ast.AST) -> Iterator[str]:
    """Yield the names of what is called or looked up."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            yield called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        elif isinstance(node, ast.Attribute) and node.attr == "__table__":
            yield "__table__"


def rooms() -> list[Path]:
    """The product's Python outside of `core` and the schema's history."""
    outside = (ROOT / "control_plane" / "core", ROOT / "control_plane" / "migrations")
    return [path for path in product() if not any(each in path.parents for each in outside)]


def banned(source: str) -> set[str]:
    return {"text", "__table__", "exec_driver_sql"} & set(_calls(ast.parse(source)))


def test_sql_past_the_tenants_filter_is_left_to_core() -> None:
    """The filter covers ORM statements only (see `core.tenancy`)."""
    assert not [relative(path) for path in rooms() if banned(path.read_text())]


@pytest.mark.parametrize(
    "source", ["session.execute(text('x'))", "sa.text('x')", "select(User.__table__)"]
)
def test_sql_past_the_filter_would_be_noticed(source: str) -> None:
    assert banned(source)


def test_nothing_unfinished_is_left() -> None:
    mark = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    me = Path(__file__)
    assert not [relative(p) for p in sources(*SUFFIXES) if p != me and mark.search(p.read_text())]
