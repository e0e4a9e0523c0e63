--- Puts an error of the gateway's in the place of an upstream's answer whose head has come.
local dialect = require "yumen.dialect"
local response = require "yumen.core.response"

local ipairs = ipairs

-- They speak of the answer that nobody gets.
local HIDDEN = {
    "Location", "WWW-Authenticate", "Content-Encoding", "Content-Range", "Accept-Ranges", "ETag",
    "Last-Modified", "Cache-Control", "Expires", "Set-Cookie",
}

local _M = {}


--- In header_filter: the head of the error.
function _M.start(ctx, status, code)
    response.rewrite(status)
    for _, name in ipairs(HIDDEN) do
        response.set_header(name, nil)
    end
    local text, content_type = dialect.error(ctx, status, code)
    response.set_header("Content-Type", content_type)
    response.set_header("Content-Length", #text)
    ctx.code, ctx.replacement = code, text
end


--- In body_filter: its body in the place of the first chunk, and nothing of the others.
function _M.chunk(ctx)
    response.set_chunk(ctx.replacement or nil)
    ctx.replacement = false
end


return _M
