"""Asks each gateway worker by itself, over a connection that it has accepted."""

import http.client
import socket
import time
from pathlib import Path
from typing import Self

from tests.stack import until

AT_ONCE = 32
_ESTABLISHED = "01"


class Worker:
    """One nginx worker, as a client with a kept connection to it sees it."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._http = http.client.HTTPConnection("gateway", timeout=10)
        self._http.sock = connection
        self._http.auto_open = False

    def status(self, host: str, key: str) -> int:
        """Return how the worker answers `GET /v1/models` with this key on this host."""
        headers = {"Host": host, "Authorization": f"Bearer {key}"}
        self._http.request("GET", "/v1/models", headers=headers)
        answer = self._http.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


class Workers:
    """All workers of a gateway, each asked over a connection of its own."""

    def __init__(self, port: int, pids: list[int]) -> None:
        self._port = port
        self._found: dict[int, Worker] = {}
        until(lambda: self._connect(pids), "a connection to every worker")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._found.values():
            worker.close()

    def statuses(self, host: str, key: str) -> dict[int, int]:
        """Return process id to status."""
        return {pid: worker.status(host, key) for pid, worker in self._found.items()}

    def time_to(self, status: int, host: str, key: str, seconds: float = 10) -> float:
        """Ask over and over; return how long it took until every worker answered with *status*.

        Raises:
            TimeoutError: one did not.
        """
        start = time.perf_counter()
        waiting = list(self._found.values())
        while waiting:
            waiting = [worker for worker in waiting if worker.status(host, key) != status]
            took = time.perf_counter() - start
            if took > seconds:
                raise TimeoutError(f"not {status} within {seconds} s")
        return took

    def _connect(self, pids: list[int]) -> bool:
        """Open connections all at once, so that no worker can accept them all; keep one of each."""
        opened = [socket.create_connection(("127.0.0.1", self._port)) for _ in range(AT_ONCE)]
        for connection in opened:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n")
        for connection in opened:
            connection.recv(65536)
        owners = _owners(self._port, pids)
        for connection in opened:
            pid = owners.get(connection.getsockname()[1])
            if pid is None or pid in self._found:
                connection.close()
            else:
                self._found[pid] = Worker(pid, connection)
        return len(self._found) == len(pids)


def _owners(port: int, pids: list[int]) -> dict[int, int]:
    """Return the client's port of each connection to *port* and which of *pids* has accepted it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    clients = {
        f"socket:[{row[9]}]": int(row[2].split(":")[1], 16)
        for row in rows
        if row[3] == _ESTABLISHED and int(row[1].split(":")[1], 16) == port
    }
    owners = {}
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            client = clients.get(str(handle.readlink()))
            if client is not None:
                owners[client] = pid
    return owners
