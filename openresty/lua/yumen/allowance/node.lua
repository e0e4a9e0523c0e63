--- The allowance of this node: its shared memory, its Redis and its timers.
local allowance = require "yumen.allowance"
local clock = require "yumen.core.clock"
local ffi = require "ffi"
local keys = require "contract.keys"
local log = require "yumen.core.log"
local node = require "yumen.core.node"
local plans = require "yumen.allowance.plans"
local redis_client = require "yumen.core.redis"

local C = ffi.C
local exiting = ngx.worker.exiting
local match = string.match
local timer_at = ngx.timer.at

ffi.cdef "int kill(int pid, int signal);"

-- Together less than the time in which a request is decided.
local CONNECT_MS, COMMAND_MS = 30, 60
local TICK_SECONDS = 0.1
local BURY_TICKS = 10
local NO_SUCH_PROCESS = 3
local WORKERS = "workers"

local _M = {}

local dict = ngx.shared.yumen_allowance
local ours                             -- the core's allowance
local script, digest                   -- text of the script, its SHA-1
local run                              -- run_id of the Redis that this worker is connected to


--- Which run of Redis this is: what it counted before a restart may be less than the truth.
local function learn_run(redis)
    if redis:get_reused_times() > 0 and run then
        return true
    end
    local text, err = redis:info("server")
    run = text and match(text, "run_id:(%x+)")
    return run ~= nil, err
end


local function evaluate(redis, names, list)
    local arguments = { #names + 3, keys.allowance_born, keys.allowance_nodes,
                        keys.allowance_wanted }
    for _, name in ipairs(names) do
        arguments[#arguments + 1] = keys.allowance_counter .. name
    end
    for _, value in ipairs { "take", run, node.node, keys.wake } do
        arguments[#arguments + 1] = value
    end
    for _, value in ipairs(list) do
        arguments[#arguments + 1] = value
    end
    local answer, err = redis:evalsha(digest, unpack(arguments))
    if not answer and err and err:find("NOSCRIPT", 1, true) then
        answer, err = redis:eval(script, unpack(arguments))
    end
    return answer, err
end


--- Run the script. Returns its answer; or nil, when Redis did not say it in time.
local function call(names, list)
    local redis, err = redis_client.connect(node.redis, COMMAND_MS, CONNECT_MS)
    local known
    if redis then
        known, err = learn_run(redis)
    end
    local answer
    if known then
        answer, err = evaluate(redis, names, list)
    end
    if not answer then
        log.warn("limits: Redis does not answer: ", err)
        if redis then
            redis:close()
        end
        return nil
    end
    redis_client.release(redis)
    return answer
end


local function is_dead(pid)
    return C.kill(pid, 0) ~= 0 and ffi.errno() == NO_SUCH_PROCESS
end


--- Take over what dead workers held.
local function bury()
    local alive = ""
    local text = dict:get(WORKERS) or ""
    for pid in text:gmatch("%d+") do
        if is_dead(tonumber(pid)) then
            ours:bury("c" .. pid .. ":", dict:get_keys(0))
        else
            alive = alive .. pid .. " "
        end
    end
    -- A worker that came meanwhile says itself again.
    if alive ~= text then
        dict:set(WORKERS, alive)
    end
end


local function say_alive()
    local text, own = dict:get(WORKERS) or "", ngx.worker.pid() .. " "
    if not (" " .. text):find(" " .. own, 1, true) then
        dict:set(WORKERS, text .. own)
    end
end


local function session()
    for turn = 1, 100 do
        if exiting() then
            return
        end
        ours:tick()
        say_alive()
        if ngx.worker.id() == 0 and turn % BURY_TICKS == 0 then
            bury()
        end
        ngx.sleep(TICK_SECONDS)
    end
end


local function run_timer(premature)
    if premature or exiting() then
        return
    end
    local ok, err = pcall(session)
    if not ok then
        log.error("limits: ", err)
    end
    timer_at(ok and 0 or TICK_SECONDS, run_timer)
end


--- In nginx's master: read the script.
function _M.init()
    local file = assert(io.open(package.searchpath("yumen.scripts.allowance", package.path), "rb"))
    script = file:read("*a")
    file:close()
    digest = ngx.sha1_bin(script):gsub(".", function(byte)
        return ("%02x"):format(byte:byte())
    end)
end


--- In each worker.
function _M.init_worker()
    ours = allowance.new(setmetatable({
        store = dict, call = call, clock = clock.steady_millis, wait = ngx.sleep,
        worker = "c" .. ngx.worker.pid() .. ":",
    }, { __index = allowance }))
    say_alive()
    timer_at(0, run_timer)
end


--- The counters of a request.
function _M.plan(ctx)
    return plans.of(ctx, ngx.md5_bin)
end


--- What a request that is expected to use so many tokens takes of a counter.
_M.cost = allowance.cost


--- See `allowance.take`.
function _M.take(plan, tokens)
    return ours:take(plan, tokens)
end


--- See `allowance.settle`.
function _M.settle(holding, tokens, unused)
    ours:settle(holding, tokens, unused)
end


--- See `allowance.figures`.
function _M.figures()
    return ours:figures()
end


--- Milliseconds of the clock by which counters tell when they begin anew.
_M.now = clock.steady_millis


return _M
