"""`yumen keys rotate` as a process of its own, killed at one point after another."""

import os
import signal
import subprocess
import sys
from collections import Counter

from sqlalchemy import select

from control_plane.core import tenancy
from control_plane.core.data_keys import DataKey
from control_plane.core.database import Database
from control_plane.core.encryption import reveal
from control_plane.core.mail import QueuedMail
from control_plane.core.master_keys import MasterKeys
from control_plane.core.settings import Settings
from control_plane.core.types import Secret

ROWS = 2200
KILL_AFTER = ("data keys are new", "queued_mails.content: 1", "queued_mails.content: ", "is new")
"""What the process has said last before it is killed."""


def start(settings: Settings) -> subprocess.Popen[str]:
    urls = {"URL": settings.database.url, "OWNER_URL": settings.database.owner_url}
    environ = {f"YUMEN_DATABASE_{name}": url for name, url in urls.items() if url is not None}
    command = [sys.executable, "-m", "control_plane.cli", "keys", "rotate"]
    return subprocess.Popen(
        [*command, "--state", str(settings.state)],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        text=True,
    )


def keys_after_reading_all(settings: Settings) -> Counter[str]:
    """See that a new process can read every secret; return how many keys are in which state."""
    opened = Database(settings)
    with tenancy.platform_context(), opened.session(write=False) as session:
        rows = session.scalars(select(QueuedMail)).all()
        assert Counter(reveal(row, QueuedMail.content) == f"text of {row.id}" for row in rows) == {
            True: ROWS
        }
        retired = session.scalars(select(DataKey.retired_at)).all()
    opened.close()
    return Counter("current" if each is None else "retired" for each in retired)


def test_a_killed_rotation_is_finished_by_the_next_one(
    database: Database, settings: Settings
) -> None:
    with tenancy.platform_context(), database.transaction() as session:
        rows = [QueuedMail(content=Secret(""), due_at=None) for _ in range(ROWS)]
        session.add_all(rows)
        session.flush()
        for row in rows:
            row.content = Secret(f"text of {row.id}")
    first = MasterKeys(settings).newest().id
    killed = 0
    for point in KILL_AFTER:
        process = start(settings)
        assert process.stdout is not None
        for line in process.stdout:
            if point in line:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        killed += process.wait(30) == -signal.SIGKILL
        keys_after_reading_all(settings)
    assert killed == len(KILL_AFTER)
    process = start(settings)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert keys_after_reading_all(settings) == {"current": 1}
    newest = MasterKeys(settings).newest().id
    assert newest != first
    with tenancy.platform_context(), database.session(write=False) as session:
        assert session.scalars(select(DataKey.master_id)).all() == [newest]
