"""Two installations, and the command line on each."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from control_plane.cli import main
from control_plane.core.crypto import ensure_secrets
from control_plane.core.settings import Settings, load_settings
from tests.servers import APPLICATION, OWNER, PostgresServer

ALLOWED = {"YUMEN_SECURITY_UPSTREAM_ALLOW": "127.0.0.0/8"}


class Installation:
    """The command line of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._state = settings.state
        urls = {
            "YUMEN_REDIS_URL": settings.redis.url,
            "YUMEN_DATABASE_URL": settings.database.url,
            "YUMEN_DATABASE_OWNER_URL": settings.database.owner_url,
        }
        self._environ = {**ALLOWED, **{name: url for name, url in urls.items() if url}}

    def run(
        self, *arguments: str, fails: bool = False, environ: Mapping[str, str] | None = None
    ) -> str:
        """Return what `yumen` prints for *arguments*."""
        runner = CliRunner(env={**self._environ, **(environ or {})})
        result = runner.invoke(main, [*arguments, "--state", str(self._state)])
        assert result.exit_code == (1 if fails else 0), result.output
        return result.output

    def apply(self, path: Path, *options: str, fails: bool = False, **environ: str) -> list[str]:
        """Return the lines that `yumen apply` prints."""
        output = self.run("apply", "-f", str(path), *options, fails=fails, environ=environ)
        return output.splitlines()


@pytest.fixture
def here(settings: Settings) -> Installation:
    return Installation(settings)


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Installation]:
    """An empty installation with the other's kind of database and secrets of its own."""
    state = Path(tempfile.mkdtemp(prefix="ym"))
    environ = {"YUMEN_REDIS_URL": str(settings.redis.url)}
    if settings.database.url is None:
        shutil.copy(request.getfixturevalue("empty_sqlite"), state / "yumen.db")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.url(server.create(request.getfixturevalue("empty_postgresql")))
        environ |= {
            "YUMEN_DATABASE_URL": url,
            "YUMEN_DATABASE_OWNER_URL": url.replace(APPLICATION, OWNER),
        }
    made = load_settings(state=state, environ=environ)
    ensure_secrets(made)
    yield Installation(made)
    shutil.rmtree(state)
