"""What is done inside Redis, one Lua script each: all of a script happens or nothing, and nothing in between.

Every script gets four keys (meta, records, staging, holder) and as its first argument a digest of the keys and of all
other arguments, so a command that was garbled on its way does nothing. Every answer ends with a digest of itself.
``busy`` is set before a script's first other change: with a full or read-only server it is what fails, and should a
script end in its middle all the same, the copy is known to be damaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str


def _script(body: str) -> Script:
    text = _PRELUDE + body
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


_PRELUDE = """
local META, RECORDS, STAGING, HOLDER = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function reply(...)
  local fields = {...}
  for i = 1, #fields do fields[i] = tostring(fields[i] or '') end
  fields[#fields + 1] = redis.sha1hex(table.concat(fields, '\\n'))
  return fields
end

local sent = {}
for i = 1, #KEYS do sent[#sent + 1] = KEYS[i] end
for i = 2, #ARGV do sent[#sent + 1] = ARGV[i] end
if redis.sha1hex(table.concat(sent, '\\n')) ~= ARGV[1] then return reply('garbled') end
sent = nil

local function field(name) return redis.call('HGET', META, name) or '' end

local function is_whole()
  return field('busy') == '' and tonumber(field('count') or 0) == redis.call('HLEN', RECORDS)
end

-- Why the writer that was let in as FENCE may not change a copy that it takes to be at POSITION; nil when it may.
local function refusal(fence, position)
  local current = field('fence')
  if current ~= fence then
    if (tonumber(string.match(current, '^%d+')) or 0) > tonumber(string.match(fence, '^%d+')) then
      return reply('fenced', current)
    end
    return reply('elsewhere', field('position'))
  end
  if field('position') ~= position then return reply('elsewhere', field('position')) end
  if position ~= '' and not is_whole() then return reply('damaged') end
  return nil
end

local function begin() redis.call('HSET', META, 'busy', '1') end

local function arrive(position)
  redis.call('HSET', META, 'position', position, 'count', redis.call('HLEN', RECORDS))
  redis.call('HDEL', META, 'busy')
end

local function hold(name, ttl_ms) redis.call('SET', HOLDER, name, 'PX', ttl_ms) end

local function put(key, value)
  if value == '' then redis.call('HDEL', RECORDS, key) else redis.call('HSET', RECORDS, key, value) end
end
"""

CLAIM = _script("""
-- NAME, TTL_MS, SESSIONS: takes the copy into use unless another does, and says where it stands.
local holder = redis.call('GET', HOLDER)
if holder and holder ~= ARGV[2] then return reply('held', holder) end
hold(ARGV[2], ARGV[3])
local sound = is_whole() and 'whole' or 'damaged'
return reply('ok', field('position'), field('fence'), sound, redis.call('HGET', RECORDS, ARGV[4]))
""")

CROWN = _script("""
-- NAME, FENCE: from now on only the writer FENCE (its epoch, then its own token) may write.
local holder = redis.call('GET', HOLDER)
if holder ~= ARGV[2] then return reply('held', holder) end
local current = field('fence')
if (tonumber(string.match(current, '^%d+')) or 0) > tonumber(string.match(ARGV[3], '^%d+')) then
  return reply('fenced', current)
end
redis.call('HSET', META, 'fence', ARGV[3])
return reply('ok')
""")

APPLY = _script("""
-- NAME, TTL_MS, FENCE, FROM, TO, then keys and values ('' deletes): one step of the copy.
local no = refusal(ARGV[4], ARGV[5])
if no then return no end
begin()
for i = 7, #ARGV, 2 do put(ARGV[i], ARGV[i + 1]) end
arrive(ARGV[6])
hold(ARGV[2], ARGV[3])
return reply('ok', ARGV[6])
""")

STAGE = _script("""
-- NAME, TTL_MS, FENCE, FROM, TO, WHOLE, then keys and values: lays them aside. FROM '' begins anew. With WHOLE '1' they
-- will be all there is, so a deletion only takes back what was laid aside before.
if field('fence') ~= ARGV[4] then return refusal(ARGV[4], nil) end
if ARGV[5] ~= '' and field('staged') ~= ARGV[5] then return reply('elsewhere', field('position')) end
redis.call('HSET', META, 'staged', ARGV[6])
if ARGV[5] == '' then redis.call('UNLINK', STAGING) end
for i = 8, #ARGV, 2 do
  if ARGV[7] == '1' and ARGV[i + 1] == '' then
    redis.call('HDEL', STAGING, ARGV[i])
  else
    redis.call('HSET', STAGING, ARGV[i], ARGV[i + 1])
  end
end
hold(ARGV[2], ARGV[3])
return reply('ok', ARGV[6])
""")

TAKE_OVER = _script("""
-- NAME, TTL_MS, FENCE, FROM, TO, STAGED, WHOLE: the step from FROM to TO with all that was laid aside. With WHOLE '1'
-- what was laid aside is the copy, wherever it stood before.
if field('fence') ~= ARGV[4] then return refusal(ARGV[4], nil) end
if field('staged') ~= ARGV[7] then return reply('elsewhere', field('position')) end
if ARGV[8] ~= '1' then
  local no = refusal(ARGV[4], ARGV[5])
  if no then return no end
end
begin()
if ARGV[8] == '1' then
  redis.call('UNLINK', RECORDS)
  if redis.call('EXISTS', STAGING) == 1 then redis.call('RENAME', STAGING, RECORDS) end
else
  local staged = redis.call('HGETALL', STAGING)
  for i = 1, #staged, 2 do put(staged[i], staged[i + 1]) end
  redis.call('UNLINK', STAGING)
end
redis.call('HDEL', META, 'staged')
arrive(ARGV[6])
hold(ARGV[2], ARGV[3])
return reply('ok', ARGV[6])
""")

RENEW = _script("""
-- NAME, TTL_MS, FENCE, POSITION: still in use, and still as it was left.
local no = refusal(ARGV[4], ARGV[5])
if no then return no end
hold(ARGV[2], ARGV[3])
return reply('ok', ARGV[5])
""")

RELEASE = _script("""
-- NAME: no longer in use.
if redis.call('GET', HOLDER) == ARGV[2] then redis.call('DEL', HOLDER) end
return reply('ok')
""")
