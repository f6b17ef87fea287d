"""The team's copy in Redis, and the scripts that change it there.

The team's copy in Redis: taken into use by one supervisor, changed step by step, read back whole.

``RedisCopy`` knows how the copy is laid out there and trusts nothing that it has not checked: a change is made only to
a copy that stands where the caller believes, by the writer that was let in last; what comes back is checked byte for
byte. Used by ``replicator`` and, when the state is opened, by ``replicated``. No call is repeated here.

What is done inside Redis, one Lua script each: all of a script happens or nothing, and nothing in between.

Every script gets four keys (meta, records, staging, holder) and as its first argument a digest of the keys and of all
other arguments, so a command that was garbled on its way does nothing. Every answer ends with a digest of itself.
``busy`` is set before a script's first other change: with a full or read-only server it is what fails, and should a
script end in its middle all the same, the copy is known to be damaged.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError

from actors.errors import PhalanxError
from supervisor.store.keys import SESSIONS, RedisKeys
from supervisor.store.lineage import Position


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


_CHECKSUM_BYTES = 4
_PAGE_RECORDS = 500
_OTHER_LAYOUT = re.compile(rb"v(\d+);")
"""How the position of a copy in a later layout begins."""


class CopyDamagedError(PhalanxError):
    """What is in Redis, or what came from there, is not what was written."""


class CopyMovedError(PhalanxError):
    """The copy is not where its writer left it: Redis was emptied, or has gone back to older data."""


class CopyHeldError(PhalanxError):
    """Another supervisor uses the copy; the text is its name."""


class CopyFencedError(PhalanxError):
    """A supervisor with a higher epoch was let in; the text says which."""


class CopyVersionError(PhalanxError):
    """The copy has a layout of another version; the text is the end of a sentence that begins with the copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who uses the copy. ``name`` stays the same when a supervisor is replaced on the same home and host."""

    name: str
    lease_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyState:
    """What the copy says of itself. ``position`` is None when there is none, or none that can be read."""

    position: Position | None
    fence: int
    """The highest epoch that was ever let in."""
    damage: str
    """Why the content cannot be used; empty when it can."""
    sessions: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedPart:
    """Records to lay aside. ``previous`` is the name of the part before this one; empty for the first one."""

    name: str
    previous: str
    whole: bool
    """All parts together will be the whole copy."""
    records: Mapping[str, bytes | None]


class RedisCopy:
    """All calls raise ``REDIS_ERRORS`` of ``redis_client`` and ``CopyDamagedError`` (a garbled answer).

    ``fence`` says which writer calls: its epoch, then something of its own.
    """

    def __init__(self, client: Redis | RedisCluster, team: str, writer: Writer) -> None:
        self._client: Any = client
        self._keys = RedisKeys.of(team)
        self._writer = writer

    @property
    def meta_key(self) -> str:
        return self._keys.meta

    async def claim(self, within_s: float) -> CopyState:
        """Takes the copy into use. Raises ``CopyHeldError`` when another supervisor does, and ``CopyVersionError``."""
        position, fence, sound, sessions = await self._run(CLAIM, within_s, SESSIONS, lease=True)
        stands, damage = _read_position(position)
        if stands and sound != b"whole":
            damage = "a part of it is missing, or a write was cut off"
        content = b""
        if sessions and not damage:
            content, damage = _unseal(SESSIONS.encode(), sessions)
        return CopyState(position=stands, fence=_epoch_of(fence), damage=damage, sessions=content)

    async def crown(self, fence: str, within_s: float) -> None:
        """From now on only this writer may write. Raises ``CopyFencedError`` when one with a higher epoch may."""
        await self._run(CROWN, within_s, fence)

    async def apply(
        self, fence: str, start: Position, end: Position, records: Mapping[str, bytes | None], within_s: float
    ) -> None:
        """The step from ``start`` to ``end``. Raises ``CopyFencedError``, ``CopyMovedError``."""
        moved = (_show_position(start), _show_position(end))
        await self._run(APPLY, within_s, fence, *moved, *_sealed(records), lease=True, expected=moved[1])

    async def stage(self, fence: str, part: StagedPart, within_s: float) -> None:
        """Lays records aside. Raises ``CopyFencedError``, ``CopyMovedError``."""
        given = (part.previous, part.name, "1" if part.whole else "", *_sealed(part.records))
        await self._run(STAGE, within_s, fence, *given, lease=True, expected=part.name)

    async def take_over(self, fence: str, start: Position | None, end: Position, staged: str, within_s: float) -> None:
        """The step from ``start`` with all that was laid aside; without ``start``, that is the whole copy then."""
        first, last = _show_position(start) if start else "", _show_position(end)
        whole = "" if start else "1"
        await self._run(TAKE_OVER, within_s, fence, first, last, staged, whole, lease=True, expected=last)

    async def renew(self, fence: str, position: Position, within_s: float) -> None:
        """Keeps it in use. Raises as ``apply`` does when it is not at ``position`` any more."""
        stands = _show_position(position)
        await self._run(RENEW, within_s, fence, stands, lease=True, expected=stands)

    async def release(self, within_s: float) -> None:
        await self._run(RELEASE, within_s)

    async def read(self, within_s: float) -> AsyncIterator[dict[str, bytes]]:
        """Every record, in parts; ``within_s`` is for each of them. Raises ``CopyDamagedError``."""
        cursor, seen = 0, set[bytes]()
        while True:
            async with asyncio.timeout(within_s):
                asked = self._client.hscan(self._keys.records, cursor, count=_PAGE_RECORDS)
                cursor, page = await _understood(asked)
            seen.update(page)
            yield dict(_unsealed(page))
            if not cursor:
                break
        async with asyncio.timeout(within_s):
            count = await self._client.hget(self._keys.meta, "count")
        if str(len(seen)).encode() != count:
            raise CopyDamagedError(f"{len(seen)} records were read, which is not their number")

    async def close(self) -> None:
        await self._client.aclose()

    async def _run(
        self, script: Script, within_s: float, *args: str | bytes, lease: bool = False, expected: str = ""
    ) -> list[bytes]:
        """The fields of the answer after its verdict; ``expected`` is what the first one must be."""
        given = (
            [self._writer.name, str(int(self._writer.lease_s * 1000)), *args] if lease else [self._writer.name, *args]
        )
        keys = [self._keys.meta, self._keys.records, self._keys.staging, self._keys.holder]
        everything = [*keys, _digest([*keys, *given]), *given]
        async with asyncio.timeout(within_s):
            try:
                answer = await self._client.evalsha(script.sha, len(keys), *everything)
            except NoScriptError:
                await self._client.script_load(script.text)
                answer = await self._client.evalsha(script.sha, len(keys), *everything)
        fields = _checked(answer)
        if expected and fields[:1] != [expected.encode()]:
            raise CopyDamagedError("its answer is that to another command")
        return fields


async def _understood(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except (ValueError, TypeError):  # the client does not check what it takes apart
        raise CopyDamagedError("its answer was garbled on the way") from None


def _checked(answer: Any) -> list[bytes]:
    if not isinstance(answer, list) or not all(isinstance(field, bytes) for field in answer):
        raise CopyDamagedError("its answer was garbled on the way")
    fields, digest = answer[:-1], answer[-1] if answer else b""
    if not fields or _digest(fields).encode() != digest:
        raise CopyDamagedError("its answer was garbled on the way")
    verdict, *rest = fields
    match verdict:
        case b"ok":
            return rest
        case b"held":
            raise CopyHeldError(rest[0].decode(errors="replace"))
        case b"fenced":
            raise CopyFencedError(f"epoch {_epoch_of(rest[0])}")
        case b"elsewhere":
            raise CopyMovedError("it is not where it was left: it was emptied or has gone back to older data")
        case b"damaged":
            raise CopyDamagedError("a part of it is missing, or a write was cut off")
    raise CopyDamagedError("a command was garbled on the way")


def _digest(parts: Iterable[str | bytes]) -> str:
    joined = b"\n".join(part.encode() if isinstance(part, str) else part for part in parts)
    return sha1(joined, usedforsecurity=False).hexdigest()


def _checksum(key: bytes, value: bytes) -> bytes:
    return zlib.crc32(value, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "big")


def _sealed(records: Mapping[str, bytes | None]) -> list[str | bytes]:
    """Keys and values in turn; an empty value is a deletion."""
    flat: list[str | bytes] = []
    for key, value in records.items():
        flat += [key, b"" if value is None else _checksum(key.encode(), value) + value]
    return flat


def _unsealed(page: Mapping[bytes, bytes]) -> Iterable[tuple[str, bytes]]:
    for key, sealed in page.items():
        value, damage = _unseal(key, sealed)
        if damage:
            raise CopyDamagedError(damage)
        yield key.decode(), value


def _unseal(key: bytes, sealed: bytes) -> tuple[bytes, str]:
    """The value, and what is wrong with it."""
    value = sealed[_CHECKSUM_BYTES:]
    if sealed[:_CHECKSUM_BYTES] != _checksum(key, value):
        return b"", f"the record {key.decode(errors='replace')} does not match its checksum"
    return value, ""


def _show_position(position: Position) -> str:
    text = f"{position.lineage}:{position.epoch}:{position.sequence}"
    return f"{text}:{zlib.crc32(text.encode()):08x}"


def _read_position(stored: bytes) -> tuple[Position | None, str]:
    if not stored:
        return None, ""
    _refuse_other_layouts(stored)
    lineage, _, numbers = stored.decode(errors="replace").partition(":")
    try:
        epoch, sequence, _ = numbers.split(":")
        position = Position(lineage=lineage, epoch=int(epoch), sequence=int(sequence))
    except ValueError:
        return None, "where it stands cannot be read"
    if _show_position(position).encode() != stored:
        return None, "where it stands cannot be read"
    return position, ""


def _refuse_other_layouts(stored: bytes) -> None:
    """Our own layout, the first one, has no number; a lineage never begins so."""
    if layout := _OTHER_LAYOUT.match(stored):
        raise CopyVersionError(
            f"was written by a newer Phalanx (layout {layout[1].decode()}, this one knows 1). It is left as it is. "
            "Use that version"
        )


def _epoch_of(fence: bytes) -> int:
    epoch = fence.partition(b":")[0]
    return int(epoch) if epoch.isdigit() else 0
