--- What a node holds of one counter, in memory that its workers share.
--
-- A portion lies in a pot. Taking is one atomic subtraction; a pot is named by its generation, so
-- that what comes back late never enlarges a later portion. Times are milliseconds of a clock that
-- never jumps; a portion is good from the moment it was asked for, which is before Redis gave it.
local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min
local format = string.format
local match = string.match
local tonumber = tonumber

local WINDOW, BUCKET, HOLDINGS = "w", "b", "c"
local LENGTHS = {
    second = 1000, minute = 60000, hour = 3600000, day = 86400000, month = 2629800000,
}
local SHARE = 20                          -- a portion is to last so many parts of a window
local SHORTEST_MS, LONGEST_MS = 50, 1000
local REFUSED_MS = 1000                   -- until it is worth asking again
local REBUILDING_MS = 1000                -- until it is worth asking again
local MOST_SECONDS = 86400
local LOST, REBUILDING = 2, 3

local _M = { HOLDINGS = HOLDINGS }


local function zone_text(zone)
    local texts = {}
    for i, entry in ipairs(zone or {}) do
        texts[i] = format("%d:%d", entry.from, entry.offset)
    end
    return table.concat(texts, ",")
end


--- A counter of a rule.
-- @param rule   of a limits document
-- @param name   the rule's id and whose counter it is; the same on every node
-- @param short  a short text for it, for this node's memory
function _M.new(rule, name, short)
    local length = LENGTHS[rule.window]
    return {
        rule = rule, name = name, meter = rule.meter, limit = rule.limit,
        kind = rule.meter == "concurrency" and HOLDINGS or rule.burst and BUCKET or WINDOW,
        window = rule.window or "", zone = zone_text(rule.zone), burst = rule.burst or 0,
        most = rule.burst or rule.limit, length = length or SHORTEST_MS,
        target = length and max(SHORTEST_MS, min(LONGEST_MS, length / SHARE)) or SHORTEST_MS,
        short = short, state = "s" .. short, lost = "x" .. short,
        -- A changed rule is asked for anew.
        refusal = "r" .. short .. rule.limit .. ":" .. (rule.burst or ""),
        debt = "d" .. short, lock = "k" .. short, held = "h" .. short, alone = "l" .. short,
        pot = "p" .. short, until_ms = 0, rest = 0, resets_at = 0,
        refused_until = 0, refused_cost = 0, passes_at = 0,
        generation = 0, want = 1, portion = 0, leased_at = 0, still = 0,
    }
end


--- Take on what another worker has leased.
local function look(c, store)
    local text = store:get(c.state)
    if not text then
        return
    end
    local generation, until_ms, rest, resets = match(text, "^(%d+)|(%d+)|(-?%d+)|(%d+)$")
    c.generation, c.until_ms = tonumber(generation), tonumber(until_ms)
    c.rest, c.resets_at = tonumber(rest), tonumber(resets)
    c.pot = c.kind == HOLDINGS and "p" .. c.short or "p" .. c.short .. generation
end
_M.look = look


--- Whether the counter is known to refuse this. Variable costs may fit where a larger one did not.
-- @return the milliseconds that it will, or nil
function _M.refuses(c, store, cost, now)
    if c.refused_until <= now then
        local text = store:get(c.refusal)
        if not text then
            return nil
        end
        local until_ms, refused, passes_at = match(text, "^(%d+)|(%d+)|(%d+)$")
        c.refused_until, c.refused_cost = tonumber(until_ms), tonumber(refused)
        c.passes_at = tonumber(passes_at)
    end
    if c.refused_until > now and cost >= c.refused_cost then
        return c.passes_at - now
    end
end


--- Take from the portion that is held. Returns whether it was enough.
function _M.spend(c, store, cost, now, worker)
    if now >= c.until_ms then
        look(c, store)
        if now >= c.until_ms then
            return false
        end
    end
    local left = store:incr(c.pot, -cost)
    if not left then
        return false
    end
    if left < 0 then
        store:incr(c.pot, cost)
        return false
    end
    c.left = left
    if c.kind == HOLDINGS then
        store:incr(worker .. c.short, 1, 0)
    end
    return true
end


--- Put back what was taken and not used.
-- @param pot  the one that it came from
function _M.put_back(c, store, pot, cost, worker)
    if c.kind == WINDOW then
        store:incr(pot, cost)
    elseif c.kind == BUCKET then
        -- By way of Redis: the bucket was refilled meanwhile, and takes no more than fits.
        store:incr(c.debt, -cost, 0, MOST_SECONDS)
    else
        store:incr(worker .. c.short, -1)
        store:incr(c.pot, 1, 0)
    end
end


--- Charge what a call cost beyond what was taken for it.
function _M.charge(c, store, cost, now)
    if now < c.until_ms then
        local left = store:incr(c.pot, -cost)
        if left and left >= 0 then
            return
        elseif left then
            store:incr(c.pot, cost)
        end
    end
    store:incr(c.debt, cost, 0, MOST_SECONDS)
end


--- How much to ask for: what is used in `target` at the pace of the last portion.
local function next_want(c, store, now)
    if c.kind == HOLDINGS then
        return 1 + floor((store:get(c.held) or 0) / 10)
    end
    local pace = c.portion * c.target / max(1, now - c.leased_at)
    return max(1, ceil(max(c.want / 2, min(c.want * 4, pace))))
end


--- What the node holds, in the words of the script; and what of it counts towards a need.
local function have(c, store, now)
    look(c, store)
    local left = store:get(c.pot) or 0
    if c.kind == HOLDINGS then
        local idle = now >= c.until_ms and left or 0
        if idle > 0 and store:incr(c.pot, -idle) >= 0 then
            store:incr(c.held, -idle)          -- another node may have them by now
        end
        return max(0, store:get(c.held) or 0), 0
    end
    left = now < c.until_ms and max(0, left) or 0
    return c.kind == BUCKET and left or 0, left
end


--- Write the arguments of the script for a counter behind the others.
-- @param need  without it nothing is granted; 0 asks for nothing
-- @param back  what is given back of the portion
function _M.ask(c, store, list, need, back, now)
    if need > 0 then
        c.want = next_want(c, store, now)
    end
    c.asked_debt = store:get(c.debt) or 0
    local held, usable = have(c, store, now)
    if need > 0 then
        need = max(1, need - usable)
    end
    local at = #list
    list[at + 1], list[at + 2], list[at + 3] = c.kind, c.window, c.zone
    list[at + 4], list[at + 5] = format("%d", c.limit), format("%d", c.burst)
    list[at + 6], list[at + 7] = format("%d", need), format("%d", c.want)
    list[at + 8], list[at + 9] = format("%d", c.asked_debt), format("%d", held)
    list[at + 10], list[at + 11] = format("%d", back), format("%d", c.generation)
end


local function keep(c, store, portion, rest, ms, generation, sent)
    local valid = sent + ms
    if c.kind == BUCKET then
        generation = sent < c.until_ms and c.generation or sent
    end
    local pot = c.kind == HOLDINGS and c.pot or "p" .. c.short .. format("%d", generation)
    store:incr(pot, portion, 0, c.kind == HOLDINGS and 0 or ms / 1000 + 1)
    if c.kind == HOLDINGS then
        store:incr(c.held, portion, 0)
    end
    if valid > c.until_ms then
        local resets = c.kind == BUCKET and c.limit > 0
            and sent + (c.burst - rest) * c.length / c.limit or valid
        c.pot, c.generation, c.until_ms = pot, generation, valid
        c.rest, c.resets_at = rest, resets
    else
        c.rest = rest
    end
    store:set(c.state, format("%d|%d|%d|%d", c.generation, c.until_ms, c.rest, c.resets_at),
              c.kind == HOLDINGS and 0 or ms / 1000 + 1)
end


--- Take on what the script answered.
-- @param at  where this counter's five values begin
-- @return    its status
function _M.hear(c, store, answer, at, need, sent)
    local status, portion, rest = answer[at], answer[at + 1], answer[at + 2]
    local ms, generation = answer[at + 3], answer[at + 4]
    if c.asked_debt ~= 0 and status < LOST then
        store:incr(c.debt, -c.asked_debt)
    end
    if status >= LOST then
        local valid = sent + (status == REBUILDING and min(ms, REBUILDING_MS) or ms)
        store:set(c.lost, valid, ms / 1000 + 1)
    elseif status == 0 then
        -- Other nodes may give something back before that.
        c.refused_until, c.passes_at = sent + min(ms, REFUSED_MS), sent + ms
        c.refused_cost, c.rest, c.resets_at = need, max(0, rest), c.passes_at
        store:set(c.refusal, format("%d|%d|%d", c.refused_until, need, c.passes_at),
                  ms / 1000 + 1)
    elseif need > 0 and portion > 0 then
        c.portion, c.leased_at = portion, sent
        store:incr("portions", 1, 0)
        keep(c, store, portion, rest, ms, generation, sent)
    elseif c.kind == HOLDINGS and need == 0 then
        keep(c, store, 0, rest, ms, generation, sent)
    end
    return status
end


--- Take what is idle out of the pot, to give it back. Returns how much; 0 while it is used.
-- @param ticks  so many looks without a change are idle
function _M.idle(c, store, ticks)
    local left = store:get(c.pot)
    if not left or left <= 0 or left ~= c.seen then
        c.seen, c.still = left, 0
        return 0
    end
    c.still = c.still + 1
    if c.still < ticks then
        return 0
    end
    if store:incr(c.pot, -left) < 0 then
        store:incr(c.pot, left)
        return 0
    end
    if c.kind == HOLDINGS then
        store:incr(c.held, -left)
    end
    c.seen, c.still = 0, 0
    return left
end


return _M
