"""Who may import whom (setup.cfg), and that breaking each rule is noticed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from control_plane.core.root import project_root

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the rules are about, for breaking them."""
    copy: Path = tmp_path_factory.mktemp("tree")
    shutil.copytree(project_root() / "control_plane", copy / "control_plane")
    (copy / "tests").mkdir()
    shutil.copytree(project_root() / "tests/architecture", copy / "tests/architecture")
    shutil.copy(project_root() / "setup.cfg", copy)
    return copy


def test_the_rules_are_kept() -> None:
    result = lint(project_root())
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "told"),
    [
        ("core/clock.py", "import control_plane.tenants", "a floor may use only"),
        ("tenants/service.py", "import control_plane.identity", "a floor may use only"),
        ("domains/service.py", "import control_plane.ai_models", "a floor may use only"),
        ("identity/documents.py", "import control_plane.tenants.models", "by its door"),
        ("tenants/models.py", "import control_plane.tenants.service", "Inside a room"),
        ("tenants/service.py", "import flask", "Services do not know HTTP"),
        ("tenants/routes.py", "import sqlalchemy", "Routes do not know SQL"),
        ("tenants/helpers.py", "", "Inside a room"),
        ("utils.py", "", "The house"),
    ],
)
def test_breaking_a_rule_is_noticed(tree: Path, module: str, line: str, told: str) -> None:
    path = tree / "control_plane" / module
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        result = lint(tree)
    finally:
        path.unlink() if before is None else path.write_text(before)
    assert result.returncode != 0
    assert told in result.stdout, result.stdout
