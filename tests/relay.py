"""Stands between a gateway and its Redis, and holds Redis' answers for as long as it is told."""

import contextlib
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK = 65536


class Relay:
    """A Unix socket in front of the one at *target*; each answer comes `seconds` late."""

    def __init__(self, target: Path) -> None:
        self.seconds = 0.0
        self._target = target
        self._folder = Path(tempfile.mkdtemp(prefix="ym"))
        self._folder.chmod(0o755)
        self._socket = self._folder / "relay.sock"
        self.url = f"unix://{self._socket}?db=0"
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        self._listener.bind(str(self._socket))
        # A gateway that root started has workers of another user.
        self._socket.chmod(0o777)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self._folder)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._target))
                for source, sink in ((client, server), (server, client)):
                    carried = (source, sink, source is server)
                    threading.Thread(target=self._carry, args=carried, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if is_answer and self.seconds:
                    time.sleep(self.seconds)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
