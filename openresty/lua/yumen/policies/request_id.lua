--- Gives each request an id: the client's own when it is well formed, else a new one.
local core = require "yumen.core"

local find = string.find
local new_id = core.ids.new
local request = core.request

local LONGEST = 128

local _M = {
    name = "request_id",
    priority = 9000,
    on_error = "open",
}


--- Before anything can refuse the request, so that every answer and log line carries the id.
function _M.accept(_, ctx)
    local id = request.get("http_x_request_id")
    if not id or #id > LONGEST or not find(id, "^[%w_-]+$") then
        id = new_id()
    end
    ctx.request_id = id
    request.set_id(id)
end


--- The client finds it in every answer.
function _M.header_filter(_, ctx)
    core.response.set_header("X-Request-Id", ctx.request_id)
end


return _M
