"""What a scrape of a node that knows 10,000 services and tenants costs those who call meanwhile.

One nginx worker has called 5,000 upstreams for 5,000 tenants. A client asks it for something small
again and again, first alone, then while another one reads `/metrics` all the time.
"""

import http.client
import socket
import threading
import time
import uuid
from typing import Any

from tests.bench.report import Figure, console, percentile, table
from tests.gateway import NginxServer, new_key
from tests.route_documents import route_document, upstream_document
from tests.servers import RedisServer
from tests.stack import free_port, until

TENANTS, SECONDS = 5000, 5.0
PAUSE_SECONDS = 0.001
MOST_WAIT_MS = 50
MEMORY = {
    "YUMEN_GATEWAY_COUNTED_SERVICES": str(TENANTS),
    "YUMEN_GATEWAY_COUNTED_TENANTS": str(TENANTS),
    "YUMEN_GATEWAY_CONFIG_MEMORY_MB": "128",
}


def bench(size: float) -> list[Figure]:
    """Return how long callers wait, with and without somebody who reads the metrics."""
    tenants, port = max(10, round(TENANTS * size)), free_port()
    environment = MEMORY | {"YUMEN_METRICS_GATEWAY_PORT": str(port)}
    with RedisServer() as redis, NginxServer(redis.url, {}, environment=environment) as node:
        keys = serve(node, tenants)
        call_all(node, keys)
        counted = f'yumen_calls_total{{service="{service(tenants - 1)}"'.encode()
        until(lambda: counted in scrape(port)[0], "all are counted", 30)
        alone = waits(node, SECONDS * size)
        scrapes: list[tuple[float, int, int]] = []
        stop = threading.Event()
        reader = threading.Thread(target=read_on, args=(port, stop, scrapes))
        reader.start()
        beside = waits(node, SECONDS * size)
        stop.set()
        reader.join()
    seconds, lines, length = scrapes[-1]
    shown = table("Waiting for an answer", "<while", "p50", "p99", "longest")
    for name, found in (("nobody reads metrics", alone), ("somebody always does", beside)):
        shown.add_row(
            name, *(f"{percentile(found, share) * 1000:.2f} ms" for share in (0.5, 0.99, 1))
        )
    console.print(shown)
    console.print(f"{len(scrapes)} scrapes of {lines:,} lines, {length / 2**20:.1f} MB each")
    return [
        Figure(f"metrics: scrape of {2 * tenants:,} services and tenants", seconds, "s"),
        Figure(
            "metrics: wait for an answer meanwhile, p99",
            percentile(beside, 0.99) * 1000,
            "ms",
            most=MOST_WAIT_MS,
        ),
    ]


def name_of(kind: str, number: int) -> str:
    """Return the id of one of the things that are served."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind} {number}"))


def service(number: int) -> str:
    """Return the service key of a tenant's upstream."""
    return f"upstream:{name_of('upstream', number)}"


def serve(node: NginxServer, tenants: int) -> list[str]:
    """Publish *tenants* tenants, each with an upstream where nobody listens; return their keys."""
    documents: dict[str, dict[str, Any]] = {
        section: {} for section in ("hosts", "tenants", "routes", "upstreams", "credentials")
    }
    keys, nobody = [], free_port()
    for number in range(tenants):
        tenant, upstream = name_of("tenant", number), name_of("upstream", number)
        key_id, key = new_key()
        keys.append(key)
        documents["hosts"][f"host-{number}.test"] = {"tenant": tenant}
        documents["tenants"][tenant] = {"status": "active", "models": {}}
        documents["routes"][tenant] = {"routes": [route_document(f"r{number}", upstream)]}
        documents["upstreams"][upstream] = upstream_document(nobody)
        documents["credentials"][key_id] = node.credential(tenant, key)
    node.publish(documents)
    return keys


def call_all(node: NginxServer, keys: list[str]) -> None:
    """Call each tenant's upstream once."""
    connection = http.client.HTTPConnection("127.0.0.1", node.settings.gateway.port, timeout=20)
    for number, key in enumerate(keys):
        headers = {"Host": f"host-{number}.test", "Authorization": f"Bearer {key}"}
        connection.request("GET", "/", headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 502:
            raise RuntimeError(f"call {number} was answered with {answer.status}")
    connection.close()


def waits(node: NginxServer, seconds: float) -> list[float]:
    """Return how long each of many small requests took, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", node.settings.gateway.port, timeout=20)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found: list[float] = []
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        began = time.monotonic()
        connection.request("GET", "/livez")
        connection.getresponse().read()
        found.append(time.monotonic() - began)
        time.sleep(PAUSE_SECONDS)
    connection.close()
    return found


def scrape(port: int) -> tuple[bytes, float]:
    """Return the metrics, and how long they took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    began = time.monotonic()
    connection.request("GET", "/metrics")
    body = connection.getresponse().read()
    connection.close()
    return body, time.monotonic() - began


def read_on(port: int, stop: threading.Event, scrapes: list[tuple[float, int, int]]) -> None:
    """Read the metrics until *stop*; note the seconds, lines and bytes of each time."""
    while not stop.is_set():
        body, seconds = scrape(port)
        scrapes.append((seconds, body.count(b"\n"), len(body)))
