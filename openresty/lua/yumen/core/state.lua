--- What the workers of this node tell each other: locks, the revision each holds, refusals.
--
-- `yumen_state` holds a handful of small keys, whatever happens. Refusals, of which there may be
-- any number, lie in a memory of their own.
local json = require "yumen.core.json"

local match = string.match
local sleep = ngx.sleep
local sub = string.sub
local tonumber = tonumber

local dict = ngx.shared.yumen_state
local refusals = ngx.shared.yumen_refusals

local LOCK_SECONDS = 1
local LOAD_SECONDS = 2
local WAIT_SECONDS = 0.0005
local MOST_TRIES = 10000
local MOST_TOLD = 100
local MOST_REASON = 500

local _M = {}


--- Call `run` while no other worker writes documents; it must not yield.
function _M.locked(run, ...)
    local tries = 0
    while not dict:add("lock/documents", true, LOCK_SECONDS) do
        tries = tries + 1
        if tries == MOST_TRIES then
            error("the document lock stays taken")
        end
        sleep(WAIT_SECONDS)
    end
    local ok, err = pcall(run, ...)
    dict:delete("lock/documents")
    if not ok then
        error(err, 0)
    end
end


--- Become the worker that loads everything; false when another one is.
function _M.start_load()
    return dict:add("lock/load", ngx.worker.pid(), LOAD_SECONDS) == true
end


--- Stay it; a dead worker's turn ends by itself.
function _M.keep_loading()
    dict:set("lock/load", ngx.worker.pid(), LOAD_SECONDS)
end


function _M.end_load()
    dict:delete("lock/load")
end


local function read_revision(value)
    local epoch, number, pid = match(value or "0-0", "^(%d+)-(%d+):?(%d*)$")
    return tonumber(epoch), tonumber(number), tonumber(pid)
end


--- This worker holds the revision.
function _M.report(epoch, number)
    dict:set("worker/" .. ngx.worker.id(), epoch .. "-" .. number .. ":" .. ngx.worker.pid())
end


--- The lowest and highest revision over all workers, and their process ids.
-- @return {epoch, number, pids, agreed}
function _M.workers()
    local lowest = { epoch = nil, number = nil, pids = {}, agreed = true }
    for id = 0, ngx.worker.count() - 1 do
        local epoch, number, pid = read_revision(dict:get("worker/" .. id))
        lowest.pids[#lowest.pids + 1] = pid
        if lowest.epoch and (epoch ~= lowest.epoch or number ~= lowest.number) then
            lowest.agreed = false
        end
        if not lowest.epoch or epoch < lowest.epoch
           or (epoch == lowest.epoch and number < lowest.number) then
            lowest.epoch, lowest.number = epoch, number
        end
    end
    return lowest
end


--- A document was refused; the last good one stays.
function _M.refuse(section, id, epoch, number, reason)
    local ok = refusals:safe_set(section .. "/" .. id, json.encode {
        section = section, id = id, epoch = epoch, revision = number,
        reason = sub(reason, 1, MOST_REASON),
    })
    if not ok then
        dict:set("refusals/forgotten", true)
    end
end


--- A document was accepted.
function _M.accept(section, id)
    refusals:delete(section .. "/" .. id)
end


--- Everything is about to be judged anew.
function _M.forget_refusals()
    refusals:flush_all()
    refusals:flush_expired()
    dict:delete("refusals/forgotten")
end


--- The refusals that stand: a list of at most 100, and whether there are more.
function _M.refusals()
    local keys = refusals:get_keys(MOST_TOLD + 1)
    local told = {}
    for i = 1, math.min(#keys, MOST_TOLD) do
        local text = refusals:get(keys[i])
        told[#told + 1] = text and json.decode(text)
    end
    return told, #keys > MOST_TOLD or dict:get("refusals/forgotten") == true
end


return _M
