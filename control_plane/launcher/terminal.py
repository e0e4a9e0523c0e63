"""What `yumen up` says on the terminal."""

import json
import shlex
from pathlib import Path
from typing import Any

import click

from control_plane.core.clock import now
from control_plane.launcher.child import Run


def say(text: str) -> None:
    """Say one line."""
    click.echo(text)


def warn(text: str) -> None:
    """Say one line that somebody should act on."""
    click.echo(click.style("Warning: ", fg="yellow", bold=True) + text, err=True)


def event(text: str) -> None:
    """Say one line with the time, for what happens while Yumen runs."""
    click.echo(f"{now().astimezone():%H:%M:%S}  {text}")


def report_restart(name: str, run: Run, log: Path) -> None:
    """Say that a program died and what becomes of it."""
    if run.young_deaths:
        times = "" if run.young_deaths == 1 else f", {run.young_deaths} times in a row"
        event(
            f"{name} died soon after its start{times}; "
            f"started again after {run.delay_seconds:g} s as process {run.pid} (see {log})."
        )
    else:
        event(f"{name} died; started again as process {run.pid} (see {log}).")


def welcome(ready: dict[str, Any], state: Path, *, first: bool) -> None:
    """Say where everything is and what to try first."""
    operator, demo = ready["operator"], ready.get("demo")
    rows = [("gateway", ready["gateway"]), ("admin API", f"{ready['admin']}/api/docs")]
    if operator["password"]:
        advice = "  (shown only now; change it when you can)" if first and not demo else ""
        rows.append(("sign in", f"{operator['username']} / {operator['password']}{advice}"))
    rows.append(("state, logs", str(state)))
    click.echo("\n" + click.style("Yumen is ready.", fg="green", bold=True) + "\n")
    for name, value in rows:
        click.echo(f"  {name:<12} {value}")
    click.echo("\n" + click.style("Try it:", bold=True) + "\n")
    click.echo(_indent(_chat(ready["gateway"], demo) if demo else _login(ready)))
    click.echo("\nCtrl-C stops everything.")


def _chat(gateway: str, demo: dict[str, Any]) -> str:
    body = {"model": demo["model"], "messages": [{"role": "user", "content": "Hello"}]}
    port = gateway.rpartition(":")[2]
    return _curl(
        f"http://{demo['domain']}:{port}/v1/chat/completions",
        {"Authorization": f"Bearer {demo['apiKey']}"},
        body,
    )


def _login(ready: dict[str, Any]) -> str:
    operator = ready["operator"]
    body = {"username": operator["username"], "password": operator["password"] or "…"}
    return _curl(f"{ready['admin']}/api/auth/login", {}, body)


def _curl(url: str, headers: dict[str, str], body: dict[str, Any]) -> str:
    """Return a command to paste."""
    lines = [f"curl {url}"]
    for name, value in {**headers, "Content-Type": "application/json"}.items():
        lines.append("-H " + shlex.quote(f"{name}: {value}"))
    lines.append("-d " + shlex.quote(json.dumps(body, ensure_ascii=False)))
    return " \\\n  ".join(lines)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
