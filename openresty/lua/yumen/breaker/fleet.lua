--- What the nodes tell each other of a breaker, as the signal `breaker/<id>`: its value is
-- {status, attempts, reason}. While it says `halfOpen`, the node that published it tries the
-- service for all.
local clock = require "yumen.core.clock"
local core = require "yumen.breaker"
local keys = require "contract.keys"
local log = require "yumen.core.log"
local node = require "yumen.core.node"
local redis_client = require "yumen.core.redis"
local signals = require "yumen.signals"
local states = require "yumen.breaker.state"

local millis = clock.monotonic_millis
local pcall = pcall
local timer_at = ngx.timer.at

local numbers = ngx.shared.yumen_breaker_counts

local KIND = "breaker"
local ASK_MS = 100                  -- to connect, and for Redis to answer, while a call waits
local ASK_SECONDS = 1               -- a worker that was killed while it asked is not waited for
local MOST_WAITING = 1000
local MOST_EVENTS = 10000

local _M = { WAIT_MS = 1000 }

local waiting, is_sending = {}, false


local function value_of(state)
    return { status = state.status, attempts = state.attempts, reason = state.reason }
end


--- Add a change of this node's breaker to what is waiting to be sent, and send it from a timer.
local function enqueue(item)
    if #waiting >= MOST_WAITING then
        return
    end
    waiting[#waiting + 1] = item
    if not is_sending then
        is_sending = timer_at(0, _M.send) == true
    end
end


--- Follow what another node, or this one before it was started anew, has said.
function _M.follow(breaker, signal, seconds)
    local value = signal.value
    local new = core.follow(breaker, millis(), value.status or states.CLOSED, seconds,
                            value.attempts or 0, value.reason or "", signal.generation,
                            signal.by == node.node)
    if new then
        enqueue { breaker = breaker, state = new, by = signal.by }
    end
end


--- Publish a change; what stands there instead is followed.
local function publish(redis, breaker, state)
    local now = millis()
    local seconds = state.status == states.OPEN and (state.ends - now) / 1000 or 0
    if state.status == states.OPEN and seconds <= 0 then
        return
    end
    local done, signal, holds = signals.publish_on(redis, KIND, breaker.id, value_of(state),
                                                   seconds, state.fleet)
    if done then
        core.confirm(breaker, millis(), state.generation, signal.generation)
    else
        _M.follow(breaker, signal, holds)
    end
end


local function tell(redis, item)
    local state = item.state
    if not item.by then
        publish(redis, item.breaker, state)
    end
    assert(redis:xadd(keys.node_events, "MAXLEN", "~", MOST_EVENTS, "*", "node", node.node,
                      "kind", KIND, "id", item.breaker.id, "status", state.status,
                      "reason", state.reason, "by", item.by or node.node,
                      "at", ("%.0f"):format(clock.millis())))
end


local function send_all(redis)
    while waiting[1] do
        local items = waiting
        waiting = {}
        for _, item in ipairs(items) do
            tell(redis, item)
        end
    end
end


--- In a timer: tell what is waiting. What cannot be told is left out: the breaker holds on this
-- node all the same, and the others learn of the service by themselves.
function _M.send()
    local redis, err = redis_client.connect(node.redis)
    local ok = redis ~= nil
    if redis then
        ok, err = pcall(send_all, redis)
        if ok then
            redis_client.release(redis)
        else
            redis:close()
        end
    end
    if not ok then
        waiting = {}
        log.warn("breakers: not told to the fleet: ", err)
    end
    is_sending = false
    if waiting[1] then
        is_sending = timer_at(0, _M.send) == true
    end
end


--- A change that this node has decided.
function _M.announce(breaker, state)
    log.warn("breaker ", breaker.id, " is ", state.status, ": ", state.reason)
    enqueue { breaker = breaker, state = state }
end


--- Ask Redis for the one trial of the fleet.
-- @return  whether it was given; nil when nobody could be asked; the signal; for how long it holds
local function lease(breaker, state)
    local redis = redis_client.connect(node.redis, ASK_MS, ASK_MS)
    if not redis then
        return nil
    end
    local value = value_of(state)
    value.status = states.HALF_OPEN
    local ok, done, signal, holds = pcall(signals.publish_on, redis, KIND, breaker.id, value,
                                          breaker.trial / 1000, state.fleet)
    if not ok then
        redis:close()
        return nil
    end
    redis_client.release(redis)
    return done, signal, holds
end


--- Try a service whose breaker was open for long enough: one call of the node asks for the fleet's
-- trial and waits. When Redis is away, each node tries by itself.
-- @return  whether a trial has begun
function _M.ask(breaker)
    local asking = breaker.id .. "/ask"
    if not numbers:add(asking, true, ASK_SECONDS) then
        return false
    end
    local now = millis()
    local state = core.state_of(breaker)
    local done, signal, holds = lease(breaker, state)
    local new
    if done then
        new = core.try(breaker, now, signal.generation, signal.generation)
    elseif done == nil then
        new = core.try(breaker, now, now)
    else
        _M.follow(breaker, signal, holds)
    end
    numbers:delete(asking)
    if new and new.generation ~= state.generation then
        log.warn("breaker ", breaker.id, " is tried")
        enqueue { breaker = breaker, state = new, by = node.node }
    end
    return new ~= nil
end


return _M
