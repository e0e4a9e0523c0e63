--- Checks a document against the part of JSON Schema that the contract uses.
--
-- A schema is compiled once into nested functions. An unknown keyword stops the start: a check that
-- is silently left out would be worse.
local json = require "yumen.core.json"

local find = ngx.re.find
local floor = math.floor
local null = json.null
local type = type

local IGNORED = { description = true, default = true, title = true, format = true }

local _M = {}


local is = {
    ["null"] = function(value) return value == null end,
    ["boolean"] = function(value) return type(value) == "boolean" end,
    ["string"] = function(value) return type(value) == "string" end,
    ["number"] = function(value) return type(value) == "number" end,
    ["integer"] = function(value) return type(value) == "number" and value == floor(value) end,
    ["object"] = function(value)
        return type(value) == "table" and value[1] == nil
    end,
    -- An empty list and an empty object are the same table.
    ["array"] = function(value)
        return type(value) == "table" and (value[1] ~= nil or next(value) == nil)
    end,
}


local keywords = {}


function keywords.type(names)
    names = type(names) == "table" and names or { names }
    return function(value)
        for _, name in ipairs(names) do
            if is[name](value) then
                return nil
            end
        end
        return "must be " .. table.concat(names, " or ")
    end
end


function keywords.enum(allowed)
    local set = {}
    for _, item in ipairs(allowed) do
        set[item] = true
    end
    return function(value)
        if value == null then
            return nil                  -- the null among them is lost in decoding; `type` judges it
        end
        return not set[value] and "must be one of " .. table.concat(allowed, ", ") or nil
    end
end


function keywords.pattern(pattern)
    return function(value)
        if type(value) == "string" and not find(value, pattern, "jo") then
            return "does not match " .. pattern
        end
    end
end


function keywords.minLength(least)
    return function(value)
        return type(value) == "string" and #value < least and "is too short" or nil
    end
end


--- JSON Schema counts characters, not bytes.
function keywords.maxLength(most)
    return function(value)
        if type(value) == "string" and #value > most
           and #value:gsub("[\128-\191]", "") > most then
            return "is too long"
        end
    end
end


function keywords.minimum(least)
    return function(value)
        return type(value) == "number" and value < least and "is less than " .. least or nil
    end
end


function keywords.maximum(most)
    return function(value)
        return type(value) == "number" and value > most and "is more than " .. most or nil
    end
end


function keywords.required(names)
    return function(value)
        for _, name in ipairs(names) do
            if type(value) == "table" and value[name] == nil then
                return name .. " is missing"
            end
        end
    end
end


function keywords.items(schema)
    local check = _M.compile(schema)
    return function(value)
        for i, item in ipairs(type(value) == "table" and value or {}) do
            local reason = check(item)
            if reason then
                return i .. ": " .. reason
            end
        end
    end
end


function keywords.minItems(least)
    return function(value)
        return type(value) == "table" and #value < least and "has too few items" or nil
    end
end


function keywords.maxItems(most)
    return function(value)
        return type(value) == "table" and #value > most and "has too many items" or nil
    end
end


function keywords.properties(described)
    local checks = {}
    for name, schema in pairs(described) do
        checks[name] = _M.compile(schema)
    end
    return function(value)
        for name, check in pairs(type(value) == "table" and checks or {}) do
            local reason = value[name] ~= nil and check(value[name])
            if reason then
                return name .. ": " .. reason
            end
        end
    end
end


function keywords.additionalProperties(schema, whole)
    if schema == true then
        return nil
    end
    local known = whole.properties or {}
    local check = schema and _M.compile(schema) or function() return "is unknown" end
    return function(value)
        for name, item in pairs(type(value) == "table" and value or {}) do
            local reason = not known[name] and check(item)
            if reason then
                return name .. ": " .. reason
            end
        end
    end
end


--- Compile a schema to `check(value)`, which returns nil or what is wrong.
function _M.compile(schema)
    local checks = {}
    for keyword, argument in pairs(schema) do
        local make = keywords[keyword]
        if make then
            checks[#checks + 1] = make(argument, schema)
        elseif not IGNORED[keyword] then
            error("the contract uses JSON Schema's " .. keyword .. ", which is not checked here")
        end
    end
    return function(value)
        for _, check in ipairs(checks) do
            local reason = check(value)
            if reason then
                return reason
            end
        end
    end
end


return _M
