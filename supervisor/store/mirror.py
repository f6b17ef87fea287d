"""A mirror of the team's state file in Redis. It follows the file, no call waits for it, and it decides nothing.

``choice`` gives the supervisor a ``MirroredStore`` when the settings name a Redis. It sends every durable write of the
file to Redis in order, many at once, from one task. At each moment the mirror is a state that the team really had.
Unsent writes are kept in memory up to a bound. Beyond it, or when Redis lost its data, the whole file is written anew.
The store's warning says what is wrong and how far the mirror lags.

Fencing: the mirror carries the lineage and epoch of its writer. A restore gives it a new lineage, each opening of the
file a higher epoch. Redis refuses every write that is not from the last writer that claimed the mirror. A writer that
finds another lineage, or a state newer than its own, gets ``FencedError``: of two homes with one state only one goes
on. A script runs whole or not at all, as far as Redis ensures that; ``busy`` is set before the first change, so a
mirror that broke in the middle is known as such. ``restore`` is the way back; a person starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redis.backoff import ExponentialWithJitterBackoff

from actors.errors import FencedError, PhalanxError, StateLostError, StoreError
from supervisor.store.base import MayBegin, StoreHealth, always, utc
from supervisor.store.keys import RedisKeys
from supervisor.store.redis_client import REDIS_ERRORS, RedisServer, connect, explain
from supervisor.store.sqlite import Change, Position, SqliteStore, read_whole

logger = logging.getLogger(__name__)
LAYOUT = b"2"
_CHECKSUM_BYTES = 4
_ANSWER_S = 5.0
_FIRST_LOOK_S = 2.0
"""How long ``open`` waits for Redis to say whether another supervisor has taken the state over."""
_LAST_WRITES_S = 2.0
"""How long ``close`` waits for the unsent writes."""
_WARN_AFTER_S = 5.0
"""A mirror that lags for longer gets a warning, even when nothing failed."""
_SETTLED_S = 30.0
"""Redis has to keep pace that long before a new fault counts as the first one."""
_MOST_CHANGES, _MOST_BYTES = 20_000, 64_000_000
"""Of unsent writes; beyond it the whole file is written anew."""
_BATCH_BYTES = 1_000_000
_STAGING_S = 3600
"""Staged records of a writer that died expire."""
_BEGINNING = """
local function field(name) return redis.call('HGET', KEYS[1], name) or '' end
local writer = field('lineage') .. ' ' .. field('epoch') .. ' ' .. field('token')
"""
"""Of the scripts below."""
_CLAIM = """
-- LAYOUT, LINEAGE, EPOCH, TOKEN, SEQUENCE, HOST, HOME: from now on only this writer writes. Returns its sequence.
local function number(name) return tonumber(field(name)) or 0 end
local same, epoch, sequence = field('lineage') == ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
if field('layout') ~= '' and field('layout') ~= ARGV[1] then return {'layout', field('layout')} end
if not same and number('sequence') > 0
    or same and (number('epoch') > epoch or number('sequence') > sequence
    or number('epoch') == epoch and field('token') ~= ARGV[4]) then
  return {'fenced', field('host'), field('home'), field('epoch'), field('sequence'), field('current_at')}
end
if field('layout') == '' then redis.call('DEL', KEYS[1]) end
local whole = same and field('busy') == '' and field('count') == tostring(redis.call('HLEN', KEYS[2]))
redis.call('HSET', KEYS[1], 'layout', ARGV[1], 'lineage', ARGV[2], 'epoch', ARGV[3], 'token', ARGV[4],
  'host', ARGV[6], 'home', ARGV[7])
return {'ok', whole and field('sequence') or ''}
"""
_WRITE = """
-- WRITER, FROM, TO, CURRENT_AT, then keys and values ('' deletes): one step of the mirror; without any, a look at it.
if writer ~= ARGV[1] or field('sequence') ~= ARGV[2] or field('busy') ~= ''
    or field('count') ~= tostring(redis.call('HLEN', KEYS[2])) then
  return 'moved'
end
redis.call('HSET', KEYS[1], 'busy', '1')
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[1], 'sequence', ARGV[3], 'count', redis.call('HLEN', KEYS[2]), 'current_at', ARGV[4])
redis.call('HDEL', KEYS[1], 'busy')
return 'ok'
"""
_SWAP = """
-- WRITER, TO, CURRENT_AT, COUNT: the staged records become the mirror.
if writer ~= ARGV[1] or tostring(redis.call('HLEN', KEYS[3])) ~= ARGV[4] then return 'moved' end
redis.call('HSET', KEYS[1], 'busy', '1')
redis.call('UNLINK', KEYS[2])
if ARGV[4] ~= '0' then
  redis.call('RENAME', KEYS[3], KEYS[2])
  redis.call('PERSIST', KEYS[2])
end
redis.call('HSET', KEYS[1], 'sequence', ARGV[2], 'count', ARGV[4], 'current_at', ARGV[3])
redis.call('HDEL', KEYS[1], 'busy')
return 'ok'
"""
_READ = "return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}"
_HAND_OVER = """
-- WRITER, SEQUENCE, LINEAGE, HOST, HOME: gives the mirror this lineage, if it is still as it was read.
if writer ~= ARGV[1] or field('sequence') ~= ARGV[2] then return 'moved' end
redis.call('HSET', KEYS[1], 'lineage', ARGV[3], 'token', '', 'host', ARGV[4], 'home', ARGV[5])
return 'ok'
"""


class MirroredStore:
    """A ``StateStore``: an ``SqliteStore`` with a mirror in Redis that one task writes behind it. In one event loop."""

    def __init__(
        self,
        path: Path,
        client: MirrorClient,
        may_begin: MayBegin = always,
        *,
        look_s: float = 5.0,
        pause_s: float = 0.1,
        longest_pause_s: float = 5.0,
    ) -> None:
        """``look_s``: time between two checks of an idle mirror. Pauses between attempts grow."""
        self._path = path
        self._store = SqliteStore(path, may_begin=self._may_begin_anew, on_commit=self._on_commit)
        self._client = client
        self._may_begin = may_begin
        self._look_s = look_s
        self._pauses = ExponentialWithJitterBackoff(base=pause_s, cap=longest_pause_s)
        self._opened = Position()
        self._token = ""
        self._pending: deque[Change] = deque()
        self._pending_bytes = 0
        self._changed = asyncio.Event()
        self._in_step = asyncio.Event()
        self._store_sequence = 0
        self._redis_sequence: int | None = None
        self._behind_since = 0.0
        self._trouble = ""
        self._fenced = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def health(self) -> StoreHealth:
        health = self._store.health
        warning = " ".join(filter(None, (health.warning, self._warning)))
        return StoreHealth(description=f"{health.description}, mirrored in {self._name}", warning=warning)

    @property
    def _name(self) -> str:
        return f"Redis ({self._client.server.shown})"

    @property
    def _warning(self) -> str:
        """What is wrong with the mirror and how far it lags; empty while it keeps pace."""
        if self._fenced:
            return self._fenced
        lags = not self._in_step.is_set() and time.time() - self._behind_since > _WARN_AFTER_S
        if not self._trouble and not lags:
            return ""
        if self._redis_sequence is None:
            lag = f"how much of it Redis has is not known, since {utc(self._behind_since)}"
        elif self._redis_sequence == self._store_sequence:
            lag = "Redis had everything when it was seen last"
        else:
            lacks = self._store_sequence - self._redis_sequence
            lag = f"Redis lacks the last {lacks} writes, since {utc(self._behind_since)}"
        return (
            f"{self._name} {self._trouble or 'does not keep pace'}. The team goes on with the file in its home; {lag}. "
            "Redis is brought up to date by itself when it can be used again."
        )

    async def open(self) -> int:
        """Raises ``FencedError`` when Redis says at once that another supervisor has taken the state over."""
        try:
            epoch = await self._store.open()
            await self._begin(self._store.position)
        except BaseException:
            await self.close()
            raise
        return epoch

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        if self._fenced:
            raise FencedError(self._fenced)
        await self._store.save(records, delete)

    async def load(self, prefix: str) -> dict[str, bytes]:
        return await self._store.load(prefix)

    async def close(self) -> None:
        """Sends the unsent writes, within a bound."""
        if self._task is not None:
            if not self._trouble and not self._task.done():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_WRITES_S):
                        await self._in_step.wait()
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._loop = None
        await self._client.close()
        await self._store.close()

    async def _may_begin_anew(self) -> None:
        """Raises ``StateLostError`` when Redis holds a state of this team, ``StoreError`` when that is not known."""
        missing = f"The team's state {self._path} is missing or empty"
        put_back = f"Put {self._path.name} back, with every {self._path.name}-* that was beside it"
        anew = f"For a new team in its place: redis-cli DEL '{self._client.meta_key}'."
        try:
            found = await self._client.read()
        except MirrorUnusableError as error:
            raise StateLostError(
                f"{missing}, and {self._name} {error}. Nothing was begun. {put_back}. {anew}"
            ) from error
        except REDIS_ERRORS as error:
            raise StoreError(
                f"{missing}, and whether Redis holds it is not known: {self._name} "
                f"{explain(error, self._client.server)}. Nothing was begun. Mend Redis, or take it out of the "
                "settings, and try again."
            ) from error
        if found is not None and found.position.sequence:
            raise StateLostError(
                f"{missing}, while {self._name} holds it as it was at {utc(found.current_at)} on {found.host}:"
                f"{found.home}. Nothing was begun and no agent was touched. {put_back}; or bring it back from Redis: "
                f"`phalanx restore --from-redis`. {anew}"
            )
        await self._may_begin()

    async def _begin(self, position: Position) -> None:
        self._opened, self._token = position, secrets.token_hex(8)
        self._store_sequence, self._redis_sequence = position.sequence, None
        self._pending.clear()
        self._pending_bytes = 0
        self._fall_behind()
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_FIRST_LOOK_S):
                await self._claim()
        except (*REDIS_ERRORS, MirrorUnusableError) as error:
            self._note_trouble(error)
        self._task = asyncio.create_task(self._run(), name="redis-mirror")

    def _on_commit(self, changes: Sequence[Change]) -> None:
        """Takes durable writes, in order, in the thread of the store."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._add, changes)

    def _add(self, changes: Sequence[Change]) -> None:
        if self._in_step.is_set():
            self._fall_behind()
        for change in changes:
            self._store_sequence = change.sequence
            self._pending.append(change)
            self._pending_bytes += _change_bytes(change)
        while self._pending and (len(self._pending) > _MOST_CHANGES or self._pending_bytes > _MOST_BYTES):
            self._pending_bytes -= _change_bytes(self._pending.popleft())  # ``_follows`` will see the gap
        self._changed.set()

    def _fall_behind(self) -> None:
        self._in_step.clear()
        self._behind_since = time.time()

    async def _run(self) -> None:
        failures = 0
        while True:
            begun = time.monotonic()
            _raise_if_cancelled()
            try:
                await self._claim()
                while True:
                    if not self._follows():
                        await self._write_whole()
                    await self._follow()
            except FencedError as error:
                self._fenced = str(error)
                logger.error("%s", error)  # noqa: TRY400 - the text says all
                return
            except MirrorMovedError as error:
                logger.warning("The mirror in %s: %s. It is written anew.", self._name, error)
            except (*REDIS_ERRORS, PhalanxError) as error:
                self._note_trouble(error)
            except Exception as error:
                logger.exception("the mirror in Redis failed in an unforeseen way")
                self._note_trouble(error)
            failures = 1 if time.monotonic() - begun > _SETTLED_S else failures + 1
            await asyncio.sleep(self._pauses.compute(failures))

    async def _claim(self) -> None:
        own = replace(self._opened, sequence=self._store_sequence)
        self._redis_sequence = await self._client.claim(own, self._token)

    def _follows(self) -> bool:
        """Whether all that Redis lacks is in memory. Drops what Redis has."""
        while self._pending and self._redis_sequence is not None and self._pending[0].sequence <= self._redis_sequence:
            self._pending_bytes -= _change_bytes(self._pending.popleft())
        if self._redis_sequence is None:
            return False
        return (
            self._pending[0].sequence == self._redis_sequence + 1
            if self._pending
            else self._redis_sequence == self._store_sequence
        )

    async def _write_whole(self) -> None:
        current_at = time.time()
        at, records = await asyncio.to_thread(read_whole, self._path)
        await self._client.replace(self._writer, at, current_at, records)
        self._redis_sequence, self._store_sequence = at, max(self._store_sequence, at)

    async def _follow(self) -> None:
        """Sends batches; returns when Redis lacks something that only the file has."""
        while self._follows():
            _raise_if_cancelled()
            self._changed.clear()
            records, start, end = self._next_batch()
            current_at = time.time() if end == self._store_sequence else self._behind_since
            await self._client.write(self._writer, start, end, current_at, records)
            self._redis_sequence = end
            if end != self._store_sequence:
                continue
            self._in_step.set()
            if self._trouble:
                self._trouble = ""
                logger.warning("%s is up to date again.", self._name)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._changed.wait()

    def _next_batch(self) -> tuple[dict[str, bytes | None], int, int]:
        """As many whole writes as fit: the resulting records, and the sequences before and after."""
        records: dict[str, bytes | None] = {}
        start = end = self._redis_sequence or 0
        size = 0
        for change in self._pending:
            size += _change_bytes(change)
            if end > start and size > _BATCH_BYTES:
                break
            records.update(change.records)
            end = change.sequence
        return records, start, end

    @property
    def _writer(self) -> str:
        return writer_of(self._opened, self._token)

    def _note_trouble(self, error: BaseException) -> None:
        """Logs the first error; further ones only change ``warning``."""
        begins = not self._trouble
        if isinstance(error, MirrorUnusableError):
            self._trouble = str(error)
        elif isinstance(error, REDIS_ERRORS):
            self._trouble = explain(error, self._client.server)
        else:
            self._trouble = f"cannot be brought up to date: {error}"
        if begins:
            logger.warning("%s", self._warning)


def _change_bytes(change: Change) -> int:
    return sum(len(key) + len(value or b"") for key, value in change.records.items())


def _raise_if_cancelled() -> None:
    """Before Python 3.12 ``asyncio.wait_for``, which redis-py sends with, may swallow a cancellation."""
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


class MirrorMovedError(PhalanxError):
    """The mirror is not as its writer left it: it was emptied, went back to older data, or has another writer."""


class MirrorUnusableError(PhalanxError):
    """The mirror cannot be used. The text is the end of a sentence that begins with the name of the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorContent:
    """A whole mirror, read at one moment and checked."""

    position: Position
    token: str
    host: str
    home: str
    current_at: float
    records: Mapping[str, bytes]


class MirrorClient:
    """One team's mirror in one Redis. All calls raise ``REDIS_ERRORS``, and ``TimeoutError`` within ``answer_s``."""

    def __init__(self, server: RedisServer, team: str, host: str, home: str) -> None:
        """``host`` and ``home`` name the writer in Redis. Raises ``SettingsError`` for unknown options in the URL."""
        self.server = server
        self._keys = RedisKeys.of(team)
        self._host, self._home = host, home
        self._client: Any = connect(server)

    @property
    def meta_key(self) -> str:
        return self._keys.meta

    async def claim(self, position: Position, token: str) -> int | None:
        """Makes this the only writer. Returns the sequence of the mirror; None when it must be written whole.

        Raises ``FencedError`` and ``MirrorUnusableError``.
        """
        at = (position.lineage, position.epoch, token, position.sequence)
        verdict, *details = await self._eval(_CLAIM, LAYOUT, *at, self._host, self._home)
        match verdict:
            case b"layout":
                raise _other_layout(details[0])
            case b"fenced":
                raise self._fenced(position, *(each.decode(errors="replace") for each in details))
        return int(details[0]) if details[0].isdigit() else None

    async def write(
        self, writer: str, start: int, end: int, current_at: float, records: Mapping[str, bytes | None]
    ) -> None:
        """Brings the mirror from sequence ``start`` to ``end``; then it has everything until ``current_at``.

        Raises ``MirrorMovedError``.
        """
        await self._eval_or_moved(_WRITE, writer, start, end, current_at, *_sealed(records))

    async def replace(self, writer: str, at: int, current_at: float, records: Mapping[str, bytes]) -> None:
        """Replaces the whole mirror: stages the records in parts, then swaps at once. Raises ``MirrorMovedError``."""
        staging = f"{self._keys.staging}:{secrets.token_hex(4)}"
        for part in _parts(records):
            async with asyncio.timeout(_ANSWER_S):
                await self._client.hset(staging, mapping=part)
                await self._client.expire(staging, _STAGING_S)
        await self._eval_or_moved(_SWAP, writer, at, current_at, len(records), staging=staging)

    async def read(self) -> MirrorContent | None:
        """None when there is no mirror. Raises ``MirrorUnusableError`` when it is damaged or of another version."""
        flat_meta, flat_records = await self._eval(_READ)
        meta, sealed = _pairs(flat_meta), _pairs(flat_records)
        if not meta:
            return None
        if meta.get(b"layout") != LAYOUT:
            raise _other_layout(meta.get(b"layout", b"1"))
        if b"busy" in meta or meta.get(b"count") != str(len(sealed)).encode():
            raise MirrorUnusableError("holds a damaged mirror: a part of it is missing, or a write was cut off")
        names = (b"lineage", b"token", b"host", b"home")
        try:
            lineage, token, host, home = (meta[name].decode(errors="replace") for name in names)
            position = Position(lineage=lineage, epoch=int(meta[b"epoch"]), sequence=int(meta[b"sequence"]))
            current_at = float(meta[b"current_at"])
        except (KeyError, ValueError):
            raise MirrorUnusableError("holds a damaged mirror: its description cannot be read") from None
        records = dict(_unsealed(sealed))
        return MirrorContent(
            position=position, token=token, host=host, home=home, current_at=current_at, records=records
        )

    async def hand_over(self, found: MirrorContent, lineage: str) -> bool:
        """True when the mirror was still as it was found; then its earlier writer can write no more."""
        writer = writer_of(found.position, found.token)
        answer = await self._eval(_HAND_OVER, writer, found.position.sequence, lineage, self._host, self._home)
        return bool(answer == b"ok")

    async def close(self) -> None:
        await self._client.aclose()

    async def _eval_or_moved(self, script: str, *given: str | bytes | float, staging: str = "") -> None:
        if await self._eval(script, *given, staging=staging) != b"ok":
            raise MirrorMovedError("it is not as it was left: it was emptied, changed, or has gone back to older data")

    async def _eval(self, script: str, *given: str | bytes | float, staging: str = "") -> Any:
        names = (self._keys.meta, self._keys.records, staging or self._keys.staging)
        async with asyncio.timeout(_ANSWER_S):
            return await self._client.eval(_BEGINNING + script, len(names), *names, *given)

    def _fenced(self, own: Position, host: str, home: str, epoch: str, sequence: str, current_at: str) -> FencedError:
        return FencedError(
            f"Redis ({self.server.shown}) holds this team's state as {host}:{home} has taken it over (epoch {epoch}, "
            f"{sequence} writes, {utc(float(current_at or 0))}); here it stands at epoch {own.epoch}, {own.sequence} "
            "writes. Nothing is written here any more: the other supervisor goes on. If there is none, choose while "
            "this one is down: for what Redis has, move state.db and every state.db-* away and run `phalanx restore "
            f"--from-redis`; for the file in this home, run redis-cli DEL '{self._keys.meta}'."
        )


def writer_of(position: Position, token: str) -> str:
    return f"{position.lineage} {position.epoch} {token}"


def _other_layout(found: bytes) -> MirrorUnusableError:
    return MirrorUnusableError(
        f"holds a mirror that another version of Phalanx wrote (layout {found.decode(errors='replace')}, this one "
        f"knows {LAYOUT.decode()}). It is left as it is: use that version"
    )


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _sealed(records: Mapping[str, bytes | None]) -> list[str | bytes]:
    """Keys and values in turn, each value after its checksum; an empty value deletes."""
    flat: list[str | bytes] = []
    for key, value in records.items():
        flat += [key, b"" if value is None else _checksum(key.encode(), value) + value]
    return flat


def _unsealed(sealed: Mapping[bytes, bytes]) -> Iterator[tuple[str, bytes]]:
    for key, whole in sealed.items():
        value = whole[_CHECKSUM_BYTES:]
        if whole[:_CHECKSUM_BYTES] != _checksum(key, value):
            name = key.decode(errors="replace")
            raise MirrorUnusableError(f"holds a damaged mirror: the record {name} does not match its checksum")
        yield key.decode(), value


def _checksum(key: bytes, value: bytes) -> bytes:
    return zlib.crc32(value, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "big")


def _parts(records: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Sealed records in parts of at most ``_BATCH_BYTES``; a bigger record is a part of its own."""
    part: dict[str, bytes] = {}
    size = 0
    for key, value in records.items():
        if part and size + len(key) + len(value) > _BATCH_BYTES:
            yield part
            part, size = {}, 0
        part[key] = _checksum(key.encode(), value) + value
        size += len(key) + len(value)
    if part:
        yield part
