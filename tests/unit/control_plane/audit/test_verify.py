"""`yumen audit verify` finds what was done to the tables, and its exit tells."""

import datetime
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from control_plane import cli
from control_plane.audit import anchors, chain, retention
from control_plane.audit.anchors import Anchoring
from control_plane.core import clock, tenancy
from control_plane.core.database import Database
from control_plane.core.plugins import JobContext
from control_plane.core.settings import Settings
from control_plane.tenants import Tenant
from tests.audit_log import Logs, tamper, write

Verify = Callable[..., Result]
ROWS = 12


@pytest.fixture
def verify(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Verify:
    monkeypatch.setenv("YUMEN_REDIS_URL", settings.redis_url)
    if not database.is_sqlite:
        monkeypatch.setenv("YUMEN_DATABASE_URL", settings.database_url)

    def run(*arguments: str) -> Result:
        command = ["audit", "verify", "--state", str(settings.state), *arguments]
        return CliRunner().invoke(cli.main, command)

    return run


@pytest.fixture
def context(settings: Settings, database: Database) -> JobContext:
    return JobContext(settings=settings, database=database, redis=None)  # type: ignore[arg-type]


@pytest.fixture
def anchored(database: Database, context: JobContext) -> Path:
    """The file of anchors of a chain of the platform with `ROWS` rows."""
    write(database, None, ROWS)
    Anchoring().run(context)
    return anchors.path_of(context.settings)


def test_an_untouched_log_is_whole(anchored: Path, verify: Verify, tenant: Tenant) -> None:
    result = verify()
    assert result.exit_code == 0, result.output
    assert re.search(rf"whole: {ROWS + 2} rows", result.output)
    assert verify("--tenant", str(tenant.id)).exit_code == 0
    assert anchored.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["UPDATE audit_logs SET actor = 'somebody else' WHERE seq = 5"], "platform 5 edited"),
        (["UPDATE audit_logs SET \"after\" = '{}' WHERE seq = 5"], "platform 5 edited"),
        (["DELETE FROM audit_logs WHERE seq = 5"], "platform 5 missing"),
        (["DELETE FROM audit_logs WHERE seq BETWEEN 5 AND 7"], "platform 5-7 missing"),
        (["DELETE FROM audit_logs WHERE seq = 1"], "platform 1 missing"),
        (["DELETE FROM audit_logs WHERE seq > 9"], f"platform 10-{ROWS} truncated"),
        (["DELETE FROM audit_logs"], f"platform 1-{ROWS} truncated"),
    ],
)
def test_tampering_is_named(
    database: Database, anchored: Path, verify: Verify, statements: list[str], told: str
) -> None:
    tamper(database, *(f"{each}" for each in statements))
    result = verify("--tenant", "platform")
    assert (result.exit_code, result.stdout.splitlines()) == (1, [told])


def test_swapped_rows_are_named(database: Database, anchored: Path, verify: Verify) -> None:
    moves = [(4, 100), (9, 4), (100, 9)]
    tamper(database, *(f"UPDATE audit_logs SET seq = {b} WHERE seq = {a}" for a, b in moves))
    result = verify()
    assert result.exit_code == 1
    assert sorted(result.stdout.splitlines()) == ["platform 4 moved", "platform 9 moved"]


def test_an_inserted_row_is_named(database: Database, anchored: Path, verify: Verify) -> None:
    shift = [
        f"UPDATE audit_logs SET seq = {seq + 1} WHERE seq = {seq}" for seq in range(ROWS, 5, -1)
    ]
    columns = "created_at, actor_type, operation, action, outcome, prev"
    copied = (
        f"INSERT INTO audit_logs (id, seq, hash, {columns})"
        f" SELECT '{'0' * 32}', 6, '{'a' * 64}', created_at, actor_type, 'forged', action, outcome,"
        " hash FROM audit_logs WHERE seq = 5"
    )
    tamper(database, *shift, copied)
    assert verify().stdout.splitlines()[0] == "platform 6 inserted"


def test_without_anchors_nobody_can_tell(database: Database, verify: Verify) -> None:
    write(database, None, 3)
    result = verify()
    assert result.exit_code == 2
    assert "no anchors" in result.output


def test_a_database_that_is_away_is_no_fault(
    verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YUMEN_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    assert verify().exit_code == 2


def test_the_anchors_themselves_are_signed(anchored: Path, verify: Verify) -> None:
    lines = anchored.read_text().splitlines()
    told: dict[str, Any] = json.loads(lines[-1])
    anchored.write_text(json.dumps({**told, "seq": 3}) + "\n")
    result = verify()
    assert result.exit_code == 1
    assert "not as written" in result.output


def test_a_line_that_was_not_finished_is_written_anew(
    database: Database, anchored: Path, context: JobContext, verify: Verify
) -> None:
    whole = anchored.read_bytes()
    anchored.write_bytes(whole + whole[:20])
    write(database, None, 1)
    Anchoring().run(context)
    assert anchored.read_bytes().startswith(whole)
    assert len(anchored.read_text().splitlines()) == len(whole.splitlines()) + 1
    assert verify().exit_code == 0


def test_only_chains_that_grew_are_anchored(
    database: Database, anchored: Path, context: JobContext
) -> None:
    before, job = anchored.read_bytes(), Anchoring()
    job.run(context)
    assert anchored.read_bytes() == before
    write(database, None, 1)
    job.run(context)
    assert len(anchored.read_bytes().splitlines()) == len(before.splitlines()) + 1


def test_an_old_beginning_is_dropped_and_the_rest_is_whole(
    database: Database,
    anchored: Path,
    context: JobContext,
    verify: Verify,
    logs: Logs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = clock.now() + datetime.timedelta(days=context.settings.audit.retention_days + 1)
    monkeypatch.setattr(clock, "now", lambda: later)
    write(database, None, 3)
    retention.drop_old(context)
    assert [log.seq for log in logs()] == [ROWS + 1, ROWS + 2, ROWS + 3]
    retention.drop_old(context)
    Anchoring().run(context)
    assert verify().exit_code == 0
    forged = f"UPDATE audit_cuts SET seq = {ROWS + 1}"
    with database.owner_transaction() as owner:
        if database.is_sqlite:
            owner.exec_driver_sql("DROP TRIGGER append_only_audit_cuts_update")
        else:
            owner.exec_driver_sql("ALTER TABLE audit_cuts DISABLE TRIGGER USER")
        owner.exec_driver_sql(forged)
    assert verify().exit_code == 1


def test_the_last_row_stays_whatever_its_age(
    database: Database, anchored: Path, context: JobContext, logs: Logs
) -> None:
    with tenancy.platform_context(), database.transaction() as session:
        assert retention.cut(session, None, clock.now()) == ROWS - 1
    assert [log.seq for log in logs()] == [ROWS]


def test_writers_at_once_do_not_fork_a_chain(database: Database, logs: Logs) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            write(database, None, 10)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    found = logs()
    assert [log.seq for log in found] == list(range(1, 41))
    assert [log.prev for log in found[1:]] == [log.hash for log in found[:-1]]
    key = chain.key_of(database.keyring)
    assert all(chain.is_whole(key, log) for log in found)
