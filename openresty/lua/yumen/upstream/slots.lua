--- Gives each upstream origin a connection pool of its own.
--
-- nginx reuses a kept connection by address and port alone: a request for one host could travel
-- inside another host's TLS session, key included. So a slot serves one origin (scheme, host,
-- port), and another only when nothing is in flight and nginx has closed what it kept.

local _M = {}
local slots_meta = { __index = _M }


--- @param count  slots that nginx.conf holds, numbered from 0
-- @param quiet   seconds after its last request until a slot keeps no connection any more
function _M.new(count, quiet)
    return setmetatable({ count = count, quiet = quiet, used = 0, list = {}, of = {},
                          full_until = 0 }, slots_meta)
end


local function assign(self, slot, origin)
    slot.origin = origin
    slot.in_flight = 0
    self.of[origin] = slot
    return slot
end


--- The slot that has been quiet for longest, or nil while none is quiet for long enough.
local function reclaim(self, now)
    if now < self.full_until then
        return nil
    end
    local best, soonest
    for _, slot in ipairs(self.list) do
        if slot.in_flight == 0 and (not best or slot.quiet_since < best.quiet_since) then
            best = slot
        end
    end
    if best and now - best.quiet_since > self.quiet then
        self.of[best.origin] = nil
        return best
    end
    soonest = best and best.quiet_since + self.quiet or now + 1
    self.full_until = math.min(soonest, now + 1)
end


local function find(self, origin, now)
    if self.used < self.count then
        local slot = { number = self.used, quiet_since = now }
        self.used = self.used + 1
        self.list[self.used] = slot
        return assign(self, slot, origin)
    end
    local slot = reclaim(self, now)
    return slot and assign(self, slot, origin)
end


--- Take the slot of *origin* for one request; `release` gives it back.
-- @param now  seconds, never going back
-- @return     the slot, `number` in it; or nil: every slot is another origin's
function _M:take(origin, now)
    local slot = self.of[origin] or find(self, origin, now)
    if slot then
        slot.in_flight = slot.in_flight + 1
    end
    return slot
end


function _M.release(_, slot, now)
    slot.in_flight = slot.in_flight - 1
    slot.quiet_since = now
end


return _M
