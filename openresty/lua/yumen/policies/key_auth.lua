--- Lets a request pass with a key of its tenant (`Authorization: Bearer` or `x-api-key`), or with
-- the token that the tenant's own issuer gave to an end user (`Authorization: Bearer`).
--
-- A header that was good once is found by its own text, without looking into it. What is remembered
-- dies with the document it came from: `config.get` hands out a new table as soon as it changed.
local core = require "yumen.core"
local config = require "yumen.config"
local end_user = require "yumen.end_user"
local key_scope = require "yumen.key_scope"
local standing = require "yumen.standing"

local find = string.find
local sub = string.sub

local KEY = "^ym_live_(" .. ("%w"):rep(12) .. ")_" .. ("%w"):rep(49) .. "$"
local KNOWN_HEADERS = 5000
local NO_KEY = "00000000-0000-0000-0000-000000000000"

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


--- Whether a credential is still what was remembered. One issuer may serve several tenants, so that
-- the same token can be good at the domains of each.
local function is_current(credential, tenant)
    if credential.user then
        return credential.tenant == tenant.id and end_user.is_current(credential)
    end
    return config.get("credentials", credential.id) == credential
end


--- The credential of a header's text; or nil.
-- @param read  turns the text into a key or a token; nil when it is a key
local function credential_of(header, read, tenant)
    local credential = known:get(header)
    if credential and is_current(credential, tenant) then
        return credential
    end
    local text = read and read(header) or header
    credential = identify(text) or read and end_user.identify(text, tenant.id)
    if credential then
        known:set(header, credential)
    end
    return credential
end


local function presented()
    local authorization = core.request.get("http_authorization")
    if authorization then
        return authorization, bearer
    end
    return core.request.get("http_x_api_key"), nil
end


--- Who calls a route that asks for no key: kept on the tenant's document.
local function nobody(tenant)
    tenant.nobody = tenant.nobody or { tenant = tenant.id, key = NO_KEY }
    return tenant.nobody
end


--- Status and code for a credential of a kind that the route does not take; or nothing.
local function refuse_kind(route, credential)
    if credential.user then
        if route.refuses_tokens then
            return 401, "key_required"
        end
    elseif route.refuses_keys then
        return 401, "token_required"
    end
end


local function refusal(text)
    if text == "" then
        return "missing_api_key"
    end
    return end_user.looks_like(text) and "invalid_token" or "invalid_api_key"
end


--- One answer for every key that does not fit, and one for every token, so that nothing is learnt
-- by trying. Whoever holds a good key is told what it lacks.
function _M.access(_, ctx)
    local route = ctx.route
    if route.is_public then
        return
    elseif route.is_open then
        ctx.credential = nobody(ctx.tenant)
        return
    end
    local header, read = presented()
    if not header then
        if route.refuses_keys then
            return 401, "token_required"
        end
        return 401, "missing_api_key"
    end
    local credential = credential_of(header, read, ctx.tenant)
    if not credential then
        return 401, refusal(read and read(header) or header)
    end
    local code = standing.of_credential(credential)
    if code or credential.tenant ~= ctx.tenant.id then
        return 401, code or standing.refusal_of(credential)
    end
    local status
    status, code = refuse_kind(route, credential)
    if not status then
        ctx.credential = credential
        if credential.scope then
            status, code = key_scope.check(credential.scope, ctx)
        end
    end
    return status, code
end


return _M
