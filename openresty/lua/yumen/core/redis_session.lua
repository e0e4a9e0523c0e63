--- Keeps a conversation with Redis going in this worker: one turn after the other over one
-- connection, and over another one when that broke.
local log = require "yumen.core.log"
local node = require "yumen.core.node"
local redis_client = require "yumen.core.redis"

local exiting = ngx.worker.exiting
local min = math.min
local timer_at = ngx.timer.at

local TURNS = 500                     -- then a new timer, which frees what the old one gathered
-- Short: what was revoked while Redis was away is refused within a second of its return.
local SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 0.4

local _M = {}


--- Begin, and go on until the worker ends. A worker that was told to ends after the turn that it is
-- in. While Redis is away it tries again and again, and says so once.
-- @param name        whose conversation it is, for the log
-- @param timeout_ms  of each command, longer than a turn blocks; nil is the usual one
-- @param begin       (redis) -> what the first turn over a connection is handed; or nil
-- @param turn        (redis, state) -> what the next one is handed
function _M.keep(name, timeout_ms, begin, turn)
    local pause, trouble = SHORTEST_PAUSE, nil

    local function session()
        local redis = assert(redis_client.connect(node.redis, timeout_ms))
        local state = begin and begin(redis)
        for _ = 1, TURNS do
            if exiting() then
                break
            end
            state = turn(redis, state)
            pause, trouble = SHORTEST_PAUSE, nil
        end
        redis_client.release(redis)
    end

    local function run(premature)
        if premature or exiting() then
            return
        end
        local ok, err = pcall(session)
        local delay = 0
        if not ok then
            if err ~= trouble then
                log.warn(name, ": ", err, "; what is known holds, trying again")
                trouble = err
            end
            delay = pause
            pause = min(pause * 2, LONGEST_PAUSE)
        end
        timer_at(delay, run)
    end

    timer_at(0, run)
end


return _M
