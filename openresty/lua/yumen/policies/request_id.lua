--- Gives each request an id: the client's own when it is well formed, else a new one.
local core = require "yumen.core"

local _M = {
    name = "request_id",
    priority = 9000,
    on_error = "open",
}


--- Before anything can refuse the request, so that every answer carries the id.
function _M.accept(_, ctx)
    ctx.request_id = core.request.get("yumen_request_id")
end


--- The client finds it in every answer.
function _M.header_filter(_, ctx)
    core.response.set_header("X-Request-Id", ctx.request_id)
end


return _M
