"""Gateway nodes that are nothing but the core of the allowance, each in a LuaJIT of its own."""

from collections.abc import Callable
from typing import Any

import redis

from control_plane.contract import keys
from control_plane.core.root import project_root
from tests.property.lua_runtime import lua_module

SCRIPT = (project_root() / "openresty/lua/yumen/scripts/allowance.lua").read_text()

STORE = b"""
return function()
    local values = {}
    local store = {}
    function store:get(key) return values[key] end
    function store:set(key, value) values[key] = value return true end
    function store:add(key, value)
        if values[key] ~= nil then return nil, "exists" end
        values[key] = value
        return true
    end
    function store:incr(key, by, init)
        if values[key] == nil then
            if init == nil then return nil, "not found" end
            values[key] = init
        end
        values[key] = values[key] + by
        return values[key]
    end
    function store:delete(key) values[key] = nil end
    function store:keys()
        local keys = {}
        for key in pairs(values) do keys[#keys + 1] = key end
        return keys
    end
    return store
end
"""

MAKE = b"""
return function(core, counter, store, call, clock, worker, late)
    local node = setmetatable({
        store = store, clock = clock, worker = worker, wait = function() store:delete(late) end,
        call = function(names, list)
            local answer = call(table.concat(names, "\\0"), table.concat(list, "\\0"))
            if not answer then return nil end
            local numbers = {}
            for text in answer:gmatch("%S+") do numbers[#numbers + 1] = tonumber(text) end
            return numbers
        end,
    }, { __index = core })
    core.new(node)
    local counters, plans = {}, {}
    local face = {}
    -- One rule as its fields; `index` tells which of the plan it is.
    function face.rule(index, name, meter, limit, window, burst, mode)
        counters[index] = counter.new({
            id = name, name = name, meter = meter, limit = limit, onOutage = mode,
            window = window ~= "" and window or nil, burst = burst >= 0 and burst or nil,
        }, name, name)
    end
    function face.forget()
        for index = #counters, 1, -1 do counters[index] = nil end
    end
    function face.take(tokens)
        local holding, refused, ms = node:take(counters, tokens)
        if holding then return holding end
        return false, refused.name, ms or -1
    end
    function face.settle(holding, tokens, unused)
        node:settle(holding, tokens >= 0 and tokens or nil, unused)
    end
    function face.tick() node:tick() end
    function face.bury(dead) node:bury(dead, store:keys()) end
    function face.unchecked() return store:get("unchecked") or 0 end
    function face.calls() return store:get("calls") or 0 end
    return face
end
"""


class Fleet:
    """What the nodes share: a Redis and the time.

    `now` is the milliseconds of every node's steady clock. The script's TIME is replaced by what
    stands in a key, so that a test moves the time of Redis as it moves that of the nodes.
    """

    def __init__(self, client: redis.Redis, script: str = SCRIPT) -> None:
        self.client = client
        clock = 'redis.call("GET", "test:now")'
        assert script.count('call("TIME")') == 1
        self.script = script.replace(
            'local time = call("TIME")',
            f"local ms = tonumber({clock})"
            " local time = { math.floor(ms / 1000), ms % 1000 * 1000 }",
        )
        self.run = "run-1"
        self.is_up = True
        self.loses_replies = False
        self.delay = 0
        self.now = 0
        self.move(1_800_000_000_000)

    def move(self, now: int) -> None:
        """Let Redis have this time, in milliseconds."""
        self.redis_now = now
        if self.is_up:
            self.client.set("test:now", now)

    def pass_time(self, milliseconds: int) -> None:
        """Let time go by, for everybody."""
        self.now += milliseconds
        self.move(self.redis_now + milliseconds)

    def wipe(self, restart: bool) -> None:
        """Let Redis lose everything; with *restart* as another run."""
        self.client.flushall()
        if restart:
            self.run += "x"
        self.move(self.redis_now)

    def trust(self) -> None:
        """Let counters be whole for every window."""
        self.client.hset(keys.ALLOWANCE_BORN, mapping={"run": self.run, "at": 1})

    def call(self, node: str, names: bytes, arguments: bytes) -> bytes | None:
        """Run the script for a node; None when Redis does not answer."""
        if not self.is_up:
            return None
        self.pass_time(self.delay)
        shared = (keys.ALLOWANCE_BORN, keys.ALLOWANCE_NODES, keys.ALLOWANCE_WANTED)
        counters = [keys.ALLOWANCE_COUNTER.encode() + n for n in names.split(b"\0") if n]
        listed = [*shared, *counters]
        values = ["take", self.run, node, keys.WAKE, *(arguments.split(b"\0") if arguments else [])]
        answer = self.client.eval(self.script, len(listed), *listed, *values)
        self.pass_time(self.delay)
        if self.loses_replies:
            return None
        return b" ".join(b"%d" % value for value in answer)


class Node:
    """One gateway node; `worker` tells its processes apart."""

    def __init__(
        self, fleet: Fleet, name: str, mutate: Callable[[bytes, bytes], bytes] | None = None
    ) -> None:
        self.fleet = fleet
        self.name = name
        self.lua, self._core = self._load(mutate)
        self._counter = self.lua.eval(b'require "yumen.allowance.counter"')
        self._store = self.lua.execute(STORE)()
        self.rules: list[tuple[Any, ...]] = []
        self.restart_worker(b"c1:")

    def _load(self, mutate: Callable[[bytes, bytes], bytes] | None) -> tuple[Any, Any]:
        if mutate is None:
            return lua_module("yumen.allowance")
        lua, _ = lua_module("yumen.allowance.counter")
        loaded = lua.globals()[b"package"][b"loaded"]
        for name in (b"yumen.allowance.counter", b"yumen.allowance"):
            path = project_root() / "openresty/lua" / (name.decode().replace(".", "/") + ".lua")
            loaded[name] = lua.execute(mutate(name, path.read_bytes()))
        return lua, loaded[b"yumen.allowance"]

    def restart_worker(self, worker: bytes) -> None:
        """Go on with another process of this node, on the same shared memory."""
        self.worker = worker
        call = lambda names, arguments: self.fleet.call(self.name, names, arguments)  # noqa: E731
        clock = lambda: self.fleet.now  # noqa: E731
        make = self.lua.execute(MAKE)
        self.face = make(self._core, self._counter, self._store, call, clock, worker, b"")
        self.limit(*self.rules)

    def limit(self, *rules: tuple[Any, ...]) -> None:
        """Obey these: (name, meter, limit, window or "", burst or -1, onOutage)."""
        self.rules = list(rules)
        self.face[b"forget"]()
        for index, (name, meter, limit, window, burst, mode) in enumerate(rules, 1):
            texts = (name.encode(), meter.encode(), limit, window.encode(), burst, mode.encode())
            self.face[b"rule"](index, *texts)

    def take(self, tokens: int = 0) -> Any:
        """Return a holding, or None for a refused request."""
        taken = self.face[b"take"](tokens)
        return None if isinstance(taken, tuple) else taken

    def settle(self, holding: Any, tokens: int = -1, unused: bool = False) -> None:
        """End a request: what it used, -1 for unknown."""
        self.face[b"settle"](holding, tokens, unused)

    def tick(self) -> None:
        """Do what a worker does now and then."""
        self.face[b"tick"]()

    def unchecked(self) -> int:
        """What was let pass without Redis."""
        return int(self.face[b"unchecked"]())

    def calls(self) -> int:
        """How often Redis was asked."""
        return int(self.face[b"calls"]())
