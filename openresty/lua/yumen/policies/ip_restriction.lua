--- Lets a route be called only from the networks that it names.
local core = require "yumen.core"
local networks = require "yumen.core.networks"

local _M = {
    name = "ip_restriction",
    priority = 8000,
    on_error = "closed",
}


--- The ranges of a route, made once; false when it names none.
local function make(route)
    local allowed, denied = route.document.allowAddresses, route.document.denyAddresses
    route.networks = (#allowed > 0 or #denied > 0) and {
        allowed = #allowed > 0 and networks.ranges(allowed),
        denied = networks.ranges(denied),
    }
    return route.networks
end


--- What a route denies wins over what it allows.
function _M.access(_, ctx)
    local route = ctx.route
    if not route.document then
        return
    end
    local limits = route.networks
    if limits == nil then
        limits = make(route)
    end
    if not limits then
        return
    end
    local bytes = networks.parse(core.request.get("remote_addr") or "")
    if not bytes or networks.within_any(bytes, limits.denied)
            or (limits.allowed and not networks.within_any(bytes, limits.allowed)) then
        return 403, "address_not_allowed"
    end
end


return _M
