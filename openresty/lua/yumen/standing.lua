--- Whether a tenant, or a key of it, may call at this second.
--
-- Both documents say until when; nothing has to be published for that moment to come.
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


--- The same of a key.
-- @param credential  its document; nil when there is none any more
function _M.of_key(credential)
    return (not credential or is_over(credential)) and "invalid_api_key" or nil
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
