"""The servers of the bench: an upstream that answers at once, and bare nginx in front of it."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from control_plane.gateway import nginx_binary
from control_plane.gateway.nginx import lua_modules
from tests.stack import children, free_port, until

# 500 bytes, as a chat completion with its usage.
ANSWER = (
    '{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"bench",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"' + "x" * 182 + '"},'
    '"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":210,"completion_tokens":48,'
    '"total_tokens":258,"prompt_tokens_details":{"cached_tokens":0},'
    '"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":null}'
)
EVENT = (
    'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,'
    '"model":"bench","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}'
    "\\n\\n"
)
USAGE_EVENT = (
    'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,'
    '"model":"bench","choices":[],"usage":{"prompt_tokens":210,"completion_tokens":20}}\\n\\n'
)
EVENTS = 20
PACED_PATH, CHUNKS = "/paced/v1", 12

COMMON = """
{modules}
user root;
daemon off;
pid nginx.pid;
error_log error.log warn;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log {access_log};
    client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u;
    scgi_temp_path s;
    client_body_buffer_size 256k;
    keepalive_requests 1000000;
    tcp_nodelay on;
    {http}
}}
"""

# A stream's events are written one by one, each flushed, as a model makes them.
UPSTREAM = """
    init_by_lua_block {{
        require("ffi").cdef [[
            struct timespec {{ long tv_sec; long tv_nsec; }};
            int clock_gettime(int clock, struct timespec *now);
        ]]
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type application/json; return 200 '{answer}'; }}
        location = /count {{ stub_status; }}
        location /v1/completions {{
            default_type text/event-stream;
            content_by_lua_block {{
                ngx.req.read_body()
                for _ = 1, {events} do
                    ngx.print('{event}')
                    ngx.flush(true)
                end
                ngx.print('{usage_event}data: [DONE]\\n\\n')
            }}
        }}
        location {paced}/ {{
            default_type text/event-stream;
            content_by_lua_block {{
                local ffi = require "ffi"
                local now = ffi.new("struct timespec")
                ngx.req.read_body()
                for _ = 1, {chunks} do
                    ngx.sleep(0.25 + math.random() * 0.5)
                    ffi.C.clock_gettime(1, now)
                    local sent = tonumber(now.tv_sec) * 1e6
                        + math.floor(tonumber(now.tv_nsec) / 1e3)
                    ngx.print(string.format('data: {{"sent":%.0f,"object":"chat.completion.chunk",'
                        .. '"choices":[{{"delta":{{"content":" word"}}}}]}}\\n\\n', sent))
                    ngx.flush(true)
                end
                ngx.print('data: [DONE]\\n\\n')
            }}
        }}
    }}
"""

BARE = """
    upstream bench {{
        server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://bench;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
"""


@dataclass
class Server:
    """A running nginx: its port and the process id of its one worker."""

    port: int
    worker: int


@contextmanager
def _nginx(http: str, port: int, modules: str = "", access_log: str = "off") -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="ym") as folder:
        text = COMMON.format(http=http, modules=modules, access_log=access_log)
        (Path(folder) / "nginx.conf").write_text(text)
        command = [nginx_binary(), "-p", folder, "-c", "nginx.conf", "-e", "error.log"]
        # A session of its own, as the gateway has: Linux shares the CPU out by sessions first.
        process = subprocess.Popen(command, start_new_session=True)
        try:
            workers = until(lambda: children(process.pid), "nginx forks its worker", 10)
            yield Server(port, workers[0])
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def upstream() -> Iterator[Server]:
    """Run the upstream."""
    port = free_port()
    modules = "\n".join(f"load_module {path};" for path in lua_modules(nginx_binary()))
    http = UPSTREAM.format(
        port=port,
        answer=ANSWER,
        event=EVENT,
        usage_event=USAGE_EVENT,
        events=EVENTS,
        paced=PACED_PATH,
        chunks=CHUNKS,
    )
    with _nginx(http, port, modules) as server:
        yield server


@contextmanager
def bare(upstream_port: int) -> Iterator[Server]:
    """Run nginx with nothing but `proxy_pass`, kept connections and its own access log."""
    port = free_port()
    access_log = "access.log combined buffer=64k flush=1s"
    http = BARE.format(port=port, upstream=upstream_port)
    with _nginx(http, port, access_log=access_log) as server:
        yield server
