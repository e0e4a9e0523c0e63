--- Lets a request pass as far as the limits of the platform and of its tenant go.
--
-- What it takes is taken of all of them or of none, and given back when the request goes no
-- further. Tokens are reserved by what the request asks for; what it used is settled at its end.
local allowance = require "yumen.allowance.node"
local core = require "yumen.core"

local ceil, max = math.ceil, math.max
local find = string.find
local format = string.format
local response = core.response

local BYTES_A_TOKEN = 4
local DEFAULT_TOKENS = 512             -- of an answer whose length the client leaves open
local SECONDS = { second = 1, minute = 60, hour = 3600, day = 86400, month = 2592000 }

local _M = {
    name = "limits",
    priority = 2000,
    on_error = "closed",
}


--- How many tokens the call is expected to use at most.
local function expected(ctx)
    local answer = ctx.most_tokens
    if not answer then
        answer = ctx.route.endpoint == "/v1/embeddings" and 0 or DEFAULT_TOKENS
    end
    return ceil((ctx.request_bytes or 0) / BYTES_A_TOKEN) + answer
end


local function describe(c)
    if c.meter == "concurrency" then
        return c.limit .. " calls at once"
    end
    return format("%d %s a %s", c.limit, c.meter, c.window)
end


local function refuse(ctx, c, ms)
    if not ms then
        return 503, "limits_unavailable"
    end
    local seconds = max(1, ceil(ms / 1000))
    ctx.retry_after, ctx.limited_by = seconds, c
    ctx.detail = format("The limit '%s' (%s) is used up; try again in %d second%s.", c.rule.name,
                        describe(c), seconds, seconds == 1 and "" or "s")
    return 429, "rate_limit_exceeded"
end


function _M.access(_, ctx)
    local plan = allowance.plan(ctx)
    if #plan == 0 then
        return
    end
    local holding, c, ms = allowance.take(plan, plan.has_tokens and expected(ctx) or 0)
    ctx.limits, ctx.holding = plan, holding
    if not holding then
        return refuse(ctx, c, ms)
    end
end


--- What would be taken of which counters; nothing is.
function _M.explain(_, ctx)
    local plan, limits = allowance.plan(ctx), {}
    for i = 1, #plan do
        local c = plan[i]
        limits[i] = {
            rule = c.rule.name, counter = c.name, meter = c.meter, limit = c.limit,
            window = c.rule.window, burst = c.rule.burst, onOutage = c.rule.onOutage,
            kind = c.kind, zone = c.zone, description = describe(c),
            cost = allowance.cost(c, plan.has_tokens and expected(ctx) or 0),
        }
    end
    return #limits > 0 and { limits = limits } or nil
end


--- The name of a rule as a header may carry it.
local function label(c)
    return find(c.rule.name, '["\\%c\128-\255]') and "limit-" .. c.index or c.rule.name
end


--- What all answers of a plan say alike; kept on it.
local function policy_header(plan)
    local parts = {}
    for i, c in ipairs(plan) do
        c.index = i
        c.label = label(c)
        parts[i] = c.meter == "concurrency"
            and format('"%s";q=%d;qu="concurrent-requests"', c.label, c.limit)
            or format('"%s";q=%d;w=%d%s', c.label, c.burst > 0 and c.burst or c.limit,
                      SECONDS[c.window], c.meter == "tokens" and ';qu="tokens"' or "")
    end
    plan.header = table.concat(parts, ", ")
    return plan.header
end


--- How much is left as far as this node knows, and in how many seconds it is whole again.
local function left_of(c, now)
    local seconds = max(0, ceil((c.resets_at - now) / 1000))
    if c.refused_until > now then
        return 0, seconds
    end
    return max(0, c.rest + (c.left or 0)), seconds
end


--- The counter that is nearest to its end.
local function tightest(plan, now)
    local found, smallest
    for i = 1, #plan do
        local c = plan[i]
        local share = left_of(c, now) / max(1, c.most)
        if not found or share < smallest then
            found, smallest = c, share
        end
    end
    return found
end


--- The headers that clients of AI providers know.
local function tell_ai_client(plan, now)
    for _, meter in ipairs { "requests", "tokens" } do
        for i = 1, #plan do
            local c = plan[i]
            if c.meter == meter then
                local left, seconds = left_of(c, now)
                response.set_header("x-ratelimit-limit-" .. meter, c.limit)
                response.set_header("x-ratelimit-remaining-" .. meter, left)
                response.set_header("x-ratelimit-reset-" .. meter, seconds .. "s")
                break
            end
        end
    end
end


function _M.header_filter(_, ctx)
    local plan = ctx.limits
    if not plan then
        return
    end
    local now = allowance.now()
    response.set_header("RateLimit-Policy", plan.header or policy_header(plan))
    local c = ctx.limited_by or tightest(plan, now)
    local left, seconds = left_of(c, now)
    if c == ctx.limited_by then
        left, seconds = 0, ctx.retry_after
        response.set_header("Retry-After", seconds)
    end
    response.set_header("RateLimit", format('"%s";r=%d;t=%d', c.label, left, seconds))
    if ctx.dialect == "openai" then
        tell_ai_client(plan, now)
    end
end


--- What the call used: nil is not known.
local function used(ctx)
    if ctx.tokens_in then
        return ctx.tokens_in + (ctx.tokens_out or 0)
    end
    local status = ctx.upstream_status
    if ctx.failed or (status and (status < 200 or status > 299)) then
        return 0
    end
end


function _M.log(_, ctx)
    local holding = ctx.holding
    if holding then
        ctx.holding = nil
        allowance.settle(holding, used(ctx), ctx.code and not (ctx.failed or ctx.upstream_status))
    end
end


return _M
