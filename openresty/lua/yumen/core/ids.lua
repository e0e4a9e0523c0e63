--- Ids that no process of any node gives twice, at next to no cost.
--
-- 96 random bits a worker process, then a sequence that meets each of its 2^32 numbers once before
-- it repeats; nginx's own $request_id asks the kernel and OpenSSL each time.
local bit = require "bit"

local open = io.open
local tobit = bit.tobit
local tohex = bit.tohex

local STEP = 0x9E3779B1      -- odd, and far from any small fraction of 2^32
local RANDOM_BYTES = 12

local prefix
local position = 0

local _M = {}


--- In each worker, after it was forked.
function _M.init_worker()
    local file = assert(open("/dev/urandom", "rb"))
    prefix = assert(file:read(RANDOM_BYTES)):gsub(".", function(c)
        return tohex(c:byte(), 2)
    end)
    file:close()
end


--- A new id: 32 hexadecimal digits.
function _M.new()
    position = tobit(position + STEP)
    return prefix .. tohex(position)
end


return _M
