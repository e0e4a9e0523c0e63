"""Spends one limit inside eight gateway nodes, faster than anybody could ask them over HTTP.

Each is a whole node with its own memory and the same Redis; a location that only the bench gives it
calls the allowance in a loop.
"""

import re
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from control_plane.gateway import render
from tests.gateway import NginxServer
from tests.stack import free_port

# Several threads ask, as requests do: while one waits for Redis, the others go on.
LOOP = """
    server {
        listen 127.0.0.1:%d;
        location = / {
            content_by_lua_block {
                local allowance = require "yumen.allowance.node"
                local config = require "yumen.config"
                local pace, ms = tonumber(ngx.var.arg_pace), ngx.var.arg_seconds * 1000
                local plan = allowance.plan {
                    tenant = config.get("tenants", ngx.var.arg_tenant),
                    route = { endpoint = "/bench" },
                }
                local threads, at_once, asked, passed = {}, 4, 0, 0
                local began = allowance.now()

                local function spend()
                    while true do
                        local elapsed = math.min(ms, allowance.now() - began)
                        local due = math.min(asked + 500, math.floor(elapsed * pace / 1000))
                        while asked < due do
                            asked = asked + 1
                            local holding = allowance.take(plan, 0)
                            if holding then
                                passed = passed + 1
                                allowance.settle(holding)
                            end
                        end
                        if elapsed == ms then
                            return
                        end
                        ngx.sleep(0.001)
                    end
                end

                for i = 1, at_once do
                    threads[i] = ngx.thread.spawn(spend)
                end
                for i = 1, at_once do
                    assert(ngx.thread.wait(threads[i]))
                end
                ngx.say(asked, " ", passed)
            }
        }
    }
"""


@dataclass(frozen=True)
class Spent:
    """How often a node asked, and how often it was let pass."""

    asked: int
    passed: int


class LoopNode(NginxServer):
    """A gateway node with the location that spends."""

    loop_port = 0

    def start(self) -> None:
        """Render nginx's configuration, add the location, start."""
        render(self.settings)
        self.loop_port = free_port()
        file = self.prefix / "nginx.conf"
        text, end = re.subn(r"\}\s*\Z", LOOP % self.loop_port + "}\n", file.read_text())
        assert end == 1
        file.write_text(text)
        self.start_rendered()

    def spend(self, tenant: str, pace: float, seconds: float) -> Spent:
        """Take of the tenant's limits *pace* times a second."""
        url = f"http://127.0.0.1:{self.loop_port}/?tenant={tenant}&pace={pace}&seconds={seconds}"
        with urllib.request.urlopen(url, timeout=seconds + 60) as answer:
            asked, passed = answer.read().split()
        return Spent(int(asked), int(passed))


def spend_together(
    nodes: Sequence[LoopNode], tenant: str, paces: Sequence[float], seconds: float
) -> Spent:
    """Let all nodes spend at the same time, each at its pace; return the sum."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        running = [
            pool.submit(node.spend, tenant, pace, seconds)
            for node, pace in zip(nodes, paces, strict=True)
        ]
        found = [each.result() for each in running]
    return Spent(sum(each.asked for each in found), sum(each.passed for each in found))
