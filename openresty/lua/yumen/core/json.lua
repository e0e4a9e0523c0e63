--- JSON to Lua values and back. What a client or an operator wrote is spliced, never re-encoded.
local cjson = require "cjson.safe"

local gsub = string.gsub
local pairs = pairs
local type = type

local null = cjson.null
local _M = { encode = cjson.encode, null = null }


--- The same value, every null left out of it.
local function without_nulls(value)
    for key, item in pairs(value) do
        if item == null then
            value[key] = nil
        elseif type(item) == "table" then
            without_nulls(item)
        end
    end
    return value
end
_M.without_nulls = without_nulls


--- The value of a JSON text, its nulls left out; or nil, err.
function _M.decode(text)
    local value, err = cjson.decode(text)
    if value == nil then
        return nil, err
    end
    if type(value) == "table" then
        return without_nulls(value)
    end
    if value == null then
        return nil
    end
    return value
end


--- The JSON of a text, its slashes as they are.
function _M.quote(text)
    return (gsub(cjson.encode(text), "\\/", "/"))
end


--- The JSON of a list of values; an empty table alone would become an object.
function _M.encode_list(list)
    return #list == 0 and "[]" or cjson.encode(list)
end


--- The value of a JSON text with `json.null` where it says null; or nil, err.
_M.decode_with_nulls = cjson.decode


return _M
