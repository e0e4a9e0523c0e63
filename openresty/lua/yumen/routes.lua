--- A tenant's own routes: which of them a request takes.
--
-- The document holds them in the order in which they are asked. What asking needs is made once and
-- kept on it, in lists of numbers and texts, so that a request touches little memory: exact paths
-- are looked up, of the others a byte or two is compared. A route itself is made when its path is
-- first asked for; until then it is one text, which costs the garbage collector nothing, while the
-- decoded routes of a thousand tenants would cost it more than all that a request does.
local byte = string.byte
local concat = table.concat
local gsub = string.gsub
local ipairs, pairs = ipairs, pairs
local json = require "yumen.core.json"
local log = require "yumen.core.log"
local lower = string.lower
local regex = require "yumen.core.regex"
local request = require "yumen.core.request"
local sort = table.sort
local sub = string.sub

local SLASH = byte("/")
-- A pattern is asked of no longer path: this and nginx's match limit bound what it costs.
local LONGEST_FOR_PATTERNS = 2048

local _M = {}


local function set(names)
    local found = {}
    for _, name in ipairs(names) do
        found[name] = true
    end
    return found
end


--- The methods of a route; who may GET may ask for the head alone.
local function methods_of(document)
    if not document.methods then
        return nil
    end
    local methods = set(document.methods)
    methods.HEAD = methods.HEAD or methods.GET
    return methods
end


--- The headers that a request must have, by nginx's names for them; nil is none.
local function headers_of(document)
    local headers = {}
    for i, header in ipairs(document.headers) do
        headers[i] = {
            variable = "http_" .. gsub(lower(header.name), "-", "_"),
            value = header.value,
        }
    end
    return #headers > 0 and headers or nil
end


local function make(index, position)
    local document = json.decode(index.sources[position])
    local accepts = set(document.authentication)
    local route = {
        id = document.id,
        endpoint = document.name,
        document = document,
        domains = #document.domains > 0 and set(document.domains) or nil,
        methods = methods_of(document),
        headers = headers_of(document),
        is_open = #document.authentication == 0,
        refuses_keys = not accepts.key,
        refuses_tokens = not accepts.jwt,
    }
    index.made[position], index.sources[position] = route, nil
    return route
end


local function compile(document)
    local index = {
        sources = {},        -- position -> the route's document as JSON
        made = {},           -- position -> the route
        exact = {},          -- path -> position of the first route
        next_exact = {},     -- position -> that of the next route of the same path
        others = {}, lengths = {}, lasts = {}, texts = {},      -- of prefixes and patterns
    }
    local last_of = {}
    for position, each in ipairs(document.routes) do
        index.sources[position] = json.encode(each)
        local kind, value = each.path.kind, each.path.value
        if kind == "exact" then
            if last_of[value] then
                index.next_exact[last_of[value]] = position
            else
                index.exact[value] = position
            end
            last_of[value] = position
        else
            local place = #index.others + 1
            index.others[place] = position
            index.lengths[place] = kind == "prefix" and #value or 0
            index.lasts[place] = kind == "prefix" and byte(value, -1) or 0
            index.texts[place] = kind == "prefix" and value or "\\A(?:" .. value .. ")\\z"
        end
    end
    document.index, document.routes = index, nil
    return index
end


--- Whether a pattern takes the whole path.
local function is_found(path, pattern)
    if #path > LONGEST_FOR_PATTERNS then
        return false
    end
    local found, problem = regex.find(path, pattern)
    if problem then
        log.warn("a route's pattern was given up: ", problem)
    end
    return found
end


--- Whether the route at a place takes a path. A prefix ends at a `/` or with the path.
local function covers(index, place, path)
    local length = index.lengths[place]
    if length == 0 then
        return is_found(path, index.texts[place])
    end
    local last = index.lasts[place]
    if byte(path, length) ~= last then
        return false
    end
    local next_byte = byte(path, length + 1)
    return (next_byte == nil or next_byte == SLASH or last == SLASH)
        and sub(path, 1, length) == index.texts[place]
end


local function has_headers(headers)
    for i = 1, #headers do
        local header = headers[i]
        local value = request.get(header.variable)
        if not value or (header.value and value ~= header.value) then
            return false
        end
    end
    return true
end


--- The route whose path fits, if it takes the request; or nil.
-- @param asked  the method that a browser asks for before it sends it; nil when it does not
local function taken(index, position, ctx, asked)
    local route = index.made[position] or make(index, position)
    local domains, methods, headers = route.domains, route.methods, route.headers
    if domains and not domains[ctx.domain] then
        return nil
    end
    local takes
    if asked and route.document.cors then
        takes = not methods or methods[asked]    -- such a request has none of the page's headers
    else
        takes = (not methods or methods[ctx.method]) and (not headers or has_headers(headers))
    end
    return takes and route or nil
end


--- The route that a request takes, or nil.
-- @param document  of section routes
function _M.find(document, ctx)
    local index = document.index or compile(document)
    local path = ctx.path
    local asked = ctx.method == "OPTIONS" and request.get("http_origin")
        and request.get("http_access_control_request_method")
    local position = index.exact[path]
    while position do
        local route = taken(index, position, ctx, asked)
        if route then
            return route
        end
        position = index.next_exact[position]
    end
    local others = index.others
    for place = 1, #others do
        local route = covers(index, place, path) and taken(index, others[place], ctx, asked)
        if route then
            return route
        end
    end
end


local function add_methods(index, position, ctx, allowed)
    local route = index.made[position] or make(index, position)
    if route.methods and not (route.domains and not route.domains[ctx.domain]) then
        for method in pairs(route.methods) do
            allowed[method] = true
        end
    end
end


--- The methods that routes of a path take which none of them was found for, as an Allow header
-- has them; nil when the path is no route's.
function _M.methods(document, ctx)
    local index = document.index or compile(document)
    local allowed, names = {}, {}
    local position = index.exact[ctx.path]
    while position do
        add_methods(index, position, ctx, allowed)
        position = index.next_exact[position]
    end
    for place = 1, #index.others do
        if covers(index, place, ctx.path) then
            add_methods(index, index.others[place], ctx, allowed)
        end
    end
    if allowed[ctx.method] then
        return nil                               -- it was another condition that did not fit
    end
    for name in pairs(allowed) do
        names[#names + 1] = name
    end
    sort(names)
    return #names > 0 and concat(names, ", ") or nil
end


return _M
