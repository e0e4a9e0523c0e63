--- Ends the open streams of a tenant or a key that may no longer call, at their next chunk.
--
-- An event in that chunk's place tells the client; with the chunk after it both connections are
-- closed. An answer that is no stream goes out whole.
local config = require "yumen.config"
local core = require "yumen.core"
local standing = require "yumen.standing"

local seconds = core.clock.seconds

local CLOSED = 499

local _M = {
    name = "open_streams",
    priority = 500,
    section = "tenants",
    on_error = "closed",
}


--- Until when nothing has to be looked at: a newer configuration, or the end of tenant or key.
local function remember(ctx, tenant, credential)
    ctx.generation = config.generation
    ctx.ends_at = standing.end_of(tenant, credential)
end


local function is_unchanged(ctx)
    local ends_at = ctx.ends_at
    return ctx.generation == config.generation and not (ends_at and ends_at <= seconds())
end


--- @param tenant the tenant's document
function _M.access(tenant, ctx)
    remember(ctx, tenant, ctx.credential)
end


function _M.body_filter(_, ctx)
    if ctx.cut_off then
        return CLOSED
    end
    if is_unchanged(ctx) or not (ctx.stream or ctx.open_ended) then
        return
    end
    local tenant = config.get("tenants", ctx.tenant.id)
    local credential = standing.latest(ctx.credential)
    local code = standing.of_tenant(tenant)
        or (credential and standing.of_credential(credential))
        or (not credential and standing.refusal_of(ctx.credential)) or nil
    if not code then
        remember(ctx, tenant, credential)
    elseif not ctx.is_events then
        return CLOSED
    elseif not ctx.watch.terminal then
        ctx.cut_off = code           -- usage_meter tells the client, where the stream allows it
    end
end


return _M
