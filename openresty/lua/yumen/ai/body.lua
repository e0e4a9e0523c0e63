--- Reads what the gateway must know of an AI request's body and splices fields into it.
--
-- The body is never decoded and encoded again: an empty array, a slash and a 19-digit integer reach
-- the upstream as sent. A body that the gateway and the upstream could read differently is refused:
-- a second `model` must not pass the check of the first.

local ffi = require "ffi"
local buffer = require "string.buffer"
local members = require "yumen.ai.members"
local unescape = require "yumen.ai.escapes".unescape

local C = ffi.C
local cast = ffi.cast
local byte, gsub, lower, sub = string.byte, string.gsub, string.lower, string.sub
local max = math.max
local pairs = pairs
local tonumber = tonumber
local OBJECT, STRING, INTEGER = members.OBJECT, members.STRING, members.INTEGER
local TRUE, FALSE, NULL = members.TRUE, members.FALSE, members.NULL

local _M = {}

-- Fields that decide what a call is and costs: the kinds of value each may have, and where the last
-- scan found it (0 is nowhere).
local model = { at = 0, [STRING] = true, says = "a string" }
local stream = { at = 0, [TRUE] = true, [FALSE] = true, [NULL] = true, says = "true or false" }
local stream_options = { at = 0, [OBJECT] = true, [NULL] = true, says = "an object" }
local max_tokens = { at = 0, [INTEGER] = true, [NULL] = true, says = "an integer" }
local max_completion_tokens = { at = 0, [INTEGER] = true, [NULL] = true, says = "an integer" }
local n = { at = 0, [INTEGER] = true, [NULL] = true, says = "an integer" }
local include_usage = { at = 0, [TRUE] = true, [FALSE] = true, [NULL] = true,
                        says = "true or false" }

local POLICED = {
    model = model, stream = stream, stream_options = stream_options, max_tokens = max_tokens,
    max_completion_tokens = max_completion_tokens, n = n,
}
local POLICED_OPTIONS = { include_usage = include_usage }

-- Characters that fold to ASCII letters in some parser that matches names without case.
local FOLDS = {
    ["\197\191"] = "s",                 -- U+017F, long s
    ["\226\132\170"] = "k",             -- U+212A, Kelvin sign
    ["\196\176"] = "i",                 -- U+0130, capital i with dot; its U+0307 is dropped
    ["\196\177"] = "i",                 -- U+0131, small i without dot
    ["\239\172\133"] = "st",            -- U+FB05, ligature of long s and t
    ["\239\172\134"] = "st",            -- U+FB06, ligature of s and t
}

-- One scan at a time is looked at: a request never yields between `scan` and `splice`.
local view = members.new_view()
local options = members.new_view()
local request = {}
local out = buffer.new()
local splices = 0


--- The name as a parser without case would compare it. Characters that a careless decoder drops
-- (bytes that are not UTF-8, zero-width ones) count as dropped.
function _M.fold(name)
    for character, letter in pairs(FOLDS) do
        name = gsub(name, character, letter)
    end
    return lower((gsub(name, "[\128-\255]", "")))
end


local function twice(name)
    return "The field '" .. name .. "' is given twice; send it once.", name
end


local function misspelt(name)
    return "The field '" .. name .. "' must be written exactly so, in lower case.", name
end


--- Note where each field of *policed* stands: at most once, written plainly, with a right value.
-- @return  nothing; or what is wrong, the field
local function police(found, policed)
    for index = 1, found.count do
        local name = found.names[index]
        local field = policed[name]
        if field then
            if field.at > 0 then
                return twice(name)
            end
            if not field[found.kinds[index]] then
                return "The field '" .. name .. "' must be " .. field.says .. ".", name
            end
            field.at = index
        elseif not found.plain[index] then
            local folded = _M.fold(name)
            if policed[folded] then
                return misspelt(folded)
            end
        end
    end
end


local function check_bytes(text)
    local first, second = byte(text, 1, 2)
    if not first then
        return "The request has no body; send a JSON object."
    end
    if first == 0xEF or first >= 0xFE or first == 0 or second == 0 then
        return "The body must be JSON in UTF-8 without a byte order mark."
    end
    if C.memchr(text, 0, #text) ~= nil then
        return "The body holds a NUL byte, which JSON does not allow."
    end
end


--- The outer scan has matched the brackets of `stream_options`; here its names are looked at.
local function read_options(text, index)
    local ok, problem = members.scan(options, text, view.from[index])
    if not ok then
        return "The field 'stream_options' is not valid JSON: " .. problem .. ".", "stream_options"
    end
    local field
    problem, field = police(options, POLICED_OPTIONS)
    return problem, problem and "stream_options." .. field
end


local function read_fields(text)
    model.at, stream.at, stream_options.at = 0, 0, 0
    max_tokens.at, max_completion_tokens.at, n.at, include_usage.at = 0, 0, 0, 0
    local problem, field = police(view, POLICED)
    local index = stream_options.at
    if not problem and index > 0 and view.kinds[index] == OBJECT then
        problem, field = read_options(text, index)
    end
    if not problem and model.at == 0 then
        problem, field = "The field 'model' is missing; name the model to call.", "model"
    end
    return problem, field
end


local function integer(text, field)
    local index = field.at
    return index > 0 and view.kinds[index] == INTEGER
        and tonumber(sub(text, view.from[index] + 1, view.to[index])) or nil
end


--- How many tokens the answers may have by what the client says; or nil.
local function most_tokens(text)
    local each = integer(text, max_completion_tokens) or integer(text, max_tokens)
    return each and max(0, each) * max(1, integer(text, n) or 1)
end


--- Scan a request's body.
-- @return  a table that the next scan overwrites: `model`, `stream` and `most_tokens` (nil where
--          the client leaves it open); or nil, what is wrong (a
--          sentence for the client), the field that it is about or nil
function _M.scan(text)
    local problem = check_bytes(text)
    if problem then
        return nil, problem
    end
    local last, field
    last, problem = members.scan(view, text)
    if not last then
        return nil, "The body is not valid JSON: it has " .. problem .. "."
    end
    if last ~= #text then
        return nil, "The body must be one JSON object with nothing after it."
    end
    problem, field = read_fields(text)
    if problem then
        return nil, problem, field
    end
    local index = model.at
    request.text = text
    request.model = unescape(sub(text, view.from[index] + 2, view.to[index] - 1))
    request.most_tokens = most_tokens(text)
    request.stream = stream.at > 0 and view.kinds[stream.at] == TRUE
    if not request.model then
        return nil, "The field 'model' holds an escape that JSON does not know.", "model"
    end
    return request
end


--- Does the client itself ask for the usage chunk at the end of a stream?
function _M.client_wants_usage()
    return include_usage.at > 0 and options.kinds[include_usage.at] == TRUE
end


--- What is spliced into every call of a model.
-- @param raw_model   raw JSON of the name that goes upstream
-- @param parameters  list of {name, value (raw JSON), member (`,"name":value`), enforced}
function _M.new_plan(raw_model, parameters)
    local plan = { model = raw_model, parameters = parameters, count = #parameters, by_name = {},
                   folded = {}, members = "" }
    for _, parameter in ipairs(parameters) do
        parameter.seen = 0
        plan.members = plan.members .. parameter.member
        plan.by_name[parameter.name] = parameter
        if parameter.enforced then
            plan.folded[_M.fold(parameter.name)] = parameter.name
        end
    end
    return plan
end


--- Mark the plan's parameters that the client sent; the enforced ones must be clear.
-- @return  how many are marked; or nil, what is wrong, the field
local function mark(plan)
    local marked = 0
    for index = 1, view.count do
        local name = view.names[index]
        local parameter = plan.by_name[name]
        if parameter then
            if parameter.enforced and parameter.seen == splices then
                return nil, twice(name)
            end
            parameter.seen = splices
            marked = marked + 1
        elseif not view.plain[index] then
            local meant = plan.folded[_M.fold(name)]
            if meant then
                return nil, misspelt(meant)
            end
        end
    end
    return marked
end


--- Write the plan's parameters that the client did not send.
local function write_parameters(plan, marked)
    if marked == 0 then
        out:put(plan.members)
        return
    end
    for index = 1, plan.count do
        local parameter = plan.parameters[index]
        if parameter.seen ~= splices then
            out:put(parameter.member)
        end
    end
end


--- Write the body up to *from*, then a text instead of what stands up to *to*.
local function replace(start, at, from, to, text)
    out:putcdata(start + at, from - at)
    out:put(text)
    return to
end


local function ask_usage(start, at, index)
    if view.kinds[index] == NULL then
        return replace(start, at, view.from[index], view.to[index], '{"include_usage":true}')
    end
    if include_usage.at > 0 then
        local inner = include_usage.at
        return replace(start, at, options.from[inner], options.to[inner], "true")
    end
    local first = options.open + 1
    local text = options.count > 0 and '"include_usage":true,' or '"include_usage":true'
    return replace(start, at, first, first, text)
end


--- Write the fields that the client sent, those with a new value replaced.
local function write_fields(plan, usage, start)
    local at = 0
    local options_at = usage and stream_options.at or 0
    for index = 1, view.count do
        if index == model.at then
            at = replace(start, at, view.from[index], view.to[index], plan.model)
        elseif index == options_at then
            at = ask_usage(start, at, index)
        elseif plan.count > 0 then
            local parameter = plan.by_name[view.names[index]]
            if parameter and parameter.enforced then
                at = replace(start, at, view.from[index], view.to[index], parameter.value)
            end
        end
    end
    out:putcdata(start + at, view.close - at)
end


--- Splice a plan into the body that was scanned last.
-- @param plan   from `new_plan`
-- @param usage  true: ask for the usage chunk
-- @return       the new body; or nil, what is wrong, the field
function _M.splice(plan, usage)
    splices = splices + 1
    local marked, problem, field = mark(plan)
    if not marked then
        return nil, problem, field
    end
    local text = request.text
    local start = cast("const char *", text)
    out:reset()
    write_fields(plan, usage, start)
    write_parameters(plan, marked)
    if usage and stream_options.at == 0 then
        out:put(',"stream_options":{"include_usage":true}')
    end
    out:putcdata(start + view.close, #text - view.close)
    request.text = nil
    local spliced = out:get()       -- no tail call: LuaJIT does not compile one into a C function
    return spliced
end


return _M
