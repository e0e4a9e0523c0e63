--- Asks each peer whether it is well, as its upstream's `healthCheck` says.
--
-- Worker 0 asks for the whole node; the others read what it found in shared memory. When it is
-- killed, its heir goes on from what was known. A peer that was never asked is used.
local config = require "yumen.config"
local health = require "yumen.upstream.health"
local log = require "yumen.core.log"
local node = require "yumen.core.node"
local node_status = require "yumen.node_status"
local peers = require "yumen.upstream.peers"
local shm = require "yumen.core.shm"
local standing = require "yumen.upstream.standing"

local concat = table.concat
local exiting = ngx.worker.exiting
local format = string.format
local min = math.min
local now = ngx.now
local pairs, pcall, tonumber = pairs, pcall, tonumber
local random = math.random
local sleep = ngx.sleep
local spawn = ngx.thread.spawn
local timer_at = ngx.timer.at

local SECTION = "upstreams"
local TICK_SECONDS = 0.1
local TURNS = 300                  -- then a new timer, which frees what the old one gathered
local TOLD_TURNS = 50              -- between two counts for the metrics
local MOST_AT_ONCE = 64
local LONGEST_LINE = 8192
local PAUSE_SECONDS = 1
local MILLISECONDS = 1000

local REQUEST = "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: yumen-health-check\r\nAccept: */*\r\n"
    .. "Connection: close\r\n\r\n"

local _M = {}

local target_of                    -- yumen.upstream.target_of, handed in: it requires this module
local watched = {}                 -- id of an upstream -> its target
local changed, all_changed = {}, true
local running = 0


--- Ask a peer once, by HTTP.
-- @return  nil when the answer is good; or what is wrong with it
local function ask(target, peer, conf)
    local socket = ngx.socket.tcp()
    local ends_at = now() + conf.timeout
    local function left()
        return math.max(1, (ends_at - now()) * MILLISECONDS)
    end
    socket:settimeout(left())
    local ok, err = socket:connect(peer.address, peer.port, { pool_size = 1, pool = peer.key })
    if not ok then
        return "connect: " .. err
    end
    if target.scheme == "https" then
        socket:settimeout(left())
        ok, err = socket:sslhandshake(nil, target.server_name, true)
        if not ok then
            socket:close()
            return "TLS: " .. err
        end
    end
    socket:settimeout(left())
    ok, err = socket:send(format(REQUEST, conf.path, target.host_header or peer.host_header))
    local line
    if ok then
        socket:settimeout(left())
        line, err = socket:receiveuntil("\r\n")(LONGEST_LINE)
    end
    socket:close()
    local status = line and tonumber(line:match("^HTTP/1%.[01] (%d%d%d)"))
    if not status then
        return line and "no HTTP" or "no answer: " .. err
    end
    for _, good in ipairs(conf.statuses) do
        if status == good then
            return nil
        end
    end
    if #conf.statuses == 0 and status >= 200 and status < 400 then
        return nil
    end
    return "status " .. status
end


--- One check of one peer; what changes is told to all workers.
local function check(target, peer, conf)
    local ran, problem = pcall(ask, target, peer, conf)
    running = running - 1
    if not ran then
        log.error("health check broke: ", problem)
        return
    end
    local record = peer.record
    record.is_running = false
    local has_changed = health.take_check(record, problem == nil, conf)
    if has_changed or record.ill and problem then
        standing.set_ill(peer, problem, has_changed)
    end
    if has_changed then
        log.warn("peer ", peer.key, problem and " is left out: " or " is used again", problem or "")
    end
end


local function begin(target, peer, conf, at)
    local record = peer.record
    if not record then
        -- At first they are spread over an interval, so that nodes do not ask all at once.
        standing.read({ peer }, true)
        record = { ill = peer.checked_ill, run = 0, due = at + random() * min(conf.interval, 1) }
        peer.record = record
    end
    if at >= record.due and not record.is_running and running < MOST_AT_ONCE then
        record.due, record.is_running = at + conf.interval, true
        running = running + 1
        spawn(check, target, peer, conf)
    end
end


local function look_at(id)
    local document = config.get(SECTION, id)
    watched[id] = document and target_of(document)
end


--- Bring what is watched to what the configuration says.
local function follow()
    if all_changed then
        all_changed, changed, watched = false, {}, {}
        for _, id in ipairs(shm.ids(SECTION)) do
            look_at(id)
        end
    end
    local ids = changed
    changed = {}
    for id in pairs(ids) do
        look_at(id)
    end
end


local function turn()
    follow()
    local at = now()
    for _, target in pairs(watched) do
        if at >= target.good_until then
            peers.renew_soon(target, at)
        end
        if target.health_check then
            for _, peer in ipairs(target.peers) do
                begin(target, peer, target.health_check, at)
            end
        end
    end
end


local function is_out(peer, at)
    return peer.ejected_until and peer.ejected_until > at
end


--- How many of a target's peers are used and how many are not, as this node sees them.
local function count_peers(target, at)
    standing.read(target.peers, target.health_check ~= nil)
    local well = 0
    for _, peer in ipairs(target.peers) do
        well = well + ((peer.checked_ill or is_out(peer, at)) and 0 or 1)
    end
    return well, #target.peers - well
end


--- Tell all workers how many peers each upstream has, for the metrics.
local function tell_peers(at)
    local lines, told, most = {}, 0, node.counted_services
    local other_well, other_ill = 0, 0
    for id, target in pairs(watched) do
        local well, ill = count_peers(target, at)
        if told < most then
            told = told + 1
            lines[told] = id .. " " .. well .. " " .. ill
        else
            other_well, other_ill = other_well + well, other_ill + ill
        end
    end
    if other_well + other_ill > 0 then
        lines[told + 1] = "other " .. other_well .. " " .. other_ill
    end
    standing.tell_counts(concat(lines, "\n"))
end


local function session()
    for i = 1, TURNS do
        if exiting() then
            return
        end
        turn()
        if i % TOLD_TURNS == 1 then
            tell_peers(now())
        end
        sleep(TICK_SECONDS)
    end
end


local function run(premature)
    if premature or exiting() then
        return
    end
    local ok, err = pcall(session)
    if not ok then
        log.error("health checks: ", err)
    end
    timer_at(ok and 0 or PAUSE_SECONDS, run)
end


--- Start asking; one worker does.
function _M.start(make_target)
    target_of = make_target
    config.watch(SECTION, function(id)
        if id then
            changed[id] = true
        else
            all_changed = true
        end
    end)
    node_status.add("targets", _M.report)
    timer_at(0, run)
end


--- Each upstream's peers as this node sees them, for its report.
-- @return  upstream's id -> "address:port" -> {healthy, reason}
function _M.report()
    local told, at = {}, now()
    for id, target in pairs(watched) do
        standing.read(target.peers, target.health_check ~= nil)
        local of_upstream = {}
        for _, peer in ipairs(target.peers) do
            local out = is_out(peer, at)
            of_upstream[peer.name] = {
                healthy = not (peer.checked_ill or out),
                reason = peer.ill_reason or (out and "calls failed") or nil,
            }
        end
        told[id] = of_upstream
    end
    return told
end


return _M
