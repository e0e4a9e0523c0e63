"""Each case's rows compile to its documents, byte for byte, on both databases.

`python -m tests.contract.test_producer` writes the documents anew: read the diff before you commit.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from control_plane import contract
from control_plane.core import migrations, plugins
from control_plane.core.database import Database
from control_plane.core.settings import load_settings
from control_plane.core.tenancy import platform_context
from tests.contract import state


def compile_case(session: Session, case: Path) -> str:
    """Return the documents that a case's rows compile to, as its file has them."""
    state.load(session, case)
    documents: dict[str, dict[str, Any]] = {}
    for section in plugins.config_sections():
        compiled = section.compile(session, None)
        for document_id, document in compiled.items():
            assert document is not None
            assert contract.check(section.name, document) == {}, (section.name, document_id)
        if compiled:
            documents[section.name] = compiled
    return json.dumps(documents, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("case", state.CASES, ids=lambda case: case.name)
def test_rows_compile_to_the_cases_documents(case: Path, fixed_session: Session) -> None:
    assert compile_case(fixed_session, case) == (case / "documents.json").read_text()


@pytest.fixture
def fixed_session(database_url: str | None, tmp_path: Path) -> Any:
    """A session whose keyring has the fixed secrets."""
    environ = dict(state.SECRETS)
    if database_url is not None:
        environ["YUMEN_DATABASE_URL"] = database_url
    database = Database(load_settings(state=tmp_path, environ=environ))
    if database_url is None:
        migrations.upgrade(database)
    with platform_context(), database.session() as session:
        yield session
    database.close()


def _write_documents() -> None:
    for case in state.CASES:
        with tempfile.TemporaryDirectory() as folder:
            database = Database(load_settings(state=Path(folder), environ=state.SECRETS))
            migrations.upgrade(database)
            with platform_context(), database.session() as session:
                (case / "documents.json").write_text(compile_case(session, case))
            database.close()


if __name__ == "__main__":
    os.environ.update(state.SECRETS)
    _write_documents()
