--- Reads the last configuration that this node acknowledged, so that it starts without Redis.
local crypto = require "yumen.core.crypto"
local documents = require "yumen.documents"
local json = require "yumen.core.json"
local log = require "yumen.core.log"
local state = require "yumen.core.state"

local find = string.find
local gmatch = string.gmatch
local match = string.match
local open = io.open
local sub = string.sub

local _M = {}


local function verified(path)
    local file = open(path, "rb")
    if not file then
        return nil
    end
    local text = file:read("*a")
    file:close()
    local line_end = find(text, "\n", 1, true)
    local header = line_end and json.decode(sub(text, 1, line_end - 1))
    if type(header) ~= "table" or not (header.epoch and header.revision and header.sha256) then
        return nil, "its first line is damaged"
    end
    local body = sub(text, line_end + 1)
    if crypto.sha256_hex(body) ~= header.sha256 then
        return nil, "its checksum does not fit"
    end
    return header, body
end


local function take_all(body)
    for line in gmatch(body, "[^\n]+") do
        local section, id, envelope = match(line, "^([^\t]+)\t([^\t]+)\t(.*)$")
        if section and documents.sections[section] then
            documents.take(section, id, envelope)
        end
    end
end


local function read_one(path)
    local header, body = verified(path)
    if not header then
        return false, body
    end
    -- A reload of nginx keeps shared memory, which may be newer than the file.
    local epoch, number = state.applied()
    if epoch < header.epoch or (epoch == header.epoch and number < header.revision) then
        state.locked(take_all, body)
        state.set_applied(header.epoch, header.revision)
    end
    return true
end


--- In the master: fill shared memory from the file or from the one before it. That there is none
-- is how a node begins.
function _M.read(path)
    for _, candidate in ipairs { path, path .. ".1" } do
        local ok, err = read_one(candidate)
        if ok then
            return
        end
        if err then
            log.warn("last good configuration ", candidate, " is not used: ", err)
        end
    end
end


return _M
