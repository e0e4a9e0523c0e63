--- The data plane: one function for each nginx phase, in the order nginx calls them.
local allowance = require "yumen.allowance.node"
local breakers = require "yumen.breakers"
local config = require "yumen.config"
local context = require "yumen.core.ctx"
local dialect = require "yumen.dialect"
local hosts = require "yumen.hosts"
local ids = require "yumen.core.ids"
local journal = require "yumen.journal"
local metrics = require "yumen.metrics"
local node = require "yumen.core.node"
local pipeline = require "yumen.pipeline"
local request = require "yumen.core.request"
local response = require "yumen.core.response"
local router = require "yumen.router"
local signals = require "yumen.signals"
local telemetry = require "yumen.telemetry"
local upstream = require "yumen.upstream"
local web_sockets = require "yumen.web_sockets"

-- A phase is one long straight function with more constants, exits and ways through it than LuaJIT
-- compiles unless it is told to; what it gives up is interpreted, at several times the cost.
local JIT_BOUNDS = { "maxirconst=2000", "maxsnap=2000", "maxside=1000", "loopunroll=60" }

local _M = {}


local function begin()
    local ctx = context.new()
    request.describe(ctx)
    ctx.dialect = router.dialect(ctx.path)
    pipeline.run("accept", ctx)
    return ctx
end


local function refuse(ctx, status, code)
    ctx.code = code
    ctx.forwarded = nil
    if not ctx.answer then
        response.answer(ctx, status, dialect.error(ctx, status, code))
    end
    return response.send(ctx)
end


--- The way in, a straight line: host, tenant, route, policies.
local function admit(ctx)
    if not config.ready() then
        return 503, "no_config"
    end
    local host = hosts.find(ctx.host)                               -- 1 whose request is it
    ctx.domain = host and host.id
    ctx.tenant = host and config.get("tenants", host.tenant)
    if not ctx.tenant then
        return 404, "host_not_found"
    end
    local route, status, code = router.match(ctx)                   -- 2 what is asked for
    if not route then
        return status, code
    end
    ctx.route = route
    return pipeline.run("access", ctx)                              -- 3 may it pass, and where to
end


--- In nginx's master, before it forks: settings, policies, the last good configuration.
function _M.init()
    jit.opt.start(unpack(JIT_BOUNDS))
    node.load()
    local policies = pipeline.named(node.policies)
    if node.explain then
        require("yumen.explain").take_over(_M, policies, begin, admit)
    end
    pipeline.load(policies)
    telemetry.init()
    config.init()
    allowance.init()
end


--- In each worker, once.
function _M.init_worker()
    ids.init_worker()
    journal.init_worker()
    config.init_worker()
    config.follow()
    allowance.init_worker()
    upstream.init_worker()
    upstream.start_checks()
    breakers.init_worker()
    signals.init_worker()
    web_sockets.init_worker()
    telemetry.init_worker(dialect.CODES)
    metrics.init_worker(dialect.CODES)
end


function _M.access()
    local ctx = begin()
    if request.path_carries_key(ctx) then
        return response.fail(400)
    end
    local status, code = admit(ctx)
    if status then
        return refuse(ctx, status, code)
    end
    if ctx.location then
        return response.continue_at(ctx.location)
    end
end


--- Which peer a forwarded request goes to.
function _M.balancer()
    if pipeline.run("balancer", context.current()) then
        return response.connect_nowhere()
    end
end


function _M.header_filter()
    local ctx = context.current()
    if ctx then
        pipeline.run("header_filter", ctx)
    end
end


--- Only what an upstream sends is filtered, never our own refusals.
function _M.body_filter()
    local ctx = context.current()
    if ctx and ctx.forwarded and not ctx.failed and pipeline.run("body_filter", ctx) then
        return response.cut_off()
    end
end


function _M.log()
    local ctx = context.current()
    if ctx then
        pipeline.run("log", ctx)
        context.release()
    end
end


--- Every error that nginx itself makes, in the words of the client's dialect.
function _M.error()
    local ctx = context.current() or begin()
    local status, code = router.refusal(ctx, ctx.failure or response.status())
    ctx.failed = status
    return refuse(ctx, status, code)
end


--- What Prometheus asks for, on the private listener.
function _M.metrics()
    return metrics.answer()
end


--- The process runs.
function _M.livez()
    return response.plain(200, "ok\n")
end


--- Every worker holds a configuration.
function _M.readyz()
    if config.all_ready() then
        return response.plain(200, "ok\n")
    end
    return response.plain(503, "no configuration yet\n")
end


return _M
