--- Tells a tenant's own front end its feature flags and its theme; no key is needed.
local config = require "yumen.config"
local core = require "yumen.core"

local concat = table.concat
local find, gmatch = string.find, string.gmatch
local pairs = pairs
local quote = core.json.quote
local request, response = core.request, core.response
local sort = table.sort
local tostring, type = tostring, type

local NONE = { featureFlags = {}, uiTheme = {} }

local _M = {
    name = "profile",
    priority = 5000,
    on_error = "closed",
}


--- The JSON of names to texts or booleans, the same in every worker, so that its tag is, too.
local function object(values)
    local members = {}
    for name, value in pairs(values) do
        members[#members + 1] = quote(name) .. ":"
            .. (type(value) == "string" and quote(value) or tostring(value))
    end
    sort(members)
    return "{" .. concat(members, ",") .. "}"
end


--- What is answered, made once and kept on the document.
local function answer_of(document)
    local answer = document.answer
    if not answer then
        local text = '{"featureFlags":' .. object(document.featureFlags) .. ',"uiTheme":'
            .. object(document.uiTheme) .. "}"
        answer = { text = text, tag = '"' .. core.crypto.sha256_hex(text):sub(1, 32) .. '"' }
        document.answer = answer
    end
    return answer
end


--- Whether an If-None-Match header names the tag.
local function is_known(header, tag)
    if not header then
        return false
    end
    for one in gmatch(header, '"[^"]*"') do
        if one == tag then
            return true
        end
    end
    return find(header, "^%s*%*%s*$") ~= nil
end


function _M.access(_, ctx)
    if not ctx.route.is_public then
        return
    end
    local answer = answer_of(config.get("profiles", ctx.tenant.id) or NONE)
    response.set_header("ETag", answer.tag)
    response.set_header("Cache-Control", "no-cache")
    if is_known(request.get("http_if_none_match"), answer.tag) then
        return response.answer(ctx, 304, "")
    end
    return response.answer(ctx, 200, answer.text)
end


return _M
