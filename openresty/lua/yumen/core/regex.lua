--- Regular expressions that tenants wrote: compiled once each, and given up when they take too long
-- (`lua_regex_match_limit`).
local find = ngx.re.find
local substitute = ngx.re.sub

local _M = {}


--- Whether a text has the pattern; nil, what failed when that was given up.
function _M.find(text, pattern)
    local from, _, problem = find(text, pattern, "jo")
    return from ~= nil, problem
end


--- The text with the pattern's first match replaced, $1 to $9 in it being groups.
-- @return  text; or nil, what failed
function _M.replace(text, pattern, replacement)
    local replaced, _, problem = substitute(text, pattern, replacement, "jo")
    if not replaced then
        return nil, problem
    end
    return replaced
end


return _M
