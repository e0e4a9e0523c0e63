"""The programs of an installation under supervisord: configure, start, watch, end."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.launcher.child import Run, read_record
from control_plane.launcher.privileges import Account
from control_plane.launcher.processes import find_process, kill_all, list_session

_SUPERVISORD: Final = (sys.executable, "-m", "control_plane.launcher.supervisord")
_LOG_BYTES: Final = 10 * 1024 * 1024
_HEAD: Final = """\
; Written by `yumen up` at every start; changes are lost. Paths are below the state directory.
[supervisord]
logfile = log/supervisord.log
pidfile = run/supervisord.pid
childlogdir = log
umask = 077
silent = true
"""
_PROGRAM: Final = """
[program:{name}]
command = {command}
directory = {directory}
priority = {priority}
autorestart = true
startsecs = 0
stopsignal = {stop_signal}
stopwaitsecs = {stop_seconds}
killasgroup = true
redirect_stderr = true
stdout_logfile = log/{name}.log
stdout_logfile_maxbytes = {log_bytes}
stdout_logfile_backups = 3
"""
_WITHOUT_MASTER_KEY: Final = 'environment = YUMEN_SECURITY_MASTER_KEY=""\n'


@dataclass(frozen=True)
class Program:
    """One supervised program. It starts after those before it, and stops before them."""

    name: str
    command: Sequence[str]
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    knows_master_key: bool = False
    """Whether it is given the master key, when that stands in the environment."""


class Supervision:
    """One supervisord and its programs."""

    def __init__(
        self,
        state: Path,
        programs: Sequence[Program],
        environ: Mapping[str, str],
        owner: Account | None,
    ) -> None:
        self.programs = programs
        self._state = state
        self._environ = environ
        self._owner = owner  # whom the programs run as; None: whom we run as
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start supervisord, which starts every program."""
        run = self._state / "run"
        for program in self.programs:
            record_file(self._state, program.name).unlink(missing_ok=True)
        config = run / "supervisord.conf"
        config.write_text(render_config(self._state, self.programs), "utf-8")
        owner = self._owner
        log = self._state / "log" / "supervisord.out"
        with log.open("wb") as output:
            self._daemon = subprocess.Popen(
                [*_SUPERVISORD, str(config), str(os.getpid())],
                cwd=self._state,
                env=self._environ,
                user=owner.uid if owner else None,
                group=owner.gid if owner else None,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        write_session(self._state, self._daemon.pid)

    @property
    def started(self) -> bool:
        """Tell whether anything was started."""
        return self._daemon is not None

    @property
    def alive(self) -> bool:
        """Tell whether supervisord runs."""
        return self._daemon is not None and self._daemon.poll() is None

    def log(self, name: str) -> Path:
        """Return the log of a program."""
        return self._state / "log" / f"{name}.log"

    def runs(self) -> dict[str, Run]:
        """Return the newest run of each program that has been started."""
        records = ((p.name, record_file(self._state, p.name)) for p in self.programs)
        return {name: read_record(file) for name, file in records if file.exists()}

    def hurry(self, name: str) -> None:
        """Tell a program that is ending in its own good time to end now."""
        run = self.runs().get(name)
        if run is not None and find_process(run.pid) is not None:
            os.kill(run.pid, signal.SIGTERM)

    def stop(self) -> None:
        """Ask supervisord to end the programs, the last one first, each in its own good time."""
        if self._daemon is not None and self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._daemon.terminate()

    def kill(self) -> int:
        """End whatever still runs; return how many processes had to be killed."""
        if self._daemon is None:
            return 0
        session = self._daemon.pid
        killed = kill_all(lambda: list_session(session))
        self._daemon.wait()
        return killed


def record_file(state: Path, name: str) -> Path:
    """Return where a program's newest run is remembered."""
    return state / "run" / f"{name}.record"


def render_config(state: Path, programs: Sequence[Program]) -> str:
    """Return supervisord's configuration."""
    text = _HEAD
    for priority, program in enumerate(programs, start=1):
        record = str(record_file(state, program.name))
        wrapper = [sys.executable, "-m", "control_plane.launcher.child", record]
        text += _PROGRAM.format(
            name=program.name,
            command=_escape(shlex.join([*wrapper, *program.command])),
            directory=_escape(str(_working_folder(state))),
            priority=priority,
            stop_signal=program.stop_signal,
            stop_seconds=program.stop_seconds,
            log_bytes=_LOG_BYTES,
        )
        text += "" if program.knows_master_key else _WITHOUT_MASTER_KEY
    return text


def _working_folder(state: Path) -> Path:
    """Return where relative paths in settings start: here, unless the programs cannot come here."""
    here = Path.cwd()
    return here if os.access(here, os.X_OK, effective_ids=True) else state


def _escape(text: str) -> str:
    """Keep supervisord from replacing `%(…)s`."""
    return text.replace("%", "%%")


def write_session(state: Path, leader: int) -> None:
    """Remember the session, so that a later start can end it if we are killed with supervisord."""
    process = find_process(leader)
    if process is not None:
        known = {"session": leader, "started": process.started, "boot": _boot()}
        (state / "run" / "session.json").write_text(json.dumps(known), "ascii")


def end_former_session(state: Path) -> int:
    """Kill what an earlier `yumen up` left running on this state directory; return how many."""
    file = state / "run" / "session.json"
    if not file.exists():
        return 0
    known = json.loads(file.read_text("ascii"))
    session = int(known["session"])
    leader = find_process(session)
    taken = leader is not None and leader.started != known["started"]
    killed = 0 if taken or known["boot"] != _boot() else kill_all(lambda: list_session(session))
    file.unlink()
    return killed


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
