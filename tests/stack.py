"""A whole Yumen, started by `yumen up` as a user would, and driven by its ready file only."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

YUMEN = Path(sys.executable).with_name("yumen")


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(look: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Return the first true answer of *look*; fail naming *what* when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return answer


def children(pid: int) -> list[int]:
    """Return the direct children of a process, such as nginx's workers of their master."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Stack:
    """`yumen up --demo` on free ports with a state directory of its own."""

    def __init__(self, environment: Mapping[str, str] | None = None, *options: str) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="ym"))
        self.state.chmod(0o755)
        self.ready_file = self.state / "ready.json"
        self.output = self.state / "up.log"
        self.command = [
            str(YUMEN),
            "up",
            "--demo",
            *("--state", str(self.state / "s")),
            *("--gateway-port", str(free_port())),
            *("--admin-port", str(free_port())),
            *("--ready-file", str(self.ready_file)),
            *options,
        ]
        self.metrics_ports = {name: free_port() for name in ("gateway", "admin", "worker")}
        ports = {
            f"YUMEN_METRICS_{name}_PORT".upper(): str(port)
            for name, port in self.metrics_ports.items()
        }
        self.environment = os.environ | ports | dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}
        self.token = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if kind is None:
            shutil.rmtree(self.state)

    def start(self) -> None:
        """Start and wait until everything answers."""
        self.ready_file.unlink(missing_ok=True)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=output, stderr=output
            )
        until(lambda: self.ready_file.exists() or self.process.poll() is not None, "ready", 60)
        assert self.process.poll() is None, self.output.read_text()
        self.reload()

    def reload(self) -> None:
        """Read the ready file again: pids change when a child was restarted."""
        self.ready = json.loads(self.ready_file.read_text())

    def stop(self) -> None:
        """End it as Ctrl-C or an init system would."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Call the REST API as the operator; return the decoded answer, None for an empty one."""
        if not self.token:
            login = {k: self.ready["operator"][k] for k in ("username", "password")}
            answer = requests.post(f"{self.ready['admin']}/api/auth/login", json=login, timeout=10)
            answer.raise_for_status()
            self.token = answer.json()["accessToken"]
        answer = requests.request(
            method,
            self.ready["admin"] + path,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=30,
            **options,
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def usage(self, tenant: str = "") -> dict[str, Any]:
        """Return the usage of a tenant, of the demo tenant by default."""
        tenant = tenant or self.ready["demo"]["tenantId"]
        return dict(self.api("GET", f"/api/tenants/{tenant}/usage"))

    def usage_events(self, tenant: str = "") -> list[dict[str, Any]]:
        """Return all raw events of a tenant, following the cursor to its end."""
        tenant = tenant or self.ready["demo"]["tenantId"]
        url = f"{self.ready['admin']}/api/tenants/{tenant}/usage/events?limit=1000"
        events: list[dict[str, Any]] = []
        while url:
            answer = requests.get(
                url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30
            )
            answer.raise_for_status()
            events += answer.json()
            url = answer.links.get("next", {}).get("url", "")
            url = url if url.startswith("http") or not url else self.ready["admin"] + url
        return events
