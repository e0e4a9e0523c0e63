--- A tenant's own routes: which of them a request takes.
--
-- The document holds them in the order in which they are asked. What is worked out of it is made
-- once and kept on it: exact paths by a look-up, the others by comparing a byte or two of each.
local byte = string.byte
local concat = table.concat
local gsub = string.gsub
local ipairs, pairs = ipairs, pairs
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


local function make(document)
    local path = document.path
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
    if path.kind == "prefix" then
        route.prefix, route.length = path.value, #path.value
        route.last = byte(path.value, -1)
    elseif path.kind == "regex" then
        route.pattern = "\\A(?:" .. path.value .. ")\\z"
    end
    return route
end


local function compile(document)
    local index = { exact = {}, others = {} }
    for _, each in ipairs(document.routes) do
        local route = make(each)
        if each.path.kind == "exact" then
            local same = index.exact[each.path.value] or {}
            index.exact[each.path.value] = same
            same[#same + 1] = route
        else
            index.others[#index.others + 1] = route
        end
    end
    document.index = index
    return index
end


local function is_found(route, path)
    if #path > LONGEST_FOR_PATTERNS then
        return false
    end
    local found, problem = regex.find(path, route.pattern)
    if problem then
        log.warn("the pattern of route ", route.id, " was given up: ", problem)
    end
    return found
end


--- Whether a route that is not exact takes a path. A prefix ends at a `/` or with the path.
local function covers(route, path)
    local length = route.length
    if not length then
        return is_found(route, path)
    end
    if byte(path, length) ~= route.last then
        return false
    end
    local next_byte = byte(path, length + 1)
    return (next_byte == nil or next_byte == SLASH or route.last == SLASH)
        and sub(path, 1, length) == route.prefix
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


--- Whether a route whose path fits takes the request.
-- @param asked  the method that a browser asks for before it sends it; nil when it does not
local function takes(route, ctx, asked)
    local domains, methods, headers = route.domains, route.methods, route.headers
    if domains and not domains[ctx.host] then
        return false
    end
    if asked and route.document.cors then
        return not methods or methods[asked]     -- such a request has none of the page's headers
    end
    return (not methods or methods[ctx.method]) and (not headers or has_headers(headers))
end


--- The route that a request takes, or nil.
-- @param document  of section routes
function _M.find(document, ctx)
    local index = document.index or compile(document)
    local path = ctx.path
    local asked = ctx.method == "OPTIONS" and request.get("http_origin")
        and request.get("http_access_control_request_method")
    local same = index.exact[path]
    if same then
        for i = 1, #same do
            if takes(same[i], ctx, asked) then
                return same[i]
            end
        end
    end
    local others = index.others
    for i = 1, #others do
        local route = others[i]
        if covers(route, path) and takes(route, ctx, asked) then
            return route
        end
    end
end


local function add_methods(route, ctx, allowed)
    if route.methods and not (route.domains and not route.domains[ctx.host]) then
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
    for _, route in ipairs(index.exact[ctx.path] or {}) do
        add_methods(route, ctx, allowed)
    end
    for _, route in ipairs(index.others) do
        if covers(route, ctx.path) then
            add_methods(route, ctx, allowed)
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
