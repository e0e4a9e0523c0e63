--- Follows the log of publishes in Redis: fetches what changed, or everything when it must.
--
-- Each worker does, from the revision that it holds. While Redis is away, empty or behind, it goes
-- on serving and waits for a newer revision; it never takes a lower one.
local documents = require "yumen.documents"
local keys = require "contract.keys"
local loader = require "yumen.loader"
local node_status = require "yumen.node_status"
local redis_client = require "yumen.core.redis"
local redis_session = require "yumen.core.redis_session"
local json = require "yumen.core.json"
local shm = require "yumen.core.shm"
local state = require "yumen.core.state"

local match = string.match
local min = math.min
local null = redis_client.null
local sleep = ngx.sleep
local tonumber = tonumber

-- A worker that was told to finish does so after this at the latest.
local BLOCK_MS = 1000
local FIRST_BLOCK_MS = 1
local TIMEOUT_MS = BLOCK_MS + 2000
local ENTRIES = 100
local CHUNK = 100                     -- documents at once, about 1 ms, between which it serves
local STALE_SECONDS = 0.2

local _M = {}

local config                          -- yumen.config, handed in: it requires this module


--- The fields of a log entry {id, {name, value, ...}}.
local function read_entry(entry)
    local epoch, number = match(entry[1], "^(%d+)-(%d+)$")
    local fields = {}
    for i = 1, #entry[2], 2 do
        fields[entry[2][i]] = entry[2][i + 1]
    end
    return tonumber(epoch), tonumber(number), fields
end


--- What the entries change: section -> id -> revision; nil when that cannot be told from them.
local function gather(entries)
    local epoch, number = config.revision()
    local changed = {}
    for _, entry in ipairs(entries) do
        local entry_epoch, entry_number, fields = read_entry(entry)
        local changes = fields.changes and json.decode(fields.changes)
        if entry_epoch ~= epoch or entry_number > number + 1 or fields.reload or not changes then
            return nil
        end
        number = entry_number
        for _, change in ipairs(changes) do
            local section, id = change[1], change[2]
            if documents.sections[section] then
                changed[section] = changed[section] or {}
                changed[section][id] = number
            end
        end
    end
    return changed, epoch, number
end


local function take(section, ids, first, envelopes, epoch, revisions)
    for i = 1, #envelopes do
        local id = ids[first + i - 1]
        if envelopes[i] == null then
            documents.take(section, id, epoch, revisions[id], "")
        else
            documents.take_envelope(section, id, envelopes[i])
        end
    end
end


--- Bring shared memory to what Redis holds for these ids; another worker may have been first.
local function refresh(redis, section, revisions, epoch)
    local ids = {}
    for id, number in pairs(revisions) do
        local _, held_epoch, held_number = shm.get(section, id)
        if not held_epoch or shm.older(held_epoch, held_number, epoch, number) then
            ids[#ids + 1] = id
        end
    end
    for first = 1, #ids, CHUNK do
        local last = min(first + CHUNK - 1, #ids)
        local envelopes = assert(redis:hmget(keys.config_section .. section,
                                             unpack(ids, first, last)))
        state.locked(take, section, ids, first, envelopes, epoch, revisions)
    end
end


local function move(epoch, number)
    shm.set_applied(epoch, number)
    config.move(epoch, number)
    node_status.wake()
end


local function load_everything(redis)
    local held_epoch, held_number = config.revision()
    local epoch, number = loader.load(redis)
    if not shm.older(held_epoch, held_number, epoch, number) then
        -- Redis contradicts itself, as after a restore; the publisher will put it right.
        sleep(STALE_SECONDS)
        return
    end
    config.flush()
    move(epoch, number)
end


local function apply(redis, entries)
    local changed, epoch, number = gather(entries)
    if not changed then
        return load_everything(redis)
    end
    for section, revisions in pairs(changed) do
        refresh(redis, section, revisions, epoch)
        for id in pairs(revisions) do
            config.drop(section, id)
        end
    end
    move(epoch, number)
end


--- One wait for news. Returns how long to block next.
local function turn(redis, block_ms)
    local epoch, number = config.revision()
    local reply = assert(redis:xread("COUNT", ENTRIES, "BLOCK", block_ms,
                                     "STREAMS", keys.config_log, epoch .. "-" .. number))
    if reply ~= null then
        apply(redis, reply[1][2])
        return BLOCK_MS
    end
    -- The log says nothing: it may have been lost or trimmed under us.
    local newest_epoch, newest_number = loader.newest(redis)
    if newest_epoch and shm.older(epoch, number, newest_epoch, newest_number) then
        load_everything(redis)
    end
    return BLOCK_MS
end


--- At once, so that it is soon known whether Redis is there.
local function begin()
    return FIRST_BLOCK_MS
end


--- Start following in this worker.
function _M.start(of_config)
    config = of_config
    redis_session.keep("configuration", TIMEOUT_MS, begin, turn)
    if ngx.worker.id() == 0 then
        node_status.start()
    end
end


return _M
