--- Reads the token counts out of a provider's `usage` object.

local members = require "yumen.ai.members"

local find = members.find
local sub = string.sub
local tonumber = tonumber
local INTEGER, OBJECT = members.INTEGER, members.OBJECT

local MAX_COUNT = 4294967295        -- the journal's fields have 32 bits

local view = members.new_view()
local details = members.new_view()

local _M = {}


--- A count in the journal's range; anything else counts as 0.
local function count(found, text, name)
    local index = find(found, name)
    if not index or found.kinds[index] ~= INTEGER then
        return 0
    end
    local value = tonumber(sub(text, found.from[index] + 1, found.to[index]))
    return value >= 0 and value <= MAX_COUNT and value or 0
end


--- The count *name* of the object that is member *outer* of the usage.
local function detail(text, outer, name)
    local index = find(view, outer)
    if not index or view.kinds[index] ~= OBJECT
       or not members.scan(details, text, view.from[index]) then
        return 0
    end
    return count(details, text, name)
end


--- @param text  raw JSON of the usage object
-- @return       tokens in, out, cached and reasoning; or nil when it does not tell
function _M.read(text)
    if not members.scan(view, text) then
        return nil
    end
    local index = find(view, "prompt_tokens")
    if index and view.kinds[index] == INTEGER then
        return count(view, text, "prompt_tokens"), count(view, text, "completion_tokens"),
            detail(text, "prompt_tokens_details", "cached_tokens"),
            detail(text, "completion_tokens_details", "reasoning_tokens")
    end
end


return _M
