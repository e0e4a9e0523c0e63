--- Whether a tenant, or a credential of it (an API key or an end user's token), may call now.
--
-- Both documents say until when; nothing has to be published for that moment to come.
local config = require "yumen.config"
local end_user = require "yumen.end_user"
local seconds = require("yumen.core.clock").seconds

local _M = {}


local function is_over(document)
    local ends = document.expiresAt
    return ends and ends <= seconds()
end


--- The code with which a tenant's requests are refused, or nil.
-- @param tenant  its document; nil when there is none any more
function _M.of_tenant(tenant)
    if not tenant then
        return "tenant_inactive"
    end
    if tenant.status ~= "active" then
        return "tenant_" .. tenant.status
    end
    return is_over(tenant) and "tenant_inactive" or nil
end


--- The code with which requests with such a credential are refused.
function _M.refusal_of(credential)
    return credential.user and "invalid_token" or "invalid_api_key"
end


--- The same as `of_tenant`, of a credential.
function _M.of_credential(credential)
    return is_over(credential) and _M.refusal_of(credential) or nil
end


--- A credential as it is by now; nil when it is none any more.
function _M.latest(credential)
    if credential.user then
        return end_user.identify(credential.token, credential.tenant)
    elseif not credential.id then
        return credential              -- nobody's, at a route that asks for none
    end
    return config.get("credentials", credential.id)
end


--- The second from which one of them may not call any more, or nil.
function _M.end_of(tenant, credential)
    local ends, other = tenant.expiresAt, credential.expiresAt
    if ends and other then
        return ends < other and ends or other
    end
    return ends or other
end


return _M
