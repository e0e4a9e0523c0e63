--- Worker 0 reports to Redis which revision all workers of this node hold, and what was refused.
local clock = require "yumen.core.clock"
local documents = require "yumen.documents"
local json = require "yumen.core.json"
local keys = require "contract.keys"
local log = require "yumen.core.log"
local node = require "yumen.core.node"
local redis_session = require "yumen.core.redis_session"
local semaphore = require "ngx.semaphore"
local shm = require "yumen.core.shm"
local state = require "yumen.core.state"
local telemetry = require "yumen.telemetry.node"

local sleep = ngx.sleep

local EVERY_SECONDS = 1
local FACTS_MS = 900                   -- at least, also when something changes more often
local AGREE_SECONDS = 0.003
local MOST_WAITS = 300                 -- for workers that are behind, so a second

local STATUS = '{"node":"%s","epoch":%d,"revision":%d,"refusals":%s,"moreRefusals":%s,'
    .. '"memoryBytes":%d,"memoryFreeBytes":%d,"workers":%s,"seenAt":%d,"contract":%d}'

local _M = {}

local changed = semaphore.new()
local facts = {}                       -- name -> function
local facts_at = 0


--- Say something of this node each second, as the field `name` of its hash in Redis.
-- @param name  of the field, such as "breakers"; one that is there already is replaced
-- @param fn    returns a table, or its JSON; nil is nothing to say. It may yield. The worker that
--              reports calls it, worker 0.
function _M.add(name, fn)
    facts[name] = fn
end


--- What `name` says now; nil when nobody added it or it failed.
function _M.fact(name)
    local fn = facts[name]
    if not fn then
        return nil
    end
    local ok, said = pcall(fn)
    if not ok then
        log.error("node status: ", name, ": ", said)
        return nil
    end
    return said
end


--- name -> JSON, of all that has something to say.
local function gather_facts()
    local said = {}
    for name in pairs(facts) do
        local fact = _M.fact(name)
        said[name] = type(fact) == "table" and json.encode(fact) or fact
    end
    return said
end


local function report(redis)
    local workers = state.workers()
    local refusals, more = state.refusals()
    local capacity, free = shm.memory()
    local now = clock.millis()
    local status = STATUS:format(node.node, workers.epoch, workers.number,
                                 json.encode_list(refusals), tostring(more), capacity, free,
                                 json.encode_list(workers.pids), now, documents.contract)
    local said = now - facts_at >= FACTS_MS and gather_facts() or nil
    redis:init_pipeline()
    redis:hset(keys.node .. node.node, "status", status)
    if said then
        facts_at = now
        for name in pairs(facts) do
            if said[name] then
                redis:hset(keys.node .. node.node, name, said[name])
            else
                redis:hdel(keys.node .. node.node, name)
            end
        end
    end
    redis:zadd(keys.nodes, now, node.node)
    assert(redis:commit_pipeline())
end


--- After a change, the others hold it some milliseconds later; then it is worth saying.
local function wait_for_agreement()
    for _ = 1, MOST_WAITS do
        if state.workers().agreed then
            return
        end
        sleep(AGREE_SECONDS)
    end
end


local function turn(redis)
    report(redis)
    if changed:wait(EVERY_SECONDS) then
        wait_for_agreement()
    end
end


--- Report now; what this worker holds has changed.
function _M.wake()
    if changed:count() < 1 then
        changed:post()
    end
end


--- Start reporting; one worker does.
function _M.start()
    _M.add("services", telemetry.snapshot)
    redis_session.keep("node status", nil, nil, turn)
end


return _M
