--- How the calls of the last seconds went, counted by all workers in buckets of one second.
--
-- A bucket is one number, so that counting is one atomic addition: calls, and 2^17 of them each
-- the failed ones and, times 2^34, the slow ones. What the failures were is a second number.
local concat = table.concat
local floor = math.floor

local UNIT = 2 ^ 17
local KINDS = { timeout = 1, connect = UNIT, broken = UNIT * UNIT }
local WORDS = {
    { "timeout", "timeout", "timeouts" },
    { "connect", "not reached", "not reached" },
    { "broken", "broken off", "broken off" },
}

local _M = {}


--- Names of the buckets of a breaker with this id; they are made once a second.
-- @param seconds  how far back calls count
function _M.new(id, seconds)
    return { id = id, seconds = seconds, names = {}, of = {}, generation = nil,
             keep = seconds + 2 }
end


local function name_of(window, generation, second)
    if window.generation ~= generation then
        window.generation, window.of = generation, {}
    end
    local slot = second % window.seconds
    if window.of[slot] ~= second then
        window.of[slot] = second
        window.names[slot] = window.id .. "/" .. generation .. "/" .. second
    end
    return window.names[slot]
end


--- Count a call that ended at `now`.
-- @param kind  nil when it did not fail; else timeout, connect, broken or status
function _M.count(window, store, generation, now, kind, is_slow)
    local name = name_of(window, generation, floor(now / 1000))
    local weight = 1
    if kind then
        weight = weight + UNIT
        if KINDS[kind] then
            store.incr(name .. "k", KINDS[kind], window.keep)
        end
    end
    if is_slow then
        weight = weight + UNIT * UNIT
    end
    store.incr(name, weight, window.keep)
end


--- The three counts in a number.
local function split(number)
    local high = floor(number / UNIT)
    return number % UNIT, high % UNIT, floor(high / UNIT)
end


--- @return calls, failed ones, slow ones in the window that ends at `now`
function _M.sums(window, store, generation, now)
    local last = floor(now / 1000)
    local calls, failed, slow = 0, 0, 0
    for second = last - window.seconds + 1, last do
        local number = store.get(name_of(window, generation, second))
        if number then
            local a, b, c = split(number)
            calls, failed, slow = calls + a, failed + b, slow + c
        end
    end
    return calls, failed, slow
end


--- What the failures in the window were, such as ", 12 timeouts, 1 broken off".
function _M.failures(window, store, generation, now)
    local last = floor(now / 1000)
    local counts = { timeout = 0, connect = 0, broken = 0 }
    for second = last - window.seconds + 1, last do
        local number = store.get(name_of(window, generation, second) .. "k")
        if number then
            local timeouts, connects, broken = split(number)
            counts.timeout = counts.timeout + timeouts
            counts.connect = counts.connect + connects
            counts.broken = counts.broken + broken
        end
    end
    local parts = {}
    for _, word in ipairs(WORDS) do
        local count = counts[word[1]]
        if count > 0 then
            parts[#parts + 1] = ", " .. count .. " " .. (count == 1 and word[2] or word[3])
        end
    end
    return concat(parts)
end


return _M
