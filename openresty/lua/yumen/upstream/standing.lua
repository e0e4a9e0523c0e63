--- What this node's workers know of each peer: who is ill, who failed, who is busy.
--
-- It lies in shared memory. A worker holds a copy on the peer and looks again when `generation` has
-- moved, which it does only when a peer fails or recovers: a well peer costs one look a call.
local dict = ngx.shared.yumen_targets
local now = ngx.now
local worker_count, worker_id = ngx.worker.count, ngx.worker.id

local GENERATION = "generation"
local COUNTS, COUNTS_SECONDS = "counts", 30
local FAILURES_SECONDS = 300       -- failures further apart are not in a row
local FORGET_SECONDS = 3600        -- of a peer that nobody asks for any more

local _M = { store = dict }

local own, others = 0, {}          -- this worker's number, and those of the rest


--- In each worker, once. A worker that was killed had calls in flight; its heir has none.
function _M.init_worker()
    own, others = worker_id(), {}
    for id = 0, worker_count() - 1 do
        if id ~= own then
            others[#others + 1] = id
        end
    end
    local suffix = " " .. own
    for _, key in ipairs(dict:get_keys(0)) do
        if key:sub(1, 2) == "n/" and key:sub(-#suffix) == suffix then
            dict:delete(key)
        end
    end
end


--- The names under which a peer's facts lie, made once.
function _M.describe(peer)
    local key = peer.key
    peer.ill_key, peer.failures_key = "i/" .. key, "f/" .. key
    peer.ejected_key, peer.trial_key = "x/" .. key, "t/" .. key
    peer.flight_key = "n/" .. key .. " " .. own
    peer.other_flight_keys = {}
    for i, id in ipairs(others) do
        peer.other_flight_keys[i] = "n/" .. key .. " " .. id
    end
    return peer
end


--- Moves whenever what is known of any peer has changed.
function _M.generation()
    return dict:get(GENERATION) or 0
end


local function moved()
    dict:incr(GENERATION, 1, 0)
end


--- Take what is known onto the peers.
-- @param are_checked  whether their upstream has them checked; what was found once is void without
function _M.read(peers, are_checked)
    for _, peer in ipairs(peers) do
        peer.ill_reason = are_checked and dict:get(peer.ill_key) or nil
        peer.checked_ill = peer.ill_reason ~= nil
        peer.ejected_until = dict:get(peer.ejected_key)
        peer.failures = dict:get(peer.failures_key) or 0
    end
end


--- Tell all workers how many peers upstreams have.
-- @param text  lines of an upstream's id, how many of its peers are used, how many are not
function _M.tell_counts(text)
    dict:safe_set(COUNTS, text, COUNTS_SECONDS)
end


--- What `tell_counts` told last; "" when nobody did for a while.
function _M.counts()
    return dict:get(COUNTS) or ""
end


--- A call failed at this peer.
-- @param passive  {failures, seconds}: after how many in a row it is left out, and for how long
function _M.failed(peer, passive)
    local count = dict:incr(peer.failures_key, 1, 0, FAILURES_SECONDS) or 1
    if peer.ejected_until or count >= passive.failures then
        dict:set(peer.ejected_key, now() + passive.seconds, passive.seconds + FORGET_SECONDS)
        dict:delete(peer.trial_key)
    end
    moved()
end


--- A call succeeded at this peer.
function _M.succeeded(peer)
    if peer.failures == 0 and not peer.ejected_until then
        return
    end
    local until_ = dict:get(peer.ejected_key)
    if until_ and until_ > now() then
        return                     -- begun before it was left out
    end
    dict:delete(peer.failures_key)
    dict:delete(peer.ejected_key)
    dict:delete(peer.trial_key)
    moved()
end


--- Become the one call that tries a peer out; false when another one is.
function _M.try_out(peer, passive)
    return dict:add(peer.trial_key, true, passive.seconds) == true
end


--- A check says that the peer is ill, and why; nil: that it is well.
-- @param is_news  whether it was not so before
function _M.set_ill(peer, reason, is_news)
    if reason then
        dict:set(peer.ill_key, reason, FORGET_SECONDS)
    else
        dict:delete(peer.ill_key)
    end
    if is_news then
        moved()
    end
end


--- One more call in flight at this peer, or one less (-1).
function _M.fly(peer, change)
    local count = peer.in_flight + change
    peer.in_flight = count
    if #peer.other_flight_keys > 0 then
        dict:set(peer.flight_key, count, FORGET_SECONDS)
    end
end


--- Calls in flight at a peer, those of the node's other workers too.
function _M.in_flight(peer)
    local count, keys = peer.in_flight, peer.other_flight_keys
    for i = 1, #keys do
        count = count + (dict:get(keys[i]) or 0)
    end
    return count
end


return _M
