--- What a breaker is now, as one text that all workers of a node read: whole or not at all.
--
-- status|generation|ends|since|attempts|lease|fleet|reason, times in milliseconds of `now`.
local format = string.format
local match = string.match
local tonumber = tonumber

local PATTERN = "^(%a+)|(%d+)|(%-?%d+)|(%-?%d+)|(%d+)|(%d+)|(%d+)|(.*)$"
local TEXT = "%s|%.0f|%.0f|%.0f|%.0f|%.0f|%.0f|%s"
local LONGEST_REASON = 200

local _M = { CLOSED = "closed", OPEN = "open", HALF_OPEN = "halfOpen" }


--- A state:
-- `generation` rises whenever the status changes: what was begun before is not counted after;
-- `ends` is when it stops being open, or being tried; `since` is when it became so (0: always);
-- `attempts` is how often it was opened in a row, less one;
-- `lease` numbers the trial; `fleet` is the generation of the signal that it follows or made.
function _M.new(status, generation, ends, since, attempts, lease, fleet, reason)
    return { status = status, generation = generation, ends = ends, since = since,
             attempts = attempts, lease = lease, fleet = fleet, reason = reason }
end


function _M.encode(state)
    return format(TEXT, state.status, state.generation, state.ends, state.since, state.attempts,
                  state.lease, state.fleet, state.reason:sub(1, LONGEST_REASON))
end


--- @param text  nil is a breaker that nothing has happened to
function _M.decode(text)
    if not text then
        return _M.new(_M.CLOSED, 0, 0, 0, 0, 0, 0, "")
    end
    local status, generation, ends, since, attempts, lease, fleet, reason = match(text, PATTERN)
    return _M.new(status, tonumber(generation), tonumber(ends), tonumber(since),
                  tonumber(attempts), tonumber(lease), tonumber(fleet), reason)
end


return _M
