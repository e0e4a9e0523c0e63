--- Takes documents in: reads the envelope, checks the contract, writes shared memory.
local json = require "yumen.core.json"
local schema = require "yumen.core.schema"
local shm = require "yumen.core.shm"
local state = require "yumen.core.state"

local match = string.match
local tonumber = tonumber

-- The document's text is cut out, not decoded and encoded: cjson makes {} of an empty list.
local ENVELOPE = '^%s*{%s*"epoch"%s*:%s*(%d+)%s*,%s*"rev"%s*:%s*(%d+)%s*,%s*"doc"%s*:%s*(.*)}%s*$'

local _M = {
    sections = {},       -- section -> check(document) -> nil or reason
}


--- Compile the contract's schemas, once.
function _M.load(path)
    local file = assert(io.open(path, "rb"))
    local contract = assert(json.decode(file:read("*a")))
    file:close()
    for section, described in pairs(contract.sections) do
        _M.sections[section] = schema.compile(described)
    end
    _M.contract = contract.contract
end


local function judge(section, text)
    local document, err = json.decode_with_nulls(text)
    if type(document) ~= "table" then
        return err or "not an object"
    end
    return _M.sections[section](document)
end


--- Take one document in; the caller holds the lock. What is refused leaves the last good one.
-- @param envelope {"epoch":E,"rev":N,"doc":{...}}
function _M.take(section, id, envelope)
    local epoch, number, text = match(envelope, ENVELOPE)
    if not epoch then
        return state.refuse(section, id, 0, 0, "not an envelope of epoch, rev and doc")
    end
    epoch, number = tonumber(epoch), tonumber(number)
    local reason = judge(section, text)
    if not reason then
        local ok, err = shm.put(section, id, epoch, number, text)
        if ok or err == "older" then
            return state.accept(section, id)
        end
        reason = err
    end
    state.refuse(section, id, epoch, number, reason)
end


--- Take in that a document is gone; the caller holds the lock.
function _M.remove(section, id, epoch, number)
    shm.put(section, id, epoch, number, "")
    state.accept(section, id)
end


return _M
