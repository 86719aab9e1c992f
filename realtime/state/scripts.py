"""What Redis does in one step for the stores. Its own clock alone counts here."""

from typing import Final

from realtime.state.link import KEY_PREFIX, Script

__all__ = [
    "ATTEMPT",
    "CHARGE",
    "FORGIVE",
    "MEMORY",
    "PUNISH",
    "PUT",
    "REMOVE",
    "RENEW",
    "SEE_MEMORY",
    "SWEEP",
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

CHARGE: Final = Script(
    _CLOCK
    + """
local window, most = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms - window)
local sum = redis.call('ZCARD', KEYS[1])
if sum <= most then
    for i = 1, ARGV[3] do
        redis.call('ZADD', KEYS[1], now_ms, ARGV[4] .. ':' .. i)
    end
    redis.call('PEXPIRE', KEYS[1], window)
    sum = sum + ARGV[3]
end
return sum > most and 1 or 0
"""
)
"""KEYS budget; ARGV window in ms, its points, how many to charge, a name for them. 1: it is spent.

Nothing more is kept once it is spent, so there are never many more than its points.
"""

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

# Leases. An owner's lease is a key that expires; a topic is a hash of name -> "owner\nvalue"; what
# an owner holds is a set of "topic\nname", so that a sweep finds it without a scan.

RENEW: Final = Script("""
local held = redis.call('SET', KEYS[1], 1, 'PX', ARGV[1], 'GET')
return held and 1 or 0
""")
"""KEYS lease; ARGV its life in ms. 1: it was held just before."""

PUT: Final = Script("""
local own = ARGV[2] .. '\\n'
local function lives(holder)
    return redis.call('EXISTS', ARGV[4] .. holder) == 1
end
local kept = redis.call('HGET', KEYS[1], ARGV[1])
local holder = kept and string.match(kept, '^[^\\n]*')
if holder and holder ~= ARGV[2] and lives(holder) then
    return 0
end
local limit = tonumber(ARGV[5])
if limit >= 0 then
    local others, all = 0, redis.call('HGETALL', KEYS[1])
    for i = 1, #all, 2 do
        if all[i] ~= ARGV[1] and lives(string.match(all[i + 1], '^[^\\n]*')) then
            others = others + 1
        end
    end
    if others >= limit then
        return 0
    end
end
redis.call('HSET', KEYS[1], ARGV[1], own .. ARGV[3])
redis.call('SADD', KEYS[2], ARGV[6] .. '\\n' .. ARGV[1])
redis.call('SADD', KEYS[3], ARGV[2])
return 1
""")
"""KEYS topic, held, owners; ARGV name, owner, value, leases' prefix, limit or -1, topic's name."""

_DROP: Final = """
local function drop(topic_key, name, owner)
    local kept = redis.call('HGET', topic_key, name)
    if not kept or string.match(kept, '^[^\\n]*') ~= owner then
        return nil
    end
    redis.call('HDEL', topic_key, name)
    return string.sub(kept, #owner + 2)
end
"""

REMOVE: Final = Script(
    _DROP
    + """
drop(KEYS[1], ARGV[1], ARGV[2])
redis.call('SREM', KEYS[2], ARGV[3] .. '\\n' .. ARGV[1])
"""
)
"""KEYS topic, held; ARGV name, owner, topic's name."""

SWEEP: Final = Script(
    _DROP
    + """
if redis.call('EXISTS', KEYS[3]) == 1 then
    return {0}
end
local lost = {0}
for _, member in ipairs(redis.call('SPOP', KEYS[1], ARGV[3])) do
    local topic, name = string.match(member, '^([^\\n]*)\\n(.*)$')
    local value = drop(ARGV[2] .. topic, name, ARGV[1])
    if value then
        table.insert(lost, topic)
        table.insert(lost, name)
        table.insert(lost, value)
    end
end
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('SREM', KEYS[2], ARGV[1])
else
    lost[1] = 1
end
return lost
"""
)
"""KEYS held, owners, lease; ARGV owner, prefix of topics, how many at most.

1 where more is left, else 0; then topic, name and value of each entry. Nothing while it lives.
"""
