--- Shows every phase; copy it to begin a policy. It is not loaded.
local core = require "yumen.core"

local _M = {
    name = "example",
    priority = 2000,         -- higher runs first; two equal ones stop the start
    section = "tenants",     -- the section whose document for the tenant is `conf`; nil is none
    on_error = "open",       -- when it breaks: "open" lets the request pass, "closed" answers 503
}


--- Each request, before its host is known; `conf` is nil here.
function _M.accept(_, ctx)
    ctx.example = 0
end


--- May it pass? Return nothing, or status and code to stop here.
function _M.access(conf, ctx)
    if conf.status ~= "active" then
        ctx.detail = "Only active tenants see the example."
        return 403, "forbidden"
    end
end


--- Before the upstream is connected to; it may be asked again.
function _M.balancer(_, ctx)
    ctx.example = ctx.example + 1
end


--- The head of the answer, ours or the upstream's.
function _M.header_filter(_, ctx)
    core.response.set_header("X-Example", ctx.example)
end


--- Each chunk that the upstream sends.
function _M.body_filter(_, ctx)
    local chunk, is_last = core.response.chunk()
    ctx.example = ctx.example + #chunk
    if is_last then
        core.log.debug("example saw ", ctx.example, " bytes")
    end
end


--- Once, at the end. No socket may be opened here.
function _M.log(_, ctx)
    ctx.example = nil
end


return _M
