--- Documents in shared memory, each at the newest (epoch, revision) that any worker has written.
--
-- A worker's late write never replaces a newer one, and nothing is ever evicted: no memory is said.
-- `yumen_config` holds "<section>/<id>" -> "<epoch>:<revision>:<JSON>" (no JSON: removed), and
-- "~applied" -> "<epoch>-<revision>", up to which it is complete.
local state = require "yumen.core.state"

local byte = string.byte
local find = string.find
local format = string.format
local match = string.match
local min = math.min
local sleep = ngx.sleep
local sub = string.sub
local tonumber = tonumber

local dict = ngx.shared.yumen_config

local TOMBSTONE_SECONDS = 60
local APPLIED = "~applied"
local STAGE = "~stage"
local OWN = byte("~")              -- begins the keys that are no documents
local FULL = "the memory for the configuration is full (gateway.config_memory_mb)"
local SWEPT_AT_ONCE = 1000         -- about 1 ms

local _M = {}


--- Whether revision (epoch, number) is older than another.
local function older(epoch, number, other_epoch, other_number)
    return epoch < other_epoch or (epoch == other_epoch and number < other_number)
end
_M.older = older


local function parse(value)
    local _, last, epoch, number = find(value, "^(%d+):(%d+):")
    return tonumber(epoch), tonumber(number), last + 1
end


--- The JSON of a document, its epoch and revision; "" is removed, nil is unknown.
function _M.get(section, id)
    local value = dict:get(section .. "/" .. id)
    if not value then
        return nil
    end
    local epoch, number, first = parse(value)
    return sub(value, first), epoch, number
end


--- The revision up to which shared memory is complete, (0, 0) for nothing.
function _M.applied()
    local epoch, number = match(dict:get(APPLIED) or "0-0", "^(%d+)-(%d+)$")
    return tonumber(epoch), tonumber(number)
end


--- Shared memory is complete up to this revision; it only rises.
function _M.set_applied(epoch, number)
    local old_epoch, old_number = _M.applied()
    if older(old_epoch, old_number, epoch, number) then
        -- As long as the one before, so that it takes no new memory.
        dict:safe_set(APPLIED, format("%016d-%016d", epoch, number))
    end
end


--- Write over `key`. A longer value takes new memory and frees the old first, so room is tried for.
local function replace(key, value)
    local ok = dict:safe_add(STAGE, value)
    if ok then
        dict:delete(STAGE)
        ok = dict:safe_set(key, value)
    end
    return ok
end


local function write(key, value, held)
    if held and held ~= value then
        return replace(key, value)
    end
    return dict:safe_set(key, value)
end


--- Write a document unless a newer one is there; the caller holds the lock (`state.locked`).
-- @param key "<section>/<id>"
-- @param json "" for a removed document
-- @return true; or nil, "older" or that there is no memory
function _M.put(key, epoch, number, json)
    local held = dict:get(key)
    if held then
        local old_epoch, old_number = parse(held)
        if older(epoch, number, old_epoch, old_number) then
            return nil, "older"
        end
    end
    local value = epoch .. ":" .. number .. ":" .. json
    local ok
    if json == "" then
        dict:delete(key)
        ok = dict:safe_set(key, value, TOMBSTONE_SECONDS)
    else
        ok = write(key, value, held)
    end
    if not ok then
        return nil, FULL
    end
    return true
end


--- Write a document as it is kept here; in one step where none is there.
-- @return as `put`
function _M.restore(key, value)
    local ok, err = dict:safe_add(key, value)
    if err == "exists" then
        local epoch, number, first = parse(value)
        return _M.put(key, epoch, number, sub(value, first))
    end
    return ok, not ok and FULL or nil
end


local function sweep(keys, first, last, seen, epoch, number)
    for i = first, last do
        local key = keys[i]
        local value = not seen[key] and byte(key) ~= OWN and dict:get(key)
        if value then
            local old_epoch, old_number = parse(value)
            if not older(epoch, number, old_epoch, old_number) then
                dict:delete(key)
            end
        end
    end
end


--- Remove what is not in `seen` and not newer than (epoch, number).
-- @param seen "<section>/<id>" -> true
function _M.sweep(seen, epoch, number)
    local keys = dict:get_keys(0)
    for first = 1, #keys, SWEPT_AT_ONCE do
        local last = min(first + SWEPT_AT_ONCE - 1, #keys)
        state.locked(sweep, keys, first, last, seen, epoch, number)
        state.keep_loading()
        sleep(0)
    end
end


--- How large this memory is and how much of it is free, in bytes; what is free in begun pages is
-- not counted.
function _M.memory()
    return dict:capacity(), dict:free_space()
end


--- The ids of a section's documents. It looks at every key: now and then, and in a timer.
function _M.ids(section)
    local ids, start = {}, section .. "/"
    for _, key in ipairs(dict:get_keys(0)) do
        if sub(key, 1, #start) == start then
            ids[#ids + 1] = sub(key, #start + 1)
        end
    end
    return ids
end


--- Whether no document is held.
function _M.is_empty()
    for _, key in ipairs(dict:get_keys(2)) do
        if byte(key) ~= OWN then
            return false
        end
    end
    return true
end


return _M
