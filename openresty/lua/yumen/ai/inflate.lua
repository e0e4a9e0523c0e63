--- Decodes an answer that came compressed although the upstream was asked not to, by zlib.

local bit = require "bit"
local ffi = require "ffi"

local concat = table.concat

ffi.cdef [[
typedef struct {
    const uint8_t *next_in;
    unsigned int avail_in;
    unsigned long total_in;
    uint8_t *next_out;
    unsigned int avail_out;
    unsigned long total_out;
    const char *message;
    void *state;
    void *allocate;
    void *release;
    void *opaque;
    int data_type;
    unsigned long adler;
    unsigned long reserved;
} yumen_z_stream;
const char *zlibVersion(void);
int inflateInit2_(yumen_z_stream *stream, int window_bits, const char *version, int size);
int inflate(yumen_z_stream *stream, int flush);
int inflateReset2(yumen_z_stream *stream, int window_bits);
int inflateEnd(yumen_z_stream *stream);
]]

local zlib = pcall(function() return ffi.C.zlibVersion end) and ffi.C or ffi.load("z.so.1")

local OK, STREAM_END, BUFFER_ERROR, NO_FLUSH = 0, 1, -5, 0
local GZIP_OR_ZLIB, RAW_DEFLATE = 47, -15
local BLOCK = 65536

local out = ffi.new("uint8_t[?]", BLOCK)

local _M = {}


--- A decoder for a Content-Encoding; nil when it is not one that zlib knows.
function _M.new(encoding)
    encoding = encoding:lower()
    if encoding ~= "gzip" and encoding ~= "x-gzip" and encoding ~= "deflate" then
        return nil
    end
    local stream = ffi.new("yumen_z_stream")
    if zlib.inflateInit2_(stream, GZIP_OR_ZLIB, zlib.zlibVersion(), ffi.sizeof(stream)) ~= OK then
        return nil
    end
    return { stream = ffi.gc(stream, zlib.inflateEnd), deflate = encoding == "deflate" }
end


--- "deflate" is zlib by the standard and raw with some servers: the first byte tells.
local function choose_format(self, text)
    if self.deflate and bit.band(text:byte(), 0x0F) ~= 8 then
        zlib.inflateReset2(self.stream, RAW_DEFLATE)
    end
    self.chosen = true
end


--- Decode the next chunk.
-- @return  the text, "" when there is none yet; or nil when the data is not sound
function _M.feed(self, text)
    if text == "" or self.done then
        return ""
    end
    if not self.chosen then
        choose_format(self, text)
    end
    local stream, parts = self.stream, {}
    stream.next_in, stream.avail_in = text, #text
    repeat
        stream.next_out, stream.avail_out = out, BLOCK
        local result = zlib.inflate(stream, NO_FLUSH)
        if result ~= OK and result ~= STREAM_END and result ~= BUFFER_ERROR then
            return nil
        end
        parts[#parts + 1] = ffi.string(out, BLOCK - stream.avail_out)
        self.done = result == STREAM_END
    until self.done or stream.avail_out > 0
    return concat(parts)
end


return _M
