--- Reads what the gateway must know of an AI request's body and splices fields into it.
--
-- The body is never decoded and encoded again: an empty array, a slash and a 19-digit integer reach
-- the upstream as sent. A body that the gateway and the upstream could read differently is refused:
-- a second `model` must not pass the check of the first.

local ffi = require "ffi"
local buffer = require "string.buffer"
local members = require "yumen.ai.members"

local C = ffi.C
local byte, gsub, lower, sub = string.byte, string.gsub, string.lower, string.sub
local OBJECT, STRING, INTEGER = members.OBJECT, members.STRING, members.INTEGER
local TRUE, FALSE, NULL = members.TRUE, members.FALSE, members.NULL

local _M = {}

-- Fields that decide what a call is and costs, with the kinds of value each may have.
local POLICED = {
    model = { [STRING] = true, says = "a string" },
    stream = { [TRUE] = true, [FALSE] = true, [NULL] = true, says = "true or false" },
    stream_options = { [OBJECT] = true, [NULL] = true, says = "an object" },
    max_tokens = { [INTEGER] = true, [NULL] = true, says = "an integer" },
    max_completion_tokens = { [INTEGER] = true, [NULL] = true, says = "an integer" },
    n = { [INTEGER] = true, [NULL] = true, says = "an integer" },
}
local POLICED_OPTIONS = {
    include_usage = { [TRUE] = true, [FALSE] = true, [NULL] = true, says = "true or false" },
}

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
local request = { positions = {}, options_positions = {} }
local out = buffer.new()


--- The name as a parser without case would compare it. Characters that a careless decoder drops
-- (bytes that are not UTF-8, zero-width ones) count as dropped.
function _M.fold(name)
    for character, letter in pairs(FOLDS) do
        name = gsub(name, character, letter)
    end
    return lower((gsub(name, "[\128-\255]", "")))
end


local function clear(positions)
    for name in pairs(positions) do
        positions[name] = nil
    end
end


--- Note where each field of *policed* stands, each at most once and written plainly.
-- @return  nothing; or what is wrong, the field
local function police(found, policed, positions)
    clear(positions)
    for index = 1, found.count do
        local name = found.names[index]
        if not found.plain[index] and not policed[name] then
            local folded = _M.fold(name)
            if policed[folded] then
                return "The field '" .. folded .. "' must be written exactly so, in lower case.",
                    folded
            end
        end
        if policed[name] then
            if positions[name] then
                return "The field '" .. name .. "' is given twice; send it once.", name
            end
            positions[name] = index
        end
    end
end


local function check_kinds(found, policed, positions)
    for name, index in pairs(positions) do
        if not policed[name][found.kinds[index]] then
            return "The field '" .. name .. "' must be " .. policed[name].says .. ".", name
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


local function read_options(text)
    local index = request.positions.stream_options
    request.options_from, request.include_usage = nil, nil
    if not index or view.kinds[index] == NULL then
        return
    end
    -- The outer scan has matched the brackets; names and commas inside are looked at here.
    local ok, problem = members.scan(options, text, view.from[index])
    if not ok then
        return "The field 'stream_options' is not valid JSON: " .. problem .. ".", "stream_options"
    end
    request.options_from = options.open
    local field
    problem, field = police(options, POLICED_OPTIONS, request.options_positions)
    if not problem then
        problem, field = check_kinds(options, POLICED_OPTIONS, request.options_positions)
    end
    request.include_usage = request.options_positions.include_usage
    return problem, problem and "stream_options." .. field
end


--- Scan a request's body.
-- @return  a table that the next scan overwrites: `model` and `stream`; or nil, what is wrong (a
--          sentence for the client), the field that it is about or nil
function _M.scan(text)
    local problem = check_bytes(text)
    if problem then
        return nil, problem
    end
    local last
    last, problem = members.scan(view, text)
    if not last then
        return nil, "The body is not valid JSON: it has " .. problem .. "."
    end
    if last ~= #text then
        return nil, "The body must be one JSON object with nothing after it."
    end

    local positions = request.positions
    local field
    problem, field = police(view, POLICED, positions)
    if not problem then
        problem, field = check_kinds(view, POLICED, positions)
    end
    if not problem then
        problem, field = read_options(text)
    end
    if problem then
        return nil, problem, field
    end
    if not positions.model then
        return nil, "The field 'model' is missing; name the model to call.", "model"
    end
    local index = positions.model
    request.text = text
    request.model = members.unescape(sub(text, view.from[index] + 2, view.to[index] - 1))
    request.stream = positions.stream ~= nil and view.kinds[positions.stream] == TRUE
    if not request.model then
        return nil, "The field 'model' holds an escape that JSON does not know.", "model"
    end
    return request
end


--- Does the client itself ask for the usage chunk at the end of a stream?
function _M.client_wants_usage()
    local index = request.include_usage
    return index ~= nil and options.kinds[index] == TRUE
end


-- What to write instead of a range of the body; kept sorted by where the range begins.
local edits = { count = 0, from = {}, to = {}, text = {} }


local function edit(from, to, text)
    local at = edits.count
    while at > 0 and edits.from[at] > from do
        edits.from[at + 1], edits.to[at + 1], edits.text[at + 1] =
            edits.from[at], edits.to[at], edits.text[at]
        at = at - 1
    end
    edits.from[at + 1], edits.to[at + 1], edits.text[at + 1] = from, to, text
    edits.count = edits.count + 1
end


local function edit_usage()
    local index = request.include_usage
    if index then
        edit(options.from[index], options.to[index], "true")
    elseif request.options_from then
        local separator = options.count > 0 and "," or ""
        edit(options.open + 1, options.open + 1, '"include_usage":true' .. separator)
    elseif request.positions.stream_options then
        index = request.positions.stream_options
        edit(view.from[index], view.to[index], '{"include_usage":true}')
    else
        edit(view.close, view.close, ',"stream_options":{"include_usage":true}')
    end
end


--- Where the client wrote the parameter *name*.
-- @return  index, 0 for nowhere; or nil, what is wrong
local function find_parameter(name, folded)
    local found = 0
    for index = 1, view.count do
        local plain = view.plain[index]
        if view.names[index] == name then
            if found > 0 then
                return nil, "The field '" .. name .. "' is given twice; send it once."
            end
            found = index
        elseif folded and not plain and _M.fold(view.names[index]) == folded then
            return nil, "The field '" .. name .. "' must be written as '" .. name .. "'."
        end
    end
    return found
end


local function has(name)
    for index = 1, view.count do
        if view.names[index] == name then
            return true
        end
    end
    return false
end


local function edit_parameters(plan)
    for _, parameter in ipairs(plan.parameters) do
        if parameter.enforced then
            local index, problem = find_parameter(parameter.name, parameter.folded)
            if not index then
                return problem, parameter.name
            end
            if index > 0 then
                edit(view.from[index], view.to[index], parameter.value)
            else
                edit(view.close, view.close, parameter.member)
            end
        elseif not has(parameter.name) then
            edit(view.close, view.close, parameter.member)
        end
    end
end


--- Splice a plan into the body that was scanned last.
-- @param plan    `model`: raw JSON of the upstream's name; `parameters`: list of {name, value (raw
--                JSON), member (`,"name":value`), enforced, folded}
-- @param usage   true: ask for the usage chunk
-- @return        the new body; or nil, what is wrong, the field
function _M.splice(plan, usage)
    edits.count = 0
    local index = request.positions.model
    edit(view.from[index], view.to[index], plan.model)
    if plan.parameters then
        local problem, field = edit_parameters(plan)
        if problem then
            return nil, problem, field
        end
    end
    if usage then
        edit_usage()
    end

    local text, at = request.text, 0
    local start = ffi.cast("const char *", text)
    out:reset()
    for number = 1, edits.count do
        out:putcdata(start + at, edits.from[number] - at)
        out:put(edits.text[number])
        at = edits.to[number]
    end
    out:putcdata(start + at, #text - at)
    request.text = nil
    return out:get()
end


return _M
