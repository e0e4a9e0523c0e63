--- Loads the whole configuration from Redis into shared memory, by one worker of the node.
local documents = require "yumen.documents"
local keys = require "contract.keys"
local log = require "yumen.core.log"
local redis_client = require "yumen.core.redis"
local shm = require "yumen.core.shm"
local state = require "yumen.core.state"

local match = string.match
local sleep = ngx.sleep
local tonumber = tonumber

local CHUNK = 100          -- about 1 ms each, between which requests are served
local WAIT_SECONDS = 0.01

local _M = {}


--- The newest revision in Redis, or nil when there is none.
function _M.newest(redis)
    local text = assert(redis:get(keys.config_revision))
    if text == redis_client.null then
        return nil
    end
    local epoch, number = match(text, "^(%d+)-(%d+)$")
    return tonumber(epoch), tonumber(number)
end


local function take_chunk(section, pairs_of_chunk, seen)
    for i = 1, #pairs_of_chunk, 2 do
        local id = pairs_of_chunk[i]
        documents.take_envelope(section, id, pairs_of_chunk[i + 1])
        seen[section .. "/" .. id] = true
    end
end


local function scan(redis, section, seen)
    local cursor = "0"
    repeat
        local reply = assert(redis:hscan(keys.config_section .. section, cursor, "COUNT", CHUNK))
        state.locked(take_chunk, section, reply[2], seen)
        state.keep_loading()
        cursor = reply[1]
    until cursor == "0"
end


--- What changes meanwhile is in the log after (epoch, number), and is followed from there.
local function load_all(redis, epoch, number)
    local seen = {}
    state.forget_refusals()
    for section in pairs(documents.sections) do
        scan(redis, section, seen)
    end
    local end_epoch = _M.newest(redis)
    if end_epoch ~= epoch then
        error("the configuration was replaced while it was read")
    end
    if next(seen) == nil and not shm.is_empty() then
        error("the configuration is empty; what is held stays")
    end
    shm.sweep(seen, epoch, number)
    shm.set_applied(epoch, number)
    log.info("configuration ", epoch, "-", number, " loaded")
end


--- Bring shared memory to the newest revision in Redis, or wait for the worker that does.
-- @return the epoch and number that shared memory is complete to, (0, 0) for nothing
function _M.load(redis)
    while true do
        local epoch, number = _M.newest(redis)
        local held_epoch, held_number = shm.applied()
        if not epoch or not shm.older(held_epoch, held_number, epoch, number) then
            return held_epoch, held_number
        end
        if state.start_load() then
            local ok, err = pcall(load_all, redis, epoch, number)
            state.end_load()
            if not ok then
                error(err, 0)
            end
            return epoch, number
        end
        sleep(WAIT_SECONDS)
    end
end


return _M
