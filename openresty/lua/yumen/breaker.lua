--- A circuit breaker: when calls of a service that fails are no longer made, and when it is tried
-- again. Pure: what the workers share, the time and the chance are handed in.
--
-- Closed, it counts calls by the second, and opens when too many of them fail or are slow. Open, it
-- lets none through, each time in a row twice as long. Then it is tried: whoever asks for the trial
-- gets a lease of a few permits, and when so many calls succeed it is closed. A permit that does
-- not come back, because its worker was killed, ends with the lease.
local states = require "yumen.breaker.state"
local windows = require "yumen.breaker.window"

local ceil = math.ceil
local max, min = math.max, math.min

local CLOSED, OPEN, HALF_OPEN = states.CLOSED, states.OPEN, states.HALF_OPEN
local MOST_DOUBLINGS = 20
local JITTER = 0.2
local MEMORY_SECONDS = 3600         -- how long what is over is known
local TRIAL_MARGIN_MS = 5000        -- a trial may last as long as the breaker was open, and this
local UNDECIDED_MS = 1000           -- whoever gets no permit waits so long for the trial's end
local MOST_TRIES = 1000             -- for a lock that is held for microseconds

local _M = {}


--- A worker's view of a breaker.
-- @param rule   the breaker in its document
-- @param store  read(id) and write(id, text, seconds), the text of its state, read by every call;
--               get(key), incr(key, by, seconds) and delete(key), numbers that are gone after the
--               seconds from their first addition; lock(key) and unlock(key); chance(), 0 to 1
function _M.new(rule, store)
    local reset = rule.resetTimeout * 1000
    return {
        id = rule.id,
        rule = rule,
        store = store,
        reset = reset,
        longest = max(reset, rule.maxResetTimeout * 1000),
        trial = reset + TRIAL_MARGIN_MS,
        permits = rule.halfOpenPermits,
        window = windows.new(rule.id, rule.windowSeconds),
        text = nil,
        state = nil,               -- what `text` says
    }
end


local function load(breaker, text)
    local state = states.decode(text)
    breaker.text, breaker.state = text, state
    local id = breaker.id
    state.row = id .. "/r" .. state.generation
    state.successes = id .. "/s" .. state.generation
    state.taken = id .. "/t" .. state.generation .. "/" .. state.lease
    return state
end


--- What it is now. The table is the same until it changes.
local function state_of(breaker)
    local text = breaker.store.read(breaker.id)
    local state = breaker.state
    if state and text == breaker.text then
        return state
    end
    return load(breaker, text)
end
_M.state_of = state_of


--- Put another state in the place of one of this generation.
-- @return  the new state; nil when somebody was first
local function replace(breaker, now, generation, new)
    local store, lock = breaker.store, breaker.id .. "/lock"
    local tries = 0
    while not store.lock(lock) do
        tries = tries + 1
        if tries == MOST_TRIES then
            return nil
        end
    end
    local state
    if state_of(breaker).generation == generation then
        local seconds = max(0, ceil((new.ends - now) / 1000)) + MEMORY_SECONDS
        local text = states.encode(new)
        if store.write(breaker.id, text, seconds) then
            state = load(breaker, text)
        end
    end
    store.unlock(lock)
    return state
end


local function change(breaker, now, from, status, ends, attempts, lease, fleet, reason)
    local since = status == from.status and from.since or now
    return replace(breaker, now, from.generation,
                   states.new(status, from.generation + 1, ends, since, attempts, lease, fleet,
                              reason))
end


local function open(breaker, now, from, attempts, reason)
    local length = min(breaker.longest, breaker.reset * 2 ^ min(attempts, MOST_DOUBLINGS))
    length = length * (1 - JITTER + 2 * JITTER * breaker.store.chance())
    return change(breaker, now, from, OPEN, now + ceil(length), attempts, 0, from.fleet, reason)
end


--- May a call be made?
-- @return  the generation to report it under, and in a trial also its lease; or nil and the
--          milliseconds to wait, 0 when it is time to ask for a trial (`try`)
function _M.admit(breaker, now)
    local state = state_of(breaker)
    if state.status == CLOSED then
        return state.generation
    end
    local left = state.ends - now
    if left <= 0 then
        return nil, 0
    end
    if state.status == OPEN then
        return nil, left
    end
    local store = breaker.store
    if store.incr(state.taken, 1, ceil(left / 1000) + 1) > breaker.permits then
        store.incr(state.taken, -1, 1)
        return nil, min(left, UNDECIDED_MS)
    end
    return state.generation, state.lease
end


--- Begin a trial, or go on with one whose lease is over.
-- @param now    when the lease was asked for
-- @param lease  a number that no other lease of this breaker has
-- @param fleet  the generation of the signal that gives it; nil: nobody could be asked
-- @return       the state; nil when it is no longer to be tried
function _M.try(breaker, now, lease, fleet)
    local state = state_of(breaker)
    if state.status == CLOSED then
        return nil
    end
    fleet = fleet or state.fleet
    local ends = now + breaker.trial
    if state.status == OPEN then
        return change(breaker, now, state, HALF_OPEN, ends, state.attempts, lease, fleet,
                      state.reason)
    end
    return replace(breaker, now, state.generation,
                   states.new(HALF_OPEN, state.generation, ends, state.since, state.attempts,
                              lease, fleet, state.reason))
end


local function described(breaker, state, now, calls, failed)
    return failed .. " of " .. calls .. " calls failed in " .. breaker.rule.windowSeconds .. " s"
        .. windows.failures(breaker.window, breaker.store, state.generation, now)
end


--- Why it must be opened now, or nil.
local function judge(breaker, state, now, in_row)
    local rule = breaker.rule
    local calls, failed, slow = windows.sums(breaker.window, breaker.store, state.generation, now)
    if calls >= rule.minimumCalls then
        if failed > 0 and failed * 100 >= rule.failureThreshold * calls then
            return described(breaker, state, now, calls, failed)
        end
        if rule.slowCallMilliseconds and slow > 0
           and slow * 100 >= rule.slowCallThreshold * calls then
            return slow .. " of " .. calls .. " calls took longer than "
                .. rule.slowCallMilliseconds .. " ms in " .. rule.windowSeconds .. " s"
        end
    end
    if rule.consecutiveFailures and in_row >= rule.consecutiveFailures then
        return in_row .. " calls failed one after the other; "
            .. described(breaker, state, now, calls, failed)
    end
end


--- A call that began while it was closed is over. A success never opens it.
local function count(breaker, state, now, kind, is_slow)
    local store = breaker.store
    windows.count(breaker.window, store, state.generation, now, kind, is_slow)
    local in_row = 0
    if kind then
        in_row = store.incr(state.row, 1, MEMORY_SECONDS)
    else
        if store.get(state.row) then
            store.delete(state.row)
        end
        if not is_slow then
            return nil
        end
    end
    local reason = judge(breaker, state, now, in_row)
    if not reason then
        return nil
    end
    -- Opened again soon after it was closed: the same trouble, and it waits longer.
    local again = state.since > 0 and now - state.since < breaker.longest
    return open(breaker, now, state, again and state.attempts + 1 or 0, reason)
end


--- A call of a trial is over.
local function count_trial(breaker, state, now, kind, is_slow)
    if kind or is_slow then
        local reason = "a trial call " .. (kind == "timeout" and "timed out"
            or kind and "failed" or "was too slow")
        return open(breaker, now, state, state.attempts + 1, reason)
    end
    if breaker.store.incr(state.successes, 1, MEMORY_SECONDS) >= breaker.permits then
        local reason = breaker.permits .. " trial calls succeeded"
        return change(breaker, now, state, CLOSED, now, state.attempts, 0, state.fleet, reason)
    end
end


--- Tell how a call ended.
-- @param generation, lease  as `admit` gave them
-- @param outcome  "success"; "neutral", which says nothing of the service; or what failed:
--                 "timeout", "connect", "broken", "status"
-- @return         the new state when it changed by this
function _M.report(breaker, now, generation, lease, outcome, is_slow)
    local state = state_of(breaker)
    if state.generation ~= generation then
        return nil
    end
    local kind = outcome ~= "success" and outcome or nil
    if outcome == "neutral" then
        if lease and lease == state.lease then
            breaker.store.incr(state.taken, -1, 1)
        end
    elseif state.status == CLOSED then
        return count(breaker, state, now, kind, is_slow)
    else
        return count_trial(breaker, state, now, kind, is_slow)
    end
end


--- The fleet knows what this node has decided, under that generation of the signal.
function _M.confirm(breaker, now, generation, fleet)
    local state = state_of(breaker)
    if state.generation == generation then
        replace(breaker, now, generation,
                states.new(state.status, generation, state.ends, state.since, state.attempts,
                           state.lease, fleet, state.reason))
    end
end


--- Follow another node.
-- @param status   what it says: open, being tried (by itself), closed
-- @param seconds  how long that holds
-- @param fleet    the generation of its signal
-- @param is_own   whether this node has said so itself, perhaps before it was started anew
-- @return         the new state when the status changed by this
function _M.follow(breaker, now, status, seconds, attempts, reason, fleet, is_own)
    local state = state_of(breaker)
    if fleet <= state.fleet or (is_own and state.status == HALF_OPEN) then
        return nil
    end
    if status == CLOSED then
        if state.status ~= CLOSED then
            return change(breaker, now, state, CLOSED, now, attempts, 0, fleet, reason)
        end
    elseif seconds > 0 then
        local new = change(breaker, now, state, OPEN, now + ceil(seconds * 1000), attempts, 0,
                           fleet, reason)
        return state.status ~= OPEN and new or nil
    end
end


return _M
