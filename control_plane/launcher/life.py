"""One life of an installation, from the first program's start to the last one's end."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_plane.core.clock import monotonic
from control_plane.core.settings import Settings
from control_plane.demo import load_record, save_record
from control_plane.launcher import terminal
from control_plane.launcher.errors import LaunchError
from control_plane.launcher.plan import plan
from control_plane.launcher.preflight import free_port, listen_error
from control_plane.launcher.prepare import prepare, prepare_demo
from control_plane.launcher.privileges import Account
from control_plane.launcher.readiness import unpublished, unready
from control_plane.launcher.ready_file import (
    OPERATOR,
    ready_content,
    remove_ready_file,
    write_ready_file,
)
from control_plane.launcher.stopping import StopSignals
from control_plane.launcher.supervision import Supervision

START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1
_HOPELESS_DEATHS: Final = 4
_LOG_LINES: Final = 8
_STOP_SECONDS: Final = 60  # what all programs but nginx may take together to end


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line, besides the settings."""

    config: Path | None
    demo: bool
    ready_file: Path | None


class Life:
    """An installation that runs."""

    def __init__(
        self, settings: Settings, options: Options, owner: Account | None, signals: StopSignals
    ) -> None:
        self._settings = settings
        self._options = options
        self._signals = signals
        self._record = load_record(settings.state)
        if options.demo:
            self._record.upstream_port = self._choose_demo_port()
        programs = plan(settings, options.config, self._record.upstream_port)
        self._supervision = Supervision(settings.state, programs, os.environ, owner)
        self._pids: dict[str, int] = {}
        self._password: str | None = None

    def begin(self) -> None:
        """Start everything, wait until it is ready, and say so."""
        self._remove_ready_file()
        new_password = prepare(self._settings)
        self._password = new_password
        if self._options.demo:
            self._password = new_password or self._record.operator_password
            self._record.operator_password = self._password
            save_record(self._settings.state, self._record)
        terminal.say(f"Starting {', '.join(p.name for p in self._supervision.programs)} …")
        self._supervision.start()
        if not self._wait_for(lambda: list(unready(self._settings))):
            return
        if self._options.demo:
            problem = prepare_demo(self._settings, self._record, OPERATOR)
            if problem:
                terminal.warn(problem)
            save_record(self._settings.state, self._record)
            if not self._wait_for(lambda: list(unpublished(self._settings))):
                return
        self._pids = {name: run.pid for name, run in self._supervision.runs().items()}
        content = self._write_ready_file()
        terminal.welcome(content, self._settings.state, first=new_password is not None)

    def watch(self) -> None:
        """Keep the ready-file true and the terminal informed until told to stop."""
        while not self._signals.count:
            self._revive_supervisord()
            if self._note_restarts():
                self._write_ready_file()
            time.sleep(_POLL_SECONDS)

    def end(self) -> None:
        """Let open streams end, stop every program and leave nothing behind."""
        if not self._supervision.started:
            return
        signals = self._signals.count
        drain = self._settings.gateway.drain_seconds
        terminal.say(f"\nStopping: open streams have {drain} s to end (Ctrl-C ends them now) …")
        self._remove_ready_file()
        self._supervision.stop()
        deadline = monotonic() + drain + _STOP_SECONDS
        while self._supervision.alive and monotonic() < deadline:
            if self._signals.count > signals:
                self._supervision.hurry("nginx")
                signals = self._signals.count
            time.sleep(_POLL_SECONDS)
        self._supervision.kill()
        terminal.say("Everything has stopped.")

    def _choose_demo_port(self) -> int | None:
        """Return the port of the demo upstream: the one it had, if that is still free."""
        if self._settings.demo.upstream is not None:
            return None
        former = self._record.upstream_port
        if former is not None and listen_error("127.0.0.1", former) is None:
            return former
        return free_port(taken=[self._settings.gateway.port, self._settings.admin.port])

    def _wait_for(self, missing: Callable[[], list[str]]) -> bool:
        """Wait until nothing is missing; False if told to stop meanwhile."""
        deadline = monotonic() + START_SECONDS
        while not self._signals.count:
            if not (left := missing()):
                return True
            self._check_hope()
            if monotonic() > deadline:
                raise LaunchError(
                    f"Not ready after {START_SECONDS:g} s: {', '.join(left)}. "
                    f"The logs are in {self._settings.state / 'log'}."
                )
            time.sleep(_POLL_SECONDS)
        return False

    def _check_hope(self) -> None:
        """Give up on a start in which a program keeps dying."""
        if not self._supervision.alive:
            raise LaunchError(f"supervisord ended; see {self._supervision.log('supervisord')}.")
        for name, run in self._supervision.runs().items():
            if run.young_deaths >= _HOPELESS_DEATHS:
                log = self._supervision.log(name)
                lines = log.read_text("utf-8", errors="replace").splitlines()[-_LOG_LINES:]
                raise LaunchError("\n  ".join([f"{name} keeps dying. {log} ends with:", *lines]))

    def _revive_supervisord(self) -> None:
        if self._supervision.alive:
            return
        terminal.event("supervisord died; starting everything again.")
        self._supervision.kill()
        self._supervision.start()

    def _note_restarts(self) -> bool:
        """Say which programs were started again since the last look; False if none was."""
        changed = False
        for name, run in self._supervision.runs().items():
            if run.pid != self._pids.get(name):
                terminal.report_restart(name, run, self._supervision.log(name))
                self._pids[name] = run.pid
                changed = True
        return changed

    def _write_ready_file(self) -> dict[str, Any]:
        demo = self._record if self._options.demo else None
        content = ready_content(self._settings, self._password, demo, self._pids)
        if self._options.ready_file is not None:
            write_ready_file(self._options.ready_file, content)
        return content

    def _remove_ready_file(self) -> None:
        if self._options.ready_file is not None:
            remove_ready_file(self._options.ready_file)
