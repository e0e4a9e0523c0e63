"""A whole installation: what dies comes back, what is told to stop leaves nothing behind."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from control_plane.launcher.processes import find_process, list_processes, list_session
from tests.stack import YUMEN, Stack, until

LEADERS = ["redis", "controlPlane", "worker", "shipper", "nginx"]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack() as running:
        yield running


def session_of(stack: Stack) -> int:
    known = json.loads((stack.state / "s" / "run" / "session.json").read_text())
    return int(known["session"])


def pid_of(stack: Stack, name: str) -> int:
    stack.reload()
    return int(stack.ready["pids"][name])


def is_ready(stack: Stack) -> bool:
    try:
        answers = [
            requests.get(f"{stack.ready[s]}/readyz", timeout=2) for s in ("gateway", "admin")
        ]
    except requests.RequestException:
        return False
    return all(answer.status_code == 200 for answer in answers)


def chat(stack: Stack, text: str, **more: Any) -> requests.Response:
    demo = stack.ready["demo"]
    return requests.post(
        f"{stack.ready['gateway']}/v1/chat/completions",
        json={"model": demo["model"], "messages": [{"role": "user", "content": text}], **more},
        headers={"Host": demo["domain"], "Authorization": f"Bearer {demo['apiKey']}"},
        timeout=60,
        stream=True,
    )


def test_the_ready_file_says_what_a_script_needs(stack: Stack) -> None:
    assert stat.S_IMODE(stack.ready_file.stat().st_mode) == 0o600
    stack.reload()
    assert set(stack.ready) == {"gateway", "admin", "operator", "demo", "pids"}
    assert set(stack.ready["demo"]) == {"tenantId", "domain", "apiKey", "model"}
    assert set(stack.ready["pids"]) == set(LEADERS)
    assert stack.ready["operator"]["username"] == "operator"
    assert stack.ready["gateway"].startswith("http://127.0.0.1:")
    for pid in stack.ready["pids"].values():
        process = find_process(pid)
        assert process is not None
        assert process.group == pid, "the pid is not a group's leader"
        assert process.session == session_of(stack)


def test_the_command_on_the_terminal_works_as_printed(stack: Stack) -> None:
    said = stack.output.read_text()
    command = said[said.index("  curl ") : said.index("\n\nCtrl-C")]
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True
    )
    assert json.loads(done.stdout)["choices"][0]["message"]["content"].endswith("Hello")


@pytest.mark.parametrize("name", LEADERS)
def test_a_killed_leader_comes_back_and_its_group_is_gone(stack: Stack, name: str) -> None:
    pid = pid_of(stack, name)
    members = [process.pid for process in list_processes() if process.group == pid]
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid_of(stack, name) != pid, f"{name} in the ready file")
    assert find_process(pid_of(stack, name)) is not None
    assert not [member for member in members if find_process(member) is not None]
    assert stat.S_IMODE(stack.ready_file.stat().st_mode) == 0o600
    until(lambda: is_ready(stack), "both planes")
    assert f"process {pid_of(stack, name)} " in stack.output.read_text()


def test_who_dies_again_and_again_is_given_more_time_each_time(stack: Stack) -> None:
    for _ in range(3):
        pid = pid_of(stack, "shipper")
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid_of(stack, "shipper") != pid, "the shipper in the ready file")
    assert "times in a row; started again after " in stack.output.read_text()


def test_a_killed_supervisord_takes_nothing_with_it_for_long(stack: Stack) -> None:
    session, pids = session_of(stack), dict(stack.ready["pids"])
    os.kill(session, signal.SIGKILL)
    until(lambda: session_of(stack) != session, "another supervisord")
    for name in LEADERS:
        until(lambda name=name: pid_of(stack, name) != pids[name], f"{name} in the ready file")
    assert list_session(session) == []
    until(lambda: is_ready(stack), "both planes")
    assert chat(stack, "Hello").status_code == 200


def test_a_second_instance_is_refused(stack: Stack) -> None:
    done = subprocess.run(stack.command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"already runs on {stack.state / 's'} (process {stack.process.pid})" in done.stderr
    assert stack.ready_file.exists()


def test_stopping_lets_a_stream_end_and_the_next_start_finds_everything() -> None:
    with Stack() as stack:
        session, first = session_of(stack), stack.ready
        stream = chat(stack, "[demo chunks=20 delay_ms=100]", stream=True)
        lines = stream.iter_lines()
        assert next(lines).startswith(b"data: ")
        stack.process.send_signal(signal.SIGTERM)
        assert [line for line in lines if line][-1] == b"data: [DONE]"
        assert stack.process.wait(60) == 0
        assert list_session(session) == []
        assert not stack.ready_file.exists()

        stack.start()
        assert {name: stack.ready[name] for name in ("operator", "demo")} == {
            name: first[name] for name in ("operator", "demo")
        }
        assert chat(stack, "Hello").status_code == 200
        until(lambda: stack.usage()["calls"] == 2, "two calls in the usage")

        endless = chat(stack, "[demo chunks=5000 delay_ms=100]", stream=True)
        cut = threading.Thread(target=lambda: list(endless.raw.stream(decode_content=False)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading, "excepthook", lambda _: None)  # it will be cut, that is meant
            cut.start()
            stack.process.send_signal(signal.SIGTERM)
            until(
                lambda: "Stopping" in stack.output.read_text()[-200:], "the first signal's effect"
            )
            stack.process.send_signal(signal.SIGTERM)
            assert stack.process.wait(25) == 0, "it waited for the stream although told not to"
            cut.join(10)


def test_a_killed_launcher_leaves_nothing_for_long() -> None:
    with Stack() as stack:
        session = session_of(stack)
        os.kill(session, signal.SIGSTOP)  # supervisord cannot end the programs now
        stack.process.kill()
        stack.process.wait()
        os.kill(session, signal.SIGKILL)
        until(lambda: find_process(session) is None, "the end of supervisord", 5)
        left = len(list_session(session))
        assert left >= len(LEADERS)

        stack.start()
        assert list_session(session) == []
        assert f"Ended {left} processes that an earlier run had left" in stack.output.read_text()

        session = session_of(stack)
        stack.process.kill()
        until(lambda: list_session(session) == [], "the end of every program", 60)


def test_without_a_demo_the_password_is_shown_once() -> None:
    stack = Stack()
    stack.command.remove("--demo")
    with stack:
        assert set(stack.ready) == {"gateway", "admin", "operator", "pids"}
        password = stack.ready["operator"]["password"]
        assert f"operator / {password}  (shown only now" in stack.output.read_text()
        assert stack.api("GET", "/api/tenants") == []
        stack.stop()
        stack.output.write_text("")
        stack.start()
        assert stack.ready["operator"] == {"username": "operator", "password": None}
        assert password not in stack.output.read_text()


def test_the_demo_model_goes_where_the_settings_say() -> None:
    """Our demo upstream, started by hand, stands for the provider."""
    command = [str(YUMEN), "demo-upstream", "--port", "0"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as provider,
        contextlib.ExitStack() as leaving,
    ):
        leaving.callback(provider.terminate)
        assert provider.stdout is not None
        url = provider.stdout.readline().split()[-1]
        elsewhere = {
            "YUMEN_DEMO_UPSTREAM": url,
            "YUMEN_DEMO_UPSTREAM_KEY": "sk-provider",
            "YUMEN_DEMO_UPSTREAM_MODEL": "provider-model",
        }
        with Stack(elsewhere) as stack:
            assert chat(stack, "Hello").json()["model"] == "provider-model"
            assert "demo-upstream" not in stack.output.read_text()
            stack.stop()
            for name in elsewhere:
                del stack.environment[name]
            stack.start()
            assert chat(stack, "Hello").json()["model"] == "demo-chat"
            assert "sk-provider" not in stack.output.read_text()
