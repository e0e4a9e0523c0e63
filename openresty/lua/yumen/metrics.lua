--- Tells Prometheus what this node counts: the private listener's only answer.
--
-- Whichever worker is asked tells of all. A node may know ten thousand services and tenants, so
-- the text is sent in pieces, and requests are served between them.
local allowance = require "yumen.allowance.node"
local breakers = require "yumen.breakers"
local clock = require "yumen.core.clock"
local counted = require "yumen.telemetry.node"
local documents = require "yumen.documents"
local json = require "yumen.core.json"
local layout = require "contract.telemetry"
local node = require "yumen.core.node"
local pages = require "yumen.metrics.page"
local standing = require "yumen.upstream.standing"
local state = require "yumen.core.state"

local flush, print = ngx.flush, ngx.print
local gmatch = string.gmatch
local max = math.max
local open = io.open
local pairs = pairs
local sleep = ngx.sleep
local tonumber = tonumber

local OUTCOMES, BOUNDS = layout.outcomes, layout.bounds_us
local FIRST_BUCKET = #OUTCOMES + #layout.sums + 1
local PAUSE_SECONDS = 0.001
local BREAKER_VALUES = { closed = 0, halfOpen = 1, open = 2 }
local CONNECTION_STATES = { "reading", "writing", "waiting" }

local place = {}                    -- name of a sum -> its place among the counts
for i, name in ipairs(layout.sums) do place[name] = #OUTCOMES + i end

local outcome_labels = {}           -- the label of each outcome
for i, outcome in ipairs(OUTCOMES) do outcome_labels[i] = ',outcome="' .. outcome .. '"' end

local edges = {}                    -- the label of each bucket
for i, bound in ipairs(BOUNDS) do edges[i] = (',le="%g"'):format(bound / 1e6) end
edges[#BOUNDS + 1] = ',le="+Inf"'

local _M = {}

local codes                         -- code -> true: see telemetry.init_worker


local function tell_outcomes(page, name, label, kind)
    page:begin(name)
    counted.each(kind, function(id, counts)
        local labels = label .. '="' .. id .. '"'
        for i = 1, #OUTCOMES do
            page:value(counts[i], labels, outcome_labels[i])
        end
    end, 1, #OUTCOMES)
end


--- Two sums, of what comes in and what goes out.
local function tell_directions(page, name, label, kind, into, out)
    page:begin(name)
    counted.each(kind, function(id, counts)
        local labels = label .. '="' .. id .. '"'
        page:value(counts[into], labels, ',direction="in"')
        page:value(counts[out], labels, ',direction="out"')
    end, into, out)
end


local function tell_waits(page)
    page:begin("yumen_call_wait_seconds")
    counted.each(counted.services, function(id, counts)
        local labels, sum = 'service="' .. id .. '"', 0
        for i, edge in ipairs(edges) do
            sum = sum + counts[FIRST_BUCKET + i - 1]
            page:value(sum, labels, edge, "_bucket")
        end
        page:value(counts[place.wait_us] / 1e6, labels, nil, "_sum")
        page:value(sum, labels, nil, "_count")
    end, place.wait_us, counted.COUNTS)
end


local function tell_calls(page)
    local services, tenants = counted.services, counted.tenants
    tell_outcomes(page, "yumen_calls_total", "service", services)
    tell_directions(page, "yumen_call_bytes_total", "service", services,
                    place.request_bytes, place.response_bytes)
    tell_directions(page, "yumen_call_tokens_total", "service", services,
                    place.tokens_in, place.tokens_out)
    tell_waits(page)
    page:begin("yumen_calls_in_flight")
    counted.each(services, function(id, _, in_flight)
        page:value(in_flight, 'service="' .. id .. '"')
    end, 1, 0)
    tell_outcomes(page, "yumen_tenant_calls_total", "tenant", tenants)
    tell_directions(page, "yumen_tenant_tokens_total", "tenant", tenants,
                    place.tokens_in, place.tokens_out)
    page:begin("yumen_refusals_total")
    for code, number in pairs(counted.refusals(codes)) do
        page:value(number, 'code="' .. code .. '"')
    end
end


local function tell_upstreams(page)
    page:begin("yumen_upstream_peers")
    for id, well, ill in gmatch(standing.counts(), "(%S+) (%d+) (%d+)") do
        local labels = 'service="' .. (id == "other" and id or "upstream:" .. id) .. '"'
        page:value(tonumber(well), labels, ',state="healthy"')
        page:value(tonumber(ill), labels, ',state="unhealthy"')
    end
    page:single("yumen_upstream_retries_total", counted.events("retried"))
    page:single("yumen_upstream_unpooled_calls_total", counted.events("unpooled"))
    page:begin("yumen_breaker_state")
    for id, breaker in pairs(breakers.status()) do
        page:value(BREAKER_VALUES[breaker.status], 'breaker="' .. id .. '"')
    end
    page:single("yumen_breaker_openings_total", counted.events("breaker_opened"))
end


local function tell_limits(page)
    local figures = allowance.figures()
    page:single("yumen_limit_exchanges_total", figures.calls)
    page:single("yumen_limit_portions_total", figures.portions)
    page:single("yumen_limit_refusals_total", figures.refused)
    page:single("yumen_limit_unchecked_units_total", figures.unchecked)
    page:single("yumen_limit_redis_away", figures.is_away and 1 or 0)
end


local function tell_config(page)
    local workers = state.workers()
    local refusals, more = state.refusals()
    page:single("yumen_config_epoch", workers.epoch)
    page:single("yumen_config_revision", workers.number)
    page:single("yumen_config_workers_agree", workers.agreed and 1 or 0)
    page:single("yumen_config_refused_documents", #refusals + (more and 1 or 0))
end


--- What the shipper said last of the journals: {bytes, oldest, at}; nil before it did.
local function journal_backlog()
    local file = open(node.shipper_file, "rb")
    if not file then
        return nil
    end
    local text = file:read("*a")
    file:close()
    return json.decode(text)
end


local function tell_journal(page)
    local backlog, now = journal_backlog(), clock.millis() / 1000
    page:begin("yumen_journal_backlog_bytes")
    if backlog then
        page:value(backlog.bytes)
    end
    page:begin("yumen_journal_lag_seconds")
    if backlog then
        page:value(backlog.oldest and max(0, now - backlog.oldest) or 0)
    end
    page:begin("yumen_shipper_silence_seconds")
    if backlog then
        page:value(max(0, now - backlog.at))
    end
end


local function tell_process(page)
    page:begin("yumen_memory_bytes")
    for name, dict in pairs(ngx.shared) do
        page:value(dict:capacity(), 'memory="' .. name .. '"')
    end
    page:begin("yumen_memory_free_bytes")
    for name, dict in pairs(ngx.shared) do
        page:value(dict:free_space(), 'memory="' .. name .. '"')
    end
    page:begin("yumen_connections")
    for _, name in ipairs(CONNECTION_STATES) do
        page:value(tonumber(ngx.var["connections_" .. name]), 'state="' .. name .. '"')
    end
    local busy, levels = counted.levels()
    page:begin("yumen_open_streams")
    page:value(levels.streams or 0, 'kind="ai"')
    page:value(levels.sockets or 0, 'kind="websocket"')
    page:begin("yumen_worker_busy_ratio")
    for worker, share in pairs(busy) do
        page:value(share, 'worker="' .. worker .. '"')
    end
end


local function send(text)
    print(text)
    flush(true)
    sleep(PAUSE_SECONDS)
end


--- In each worker, once.
-- @param known_codes  code -> true: those of the gateway's answers
function _M.init_worker(known_codes)
    codes = known_codes
end


--- Answer with all metrics. It yields.
function _M.answer()
    ngx.header["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
    local page = pages.new(send)
    page:begin("yumen_gateway_info")
    page:value(1, ('node="%s",contract="%d"'):format(node.node, documents.contract))
    page:single("yumen_gateway_start_timestamp_seconds", counted.boot() / 1e6)
    tell_config(page)
    tell_journal(page)
    tell_process(page)
    tell_limits(page)
    tell_upstreams(page)
    tell_calls(page)
    page:finish()
end


return _M
