--- B and E records of every call, in files that this worker maps and that outlive it.
--
-- A store into a shared mapping survives kill -9. The payload is stored first, then its length and
-- CRC as one word, so that a torn record reads as the end. For each B that is accepted room for its
-- E is kept, so that a full disk refuses calls and never forgets one.
local ffi = require "ffi"
local bit = require "bit"
local clock = require "yumen.core.clock"
local crc32 = require "yumen.core.crc32"
local files = require "yumen.core.files"
local layout = require "contract.journal"
local log = require "yumen.core.log"
local node = require "yumen.core.node"

local band = bit.band
local cast = ffi.cast
local copy = ffi.copy
local format = string.format
local gsub = string.gsub
local char = string.char
local tonumber = tonumber

ffi.cdef(layout.cdef)
ffi.cdef [[
typedef union { struct { uint32_t length; uint32_t crc; } part; uint64_t whole; } yumen_frame_word;
]]

local FRAME_BYTES = 8
local HEADER_BYTES = layout.header_bytes
local RECORD_BYTES = layout.record_bytes
local KIND_BEGIN, KIND_END = layout.kind_begin, layout.kind_end
local FLAG_STREAM = layout.flag_stream
local NIL_UUID = ("\0"):rep(16)
local NO_STRINGS = 5      -- as many length bytes

local header_type = ffi.typeof("yumen_segment_header *")
local record_type = ffi.typeof("yumen_record *")
local word_type = ffi.typeof("uint64_t *")
local word = ffi.new("yumen_frame_word")

local _M = {}

local directory           -- of this process
local lock                -- its descriptor, held for the life of the process
local started_us
local pid
local size
local base                -- the current segment; nil is none
local number = 0          -- of the current segment
local offset = 0          -- where its next frame goes
local spare               -- the next segment, mapped and not yet used
local reserved = 0        -- bytes that the E records of accepted calls will take
local seq = 0


local function make_segment(segment)
    local name = format("%s/%06d", directory, segment)
    local mapped, err = files.create_mapped(name .. ".tmp", size)
    if not mapped then
        return nil, err
    end
    local header = cast(header_type, mapped)
    copy(header.magic, layout.magic, 8)
    copy(header.node, node.node, #node.node)
    header.started_us = started_us
    header.size = size
    header.pid = pid
    header.segment = segment
    local ok
    ok, err = files.rename(name .. ".tmp", name .. ".seg")
    if not ok then
        files.unmap(mapped, size)
        files.remove(name .. ".tmp")
        return nil, err
    end
    return mapped
end


local function make_spare(premature)
    if premature or spare then
        return
    end
    local err
    spare, err = make_segment(number + 1)
    if not spare then
        log.error("journal: no next segment: ", err)
    end
end


--- Move on to the next segment. Returns true; or nil, err.
local function advance()
    local mapped = spare
    if not mapped then
        local err
        mapped, err = make_segment(number + 1)
        if not mapped then
            return nil, err
        end
    end
    if base then
        cast(header_type, base).sealed = offset
        files.unmap(base, size)
    end
    base, spare = mapped, nil
    number = number + 1
    offset = HEADER_BYTES
    ngx.timer.at(0, make_spare)
    return true
end


--- Open this process's journal; a worker without one refuses every call that must be metered.
function _M.init_worker()
    pid = ngx.worker.pid()
    started_us = clock.micros()
    size = node.segment_bytes
    directory = format("%s/%d-%d", node.journal, started_us, pid)
    local ok, err = files.make_directory(directory)
    if ok then
        lock, err = files.lock(directory .. "/lock")
        ok = lock and advance()
    end
    if not ok then
        log.error("journal: ", err)
    end
end


local function uuid_bytes(text)
    return (gsub(gsub(text, "-", ""), "%x%x", function(pair) return char(tonumber(pair, 16)) end))
end


--- The 16 bytes of a document's uuid, kept on the document.
local function packed(document, uuid)
    local bytes = document.uuid_bytes
    if not bytes then
        bytes = uuid_bytes(uuid)
        document.uuid_bytes = bytes
    end
    return bytes
end


--- Put a length byte and the text at a pointer. Returns the pointer behind it.
local function put(at, text)
    local length = #text
    if length > 255 then
        length = 255
    end
    at[0] = length
    copy(at + 1, text, length)
    return at + 1 + length
end


local function identify(record, at, ctx)
    local model = ctx.model
    copy(record.tenant, packed(ctx.tenant, ctx.tenant.id), 16)
    copy(record.key, packed(ctx.credential, ctx.credential.key), 16)
    copy(record.model, model and packed(model, model.id) or NIL_UUID, 16)
    at = put(at, ctx.route.endpoint)
    at = put(at, ctx.request_id)
    at = put(at, model and model.costPerCall or "0")
    at = put(at, ctx.cost_multiplier or "0")
    return put(at, ctx.user_id or "")
end


--- Bytes that a call's records take at most, each with its frame and padding.
local function frame_bytes(ctx)
    local model = ctx.model
    local bytes = FRAME_BYTES + RECORD_BYTES + NO_STRINGS + 7 + #ctx.route.endpoint
        + #ctx.request_id + (model and #model.costPerCall or 1) + #(ctx.cost_multiplier or "0")
        + #(ctx.user_id or "")
    return bytes - band(bytes, 7)
end


local function store(ctx, kind)
    local payload = base + offset + FRAME_BYTES
    local record = cast(record_type, payload)
    local behind = identify(record, payload + RECORD_BYTES, ctx)
    record.seq = ctx.seq
    record.started_us = ctx.started_us
    record.kind = kind
    record.flags = ctx.stream and FLAG_STREAM or 0
    record.request_bytes = ctx.request_bytes or 0
    if kind == KIND_END then
        record.duration_us = clock.micros() - ctx.started_us
        record.response_bytes = ctx.response_bytes or 0
        record.first_byte_us = ctx.first_byte_us or 0
        record.events = ctx.events or 0
        record.tokens_in = ctx.tokens_in or 0
        record.tokens_out = ctx.tokens_out or 0
        record.tokens_cached = ctx.tokens_cached or 0
        record.tokens_reasoning = ctx.tokens_reasoning or 0
        record.status = ctx.status or 0
        record.upstream_status = ctx.upstream_status or 0
        record.outcome = ctx.outcome or layout.outcome_aborted
        record.usage_source = ctx.usage_source or layout.source_unknown
    end
    local length = behind - payload
    word.part.length = length
    word.part.crc = crc32(payload, length)
    cast(word_type, base + offset)[0] = word.whole
    length = tonumber(length) + FRAME_BYTES + 7
    offset = offset + length - band(length, 7)
end


--- Record that a call begins; the upstream must not be reached without it.
-- @return true; or nil, err
function _M.begin(ctx)
    local bytes = frame_bytes(ctx)
    if not base or offset + bytes + bytes + reserved > size then
        local ok, err = advance()
        if not ok then
            return nil, err
        end
        if offset + bytes + bytes + reserved > size then
            return nil, "more calls are open than a segment holds"
        end
    end
    seq = seq + 1
    ctx.seq = seq
    store(ctx, KIND_BEGIN)
    reserved = reserved + bytes
    ctx.journal_bytes = bytes
    return true
end


--- Record how a call ended; nothing when it never began.
function _M.finish(ctx)
    local bytes = ctx.journal_bytes
    if not bytes then
        return
    end
    ctx.journal_bytes = nil
    reserved = reserved - bytes
    store(ctx, KIND_END)
end


return _M
