--- When a peer counts as ill, and which peers are used. No nginx in here.
--
-- What checks found (`checked_ill`) is known; what failed calls suggest (`ejected_until`) is a
-- guess, and a guess leaves out half of the peers at most.

local _M = {}


--- Sort peers into those that are used and those that are on trial: left out for failed calls, and
-- due to show by one call that they are well again.
-- @param usable, trials  lists, filled anew
-- @return  whether more than half are suspected, so that all are used; when that may change (Unix
--          seconds) or nil
function _M.sort(peers, at, usable, trials)
    local well, count, trying, next_at = 0, 0, 0, nil
    for i = 1, #peers do
        if not peers[i].checked_ill then
            well = well + 1
        end
    end
    for i = 1, #peers do
        local peer = peers[i]
        local until_ = peer.ejected_until
        if well == 0 or not peer.checked_ill then
            if not until_ then
                count = count + 1
                usable[count] = peer
            elseif until_ > at then
                next_at = (not next_at or until_ < next_at) and until_ or next_at
            else
                trying = trying + 1
                trials[trying] = peer
            end
        end
    end
    local candidates = well > 0 and well or #peers
    local panics = count * 2 < candidates
    if panics then
        count, trying = 0, 0
        for i = 1, #peers do
            if well == 0 or not peers[i].checked_ill then
                count = count + 1
                usable[count] = peers[i]
            end
        end
    end
    for i = #usable, count + 1, -1 do
        usable[i] = nil
    end
    for i = #trials, trying + 1, -1 do
        trials[i] = nil
    end
    return panics, next_at
end


--- Take in one check of a peer.
-- @param record      {ill, run}: what is said of it, and how many checks in a row say otherwise
-- @param is_good     what this check says
-- @param conf        {healthyAfter, unhealthyAfter}
-- @return            true when this changes what is said of it
function _M.take_check(record, is_good, conf)
    if is_good ~= record.ill then
        record.run = 0
        return false
    end
    record.run = record.run + 1
    if record.run < (is_good and conf.healthyAfter or conf.unhealthyAfter) then
        return false
    end
    record.ill, record.run = not is_good, 0
    return true
end


return _M
