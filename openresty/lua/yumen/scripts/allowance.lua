-- The one script by which gateway nodes draw on limits; it runs inside Redis, by Redis' clock.
--
-- KEYS: when the counters were born, the nodes, the counters to rebuild, then one for each counter.
-- ARGV: command, run_id of the server that the caller is connected to, node, then
--   take: the channel that wakes the worker, and 11 for each counter: kind (w window, b bucket,
--         c concurrency), window, zone ("from:offset,…"), limit, burst, need, want, debt (less
--         than 0: comes back), have, back, generation of `back`
--   look: as take, for somebody who is no node: answers what it would, and changes nothing
--   seed: for one counter: start of the window (ms), what was used in it
-- A `take` answers {nodes, then 5 for each counter: status, granted, rest, ms, generation}.
-- Status: 1 granted, 0 refused, 2 lost (of a window that began before the counters were born), 3
-- lost and asked to be rebuilt. Nothing is granted to any counter unless all can grant what they
-- need; debts are charged and what comes back is taken in any case.
local STRIDE, ANSWERS = 11, 5
local LEASE_MS = 2000              -- of a portion of a bucket
local HOLD_MS, GRACE_MS = 10000, 3000
local NODE_MS = 5000
local YEAR_MS = 366 * 86400000
local LONGEST_MS = 100 * YEAR_MS
local SECONDS = { second = 1, minute = 60, hour = 3600, day = 86400, month = 2629800 }

local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local call = redis.call

local READS = { TIME = true, HGET = true, HMGET = true, HGETALL = true, ZCARD = true }

if ARGV[1] == "look" then
    call = function(command, ...)
        return READS[command] and redis.call(command, ...) or 0
    end
end

local time = call("TIME")
local now = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)


--- When the counters of this server's run began; what is older may be less than the truth.
local function birth(run)
    local known = call("HMGET", KEYS[1], "run", "at")
    if known[1] == run then
        return tonumber(known[2])
    end
    call("HSET", KEYS[1], "run", run, "at", now)
    call("DEL", KEYS[3])
    return now
end

local born = birth(ARGV[2])
local born_text = string.format("%.0f", born)


local function read_zone(text)
    local zone = {}
    for from, offset in string.gmatch(text, "(-?%d+):(-?%d+)") do
        zone[#zone + 1] = { tonumber(from), tonumber(offset) }
    end
    return zone
end


local function offset_at(zone, seconds)
    local offset = zone[1] and zone[1][2] or 0
    for _, entry in ipairs(zone) do
        if entry[1] <= seconds then
            offset = entry[2]
        end
    end
    return offset
end


--- The UTC second at which the zone's clocks show `wanted` (its own seconds): the first time where
-- they show it twice, the moment of the change where they leave it out.
local function moment(zone, wanted)
    local before, after = offset_at(zone, wanted - 86400), offset_at(zone, wanted + 86400)
    local first, second = wanted - before, wanted - after
    if offset_at(zone, first) ~= before and offset_at(zone, second) == after then
        return second
    end
    return first
end


--- Days since 1970 of the first day of a month; `month` may be 13.
local function month_start(year, month)
    if month > 12 then
        year, month = year + 1, 1
    end
    if month <= 2 then
        year, month = year - 1, month + 12
    end
    local era_year = year % 400
    local day_of_year = floor((153 * (month - 3) + 2) / 5)
    return floor(year / 400) * 146097 + era_year * 365 + floor(era_year / 4)
        - floor(era_year / 100) + day_of_year - 719468
end


--- Year and month of a day since 1970.
local function month_of(days)
    local z = days + 719468
    local era = floor(z / 146097)
    local doe = z - era * 146097
    local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
    local shifted = floor((5 * doy + 2) / 153)
    local month = shifted < 10 and shifted + 3 or shifted - 9
    return yoe + era * 400 + (month <= 2 and 1 or 0), month
end


--- Start and end of the window that it is now, in ms.
local function window_of(name, zone_text)
    local length = SECONDS[name] * 1000
    if name ~= "day" and name ~= "month" then
        local start = floor(now / length) * length
        return start, start + length
    end
    local zone = read_zone(zone_text)
    local seconds = floor(now / 1000)
    local day = floor((seconds + offset_at(zone, seconds)) / 86400)
    local first, last = day, day + 1
    if name == "month" then
        local year, month = month_of(day)
        first, last = month_start(year, month), month_start(year, month + 1)
    end
    return moment(zone, first * 86400) * 1000, moment(zone, last * 86400) * 1000
end


local function arguments(i)
    local at = 4 + (i - 1) * STRIDE
    return {
        key = KEYS[3 + i], kind = ARGV[at + 1], window = ARGV[at + 2], zone = ARGV[at + 3],
        limit = tonumber(ARGV[at + 4]), burst = tonumber(ARGV[at + 5]),
        need = tonumber(ARGV[at + 6]), want = tonumber(ARGV[at + 7]),
        debt = tonumber(ARGV[at + 8]), have = tonumber(ARGV[at + 9]),
        back = tonumber(ARGV[at + 10]), back_of = tonumber(ARGV[at + 11]),
    }
end


local function ask_for(key, start, finish)
    if call("HSET", KEYS[3], key, string.format("%.0f:%.0f", start, finish)) == 1 then
        call("PUBLISH", ARGV[4], "allowance")
    end
end


--- What a node may take of a window: `limit` less what was taken, debts of earlier ones first.
local function look_at_window(c)
    local start, finish = window_of(c.window, c.zone)
    local fields = call("HMGET", c.key, "w", "u", "d", "b")
    local held, used, debt = tonumber(fields[1]), tonumber(fields[2]), tonumber(fields[3])
    c.generation, c.ms, c.finish = start, max(1, finish - now), finish
    if not held or fields[4] ~= born_text then
        if start <= born then                -- also of the millisecond in which they were born
            c.status = (c.window == "second" or c.window == "minute") and 2 or 3
            if c.status == 3 then
                ask_for(c.key, start, finish)
            end
            c.rest, c.is_lost = 0, true
            return
        end
        used, debt = 0, 0
    elseif held < start then
        local passed = max(1, floor((start - held) / (SECONDS[c.window] * 1000) + 0.5))
        debt = max(0, min(debt, used - c.limit) - c.limit * (passed - 1))
        used = debt
    elseif c.back > 0 and c.back_of == held then
        used = max(0, used - c.back)
    end
    c.used, c.owed = used + c.debt, debt + max(0, c.debt)
    c.rest = c.limit - c.used
    c.retry = c.ms
end


local function save_window(c, granted)
    if c.is_lost then
        return
    end
    call("HSET", c.key, "w", c.generation, "u", c.used + granted, "d", c.owed, "b", born_text)
    local windows = 1 + (c.owed > 0 and ceil(c.owed / max(1, c.limit)) or 0)
    local length = SECONDS[c.window] * 1000
    call("PEXPIRE", c.key, string.format("%.0f", c.ms + min(YEAR_MS, windows * length)))
end


--- The others' portions that are not over, and how many that are; those over are taken out.
local function portions_of_others(key, own)
    local sum, all = 0, call("HGETALL", key)
    for i = 1, #all, 2 do
        local amount, until_ms = string.match(all[i + 1], "^(%d+):(%d+)$")
        if amount and string.sub(all[i], 1, 2) == "n:" and all[i] ~= own then
            if tonumber(until_ms) > now then
                sum = sum + tonumber(amount)
            else
                call("HDEL", key, all[i])
            end
        end
    end
    return sum
end


--- The portions of a bucket that are out: all that were when it was last looked at, those of them
-- that still are, and when the last of the others ended. Those are taken out.
local function portions_of_bucket(key)
    local all, still, ended = 0, 0, 0
    local fields = call("HGETALL", key)
    for i = 1, #fields, 2 do
        local amount, until_ms = string.match(fields[i + 1], "^(%d+):(%d+)$")
        if amount and string.sub(fields[i], 1, 2) == "n:" then
            amount, until_ms = tonumber(amount), tonumber(until_ms)
            all = all + amount
            if until_ms > now then
                still = still + amount
            else
                ended = max(ended, until_ms)
                call("HDEL", key, fields[i])
            end
        end
    end
    return all, still, ended
end


--- What a node may take of a bucket. The level and the portions that are out never exceed it, at
-- any moment since it was last looked at: a portion may have been spent just before it ended. So
-- what is spent in any time is at most `burst` and what was refilled in that time.
local function look_at_bucket(c)
    local fields = call("HMGET", c.key, "l", "t", "b", c.own)
    local level, at = tonumber(fields[1]), tonumber(fields[2])
    local rate = c.limit / (SECONDS[c.window] * 1000)
    if not level or fields[3] ~= born_text then
        call("DEL", c.key)
        level, at = 0, born              -- as if it had been emptied just before
    end
    local all, still, ended = portions_of_bucket(c.key)
    if ended > at then
        level, at = min(level + (ended - at) * rate, c.burst - all), ended
    end
    level = min(level + max(0, now - at) * rate, c.burst - still)
    local own, until_ms = string.match(fields[4] or "", "^(%d+):(%d+)$")
    local is_out = until_ms and tonumber(until_ms) > now
    local others = still - (is_out and tonumber(own) or 0)
    level = level + (is_out and c.back or 0) + max(0, -c.debt)
    c.level = min(level, c.burst - others - c.have) - max(0, c.debt)
    c.rate, c.rest, c.ms, c.generation = rate, floor(c.level), LEASE_MS, 0
    c.retry = rate > 0 and max(20, ceil((c.need - c.level) / rate)) or SECONDS[c.window] * 1000
end


local function save_bucket(c, granted)
    local level = c.level - granted
    call("HSET", c.key, "l", string.format("%.17g", level), "t", now, "b", born_text,
         c.own, string.format("%.0f:%.0f", c.have + granted, now + LEASE_MS))
    local fill = c.rate > 0 and (c.burst - level) / c.rate or YEAR_MS
    call("PEXPIRE", c.key, string.format("%.0f", min(LONGEST_MS, ceil(fill)) + LEASE_MS))
end


--- What a node may hold at once. Each says what it holds; who is silent for HOLD_MS holds nothing.
local function look_at_holdings(c)
    if call("HGET", c.key, "b") ~= born_text then
        call("DEL", c.key)
    end
    c.rest = c.limit - portions_of_others(c.key, c.own) - c.have
    c.ms, c.generation, c.retry = HOLD_MS, 0, 20
    if c.need > 0 and now - born < GRACE_MS then
        c.status, c.ms = 2, GRACE_MS - (now - born)     -- until every node has said what it holds
    end
end


local function save_holdings(c, granted)
    local held = c.have + granted
    if held > 0 then
        local text = string.format("%.0f:%.0f", held, now + HOLD_MS)
        call("HSET", c.key, "b", born_text, c.own, text)
        call("PEXPIRE", c.key, 2 * HOLD_MS)
    else
        call("HDEL", c.key, c.own)
    end
end

local KINDS = {
    w = { look_at_window, save_window },
    b = { look_at_bucket, save_bucket },
    c = { look_at_holdings, save_holdings },
}


local function take(node)
    call("ZADD", KEYS[2], now, node)
    call("ZREMRANGEBYSCORE", KEYS[2], "-inf", string.format("(%.0f", now - NODE_MS))
    local nodes = call("ZCARD", KEYS[2])
    local counters, granted = {}, true
    for i = 1, #KEYS - 3 do
        local c = arguments(i)
        c.own = "n:" .. node
        KINDS[c.kind][1](c)
        if not c.status then
            c.status = c.need > 0 and c.need > c.rest and 0 or 1
        end
        granted = granted and (c.status == 1 or c.need == 0)
        counters[i] = c
    end
    local answer = { nodes }
    for i, c in ipairs(counters) do
        local portion = 0
        if granted and c.need > 0 then
            portion = max(c.need, min(c.want, floor(c.rest / (2 * nodes))))
        end
        KINDS[c.kind][2](c, portion)
        local at = 1 + (i - 1) * ANSWERS
        answer[at + 1], answer[at + 2] = c.status, portion
        answer[at + 3] = c.rest - portion
        answer[at + 4] = c.status == 0 and c.retry or c.ms
        answer[at + 5] = c.generation
    end
    return answer
end


--- Set what was used in a window, of a counter that was lost and has not been set yet.
local function seed(start, used)
    local known = call("HMGET", KEYS[4], "w", "b")
    call("HDEL", KEYS[3], KEYS[4])
    if known[1] and known[2] == born_text then
        return 0
    end
    call("HSET", KEYS[4], "w", start, "u", used, "d", 0, "b", born_text)
    call("PEXPIRE", KEYS[4], 2 * SECONDS.month * 1000)
    return 1
end

if ARGV[1] == "seed" then
    return seed(ARGV[4], ARGV[5])
end
return take(ARGV[3])
