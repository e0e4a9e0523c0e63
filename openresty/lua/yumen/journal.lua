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
local sub = string.sub
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
local NO_MODEL = { id = "00000000-0000-0000-0000-000000000000", costPerCall = "0" }
local NOBODY = "\0"             -- the user of a call with an API key, as a counted text
-- A record with its five texts, each with a length byte and at most 255 long, and its frame.
local MOST_BYTES = FRAME_BYTES + RECORD_BYTES + 5 * 256 + 7

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


--- Take the directory of this process for the life of it. Returns true; or nil, err.
--
-- By the lock the shipper knows that this process lives: no segment may be there without it.
local function take_directory()
    if lock then
        return true
    end
    local ok, err = files.make_directory(directory)
    if not ok then
        return nil, err
    end
    lock, err = files.lock(directory .. "/lock")
    return lock, err
end


--- Move on to the next segment. Returns true; or nil, err.
local function advance()
    local ok, problem = take_directory()
    if not ok then
        return nil, problem
    end
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


--- Open this process's journal; a worker without one refuses every call that must be metered, and
-- tries again with each.
function _M.init_worker()
    pid = ngx.worker.pid()
    started_us = clock.micros()
    size = node.segment_bytes
    directory = format("%s/%d-%d", node.journal, started_us, pid)
    local ok, err = advance()
    if not ok then
        log.error("journal: ", err)
    end
end


local function uuid_bytes(text)
    return (gsub(gsub(text, "-", ""), "%x%x", function(pair) return char(tonumber(pair, 16)) end))
end


--- A text with its length before it, as it stands behind the record.
local function counted(text)
    text = sub(text, 1, 255)
    return char(#text) .. text
end


-- What the records of many calls have in common is made once and kept on the document (or route)
-- that it comes from: it dies with it.


--- The bytes of tenant and key.
local function make_identity(credential)
    credential.journal_identity = uuid_bytes(credential.tenant) .. uuid_bytes(credential.key)
    return credential.journal_identity
end


--- The bytes of the model, and the texts of its prices by the cost multiplier.
local function make_prices(model)
    model.journal_uuid = uuid_bytes(model.id)
    model.journal_prices = {}
    return model.journal_prices
end


local function make_price(model, multiplier)
    local prices = model.journal_prices
    prices[multiplier] = counted(model.costPerCall) .. counted(multiplier)
    return prices[multiplier]
end


local function make_endpoint(route)
    route.journal_endpoint = counted(route.endpoint)
    return route.journal_endpoint
end


local function make_user(credential)
    credential.journal_user = counted(credential.user)
    return credential.journal_user
end


--- Write what says whose call it is and at what price. Returns the length of the payload.
local function identify(record, payload, ctx)
    local credential, route, id = ctx.credential, ctx.route, ctx.request_id
    local model, multiplier = ctx.model or NO_MODEL, ctx.cost_multiplier or "0"
    local prices = model.journal_prices or make_prices(model)
    local price = prices[multiplier] or make_price(model, multiplier)
    local endpoint = route.journal_endpoint or make_endpoint(route)
    -- tenant and key, which stand side by side
    copy(record.tenant, credential.journal_identity or make_identity(credential), 32)
    copy(record.model, model.journal_uuid, 16)
    local length = RECORD_BYTES
    copy(payload + length, endpoint, #endpoint)
    length = length + #endpoint
    payload[length] = #id
    copy(payload + length + 1, id, #id)
    length = length + 1 + #id
    copy(payload + length, price, #price)
    length = length + #price
    local user = credential.user and (credential.journal_user or make_user(credential)) or NOBODY
    copy(payload + length, user, #user)
    return length + #user
end


--- Write one record where the next frame goes. Returns the bytes that its frame takes.
local function store(ctx, kind)
    local payload = base + offset + FRAME_BYTES
    local record = cast(record_type, payload)
    local length = identify(record, payload, ctx)
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
        record.outcome = ctx.outcome
        record.usage_source = ctx.usage_source or layout.source_unknown
    end
    word.part.length = length
    word.part.crc = crc32(payload, length)
    cast(word_type, base + offset)[0] = word.whole
    local bytes = band(length + FRAME_BYTES + 7, -8)
    offset = offset + bytes
    return bytes
end


--- Whether a B of the largest size and its E fit, and the E of every call that is open.
local function has_room()
    return base and offset + 2 * MOST_BYTES + reserved <= size
end


--- Make room for a B of the largest size and its E. Returns true; or nil, err.
local function make_room()
    if has_room() then
        return true
    end
    local ok, err = advance()
    if not ok then
        return nil, err
    end
    if not has_room() then
        return nil, "more calls are open than a segment holds"
    end
    return true
end


--- Keep room for the E of a call that has no B: one that costs nothing. Its number is given with
-- the record, so that a worker that is killed leaves no gap.
-- @return true; or nil, err
function _M.reserve(ctx)
    local ok, err = make_room()
    if not ok then
        return nil, err
    end
    reserved = reserved + MOST_BYTES
    ctx.journal_bytes = MOST_BYTES
    return true
end


--- Record that a call begins; the upstream must not be reached without it.
-- @return true; or nil, err
function _M.begin(ctx)
    local ok, err = make_room()
    if not ok then
        return nil, err
    end
    seq = seq + 1
    ctx.seq = seq
    local bytes = store(ctx, KIND_BEGIN)
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
    if not ctx.seq then
        seq = seq + 1
        ctx.seq = seq
        if base and offset + bytes + reserved > size then
            advance()                -- room was kept, in this segment or in the one it moves to
        end
    end
    store(ctx, KIND_END)
end


return _M
