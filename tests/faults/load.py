"""An open-loop client: asks at a fixed rate whatever comes back, and remembers each answer.

A closed loop would wait for a dead gateway and so send less just when it matters (coordinated
omission); here request n leaves at start + n / rate.
"""

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.stack import Stack


@dataclass
class Answers:
    """What the client saw, by request id."""

    sent: set[str] = field(default_factory=set)
    complete: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def take(self, request_id: str, status: int, whole: bool) -> None:
        """Remember an answer that arrived, *whole* when it has its terminal event."""
        if status != 200:
            self.refused[request_id] = status
        elif whole:
            self.complete.add(request_id)
        else:
            self.broken.add(request_id)


@dataclass(frozen=True)
class Target:
    """Where to ask, and as whom."""

    port: int
    host: str
    key: str
    model: str

    def request(self, request_id: str, stream: bool) -> bytes:
        body = json.dumps(
            {"model": self.model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        )
        return (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.host}\r\n"
            f"Authorization: Bearer {self.key}\r\nX-Request-Id: {request_id}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


class Connection:
    """One keep-alive connection that is opened again when it broke."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request_id: str, stream: bool) -> tuple[int, bytes]:
        """Return (status, body) of a whole answer; OSError or EOFError when it broke."""
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection("127.0.0.1", self.target.port)
            reader, writer = self.streams
            writer.write(self.target.request(request_id, stream))
            status, headers = await self._head(reader)
            body = await self._body(reader, headers)
            if headers.get("connection") == "close":
                self.close()
        except BaseException:
            self.close()
            raise
        return status, body

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}

    @staticmethod
    async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await reader.readexactly(int(headers["content-length"]))
        parts = []
        while True:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            part = await reader.readexactly(size + 2)
            if size == 0:
                return b"".join(parts)
            parts.append(part[:-2])


async def _run(target: Target, rate: int, seconds: float, prefix: str, *, streams: bool) -> Answers:
    answers = Answers()
    idle: list[Connection] = []

    async def one(number: int) -> None:
        request_id = f"{prefix}-{number}"
        stream = streams and number % 4 == 0
        connection = idle.pop() if idle else Connection(target)
        answers.sent.add(request_id)
        try:
            async with asyncio.timeout(20):
                status, body = await connection.ask(request_id, stream)
        except (OSError, EOFError, TimeoutError, ValueError):
            answers.broken.add(request_id)
        else:
            answers.take(request_id, status, not stream or b"data: [DONE]" in body)
        idle.append(connection)

    start = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            delay = start + number / rate - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            group.create_task(one(number))
    for connection in idle:
        connection.close()
    return answers


def run(target: Target, rate: int, seconds: float, prefix: str, *, streams: bool = True) -> Answers:
    """Send *rate* requests a second for *seconds*; with *streams* every fourth is one."""
    return asyncio.run(_run(target, rate, seconds, prefix, streams=streams))


def start_load(stack: Stack, rate: int, seconds: float, prefix: str) -> subprocess.Popen[bytes]:
    """Load the demo model of *stack* from a process of its own, until `finish_load`."""
    demo = stack.ready["demo"]
    port = urlsplit(stack.ready["gateway"]).port
    assert port is not None
    target = Target(port, demo["domain"], demo["apiKey"], demo["model"])
    arguments = [json.dumps(asdict(target)), str(rate), str(seconds), prefix]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.load", *arguments],
        stdout=subprocess.PIPE,
    )


def finish_load(load: subprocess.Popen[bytes], seconds: float) -> dict[str, Any]:
    """Wait until a load of *seconds* has ended; return its `Answers` as JSON has them."""
    output, _ = load.communicate(timeout=seconds + 60)
    assert load.returncode == 0
    return dict(json.loads(output))


def main(arguments: list[str]) -> None:
    """`python -m tests.faults.load TARGET_JSON RATE SECONDS PREFIX`: print the answers as JSON."""
    target, rate, seconds, prefix = arguments
    answers = run(Target(**json.loads(target)), int(rate), float(seconds), prefix)
    printable = {name: sorted(value) for name, value in vars(answers).items() if name != "refused"}
    json.dump(printable | {"refused": answers.refused}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
