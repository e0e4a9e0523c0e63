--- Makes no calls of a service that fails, until a trial shows that it works again.
local breakers = require "yumen.breakers"
local core = require "yumen.core"

local _M = {
    name = "breaker",
    priority = 1500,
    on_error = "open",
}


function _M.access(_, ctx)
    local wait = breakers.admit(ctx)
    if wait then
        core.response.set_header("Retry-After", wait)
        return 503, "circuit_open"
    end
end


--- Which breakers would be asked; none is.
function _M.explain(_, ctx)
    local asked = breakers.about(ctx)
    return #asked > 0 and { breakers = asked } or nil
end


function _M.header_filter(_, ctx)
    if ctx.breakers and ctx.forwarded and not ctx.failed then
        breakers.answered(ctx)
    end
end


function _M.log(_, ctx)
    if ctx.breakers then
        breakers.report(ctx)
    end
end


return _M
