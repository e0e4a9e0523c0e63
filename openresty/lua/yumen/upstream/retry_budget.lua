--- How many calls of an upstream may be sent again: a tenth of its calls of the last ten seconds,
-- and always a few, for an upstream that is seldom called. No nginx in here.
--
-- Calls are counted here and told to the node's other workers each second; retries are counted
-- among all of them at once. So the budget is never exceeded, however many workers meet at its end.

local floor, max = math.floor, math.max

local SECONDS = 10
local SLOTS = SECONDS + 1
local SHARE = 0.1
local ALWAYS = 10

local _M = { ALWAYS = ALWAYS, SECONDS = SECONDS, SHARE = SHARE }
local methods = { __index = _M }


--- @param store  with `incr`, `get`, `set` and `delete` as nginx's shared memory has them
function _M.new(store, id)
    local calls, retries = {}, {}
    for slot = 0, SLOTS - 1 do
        calls[slot] = "c/" .. id .. "/" .. slot
        retries[slot] = "r/" .. id .. "/" .. slot
    end
    return setmetatable({ store = store, calls = calls, retries = retries, spent = "s/" .. id,
                          second = 0, pending = 0 }, methods)
end


local function sum(store, keys)
    local total = 0
    for slot = 0, SLOTS - 1 do
        total = total + (store:get(keys[slot]) or 0)
    end
    return total
end


local function limit(self)
    return max(ALWAYS, floor(sum(self.store, self.calls) * SHARE))
end


local function turn(self, second)
    if self.pending > 0 then
        self.store:incr(self.calls[second % SLOTS], self.pending, 0, SECONDS)
    end
    self.second, self.pending = second, 0
    if sum(self.store, self.retries) < limit(self) then
        self.store:delete(self.spent)
    end
end


--- Whether a call might be sent again now: asked beforehand, because an answer that nginx has given
-- up for a retry is lost.
function _M:has_room()
    return not self.store:get(self.spent)
end


--- Count a call.
-- @param at  seconds, never going back
function _M:count(at)
    local second = floor(at)
    if second ~= self.second then
        turn(self, second)
    end
    self.pending = self.pending + 1
end


--- Take one retry out of the budget.
-- @return  false when it is spent
function _M:spend(at)
    local key = self.retries[floor(at) % SLOTS]
    self.store:incr(key, 1, 0, SECONDS)
    local left = limit(self) - sum(self.store, self.retries)
    if left <= 0 then
        self.store:set(self.spent, true, SECONDS)
    end
    if left < 0 then
        self.store:incr(key, -1, 0, SECONDS)
        return false
    end
    return true
end


return _M
