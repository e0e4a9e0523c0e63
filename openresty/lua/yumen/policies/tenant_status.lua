--- Turns away requests for a tenant that is not active.
--
-- It comes after the key: that an account is suspended is told to those who hold a key of it.
local standing = require "yumen.standing"

local _M = {
    name = "tenant_status",
    priority = 6000,
    section = "tenants",
    on_error = "closed",
}


--- @param conf the tenant's document
function _M.access(conf)
    local code = standing.of_tenant(conf)
    if code then
        return 403, code
    end
end


return _M
