--- Lets a request pass with a key of its tenant: `Authorization: Bearer` or `x-api-key`.
--
-- A header that was good once is found by its own text, without looking into it. What is remembered
-- dies with the credential's document: `config.get` hands out a new table as soon as it changed.
local core = require "yumen.core"
local config = require "yumen.config"
local key_scope = require "yumen.key_scope"
local standing = require "yumen.standing"

local find = string.find
local sub = string.sub

local KEY = "^ym_live_(" .. ("%w"):rep(12) .. ")_" .. ("%w"):rep(49) .. "$"
local KNOWN_HEADERS = 5000

local _M = {
    name = "key_auth",
    priority = 7000,
    on_error = "closed",
}

local known = core.cache.new(KNOWN_HEADERS)


--- The key in an Authorization header; "" for another scheme.
local function bearer(authorization)
    local _, last = find(authorization, "^[Bb][Ee][Aa][Rr][Ee][Rr] +")
    return last and sub(authorization, last + 1) or ""
end


--- The public id of the credential whose digest this key has, and its document; or nil.
local function identify(key)
    local _, _, id = find(key, KEY)
    if not id or not core.base62.check(key) then
        return nil
    end
    local document = config.get("credentials", id)
    if document and core.crypto.digest_matches(key, document.digest) then
        document.scope = key_scope.of(document)
        return document
    end
end


--- The credential of a header's text, which `read` turns into a key; or nil.
local function credential_of(header, read)
    local document = known:get(header)
    if document and config.get("credentials", document.id) == document then
        return document
    end
    document = identify(read and read(header) or header)
    if document then
        known:set(header, document)
    end
    return document
end


local function presented()
    local authorization = core.request.get("http_authorization")
    if authorization then
        return authorization, bearer
    end
    return core.request.get("http_x_api_key"), nil
end


--- One answer for every key that does not fit, so that nothing is learnt by trying. Whoever holds a
-- good one is told what it lacks.
function _M.access(_, ctx)
    if ctx.route.is_public then
        return
    end
    local header, read = presented()
    if not header then
        return 401, "missing_api_key"
    end
    local document = credential_of(header, read)
    if not document and (header == "" or (read and read(header) == "")) then
        return 401, "missing_api_key"
    end
    if not document or document.tenant ~= ctx.tenant.id or standing.of_key(document) then
        return 401, "invalid_api_key"
    end
    ctx.credential = document
    if document.scope then
        return key_scope.check(document.scope, ctx)
    end
end


return _M
