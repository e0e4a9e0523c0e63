--- The configuration as requests see it: look-ups in this worker's cache over shared memory.
--
-- The master reads the last good state before it forks; `follower` keeps shared memory and this
-- cache up to date. A decoded document is one table until it changes: what is computed from it may
-- be kept on it and dies with it.
local cache = require "yumen.core.cache"
local follower = require "yumen.follower"
local last_good = require "yumen.last_good"
local node = require "yumen.core.node"
local documents = require "yumen.documents"
local shm = require "yumen.core.shm"
local state = require "yumen.core.state"

-- Of each section, and ids that do not exist; twice as many may be held for a while.
local CACHED_DOCUMENTS = 5000
local CACHED_MISSES = 1000

local _M = {
    generation = 0,      -- rises with each revision that this worker takes on
}

local caches = {}        -- section -> id -> decoded document
local misses             -- "section/id" -> true: strangers must not push out what is served
local revision = { epoch = 0, number = 0 }
local watchers = {}      -- section -> function(id or nil)


local function fetch(section, id)
    local key = section .. "/" .. id
    if misses:get(key) then
        return nil
    end
    local text, epoch, number = shm.get(section, id)
    if not text or text == "" then
        misses:set(key, true)
        return nil
    end
    local document, reason = documents.read(section, text)
    if not document then
        -- It came from the disk, from before an upgrade of this node's contract.
        state.refuse(section, id, epoch, number, reason)
        misses:set(key, true)
        return nil
    end
    document.id = id
    caches[section]:set(id, document)
    return document
end


--- The decoded document, nulls left out, with its `id`; or nil.
function _M.get(section, id)
    return caches[section]:get(id) or fetch(section, id)
end


--- The epoch and revision that this worker serves, (0, 0) before the first.
function _M.revision()
    return revision.epoch, revision.number
end


--- Whether this worker has a configuration.
function _M.ready()
    return revision.epoch > 0
end


--- Whether every worker has one.
function _M.all_ready()
    return state.workers().epoch > 0
end


--- Call `seen(id)` whenever a document of the section has changed in this worker, and `seen()` when
-- all of them may have. It must not yield.
function _M.watch(section, seen)
    watchers[section] = seen
end


--- Forget one document.
function _M.drop(section, id)
    caches[section]:delete(id)
    misses:delete(section .. "/" .. id)
    local seen = watchers[section]
    if seen then
        seen(id)
    end
end


--- Forget all documents.
function _M.flush()
    for _, documents_of_section in pairs(caches) do
        documents_of_section:flush()
    end
    misses:flush()
    for _, seen in pairs(watchers) do
        seen()
    end
end


--- This worker now serves the revision.
function _M.move(epoch, number)
    revision.epoch, revision.number = epoch, number
    _M.generation = _M.generation + 1
    state.report(epoch, number)
end


--- In the master, before it forks.
function _M.init()
    documents.load(node.contract)
    for section in pairs(documents.sections) do
        caches[section] = cache.new(CACHED_DOCUMENTS)
    end
    misses = cache.new(CACHED_MISSES)
    last_good.read(node.last_good)
end


--- In each worker: start from what shared memory holds.
function _M.init_worker()
    _M.move(shm.applied())
end


--- In each worker: follow what is published.
function _M.follow()
    follower.start(_M)
end


return _M
