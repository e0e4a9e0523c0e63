"""Signals: short-lived facts that gateway nodes and the worker tell each other through Redis.

A signal is a level, not an event: under `<kind>/<id>` stands what holds now, and until when. Both
planes write and read them by the two scripts here, so that order, expiry and competition are
decided in one place, by Redis' clock alone.
"""

KINDS = ("breaker", "degradation")
"""What signals are about: a breaker that is not closed, a degradation that is in force."""

MOST_ENTRIES = 1000
"""About how many entries the stream keeps; who missed more reads the hash again."""

PUBLISH = f"""
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text = redis.call("HGET", KEYS[1], ARGV[1])
local generation, kept = 0, now
if text then
    local held = cjson.decode(text)
    generation, kept = held.generation, math.max(held.kept, now)
    if ARGV[5] ~= "" and held["until"] > now and generation ~= tonumber(ARGV[5]) then
        return {{0, now, text}}
    end
end
local ends = now + ARGV[3]
text = string.format('{{"value":%s,"until":%.0f,"kept":%.0f,"generation":%.0f,"by":%s}}',
    ARGV[2], ends, math.max(kept, ends), math.max(generation + 1, now), cjson.encode(ARGV[4]))
redis.call("HSET", KEYS[1], ARGV[1], text)
redis.call("XADD", KEYS[2], "MAXLEN", "~", {MOST_ENTRIES}, "*", "name", ARGV[1], "signal", text)
return {{1, now, text}}
"""
"""Publish a signal, unless another one lives that the caller did not know of.

KEYS are the hash and the stream; ARGV are the name, the value as JSON, milliseconds that it holds
(0 ends it), who says so, and the generation that may be replaced ("": any; 0: none that lives).
Returns {1, now, the signal}, or {0, now, the signal that stands there instead}. Generations of one
name only rise, also after Redis lost everything: they begin at its Unix milliseconds.
"""

READ = """
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call("XREVRANGE", KEYS[2], "+", "-", "COUNT", 1)[1]
local reply = {now, last and last[1] or "0-0"}
local all = redis.call("HGETALL", KEYS[1])
for i = 1, #all, 2 do
    if cjson.decode(all[i + 1]).kept <= now then
        redis.call("HDEL", KEYS[1], all[i])
    else
        reply[#reply + 1], reply[#reply + 2] = all[i], all[i + 1]
    end
end
return reply
"""
"""Read everything that stands, and drop what nobody needs any more.

KEYS as above. Returns {now, id of the stream's last entry, name, signal, name, signal, ...}. What
was ended is there too, until the moment to which it would have held: who was away must hear of it.
"""
