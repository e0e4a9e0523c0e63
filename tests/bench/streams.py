"""How long a chunk of a stream is under way while five hundred streams are open, beside bare nginx.

Each chunk says when the upstream sent it, by a clock that both sides read. The same streams go
through bare nginx and through the gateway in turn, and each pair of rounds is compared by itself.
"""

import asyncio
import json
import os
import statistics
import time

from tests.bench.documents import tenant_documents
from tests.bench.measure import BenchError, Load
from tests.bench.report import Figure, console, percentile, table
from tests.bench.servers import CHUNKS, PACED_PATH, Server, bare, upstream
from tests.gateway import NginxServer
from tests.servers import RedisServer

GATEWAY_CORE, LOAD_CORE = 0, 1
HOST = "streams.bench.test"
STREAMS, ROUNDS = 500, 5
MOST_MS = 1.0
SENT = b'data: {"sent":'


def bench(size: float) -> list[Figure]:
    """Return how much later than behind bare nginx a chunk comes, at p99."""
    streams = max(20, round(STREAMS * size))
    with upstream() as origin, bare(origin.port) as plain, RedisServer() as redis:
        node = NginxServer(redis.url, environment={"YUMEN_JOURNAL_SEGMENT_MB": "64"})
        node.documents, key = tenant_documents(node, HOST, origin.port)
        for model in node.documents["models"].values():
            model["endpoint"]["path"] = PACED_PATH
        body = json.dumps({"model": "bench", "prompt": "", "stream": True})
        with node:
            ours = Server(node.settings.gateway.port, node.workers()[0])
            os.sched_setaffinity(origin.worker, {LOAD_CORE})
            for server in (plain, ours):
                os.sched_setaffinity(server.worker, {GATEWAY_CORE})
            turns = {
                "bare nginx": (plain.port, Load(f"{PACED_PATH}/completions", body, HOST, key)),
                "yumen": (ours.port, Load("/v1/completions", body, HOST, key)),
            }
            delays = compare(turns, streams)
    shown = table(f"Chunks of {streams} open streams", "<server", "p50", "p99", "worst p99")
    for name, rounds in delays.items():
        p99s = [percentile(times, 0.99) for times in rounds]
        middle = statistics.median(percentile(times, 0.5) for times in rounds)
        numbers = (middle, statistics.median(p99s), max(p99s))
        shown.add_row(name, *(f"{number:.2f} ms" for number in numbers))
    console.print(shown)
    added = statistics.median(
        percentile(ours, 0.99) - percentile(plain, 0.99)
        for plain, ours in zip(delays["bare nginx"], delays["yumen"], strict=True)
    )
    what = f"chunk delay, p99, beyond bare, {streams} open streams, median of pairs"
    return [Figure(what, added, "ms", most=MOST_MS)]


def compare(turns: dict[str, tuple[int, Load]], streams: int) -> dict[str, list[list[float]]]:
    """Read the streams of each server in turn; return the chunks' milliseconds of each round."""
    delays: dict[str, list[list[float]]] = {name: [] for name in turns}
    for _ in range(ROUNDS):
        for name, (port, load) in turns.items():
            delays[name].append(asyncio.run(read_all(port, load, streams)))
    return delays


async def read_all(port: int, load: Load, streams: int) -> list[float]:
    """Read so many streams at once; return how long each chunk was under way, in milliseconds."""
    found = await asyncio.gather(*(read(port, load) for _ in range(streams)))
    return [each for times in found for each in times]


async def read(port: int, load: Load) -> list[float]:
    """Read one stream to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{name}: {value}" for name, value in load.headers.items()]
    head = [f"POST {load.path} HTTP/1.1", *lines, f"Content-Length: {len(load.body)}"]
    writer.write("\r\n".join([*head, "Connection: close", "", load.body]).encode())
    times = []
    while line := await reader.readline():
        if line.startswith(SENT):
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) / 1000
            times.append((now - int(line[len(SENT) :].split(b",", 1)[0])) / 1000)
    writer.close()
    if len(times) != CHUNKS:
        raise BenchError(f"A stream had {len(times)} chunks, not {CHUNKS}.")
    return times
