--- The upstreams that a tenant's calls may go to.
local config = require "yumen.config"

local _M = {}


--- The document of an upstream, with its `service_key`; nil when there is none. Another tenant's is
-- as if it were not there, whatever names it.
function _M.find(tenant, id)
    local document = config.get("upstreams", id)
    if not document or (document.tenant and document.tenant ~= tenant.id) then
        return nil
    end
    document.service_key = document.service_key or "upstream:" .. id
    return document
end


return _M
