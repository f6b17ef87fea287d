"""A team's state in two copies: the file in its home, and Redis.

Every save goes to the file first and then, in the same call, to Redis, so whatever dies one copy is complete. When
Redis fails the team goes on with the file alone, and Redis is brought up to date later (``replicator``). When the state
is opened the copy that has everything wins (``reconciling``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.errors import PhalanxError
from supervisor.store import MayBegin, StoreHealth, always
from supervisor.store.keys import SESSIONS
from supervisor.store.lag_note import LagNote
from supervisor.store.reconciling import Reconciling, RedisSide
from supervisor.store.redis_client import REDIS_ERRORS
from supervisor.store.replicator import Pace, Replicator
from supervisor.store.sqlite import SqliteStore

_FIRST_SYNC_S = 10.0
_FIRST_LOOK_S = 0.5
"""How long opening waits for Redis to get up to date: it answered a moment ago, or it did not."""
_RELEASE_S = 0.5


class Replicated:
    """A ``StateStore``."""

    def __init__(self, path: Path, redis: RedisSide, pace: Pace, may_begin: MayBegin = always) -> None:
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
            reconciling = Reconciling(self._path, self._file, self._redis, self._note, self._may_begin)
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
