"""A team's state in two copies: the file in its home, and Redis.

A team's state in two copies: the file in its home, and Redis.

Every save goes to the file first and then, in the same call, to Redis, so whatever dies one copy is complete. When
Redis fails the team goes on with the file alone, and Redis is brought up to date later (``replicator``). When the state
is opened the copy that has everything wins.

Opens the two copies of a team's state and makes the file the one that has everything, or says why it cannot.

Which copy that is follows from who wrote them (``lineage``); no clock is asked. A file that is replaced is kept aside,
and nothing is replaced by a copy that is damaged or known to lag.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from actors.errors import PhalanxError, StateHeldError, StoreError
from supervisor.store.base import MayBegin, StoreHealth, always
from supervisor.store.keys import SESSIONS
from supervisor.store.lineage import (
    CopyPosition,
    OwnSessions,
    Position,
    Relation,
    SessionsVersionError,
    WriterSession,
    compare,
    decode,
    encode,
    parted,
)
from supervisor.store.redis import CopyDamagedError, CopyHeldError, CopyState, CopyVersionError, RedisCopy
from supervisor.store.redis_client import REDIS_ERRORS, RedisServer
from supervisor.store.replicator import LagNote, Replicator, RetrySchedule, words
from supervisor.store.sqlite import SqliteStore
from supervisor.store.sqlite_file import set_aside
from supervisor.store.sqlite_schema import DamagedFileError

logger = logging.getLogger(__name__)

_LOOK_S = 2.0
_READ_S = 5.0
_FURTHER_TRIES = 2

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RedisReplica:
    copy: RedisCopy
    server: RedisServer


class StoreReconciler:
    """``run`` once. When it fails the caller closes the file; Redis is let go."""

    def __init__(self, path: Path, file: SqliteStore, redis: RedisReplica, note: LagNote, may_begin: MayBegin) -> None:
        self._path = path
        self._file = file
        self._redis = redis.copy
        self._server = redis.server
        self._note = note
        self._may_begin = may_begin
        self.unreachable = ""
        """Why Redis could not be asked; empty when it answered."""

    async def run(self) -> OwnSessions:
        """Opens the file and returns the sessions that it has seen, ours noted in it as the last one.

        Raises ``StateHeldError``, and ``StoreError`` that says how to choose when the copies have parted.
        """
        found = await self._open_file()
        try:
            return await self._settle(found)
        except BaseException:
            if found:
                with contextlib.suppress(*REDIS_ERRORS, PhalanxError):
                    await self._redis.release(_LOOK_S)
            raise

    async def _open_file(self) -> CopyState | None:
        """Opens the file, an empty one for a damaged one that Redis can replace, and says what Redis has."""
        try:
            await self._file.open()
        except DamagedFileError as damage:
            found = await self._look()
            await self._refuse_unless_replaceable(found, damage)
            aside = await asyncio.to_thread(set_aside, self._path)
            logger.warning("%s It is kept as %s; the team goes on from its copy in Redis.", damage, aside)
            await self._file.open()
            return found
        return await self._look()

    async def _look(self) -> CopyState | None:
        """None when Redis does not answer. An answer may be garbled: then it is asked again."""
        try:
            return await _retried(lambda: self._redis.claim(_LOOK_S))
        except CopyHeldError as holder:
            raise StateHeldError(
                f"Another supervisor ({holder}) has this team's state in Redis ({self._server.shown}). Use that one, "
                "or end it first; when it has crashed, try again in a moment: its hold ends by itself."
            ) from None
        except CopyVersionError as error:
            raise StoreError(f"The copy in Redis ({self._server.shown}) {error}; {self._without_it}.") from error
        except (*REDIS_ERRORS, CopyDamagedError) as error:
            self.unreachable = words(error, self._server)
            return None

    async def _settle(self, found: CopyState | None) -> OwnSessions:
        epoch = self._file.position.epoch
        if found and found.fence >= epoch:
            await self._file.close()
            epoch = await self._file.open(above=found.fence)
        token = secrets.token_hex(8)
        sessions = await self._sessions()
        if found and await self._redis_has_more(found, sessions):
            await self._take_over(found, f"{epoch}:{token}")
            sessions = await self._sessions()
        if self._file.position.sequence == 0:
            await self._may_begin()
        ours = WriterSession(epoch=epoch, token=token, start=self._file.position.sequence)
        await self._file.write({SESSIONS: encode((*sessions, ours))})
        return OwnSessions(sessions=(*sessions, ours))

    async def _sessions(self) -> tuple[WriterSession, ...]:
        record = (await self._file.load(SESSIONS)).get(SESSIONS, b"")
        try:
            return decode(record)
        except SessionsVersionError as error:
            raise StoreError(f"The team's state {self._path} {error}, or another PHALANX_HOME.") from error

    def _sessions_in_redis(self, found: CopyState) -> tuple[WriterSession, ...]:
        try:
            return decode(found.sessions)
        except SessionsVersionError as error:
            raise StoreError(f"The copy in Redis ({self._server.shown}) {error}; {self._without_it}.") from error

    @property
    def _without_it(self) -> str:
        return f"or go on with the file as it is: redis-cli DEL '{self._redis.meta_key}'"

    async def _redis_has_more(self, found: CopyState, sessions: tuple[WriterSession, ...]) -> bool:
        position = found.position or Position()
        file = CopyPosition(position=self._file.position, sessions=sessions)
        redis = CopyPosition(position=position, sessions=sessions if found.damage else self._sessions_in_redis(found))
        relation = compare(file, redis)
        if relation is Relation.PARTED:
            raise StoreError(f"Redis ({self._server.shown}) {parted(file, redis, self._redis.meta_key)}.")
        if found.damage and (relation is Relation.REDIS_HAS_ALL or file.position.sequence == 0):
            raise StoreError(
                f"Redis ({self._server.shown}) holds a newer state of this team than {self._path}, but it is damaged: "
                f"{found.damage}. Neither was changed. Give Redis its data back, or go on with the file as it is: "
                f"redis-cli DEL '{self._redis.meta_key}'."
            )
        if relation is Relation.REDIS_HAS_ALL and file.position.sequence == 0:
            await self._refuse_what_lags(f"The team's state {self._path} is missing.")
        return relation is Relation.REDIS_HAS_ALL

    async def _take_over(self, found: CopyState, fence: str) -> None:
        """Nobody else writes there any more when it is read."""
        position = dataclasses.replace(found.position or Position(), epoch=self._file.position.epoch)

        async def read_all() -> None:
            await self._redis.crown(fence, _LOOK_S)
            await self._file.replace(position, self._redis.read(_READ_S))

        logger.warning(
            "Redis (%s) has a newer state of this team than %s, which is replaced; what it held, if any, is kept.",
            self._server.shown,
            self._path,
        )
        try:
            await _retried(read_all)
        except (*REDIS_ERRORS, CopyDamagedError) as error:
            raise StoreError(
                f"Redis ({self._server.shown}) has a newer state of this team than {self._path}, but it could not be "
                f"read: Redis {words(error, self._server)}. The file was left as it is. Mend Redis, then try again; or "
                f"go on with the file as it is: redis-cli DEL '{self._redis.meta_key}'."
            ) from error

    async def _refuse_unless_replaceable(self, found: CopyState | None, damage: DamagedFileError) -> None:
        if found is None:
            raise StoreError(
                f"{damage} Its copy in Redis ({self._server.shown}) cannot help now: Redis {self.unreachable}. "
                "Mend Redis first, then try again."
            ) from damage
        if found.damage or not found.position:
            raise StoreError(
                f"{damage} Its copy in Redis ({self._server.shown}) cannot help: {found.damage or 'there is none'}."
            ) from damage
        await self._refuse_what_lags(str(damage))

    async def _refuse_what_lags(self, why: str) -> None:
        if await self._note.is_there():
            raise StoreError(
                f"{why} Its copy in Redis ({self._server.shown}) lacks what was written last, while Redis was away. "
                f"Nothing was changed. Put a good {self._path.name} in its place; or go on without those last writes: "
                f"remove {self._note.path} and try again."
            )


async def _retried(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """What was garbled on its way, or cut off, may well arrive the next time."""

    async def nothing(_: Exception) -> None:
        """There is nothing to tidy up between two attempts."""

    worth_it: tuple[type[Any], ...] = (*REDIS_ERRORS, CopyDamagedError)
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), _FURTHER_TRIES, worth_it)
    return await retry.call_with_retry(attempt, nothing)


_FIRST_SYNC_S = 10.0
_FIRST_LOOK_S = 0.5
"""How long opening waits for Redis to get up to date: it answered a moment ago, or it did not."""
_RELEASE_S = 0.5


class Replicated:
    """A ``StateStore``."""

    def __init__(self, path: Path, redis: RedisReplica, pace: RetrySchedule, may_begin: MayBegin = always) -> None:
        self._path = path
        self._redis = redis
        self._may_begin = may_begin
        self._file = SqliteStore(path, keep_tombstones=True)
        self._note = LagNote(path)
        self._replicator = Replicator(self._file, redis.copy, redis.server, self._note, pace)
        self._in_use = False

    @property
    def health(self) -> StoreHealth:
        file = self._file.health
        warning = " ".join(filter(None, (file.warning, self._replicator.warning)))
        return StoreHealth(description=f"{file.description} and Redis ({self._redis.server.shown})", warning=warning)

    async def open(self) -> int:
        try:
            reconciling = StoreReconciler(self._path, self._file, self._redis, self._note, self._may_begin)
            ours = await reconciling.run()
            self._in_use = True
            await self._replicator.start(ours, _FIRST_LOOK_S if reconciling.unreachable else _FIRST_SYNC_S)
        except BaseException:
            await self.close()
            raise
        return ours.epoch

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        self._replicator.refuse_when_fenced()
        await self._replicator.offer(await self._file.write(records, delete))

    async def load(self, prefix: str) -> dict[str, bytes]:
        found = await self._file.load(prefix)
        found.pop(SESSIONS, None)
        return found

    async def close(self) -> None:
        await self._replicator.stop()
        if self._in_use:
            self._in_use = False
            with contextlib.suppress(*REDIS_ERRORS, PhalanxError):
                await self._redis.copy.release(_RELEASE_S)
        await self._redis.copy.close()
        await self._file.close()
