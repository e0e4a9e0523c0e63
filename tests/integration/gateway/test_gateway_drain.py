"""How a gateway ends: at once when nothing is under way, after its streams otherwise."""

import signal
import socket
import threading
import time

import requests

from tests.integration.gateway.conftest import HOST, Node
from tests.stack import until
from tests.upstream import CHUNK, DONE, Received


def test_idle_gateway_ends_within_two_seconds(node: Node) -> None:
    assert node.call().status_code == 200
    process = node.gateway.process
    assert process is not None
    started = time.monotonic()
    process.send_signal(signal.SIGQUIT)
    assert process.wait(10) == 0
    assert time.monotonic() - started < 2


def test_stream_under_way_is_finished_and_no_new_call_is_taken(node: Node) -> None:
    may_finish = threading.Event()

    def slow(connection: socket.socket, _: Received) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + CHUNK)
        may_finish.wait(20)
        connection.sendall(DONE)
        connection.shutdown(socket.SHUT_WR)

    node.upstream.script = slow
    process = node.gateway.process
    assert process is not None
    body = {"model": "m", "stream": True, "messages": []}
    headers = {"Host": HOST, "Authorization": f"Bearer {node.key}"}
    url = f"{node.gateway.url}/v1/chat/completions"
    with requests.post(url, json=body, headers=headers, stream=True, timeout=30) as answer:
        parts = answer.iter_content(None)
        received = next(parts)
        process.send_signal(signal.SIGQUIT)
        until(lambda: _refuses(node), "no new connection is taken")
        may_finish.set()
        received += b"".join(parts)
    assert received.endswith(DONE)
    assert process.wait(10) == 0


def _refuses(node: Node) -> bool:
    try:
        requests.get(f"{node.gateway.url}/livez", timeout=2)
    except requests.ConnectionError:
        return True
    return False
