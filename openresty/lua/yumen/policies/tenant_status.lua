--- Turns away requests for a tenant that is not active.
local _M = {
    name = "tenant_status",
    priority = 8000,
    section = "tenants",
    on_error = "closed",
}


--- @param conf the tenant's document
function _M.access(conf)
    if conf.status ~= "active" then
        return 403, "tenant_" .. conf.status
    end
end


return _M
