"""What Redis does in one step for the stores. Its own clock alone counts here."""

from typing import Final

from realtime.state.link import KEY_PREFIX, Script

__all__ = [
    "ATTEMPT",
    "FORGIVE",
    "MEMORY",
    "PUNISH",
    "SEE_MEMORY",
    "TAKE",
    "USE_NONCES",
    "USE_REQUEST_NONCE",
]

LONGEST_MS: Final = 3_600_000

_CLOCK: Final = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""

USE_NONCES: Final = Script("""
local fresh = {}
for i, key in ipairs(KEYS) do
    fresh[i] = redis.call('SET', key, 1, 'NX', 'PX', ARGV[i]) and 1 or 0
end
return fresh
""")
"""KEYS nonces, ARGV their lives in ms; 1 for each that was fresh."""

# The name of a stretch of unbroken memory: this run of the server, and when the key was missing.
# A snapshot loaded at a restart brings back an older run's name, which does not match either.
MEMORY: Final = f"{KEY_PREFIX}memory"
_MEMORY: Final = (
    _CLOCK
    + """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local memory = redis.call('GET', KEYS[1])
if not memory or string.sub(memory, 1, #run) ~= run then
    memory = run .. ':' .. string.format('%.0f', now_ms)
    redis.call('SET', KEYS[1], memory)
end
"""
)

SEE_MEMORY: Final = Script(_MEMORY + "return memory")

USE_REQUEST_NONCE: Final = Script(
    _MEMORY
    + """
if now_ms - tonumber(string.match(memory, ':(%d+)$')) < tonumber(ARGV[2]) then
    return -1
end
return redis.call('SET', KEYS[2], 1, 'NX', 'PX', ARGV[1]) and 1 or 0
"""
)
"""KEYS memory, nonce; ARGV its life and how old the memory must be, in ms. -1: it is younger."""

PUNISH: Final = Script("""
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
    redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])
end
""")
"""KEYS penalty, ARGV its life in ms; a longer one stays."""

TAKE: Final = Script(f"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local rate, burst, n = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local passed = math.max(0, now - (tonumber(kept[2]) or now))
local tokens = math.min(burst, (tonumber(kept[1]) or burst) + passed * rate)
if tokens < n then
    return math.ceil(math.min((n - tokens) / rate * 1000, {LONGEST_MS}))
end
local left = tokens - n
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', left), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(math.min((burst - left) / rate * 1000, {LONGEST_MS})) + 1)
return 0
""")
"""KEYS bucket; ARGV tokens a second, most of them, how many to take. 0, or the wait in ms.

A bucket that would be full again is forgotten. A refusal changes nothing.
"""

ATTEMPT: Final = Script(
    _CLOCK
    + """
local window, wait = tonumber(ARGV[1]), 0
for i, key in ipairs(KEYS) do
    local limit = tonumber(ARGV[i + 2])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now_ms - window)
    local count = redis.call('ZCARD', key)
    if limit == 0 then
        wait = window
    elseif count >= limit then
        local oldest = redis.call('ZRANGE', key, count - limit, count - limit, 'WITHSCORES')
        wait = math.max(wait, oldest[2] + window - now_ms)
    end
end
if wait > 0 then
    return wait
end
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now_ms, ARGV[2])
    redis.call('PEXPIRE', key, window)
end
return 0
"""
)
"""KEYS whom to count it for; ARGV window in ms, its name, the limit of each key."""

FORGIVE: Final = Script("""
for _, key in ipairs(KEYS) do
    redis.call('ZREM', key, ARGV[1])
end
""")
"""KEYS whom it was counted for; ARGV its name."""
