--- What a policy may read and change of the answer; only init.lua sends one.
local concat = table.concat
local exec = ngx.exec
local exit = ngx.exit
local header = ngx.header
local print = ngx.print
local send_headers = ngx.send_headers

local HTTP_CLOSE_NAMES = { "Content-Length", "Transfer-Encoding" }

local NO_CONTENT = 204
local NOT_MODIFIED = 304
local NGX_BUSY = -3

local _M = {}


--- The status that the client gets.
function _M.status()
    return ngx.status
end


--- A header of the answer, or nil.
function _M.header(name)
    return header[name]
end


--- Set a header of the answer; nil takes it away.
function _M.set_header(name, value)
    header[name] = value
end


--- Add a name to the header Vary.
function _M.add_vary(name)
    local vary = header["Vary"]
    if type(vary) == "table" then
        vary = concat(vary, ", ")
    end
    header["Vary"] = vary and vary .. ", " .. name or name
end


--- In header_filter: answer with another status and let body_filter change the length.
function _M.rewrite(status)
    ngx.status = status
    for _, name in ipairs(HTTP_CLOSE_NAMES) do
        header[name] = nil
    end
end


--- In body_filter: this chunk, and whether it is the last.
function _M.chunk()
    return ngx.arg[1], ngx.arg[2]
end


--- In body_filter: send this instead of the chunk; nil is nothing.
function _M.set_chunk(data)
    ngx.arg[1] = data
end


--- In access: answer the client with this. `return core.response.answer(ctx, 200, text, type)`.
function _M.answer(ctx, status, body, content_type)
    ctx.answer = body
    ctx.answer_status = status
    ctx.answer_type = content_type or "application/json"
    return status
end


--- In body_filter, as its result: close the client's and the upstream's connection.
function _M.cut_off()
    return ngx.ERROR
end


--- Send ctx's answer and end the request.
function _M.send(ctx)
    ngx.status = ctx.answer_status
    if ctx.answer_status == NOT_MODIFIED or ctx.answer_status == NO_CONTENT then
        -- Left to `exit`, nginx would take the ETag away and announce a body.
        send_headers()
        return exit(ctx.answer_status)
    end
    header["Content-Type"] = ctx.answer_type
    header["Content-Length"] = #ctx.answer
    if ctx.allow then
        header["Allow"] = ctx.allow
    end
    print(ctx.answer)
    return exit(ctx.answer_status)
end


--- Send a line of plain text.
function _M.plain(status, text)
    ngx.status = status
    header["Content-Type"] = "text/plain; charset=utf-8"
    header["Content-Length"] = #text
    print(text)
    return exit(status)
end


--- In access: go on in another location of nginx.conf; this phase ends here.
function _M.continue_at(location)
    return exec(location)
end


--- End with this status; error_page gives it a body.
function _M.fail(status)
    return exit(status)
end


--- In balancer: connect to nobody. nginx makes a 502 of it; of any other code it makes a 500.
function _M.connect_nowhere()
    return exit(NGX_BUSY)
end


return _M
