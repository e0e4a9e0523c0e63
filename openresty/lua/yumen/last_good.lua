--- Reads the last configuration that this node acknowledged, so that it starts without Redis.
--
-- The file is a sequence of blocks, each a head and lines. The first, the base, is taken in as it
-- stands: a million documents in about a second. What changed since is judged as it was at first.
local ffi = require "ffi"
local crypto = require "yumen.core.crypto"
local documents = require "yumen.documents"
local files = require "yumen.core.files"
local json = require "yumen.core.json"
local log = require "yumen.core.log"
local shm = require "yumen.core.shm"

local C = ffi.C
local cast = ffi.cast
local match = string.match
local text_at = ffi.string
local tonumber = tonumber

ffi.cdef "void *memchr(const void *text, int character, size_t length);"

local HEAD_BYTES = 256
local TAB, NEWLINE = 9, 10

local _M = {}


--- The head of the block at `at`, with `first` and `last` of its lines.
-- @return nil, what is wrong
local function read_head(text, size, at)
    local head = at + HEAD_BYTES <= size and json.decode(text_at(text + at, HEAD_BYTES))
    if type(head) ~= "table" or not (head.epoch and head.revision and head.bytes) then
        return nil, "a head is damaged"
    end
    head.first, head.last = at + HEAD_BYTES, at + HEAD_BYTES + head.bytes
    if head.last > size then
        return nil, "a block is not whole"
    end
    return head
end


--- Call `take(key, value)` for each line of a block.
local function each_line(text, head, take)
    local at = head.first
    while at < head.last do
        local line = text + at
        local tab = cast("const char *", C.memchr(line, TAB, head.last - at))
        local newline = cast("const char *", C.memchr(line, NEWLINE, head.last - at))
        take(text_at(line, tab - line), text_at(tab + 1, newline - tab - 1))
        at = tonumber(newline - text) + 1
    end
end


local function take_change(key, value)
    local section, id = match(key, "^([^/]+)/(.*)$")
    local epoch, number, document = match(value, "^(%d+):(%d+):(.*)$")
    if documents.sections[section] then
        documents.take(section, id, tonumber(epoch), tonumber(number), document)
    end
end


--- Take in the blocks that are newer than what shared memory holds: a reload of nginx keeps it.
-- @return how far the file is sound, and what is wrong there
local function read_blocks(text, size)
    local held_epoch, held_number = shm.applied()
    local at, reached = 0, nil
    while at < size do
        local head, err = read_head(text, size, at)
        if not head then
            return at, err
        end
        if head.follows ~= reached then
            return at, "a block does not follow"
        end
        if shm.older(held_epoch, held_number, head.epoch, head.revision) then
            if crypto.sha256_hex(text + head.first, head.bytes) ~= head.sha256 then
                return at, "a checksum does not fit"
            end
            each_line(text, head, head.follows and take_change or documents.restore)
            shm.set_applied(head.epoch, head.revision)
        end
        at, reached = head.last, head.epoch .. "-" .. head.revision
    end
    return at
end


--- In the master, before there are workers: fill shared memory from the file. That there is none is
-- how a node begins; without a sound base it begins like that again, and waits for Redis.
function _M.read(path)
    local text, size = files.map_to_read(path)
    if not text then
        return
    end
    local sound, err = read_blocks(text, size)
    files.unmap(text, size)
    if sound == 0 then
        log.error("last good configuration ", path, " is not used: ", err)
    elseif sound < size then
        log.warn("last good configuration ", path, " is used without its last ", size - sound,
                 " bytes: ", err)
    end
    collectgarbage()      -- the workers would inherit it
end


return _M
