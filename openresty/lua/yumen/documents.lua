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


--- The document that a JSON text holds, nulls left out; or nil, why it is refused.
function _M.read(section, text)
    local document, err = json.decode_with_nulls(text)
    if type(document) ~= "table" then
        return nil, err or "not an object"
    end
    err = _M.sections[section](document)
    if err then
        return nil, err
    end
    return json.without_nulls(document)
end


--- Take one document in; the caller holds the lock. What is refused leaves the last good one.
-- @param text  its JSON; "" when it is gone
function _M.take(section, id, epoch, number, text)
    if text ~= "" then
        local document, reason = _M.read(section, text)
        if not document then
            return state.refuse(section, id, epoch, number, reason)
        end
    end
    local ok, err = shm.put(section .. "/" .. id, epoch, number, text)
    if ok or err == "older" then
        return state.accept(section, id)
    end
    state.refuse(section, id, epoch, number, err)
end


--- Take one document in as Redis has it; the caller holds the lock.
-- @param envelope {"epoch":E,"rev":N,"doc":{...}}
function _M.take_envelope(section, id, envelope)
    local epoch, number, text = match(envelope, ENVELOPE)
    if not epoch then
        return state.refuse(section, id, 0, 0, "not an envelope of epoch, rev and doc")
    end
    _M.take(section, id, tonumber(epoch), tonumber(number), text)
end


--- Take one document in, as shared memory kept it before, in one step where none is there. It is
-- not judged: it was then, and is again when it is first asked for (`config.get`).
function _M.restore(key, value)
    local ok, err = shm.restore(key, value)
    if not ok and err ~= "older" then
        local section, id = match(key, "^([^/]+)/(.*)$")
        local epoch, number = match(value, "^(%d+):(%d+):")
        state.refuse(section, id, tonumber(epoch), tonumber(number), err)
    end
end


return _M
