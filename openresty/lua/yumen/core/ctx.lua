--- One table for each request, alive from its first phase to the end of its log phase.
--
-- `ngx.ctx` is lost when `error_page` redirects, so the table is found by the address of nginx's
-- request object, which stays the same. No nginx variable is read or written for it.
local ffi = require "ffi"
local clear = require "table.clear"
local new_table = require "table.new"
local get_request = require("resty.core.base").get_request

local cast = ffi.cast
local tonumber = tonumber

local FIELDS = 40
local address_type = ffi.typeof("uintptr_t")
local live = {}
-- Tables to use again: making one for each request is much of the garbage collector's work.
local free, free_count = {}, 0

local _M = {}


local function address()
    local request = get_request()
    return request and tonumber(cast(address_type, request))
end


--- Make this request's table. The fields are listed in docs/developers/policies.md.
function _M.new()
    local ctx
    if free_count > 0 then
        ctx = free[free_count]
        free_count = free_count - 1
    else
        ctx = new_table(0, FIELDS)
    end
    live[address()] = ctx
    return ctx
end


--- This request's table, or nil when no phase has made one.
function _M.current()
    return live[address()]
end


--- Forget this request's table; the log phase does.
function _M.release()
    local at = address()
    local ctx = live[at]
    live[at] = nil
    clear(ctx)
    free_count = free_count + 1
    free[free_count] = ctx
end


return _M
