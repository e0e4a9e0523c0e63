--- Takes what a request needs of all its limits at once, from portions that the node has leased.
--
-- No nginx here: the memory of the node, the call of the script in Redis, the clock and the wait
-- are handed in (`allowance/node.lua`), so that the tests run this very file. Memory that is full
-- forgets what is used least: a portion, which makes limits tighter, never wider.
local counter = require "yumen.allowance.counter"

local HOLDINGS = counter.HOLDINGS
local floor, max, min = math.floor, math.max, math.min

local AWAY = "away"                      -- Redis does not answer
local AWAY_SECONDS = 2                   -- a probe takes it away sooner
local LOCK_SECONDS = 0.25
local WAIT_SECONDS = 0.002
local DECIDED_MS = 90                    -- by then what Redis did not say is decided without it
local MOST_TRIES = 8
local MANY = 100                         -- counters that go into one call of the script
local LOOKED_AT = 1000                   -- at each tick, the longest ago first

local _M = {}


--- An allowance of a node.
-- @param node  store  shared memory, with nginx's shared dictionary's methods
--              call   (names, arguments) -> the script's answer; or nil
--              clock  () -> milliseconds, of a clock that never jumps
--              wait   (seconds), letting others run
--              worker a text of this process, which ends in no digit
function _M.new(node)
    node.nodes = 1
    node.active, node.free = {}, {}
    return node
end


--- What a request will hold; an empty one, to be used again.
local function new_holding(self)
    local free = self.free
    local holding = free[#free]
    if holding then
        free[#free] = nil
        return holding
    end
    return { count = 0, pots = {}, costs = {}, untils = {}, counters = {} }
end


local function drop(self, holding)
    for i = 1, holding.count do
        holding.pots[i], holding.counters[i] = nil, nil
    end
    holding.count = 0
    self.free[#self.free + 1] = holding
end


--- What a request takes of a counter.
local function cost_of(c, tokens)
    return c.meter == "tokens" and max(1, min(tokens, c.most)) or 1
end
_M.cost = cost_of


--- Give back everything that was taken.
local function undo(self, holding)
    for i = 1, holding.count do
        local pot = holding.pots[i]
        if pot then
            counter.put_back(holding.counters[i], self.store, pot, holding.costs[i], self.worker)
        end
    end
    drop(self, holding)
end


local function activate(self, c)
    if not c.is_active then
        c.is_active = true
        self.active[#self.active + 1] = c
    end
end


--- Ask Redis for these counters: what each needs, and what each gives back.
-- @return true when it answered
local function exchange(self, counters, needs, backs)
    local store, now = self.store, self.clock()
    local names, list = {}, {}
    for i, c in ipairs(counters) do
        names[i] = c.name
        counter.ask(c, store, list, needs[i], backs and backs[i] or 0, now)
    end
    local answer = self.call(names, list)
    store:incr("calls", 1, 0)
    if not answer then
        store:set(AWAY, true, AWAY_SECONDS)
        return false
    end
    self.nodes = answer[1]
    for i, c in ipairs(counters) do
        counter.hear(c, store, answer, 2 + (i - 1) * 5, needs[i], now)
        activate(self, c)
    end
    return true
end


--- What the rule says of a request that Redis could not be asked about.
-- @return true; or false, milliseconds to wait; or nil, the gateway must not decide
local function without_redis(self, holding, i, now)
    local c, cost, store = holding.counters[i], holding.costs[i], self.store
    local mode = c.rule.onOutage
    if mode == "closed" then
        return nil
    end
    local share = max(1, floor(c.most / self.nodes))
    if c.kind == HOLDINGS then
        if store:incr(c.held, 1, 0) > share and mode == "local" then
            store:incr(c.held, -1)
            return false, c.target
        end
        store:incr(self.worker .. c.short, 1, 0)
    elseif mode == "local" then
        local key = c.alone .. floor(now / c.length)
        if store:incr(key, cost, 0, 2 * c.length / 1000) > share then
            store:incr(key, -cost)
            return false, c.length - now % c.length
        end
    end
    store:incr("unchecked", cost, 0)
    holding.untils[i] = math.huge
    holding.pots[i] = c.kind == HOLDINGS and c.pot or false
    return true
end


--- Try each counter that nothing was taken of yet.
-- @return 1-based index of the one that refuses, milliseconds; or nil, list of those that lack it
local function take_here(self, holding, now)
    local store, lacking = self.store, nil
    for i = 1, holding.count do
        local c = holding.counters[i]
        if holding.pots[i] == nil then
            local cost = holding.costs[i]
            if c.limit == 0 then
                return i, c.length
            end
            local known = c.meter ~= "tokens" and c.refused_until > now and c.passes_at - now
            if not known and counter.spend(c, store, cost, now, self.worker) then
                holding.pots[i], holding.untils[i] = c.pot, c.until_ms
            else
                known = known or counter.refuses(c, store, cost, now)
                if known then
                    return i, known
                end
                lacking = lacking or {}
                lacking[#lacking + 1] = i
            end
        end
    end
    return nil, lacking
end


--- Decide without Redis what is lacking. With `lost` only of counters that Redis has lost.
local function decide(self, holding, lacking, now, lost)
    local rest = {}
    for _, i in ipairs(lacking) do
        local until_ms = not lost or self.store:get(holding.counters[i].lost)
        if until_ms == true or (until_ms and until_ms > now) then
            local passes, ms = without_redis(self, holding, i, now)
            if not passes then
                return nil, i, passes == false and ms or nil
            end
        else
            rest[#rest + 1] = i
        end
    end
    return rest
end


--- One refill for all that is lacking; a worker that meets another's refill waits for it.
-- @return whether Redis was asked
local function refill(self, holding, lacking)
    local first = holding.counters[lacking[1]]
    if not self.store:add(first.lock, true, LOCK_SECONDS) then
        self.wait(WAIT_SECONDS)
        return false
    end
    local counters, needs = {}, {}
    for n, i in ipairs(lacking) do
        counters[n], needs[n] = holding.counters[i], holding.costs[i]
    end
    exchange(self, counters, needs)
    self.store:delete(first.lock)
    return true
end


--- A portion may have ended while Redis was asked for another.
local function renew(self, holding, now)
    for i = 1, holding.count do
        local pot = holding.pots[i]
        if pot and now >= holding.untils[i] then
            counter.put_back(holding.counters[i], self.store, pot, holding.costs[i], self.worker)
            holding.pots[i] = nil
        end
    end
end


local function refuse(self, holding, i, ms)
    local c = holding.counters[i]
    undo(self, holding)
    self.store:incr("refused", 1, 0)
    return nil, c, ms
end


--- Ask Redis, or do without it, until everything is taken or something refuses.
-- @param lacking  indices of the counters that nothing was taken of
local function take_further(self, holding, lacking, began)
    local now, tries = began, 0
    while true do
        local late = now - began > DECIDED_MS or self.store:get(AWAY)
        local i, ms
        lacking, i, ms = decide(self, holding, lacking, now, not late)
        if not lacking then
            return refuse(self, holding, i, ms)
        elseif #lacking > 0 then
            if tries > MOST_TRIES and not late then
                return refuse(self, holding, lacking[1], WAIT_SECONDS * 1000)
            end
            -- Another's refill may be long in coming, when Redis does not answer: it is no try.
            tries = refill(self, holding, lacking) and tries + 1 or tries
            now = self.clock()
            renew(self, holding, now)
        end
        local refused
        refused, lacking = take_here(self, holding, now)
        if refused then
            return refuse(self, holding, refused, lacking)
        elseif not lacking then
            return holding
        end
    end
end


--- Take of every counter what a request needs: of each or of none.
-- @param plan    list of counters
-- @param tokens  the most that it is expected to use
-- @return holding, for `settle`; or nil, the counter that refuses, in how many milliseconds it may
--         pass (nil: Redis is away, and the rule says that nobody passes then)
function _M.take(self, plan, tokens)
    local holding, began = new_holding(self), self.clock()
    for i = 1, #plan do
        holding.counters[i], holding.costs[i] = plan[i], cost_of(plan[i], tokens)
    end
    holding.count = #plan
    local refused, lacking = take_here(self, holding, began)
    if refused then
        return refuse(self, holding, refused, lacking)
    elseif lacking then
        return take_further(self, holding, lacking, began)
    end
    return holding
end


--- A request is over.
-- @param tokens  what it used; nil is not known, and what was taken stands
-- @param unused  true when it never went on: it is as if it had not been
function _M.settle(self, holding, tokens, unused)
    local store = self.store
    for i = 1, holding.count do
        local c, pot, cost = holding.counters[i], holding.pots[i], holding.costs[i]
        if c.kind == HOLDINGS or unused then
            if pot then
                counter.put_back(c, store, pot, cost, self.worker)
            end
        elseif c.meter == "tokens" and tokens and pot and tokens ~= cost then
            if tokens > cost then
                counter.charge(c, store, tokens - cost, self.clock())
            else
                counter.put_back(c, store, pot, cost - tokens, self.worker)
                store:delete(c.refusal)
                c.refused_until = 0
            end
            activate(self, c)
        end
    end
    drop(self, holding)
end


--- A worker is dead: what it held at once is free again.
-- @param worker  its text, and `keys` all keys of the memory
function _M.bury(self, worker, keys)
    for _, key in ipairs(keys) do
        local count = key:sub(1, #worker) == worker and self.store:get(key)
        if count then
            self.store:delete(key)
            if count > 0 then
                self.store:incr("p" .. key:sub(#worker + 1), count, 0)
            end
        end
    end
end


--- Whether a counter has something to say to Redis: idle units, a debt, holdings to renew.
local function due(self, c, now)
    counter.look(c, self.store)
    local back = counter.idle(c, self.store, c.window == "second" and 2 or 5)
    local debt = self.store:get(c.debt) or 0
    local renews = c.kind == HOLDINGS and (self.store:get(c.held) or 0) > 0
        and c.until_ms - now < 9000
    return back > 0 or debt ~= 0 or renews, back
end


--- Now and then, in each worker: give back what is idle, say what is owed, renew what is held, and
-- find out whether Redis is back.
function _M.tick(self)
    if not self.is_known or self.store:get(AWAY) then
        -- The first call also begins the life of the counters, before a request needs one.
        self.is_known = self.call({}, {}) ~= nil
        if not self.is_known then
            return
        end
        self.store:delete(AWAY)
    end
    local now, counters, needs, backs, kept = self.clock(), {}, {}, {}, {}
    for n, c in ipairs(self.active) do
        if n > LOOKED_AT then
            kept[#kept + 1] = c
        end
    end
    for n = 1, min(LOOKED_AT, #self.active) do
        local c = self.active[n]
        local is_due, back = false, 0
        if #counters < MANY and self.store:add(c.lock, true, LOCK_SECONDS) then
            is_due, back = due(self, c, now)
            if not is_due then
                self.store:delete(c.lock)
            end
        end
        if is_due then
            local last = #counters + 1
            counters[last], needs[last], backs[last] = c, 0, back
        end
        c.is_active = is_due or c.until_ms > now or (self.store:get(c.held) or 0) > 0
        if c.is_active then
            kept[#kept + 1] = c
        end
    end
    self.active = kept
    if #counters > 0 then
        exchange(self, counters, needs, backs)
        for _, c in ipairs(counters) do
            self.store:delete(c.lock)
        end
    end
end


--- Figures since the node's start: calls of the script, requests refused, and what was let pass
-- that Redis could not be asked about, which is the most by which this node exceeded its limits;
-- and how many portions it leased.
function _M.figures(self)
    local store = self.store
    return {
        calls = store:get("calls") or 0,
        refused = store:get("refused") or 0,
        unchecked = store:get("unchecked") or 0,
        portions = store:get("portions") or 0,
        is_away = store:get(AWAY) and true or false,
    }
end

return _M
