--- Reads the token counts out of a provider's `usage` object.

local members = require "yumen.ai.members"

local sub = string.sub
local tonumber = tonumber
local INTEGER, OBJECT = members.INTEGER, members.OBJECT

local MAX_COUNT = 4294967295        -- the journal's fields have 32 bits

local view = members.new_view()
local details = members.new_view()

local _M = {}


--- A count in the journal's range; anything else counts as 0.
local function count(found, index, text)
    if found.kinds[index] ~= INTEGER then
        return 0
    end
    local value = tonumber(sub(text, found.from[index] + 1, found.to[index]))
    return value >= 0 and value <= MAX_COUNT and value or 0
end


--- The count *name* of the object that is member *index* of the usage.
local function detail(index, text, name)
    if view.kinds[index] ~= OBJECT or not members.scan(details, text, view.from[index]) then
        return 0
    end
    for inner = 1, details.count do
        if details.names[inner] == name then
            return count(details, inner, text)
        end
    end
    return 0
end


--- @param text  raw JSON of the usage object
-- @return       tokens in, out, cached and reasoning; or nil when it does not tell
function _M.read(text)
    if not members.scan(view, text) then
        return nil
    end
    local tokens_in, tokens_out, cached, reasoning
    for index = 1, view.count do
        local name = view.names[index]
        if name == "prompt_tokens" then
            tokens_in = view.kinds[index] == INTEGER and count(view, index, text) or nil
        elseif name == "completion_tokens" then
            tokens_out = count(view, index, text)
        elseif name == "prompt_tokens_details" then
            cached = detail(index, text, "cached_tokens")
        elseif name == "completion_tokens_details" then
            reasoning = detail(index, text, "reasoning_tokens")
        end
    end
    if tokens_in then
        return tokens_in, tokens_out or 0, cached or 0, reasoning or 0
    end
end


return _M
