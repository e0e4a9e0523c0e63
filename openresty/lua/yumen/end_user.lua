--- Who an end user's token (JWT) says it is, by the keys of his tenant's own issuers.
--
-- The issuer's entry says which algorithms and which audience are taken; a key is of one algorithm
-- only, so that a token cannot choose how it is judged. Nothing is fetched here: the control plane
-- knows the issuers' keys.
local clock = require "yumen.core.clock"
local config = require "yumen.config"
local crypto = require "yumen.core.crypto"
local json = require "yumen.core.json"

local find = string.find
local gsub = string.gsub
local ipairs = ipairs
local sub = string.sub
local type = type

local TOKEN = "^([%w_-]+)%.([%w_-]+)%.([%w_-]*)$"
local MOST_BYTES = 4096
local MOST_USER_BYTES = 255

local _M = {}


--- The bytes of base64url without padding; or nil.
local function decode(text)
    text = gsub(gsub(text, "-", "+"), "_", "/")
    return ngx.decode_base64(text .. ("="):rep(-#text % 4))
end


--- The JSON object of a token's part; or nil.
local function decode_object(text)
    local bytes = decode(text)
    local value = bytes and json.decode(bytes)
    return type(value) == "table" and value or nil
end


local function contains(list, value)
    for _, item in ipairs(list) do
        if item == value then
            return true
        end
    end
    return false
end


local function find_issuer(document, name)
    for _, issuer in ipairs(document.issuers) do
        if issuer.issuer == name then
            return issuer
        end
    end
end


--- The key that a token names; the only one when it names none. Nil when it is not clear.
local function find_key(issuer, header)
    if header.kid == nil then
        return #issuer.keys == 1 and issuer.keys[1] or nil
    end
    for _, key in ipairs(issuer.keys) do
        if key.kid == header.kid then
            return key
        end
    end
end


--- Whether the issuer made the token's signature.
local function is_signed(issuer, header, signed, signature)
    local key = find_key(issuer, header)
    local algorithm = key and key.algorithm
    -- A critical extension is one that we do not know: there are none.
    if not key or header.alg ~= algorithm or header.crit ~= nil
            or not contains(issuer.algorithms, algorithm) then
        return false
    end
    key.public = key.public or crypto.public_key(key.publicKey)
    return key.public ~= nil and crypto.verify(key.public, algorithm, signature, signed)
end


local function is_for(audiences, claim)
    if type(claim) ~= "table" then
        return contains(audiences, claim)
    end
    for _, audience in ipairs(claim) do
        if contains(audiences, audience) then
            return true
        end
    end
    return false
end


--- Whether the token is for us and for this moment.
local function is_due(issuer, claims)
    local now, leeway = clock.seconds(), issuer.leeway
    local ends, begins = claims.exp, claims.nbf
    return type(ends) == "number" and ends + leeway > now
        and (begins == nil or (type(begins) == "number" and begins - leeway <= now))
        and is_for(issuer.audiences, claims.aud)
end


--- Whether usage can show a text as a user: short UTF-8 without control characters.
local function is_user(text)
    return type(text) == "string" and #text <= MOST_USER_BYTES
        and ngx.re.find(text, "\\A[^[:cntrl:]]+\\z", "jou") ~= nil
end


--- Whether a text is a token by its form.
function _M.looks_like(text)
    return find(text, TOKEN) ~= nil
end


--- The credential that a token is at this tenant's domains: it has `user` and `expiresAt`, and
-- lives as long as `source`, the document of the tenant's issuers. Nil when the token is not good.
function _M.identify(token, tenant_id)
    local _, last, head, body, tail = find(token, TOKEN)
    if not last or #token > MOST_BYTES then
        return nil
    end
    local document = config.get("issuers", tenant_id)
    local header, claims, signature = decode_object(head), decode_object(body), decode(tail)
    if not (document and header and claims and signature) then
        return nil
    end
    local issuer = find_issuer(document, claims.iss)
    if not issuer or not is_due(issuer, claims)
            or not is_signed(issuer, header, sub(token, 1, #head + 1 + #body), signature) then
        return nil
    end
    local user = claims[issuer.userClaim]
    return is_user(user) and {
        tenant = tenant_id,
        key = issuer.id,
        user = user,
        expiresAt = claims.exp + issuer.leeway,
        token = token,
        source = document,
    } or nil
end


--- Whether what was found out of a token still holds: its issuers are what they were.
function _M.is_current(credential)
    return config.get("issuers", credential.tenant) == credential.source
end


return _M
