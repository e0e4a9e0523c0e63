"""A process has ended when its last thread has, for until then it holds its ports."""

import signal
import subprocess
import sys
from pathlib import Path

from control_plane.launcher.preflight import listen_error
from control_plane.launcher.processes import find_process, kill_all
from tests.stack import until

# The first thread ends and is a zombie; the second goes on, with the port.
HALF_DEAD = """
import ctypes, socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=time.sleep, args=(60,)).start()
print(listener.getsockname()[1], flush=True)
ctypes.CDLL(None).syscall(60, 0)
"""


def test_a_zombie_with_a_living_thread_still_runs_and_is_killed_whole() -> None:
    process = subprocess.Popen([sys.executable, "-c", HALF_DEAD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    stat = Path(f"/proc/{process.pid}/stat")
    with process.stdout:
        until(lambda: ") Z " in stat.read_text(), "the first thread's end", 5)
        assert find_process(process.pid) is not None
        assert listen_error("127.0.0.1", port) is not None

        killed = kill_all(lambda: [p] if (p := find_process(process.pid)) else [])
        assert killed == 1
        assert find_process(process.pid) is None
        assert listen_error("127.0.0.1", port) is None
        assert process.wait(5) == -signal.SIGKILL
