"""Measures one server under one load: requests a second, CPU a request, time to first byte."""

import dataclasses
import http.client
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

SCRIPT = """
wrk.method = "POST"
wrk.path = "{path}"
wrk.body = [==[{body}]==]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Host"] = "{host}"
wrk.headers["Authorization"] = "Bearer {key}"
local hosts, made, at = {hosts}, {{}}, 0
if hosts > 1 then
    init = function()
        for number = 0, hosts - 1 do
            wrk.headers["Host"] = string.format("{host}", number)
            made[number] = wrk.format()
        end
    end
    request = function()
        at = (at + 7) % hosts
        return made[at]
    end
end
done = function(summary, latency)
    io.write(string.format("\\nRESULT %d %d %d %d\\n", summary.requests, summary.duration,
        summary.errors.status, summary.errors.read + summary.errors.write + summary.errors.timeout
        + summary.errors.connect))
end
"""


# Each connection asks, and waits so long on average before the next time: by chance, or all would
# ask at the same moment.
PACED = SCRIPT + "\nfunction delay() return math.random(0, 2 * {pause_ms}) end\n"


class BenchError(RuntimeError):
    """A run that measured nothing: what went wrong stands in the message."""


@dataclass(frozen=True)
class Load:
    """What is sent: a path, a body, and the client's key."""

    path: str
    body: str
    host: str
    key: str
    hosts: int = 1
    """How many hosts are asked in turn; of more than one, `host` is the pattern of their names."""
    expected: int = 200
    """The status of each answer."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of one request."""
        return {
            "Host": self.host,
            "Authorization": f"Bearer {self.key}",
            "Content-Type": "application/json",
        }


@dataclass
class Result:
    """All runs of one server under one load."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests a second of the least disturbed run."""
        return max(self.rates)

    @property
    def cpu(self) -> float:
        """Microseconds of the worker's CPU a request, of the least disturbed run.

        What else the machine does only ever adds to it.
        """
        return min(self.cpu_us)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def run(port: int, worker: int, load: Load, seconds: int, core: int) -> tuple[float, float]:
    """Load a server for some seconds; return requests a second and CPU microseconds a request."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT.format(**dataclasses.asdict(load)))
        script.flush()
        command = ["taskset", "-c", str(core), "wrk", "-t", "1", "-c", "32", "-d", f"{seconds}s"]
        command += ["--timeout", "5s", "-s", script.name, f"http://127.0.0.1:{port}"]
        before = cpu_seconds(worker)
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        used = cpu_seconds(worker) - before
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+)", output)
    if not found:
        raise BenchError(f"wrk reported nothing:\n{output}")
    requests, duration_us, refused, broken = (int(text) for text in found.groups())
    unexpected = refused if load.expected < 400 else requests - refused
    if unexpected or broken or not requests:
        raise BenchError(f"{unexpected} unlike and {broken} broken of {requests} requests")
    return requests / (duration_us / 1e6), used * 1e6 / requests


class Client:
    """One kept connection that measures how long a stream's first byte takes."""

    def __init__(self, port: int, load: Load) -> None:
        self.load = load
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def first_byte(self) -> float:
        """Send a request; return the milliseconds to the first byte of its answer's body."""
        begin = time.perf_counter()
        self.connection.request("POST", self.load.path, self.load.body, self.load.headers)
        response = self.connection.getresponse()
        response.read(1)
        took = time.perf_counter() - begin
        response.read()
        return took * 1000


def asked(process: "subprocess.Popen[str]") -> int:
    """Wait for a paced load to end; return how often it asked."""
    output = process.communicate()[0]
    found = re.search(r"RESULT (\d+)", output)
    if not found:
        raise BenchError(f"wrk reported nothing:\n{output}")
    return int(found[1])


@contextmanager
def paced(port: int, load: Load, pace: float, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    """Ask *pace* times a second, on as many connections as that needs."""
    connections = max(1, min(200, round(pace / 4)))
    pause_ms = max(1, round(1000 * connections / pace))
    text = PACED.replace("{pause_ms}", str(pause_ms))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(text.format(**dataclasses.asdict(load)))
        script.flush()
        command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout"]
        command += ["5s", "-s", script.name, f"http://127.0.0.1:{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            yield process
