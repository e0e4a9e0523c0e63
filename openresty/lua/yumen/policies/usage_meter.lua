--- Records each call twice: before its upstream is reached, and how it ended and what it used; a
-- call on a tenant's own route, which costs nothing, only how it ended.
--
-- A call is complete when the end of its answer was seen, never by its status: an answer cut off in
-- the middle is logged by nginx as a success.
local core = require "yumen.core"
local dialect = require "yumen.dialect"
local inflate = require "yumen.ai.inflate"
local journal = require "yumen.journal"
local json_usage = require "yumen.ai.json_usage"
local layout = require "contract.journal"
local sse = require "yumen.ai.sse"
local tokens = require "yumen.ai.tokens"

local find = string.find
local tonumber = tonumber
local micros = core.clock.micros
local response = core.response

local COMPLETE, ABORTED, FAILED =
    layout.outcome_complete, layout.outcome_aborted, layout.outcome_failed
local EVENT_STREAM = "text/event-stream"
local CLIENT_CLOSED = 499

local _M = {
    name = "usage_meter",
    priority = 100,
    on_error = "closed",
}


function _M.access(_, ctx)
    local ok, err
    if ctx.route.document then
        ok, err = journal.reserve(ctx)
    else
        ok, err = journal.begin(ctx)
    end
    if not ok then
        core.log.error("call refused, the journal takes no record: ", err)
        return 503, "journal_unavailable"
    end
    if ctx.unreachable then
        return 502, ctx.unreachable
    end
end


--- Decode an answer that came compressed although we asked for it plain.
local function decode(ctx, encoding)
    ctx.inflate = inflate.new(encoding)
    if ctx.inflate then
        response.set_header("Content-Encoding", nil)
        response.set_header("Content-Length", nil)
    else
        core.log.warn("model ", ctx.model.id, " answered in an encoding that cannot be metered")
    end
    return ctx.inflate ~= nil
end


--- The provider's own figures, out of its usage object.
local function read_usage(ctx, text)
    local tokens_in, tokens_out, cached, reasoning = tokens.read(text)
    if tokens_in then
        ctx.tokens_in, ctx.tokens_out = tokens_in, tokens_out
        ctx.tokens_cached, ctx.tokens_reasoning = cached, reasoning
        ctx.usage_source = layout.source_provider
    end
end


--- How the call ended.
local function outcome(ctx)
    local status = ctx.upstream_status
    if ctx.unreachable or ctx.failed or (status and (status < 200 or status > 299)) then
        return FAILED
    end
    local watch = ctx.watch
    if not watch then
        -- What we could not read counts as whole when its framing was.
        return ctx.opaque and ctx.saw_end and COMPLETE or ABORTED
    end
    if ctx.is_events then
        return watch.terminal and not watch.failed and COMPLETE or ABORTED
    end
    -- Whole, and its framing too: otherwise the client was told that the answer is cut off.
    return watch.whole and ctx.saw_end and COMPLETE or ABORTED
end


--- Record how the call ended, before the end of the answer goes to the client: a call that was
-- answered has its record even if this process is killed the next moment.
local function end_call(ctx)
    if not ctx.journal_bytes then
        return
    end
    local watch = ctx.watch
    if watch then
        ctx.events = watch.events
        if watch.usage then
            read_usage(ctx, watch.usage)
        end
    end
    ctx.status = response.status()
    ctx.outcome = outcome(ctx)
    journal.finish(ctx)
    -- What nginx still has of a plain answer is its end mark: nothing to look at.
    ctx.looked = not ctx.is_events and not ctx.inflate
end


--- Watch the answer of an upstream that accepted the call.
local function start_watch(ctx)
    local encoding = response.header("Content-Encoding")
    if encoding and encoding ~= "identity" and not decode(ctx, encoding) then
        ctx.opaque = true
        return
    end
    local content_type = response.header("Content-Type")
    if content_type and find(content_type, EVENT_STREAM, 1, true) == 1 then
        ctx.watch, ctx.is_events = sse.new(ctx.strip_usage), true
        -- Events may be taken out, and one may be put in.
        response.set_header("Content-Length", nil)
    else
        ctx.watch = json_usage.new()
    end
end


function _M.header_filter(_, ctx)
    local route = ctx.route
    if route and route.document then
        return
    end
    local status = ctx.upstream_status
    if not status then
        return end_call(ctx)          -- our own answer, after the upstream gave none
    end
    ctx.first_byte_us = micros() - ctx.started_us
    if status >= 200 and status <= 299 then
        start_watch(ctx)
    end
    if not ctx.is_events then
        ctx.length = tonumber(response.header("Content-Length"))
    end
end


--- @return  what goes on to the client instead of the chunk
local function look(ctx, chunk, is_last)
    if ctx.inflate then
        chunk = not ctx.unsound and inflate.feed(ctx.inflate, chunk)
        if not chunk then
            if not ctx.unsound then
                core.log.warn("model ", ctx.model.id, " sent compressed data that is not sound")
                ctx.unsound = true
            end
            return ""
        end
    end
    local watch = ctx.watch
    if not ctx.is_events then
        json_usage.feed(watch, chunk)
        return chunk
    end
    if ctx.cut_off then
        chunk = sse.cut(watch, chunk)
        return watch.terminal and chunk or chunk .. dialect.event(ctx, ctx.cut_off)
    end
    chunk = sse.feed(watch, chunk)
    return is_last and chunk .. sse.finish(watch) or chunk
end


function _M.body_filter(_, ctx)
    if ctx.looked or ctx.route.document then
        return
    end
    local chunk, is_last = response.chunk()
    if ctx.watch then
        local out = look(ctx, chunk, is_last)
        if out ~= chunk then
            response.set_chunk(out)
            chunk = out
        end
    end
    local bytes = (ctx.response_bytes or 0) + #chunk
    ctx.response_bytes = bytes
    -- The last byte may be on its way before nginx says that it is the last.
    ctx.saw_end = is_last or (ctx.length and bytes >= ctx.length)
    if ctx.saw_end or ctx.cut_off or (ctx.is_events and ctx.watch and ctx.watch.terminal) then
        end_call(ctx)
    end
end


--- How a call on a tenant's own route ended: an answer of whatever status is one, a failure of the
-- service's or of the way there is none.
local function plain_outcome(ctx)
    local status = ctx.upstream_status
    if ctx.unreachable or ctx.failed or ctx.replacement ~= nil or not status or status >= 500 then
        return ctx.failed == CLIENT_CLOSED and ABORTED or FAILED
    end
    return ctx.saw_end and COMPLETE or ABORTED
end


--- An AI call whose client left before the answer was whole, or a call on a tenant's own route.
function _M.log(_, ctx)
    local route = ctx.route
    if not (route and route.document) then
        return end_call(ctx)
    end
    if ctx.journal_bytes then
        ctx.status = response.status()
        ctx.outcome = plain_outcome(ctx)
        journal.finish(ctx)
    end
end


return _M
