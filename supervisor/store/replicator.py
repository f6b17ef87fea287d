"""Keeps the copy in Redis at the file's side, or brings it up to date again.

Keeps the copy in Redis at the file's side: with each change while Redis answers, behind it while it does not.

One task talks to Redis. It joins (takes the copy into use, sees that it is an older state of the same team, brings it
up to date) and then follows: whatever was written while the last command was under way goes in the next one, so any
number of concurrent saves costs one round trip. When something fails it starts over with joining, after pauses that
grow. A save waits for it only for a bound, and not at all while something is wrong.

Changes that the file has and Redis still lacks, in order, kept only while somebody brings Redis up to date. Pure.

``SqliteStore`` could always be asked for them again; this spares the asking while Redis keeps pace.

Brings the copy in Redis from wherever it stands to where the file stands, in bounded parts.

A little is written in one step. More is laid aside in Redis part by part and taken over in one step at the end, so at
every moment the copy is a state that the team was really in, and can be started from.

What is wrong with the copy in Redis, for people: said once in the log, and in the store's health while it lasts.

A note beside the state file: it has what Redis lacks.

It outlives crashes, so that a lost file is not silently replaced by a copy that was behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from redis.backoff import ExponentialWithJitterBackoff

from actors.errors import FencedError, PhalanxError, StoreError
from supervisor.store.lineage import (
    Change,
    Changes,
    CopyPosition,
    OwnSessions,
    Position,
    Relation,
    SessionsVersionError,
    compare,
    decode,
    parted,
)
from supervisor.store.redis import (
    CopyDamagedError,
    CopyFencedError,
    CopyHeldError,
    CopyMovedError,
    CopyState,
    CopyVersionError,
    RedisCopy,
    StagedPart,
)
from supervisor.store.redis_client import REDIS_ERRORS, RedisServer, explain
from supervisor.store.sqlite_file import sync_directory

logger = logging.getLogger(__name__)

_MOST_CHANGES = 5000


class Backlog:
    """``kept`` is False when a change is missing: then only the file knows what Redis lacks."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self.kept = False

    def __bool__(self) -> bool:
        return bool(self._changes)

    def restart(self) -> None:
        self._changes.clear()
        self.kept = True

    def stop(self) -> None:
        self._changes.clear()
        self.kept = False

    def add(self, change: Change) -> None:
        """A change that does not follow on the last one shows that one is missing."""
        if not self.kept:
            return
        follows = not self._changes or self._changes[-1].position.sequence == change.previous
        if follows and len(self._changes) < _MOST_CHANGES:
            self._changes.append(change)
        else:
            self.stop()

    def take(self, after: int, most_bytes: int) -> Sequence[Change]:
        """The next ones after the sequence ``after``: one, and more while they are small. Stops when one is missing."""
        while self._changes and self._changes[0].position.sequence <= after:
            self._changes.popleft()
        if self._changes and self._changes[0].previous != after:
            self.stop()
        taken: list[Change] = []
        size = 0
        while self._changes and (not taken or size + _change_bytes(self._changes[0]) <= most_bytes):
            size += _change_bytes(self._changes[0])
            taken.append(self._changes.popleft())
        return taken


def _change_bytes(change: Change) -> int:
    return sum(len(key) + len(value or b"") for key, value in change.records.items())


def merged(changes: Sequence[Change]) -> dict[str, bytes | None]:
    """Several as one: the last value of each record."""
    together: dict[str, bytes | None] = {}
    for change in changes:
        together.update(change.records)
    return together


class CopiedFile(Protocol):
    """What is asked of the file (``SqliteStore``) to keep a copy of it."""

    @property
    def position(self) -> Position: ...

    @property
    def deletions_known_after(self) -> int: ...

    async def changes_after(self, sequence: int, limit: int) -> Changes: ...

    async def forget_tombstones(self, upto: int) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Portions:
    """How much goes to Redis at once, and how long that may take."""

    records: int = 500
    size_bytes: int = 1_000_000
    answer_s: float = 5.0


class CatchUp:
    """One run of it."""

    def __init__(self, file: CopiedFile, redis: RedisCopy, fence: str, portions: Portions) -> None:
        self._file = file
        self._redis = redis
        self._fence = fence
        self._portions = portions
        self._run = secrets.token_hex(8)
        self._staged = ""
        self._parts = 0

    async def bring(self, start: Position | None) -> Position:
        """Where the copy stands then. ``start`` is where it stands now; None: its content is of no use."""
        if start and start.sequence < self._file.deletions_known_after:
            start = None
        reached = start.sequence if start else 0
        gathered: dict[str, bytes | None] = {}
        while True:
            changes = await self._file.changes_after(reached, self._portions.records)
            reached, end = changes.upto, self._file.position
            gathered.update(changes.records)
            if reached == end.sequence:
                await self._finish(start, end, gathered)
                return end
            if _records_bytes(gathered) > self._portions.size_bytes:
                await self._lay_aside(gathered, whole=start is None)
                gathered = {}

    async def _finish(self, start: Position | None, end: Position, records: Mapping[str, bytes | None]) -> None:
        if start and not self._staged and _records_bytes(records) <= self._portions.size_bytes:
            await self._redis.apply(self._fence, start, end, records, self._portions.answer_s)
        else:
            await self._lay_aside(records, whole=start is None)
            await self._redis.take_over(self._fence, start, end, self._staged, self._portions.answer_s)

    async def _lay_aside(self, records: Mapping[str, bytes | None], *, whole: bool) -> None:
        for records_of_part in _parts(records, self._portions.size_bytes):
            self._parts += 1
            name = f"{self._run}:{self._parts}"
            part = StagedPart(name=name, previous=self._staged, whole=whole, records=records_of_part)
            await self._redis.stage(self._fence, part, self._portions.answer_s)
            self._staged = name


def _parts(records: Mapping[str, bytes | None], size_bytes: int) -> Iterator[Mapping[str, bytes | None]]:
    """At least one, and none bigger than ``size_bytes`` but for a record that is bigger itself."""
    part: dict[str, bytes | None] = {}
    size = 0
    for key, value in records.items():
        more = len(key) + len(value or b"")
        if part and size + more > size_bytes:
            yield part
            part, size = {}, 0
        part[key] = value
        size += more
    yield part


def _records_bytes(records: Mapping[str, bytes | None]) -> int:
    return sum(len(key) + len(value or b"") for key, value in records.items())


class PartedError(PhalanxError):
    """The copy has something that the file lacks. The text is the end of a sentence, see ``lineage.parted``."""


class ReplicationTrouble:
    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._words = ""
        self._since = 0.0

    @property
    def warning(self) -> str:
        """Empty when nothing is wrong."""
        if not self._words:
            return ""
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self._since))
        return (
            f"Redis ({self._server.shown}) {self._words}. The team goes on with the file in its home alone, since "
            f"{since}; Redis is brought up to date by itself when it can be used again."
        )

    def note(self, error: BaseException) -> None:
        """A further error of the same trouble changes what is shown and is not logged again."""
        begins = not self._words
        self._words = words(error, self._server)
        if begins:
            self._since = time.time()
            logger.warning("%s", self.warning)

    def end(self) -> None:
        if self._words:
            self._words = ""
            logger.warning(
                "Redis (%s) is up to date again, after %.0f s.", self._server.shown, time.time() - self._since
            )


def words(error: BaseException, server: RedisServer) -> str:
    """The end of a sentence that begins with the name of the server."""
    match error:
        case CopyHeldError():
            return f"is in use by another supervisor of this team ({error})"
        case CopyMovedError() | CopyDamagedError():
            return f"does not keep the copy as it was written: {error}"
        case PartedError():
            return str(error)
        case CopyVersionError() | SessionsVersionError():
            return f"holds a copy that {error}"
        case PhalanxError():
            return f"cannot be brought up to date: {error}"
        case _:
            return explain(error, server)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
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

    def __init__(
        self, file: CopiedFile, redis: RedisCopy, server: RedisServer, note: Note, pace: RetrySchedule
    ) -> None:
        self._file = file
        self._redis = redis
        self._server = server
        self._note = note
        self._pace = pace
        self._ours = OwnSessions(sessions=())
        self._backlog = Backlog()
        self._offered = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._at = Position()
        self._trouble = ReplicationTrouble(server)
        self._fenced: FencedError | None = None
        self._tidied = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def warning(self) -> str:
        """What is wrong, since when and what happens meanwhile; empty when Redis keeps pace."""
        return str(self._fenced or self._trouble.warning)

    async def start(self, ours: OwnSessions, within_s: float) -> None:
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
        catching_up = CatchUp(self._file, self._redis, self._ours.fence, portions)
        self._arrive(await catching_up.bring(None if state.damage else state.position))
        self._trouble.end()

    def _refuse_what_parted(self, state: CopyState) -> None:
        if state.position is None:
            return
        found = CopyPosition(
            position=state.position, sessions=self._ours.sessions if state.damage else decode(state.sessions)
        )
        ours = CopyPosition(position=self._file.position, sessions=self._ours.sessions)
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


_TEXT = "This team's state.db has writes that its copy in Redis lacks.\n"


class LagNote:
    """``put`` and ``remove`` cost nothing when there is nothing to change."""

    def __init__(self, state_file: Path) -> None:
        self.path = state_file.with_name(f"{state_file.name}-ahead-of-redis")
        self._there: bool | None = None
        self._turn = asyncio.Lock()

    async def is_there(self) -> bool:
        if self._there is None:
            self._there = await asyncio.to_thread(self.path.exists)
        return self._there

    async def put(self) -> None:
        """Durable when it returns. Raises ``StoreError``."""
        async with self._turn:
            if not await self.is_there():
                await asyncio.to_thread(self._write)
                self._there = True

    async def remove(self) -> None:
        """Raises ``StoreError``."""
        async with self._turn:
            if await self.is_there():
                await asyncio.to_thread(self._unlink)
                self._there = False

    def _write(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(_TEXT)
            sync_directory(self.path.parent)
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written: {error.strerror}. Make room, or give its user the right to write."
            ) from error

    def _unlink(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be removed: {error.strerror}.") from error
