--- Which path and query an upstream gets of a request on a tenant's own route.
--
-- A route is matched by the path that nginx made of the URL: decoded, without dot segments and
-- double slashes. The upstream gets the URL as the client wrote it only where that means the same
-- path; else what was matched, encoded anew. So nothing passes under another name than it was
-- judged by.
local find = string.find
local log = require "yumen.core.log"
local regex = require "yumen.core.regex"
local request = require "yumen.core.request"
local sub = string.sub

local _M = {}


local function without_slash(path)
    return sub(path, -1) == "/" and sub(path, 1, -2) or path
end


--- What a route does to paths, made once: `cut` is taken off the beginning, `put` stands there
-- instead, `whole` replaces all of it. False when it does nothing.
local function change_of(route)
    local document = route.document
    local rewrite = document.rewrite
    if rewrite and rewrite.pattern then
        return { pattern = rewrite.pattern, replacement = rewrite.replacement }
    end
    if rewrite and document.path.kind ~= "prefix" then
        return { whole = request.escape(rewrite.path) }
    end
    if rewrite or document.stripPrefix then
        return {
            cut = without_slash(document.path.value),
            put = rewrite and request.escape(without_slash(rewrite.path)) or "",
        }
    end
    return false
end


local function cut_off(change, path, written)
    local cut = change.cut
    local rest
    if written and sub(written, 1, #cut) == cut and not find(cut, "%", 1, true) then
        rest = sub(written, #cut + 1)
    else
        rest = request.escape(sub(path, #cut + 1))
    end
    local made = change.put .. rest
    return made ~= "" and made or "/"
end


local function replace(route, change, path)
    local made, problem = regex.replace(path, change.pattern, change.replacement)
    if not made then
        log.warn("the rewriting of route ", route.id, " was given up: ", problem)
        made = path
    end
    return request.escape(sub(made, 1, 1) == "/" and made or "/" .. made)
end


--- The path for the upstream, with the client's query.
function _M.target(route, ctx)
    local path = ctx.path
    local change = route.change
    if change == nil then
        change = change_of(route)
        route.change = change
    end
    if not change then
        return request.url_of(path)
    end
    local made
    if change.whole then
        made = change.whole
    elseif change.pattern then
        made = replace(route, change, path)
    else
        made = cut_off(change, path, request.written_path(path))
    end
    return made .. request.query()
end


return _M
