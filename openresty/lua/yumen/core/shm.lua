--- Documents in shared memory, each at the newest (epoch, revision) that any worker has written.
--
-- A worker's late write never replaces a newer one, and nothing is ever evicted: no memory is said.
-- `yumen_config` holds "<section>/<id>" -> "<epoch>:<revision>:<JSON>" (no JSON: removed).
local state = require "yumen.core.state"

local find = string.find
local sub = string.sub
local tonumber = tonumber

local dict = ngx.shared.yumen_config

local TOMBSTONE_SECONDS = 60
local STAGE = "~"

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


--- Write over `key`. A longer value takes new memory and frees the old first, so room is tried for.
local function replace(key, value)
    local ok, err = dict:safe_add(STAGE, value)
    if not ok then
        return nil, err
    end
    dict:delete(STAGE)
    return dict:safe_set(key, value)
end


--- Write a document unless a newer one is there; the caller holds the lock (`state.locked`).
-- @param json "" for a removed document
-- @return true; or nil, "older" or "no memory"
function _M.put(section, id, epoch, number, json)
    local key = section .. "/" .. id
    local value = dict:get(key)
    if value then
        local old_epoch, old_number = parse(value)
        if older(epoch, number, old_epoch, old_number) then
            return nil, "older"
        end
    end
    local new = epoch .. ":" .. number .. ":" .. json
    if json == "" then
        dict:delete(key)
        return dict:safe_set(key, new, TOMBSTONE_SECONDS)
    end
    if value and value ~= new then
        return replace(key, new)
    end
    return dict:safe_set(key, new)
end


--- Remove what is not in `seen` and not newer than (epoch, number).
-- @param seen "<section>/<id>" -> true
function _M.sweep(seen, epoch, number)
    state.locked(function()
        for _, key in ipairs(dict:get_keys(0)) do
            local value = not seen[key] and dict:get(key)
            if value and key ~= STAGE then
                local old_epoch, old_number = parse(value)
                if not older(epoch, number, old_epoch, old_number) then
                    dict:delete(key)
                end
            end
        end
    end)
end


--- Whether no document is held.
function _M.is_empty()
    return #dict:get_keys(1) == 0
end


return _M
