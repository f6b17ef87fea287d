"""Keeps the copy in Redis at the file's side: with each change while Redis answers, behind it while it does not.

One task talks to Redis. It joins (takes the copy into use, sees that it is an older state of the same team, brings it
up to date) and then follows: whatever was written while the last command was under way goes in the next one, so any
number of concurrent saves costs one round trip. When something fails it starts over with joining, after pauses that
grow. A save waits for it only for a bound, and not at all while something is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import Protocol

from redis.backoff import ExponentialWithJitterBackoff

from actors.errors import FencedError, PhalanxError
from supervisor.store.backlog import Backlog, merged
from supervisor.store.catching_up import CatchingUp, CopiedFile, Portions
from supervisor.store.redis import CopyDamagedError, CopyFencedError, CopyMovedError, CopyState, RedisCopy
from supervisor.store.redis_client import REDIS_ERRORS, RedisServer
from supervisor.store.sessions import Ours, Relation, Standing, compare, decode, parted
from supervisor.store.trouble import PartedError, Trouble
from supervisor.store.values import Change, Position

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    save_s: float = 0.5
    """Longest wait of a save for Redis."""
    renew_s: float = 5.0
    """How often an idle copy is looked at, and how long deletions are remembered at least."""
    pause_s: float = 0.1
    longest_pause_s: float = 5.0
    """Between attempts to join again."""
    settled_s: float = 30.0
    """Redis has to keep pace that long before a new fault counts as the first one."""
    portions: Portions = field(default_factory=Portions)


class Note(Protocol):
    """Remembers across crashes that the file has what Redis lacks."""

    async def put(self) -> None: ...

    async def remove(self) -> None: ...


class Replicator:
    """``start`` once; then ``offer`` every change of the file."""

    def __init__(self, file: CopiedFile, redis: RedisCopy, server: RedisServer, note: Note, pace: Pace) -> None:
        self._file = file
        self._redis = redis
        self._server = server
        self._note = note
        self._pace = pace
        self._ours = Ours(sessions=())
        self._backlog = Backlog()
        self._offered = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._at = Position()
        self._trouble = Trouble(server)
        self._fenced: FencedError | None = None
        self._tidied = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def warning(self) -> str:
        """What is wrong, since when and what happens meanwhile; empty when Redis keeps pace."""
        return str(self._fenced or self._trouble.warning)

    async def start(self, ours: Ours, within_s: float) -> None:
        """Returns when Redis keeps pace, when something is wrong, or after ``within_s``; the work goes on."""
        self._ours = ours
        self._task = asyncio.create_task(self._keep_pace(), name="redis-copy")
        with contextlib.suppress(TimeoutError):
            await self._wait_for(self._file.position.sequence, within_s)

    async def offer(self, change: Change) -> None:
        """Returns when the change is in Redis too, or when it is noted that it is not.

        Raises ``FencedError`` when another supervisor has taken the state over.
        """
        self._backlog.add(change)
        self._offered.set()
        sequence = change.position.sequence
        try:
            await self._wait_for(sequence, self._pace.save_s)
        except TimeoutError as error:
            self._fall_behind(error)
        self.refuse_when_fenced()
        if self._at.sequence < sequence:
            await self._note.put()

    def refuse_when_fenced(self) -> None:
        if self._fenced:
            raise FencedError(str(self._fenced))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._release()

    async def _wait_for(self, sequence: int, within_s: float) -> None:
        if self._trouble.warning or self._fenced or self._at.sequence >= sequence:
            return
        arrived = asyncio.get_running_loop().create_future()
        self._waiting.append((sequence, arrived))
        async with asyncio.timeout(within_s):
            await arrived

    async def _keep_pace(self) -> None:
        backoff = ExponentialWithJitterBackoff(base=self._pace.pause_s, cap=self._pace.longest_pause_s)
        failures = 0
        while True:
            begun = time.monotonic()
            _heed_cancellation()
            try:
                await self._join()
                await self._follow()
                if not self._trouble.warning:
                    continue
            except (CopyFencedError, FencedError) as error:
                self._give_up(error)
                return
            except (CopyMovedError, CopyDamagedError) as error:
                if not failures:
                    logger.warning("The copy in Redis (%s): %s. It is written anew.", self._server.shown, error)
                else:
                    self._fall_behind(error)
            except (*REDIS_ERRORS, PhalanxError) as error:
                self._fall_behind(error)
            except Exception as error:
                logger.exception("the copy in Redis failed in an unforeseen way")
                self._fall_behind(error)
            failures = 1 if time.monotonic() - begun > self._pace.settled_s else failures + 1
            await asyncio.sleep(backoff.compute(failures))

    async def _join(self) -> None:
        portions = self._pace.portions
        self._backlog.restart()
        state = await self._redis.claim(portions.answer_s)
        if state.fence > self._ours.epoch:
            raise CopyFencedError(f"epoch {state.fence}")
        self._refuse_what_parted(state)
        await self._redis.crown(self._ours.fence, portions.answer_s)
        catching_up = CatchingUp(self._file, self._redis, self._ours.fence, portions)
        self._arrive(await catching_up.bring(None if state.damage else state.position))
        self._trouble.end()

    def _refuse_what_parted(self, state: CopyState) -> None:
        if state.position is None:
            return
        found = Standing(
            position=state.position, sessions=self._ours.sessions if state.damage else decode(state.sessions)
        )
        ours = Standing(position=self._file.position, sessions=self._ours.sessions)
        if compare(ours, found) is not Relation.FILE_HAS_ALL:
            raise PartedError(parted(ours, found, self._redis.meta_key))

    async def _follow(self) -> None:
        """Returns when a change is missing that only the file knows."""
        while True:
            _heed_cancellation()
            self._offered.clear()
            changes = self._backlog.take(self._at.sequence, self._pace.portions.size_bytes)
            if not self._backlog.kept:
                return
            if changes:
                end = changes[-1].position
                await self._redis.apply(self._ours.fence, self._at, end, merged(changes), self._pace.save_s)
                self._arrive(end)
            elif self._at == self._file.position:
                await self._note.remove()
            await self._tidy()
            if not self._backlog and not await self._is_offered():
                await self._redis.renew(self._ours.fence, self._at, self._pace.portions.answer_s)
                if not self._backlog and self._at.sequence < self._file.position.sequence:
                    return

    async def _is_offered(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pace.renew_s):
                await self._offered.wait()
        return self._offered.is_set()

    async def _tidy(self) -> None:
        if time.monotonic() - self._tidied > self._pace.renew_s:
            self._tidied = time.monotonic()
            await self._file.forget_tombstones(self._at.sequence)

    def _arrive(self, position: Position) -> None:
        self._at = position
        for sequence, arrived in self._waiting:
            if sequence <= position.sequence and not arrived.done():
                arrived.set_result(None)
        self._waiting = [(sequence, arrived) for sequence, arrived in self._waiting if not arrived.done()]

    def _release(self) -> None:
        for _, arrived in self._waiting:
            if not arrived.done():
                arrived.set_result(None)
        self._waiting.clear()

    def _fall_behind(self, error: BaseException) -> None:
        self._trouble.note(error)
        self._backlog.stop()
        self._offered.set()
        self._release()

    def _give_up(self, error: CopyFencedError | FencedError) -> None:
        self._fenced = FencedError(
            f"Another supervisor has taken this team's state over (Redis {self._server.shown}, {error}; our epoch was "
            f"{self._ours.epoch}). This one writes no more: end it; the other one goes on."
        )
        logger.error("%s", self._fenced)
        self._release()


def _heed_cancellation() -> None:
    """Before Python 3.12 ``asyncio.wait_for``, which redis-py sends with, may swallow a cancellation."""
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError
