"""The store that every team has: a SQLite file in its home, durable when a call returns, with no server to run.

One thread of its own does all work on the file, so the event loop never waits for a disk. Writes that wait while
another one is being made durable are committed together, each of them still whole or not at all and in the order of
the calls. Used by the supervisor, alone or as the first of two copies.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from actors.errors import StoreError
from supervisor.store.base import MayBegin, StoreHealth, always
from supervisor.store.lineage import Change, Changes, Position
from supervisor.store.sqlite_file import StateFile, Takeover
from supervisor.store.sqlite_schema import examine, in_words

_PATIENCE_S = 30.0
"""A disk that takes longer is taken for one that does not answer."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    records: Mapping[str, bytes]
    delete: Sequence[str]
    made: Future[Change] = field(default_factory=Future)


class SqliteStore:
    """A ``StateStore`` that also tells where it stands and what changed, for whoever keeps a second copy of it.

    Every call but ``peek`` raises ``StoreError`` before ``open`` and after ``close``.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep_tombstones: bool = False,
        patience_s: float = _PATIENCE_S,
        may_begin: MayBegin = always,
    ) -> None:
        """``keep_tombstones``: remember what was deleted, for a second copy, until ``forget_tombstones``."""
        self._path = path
        self._keep_tombstones = keep_tombstones
        self._file = StateFile(path, keep_tombstones=keep_tombstones)
        self._patience_s = patience_s
        self._may_begin = may_begin
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[_Write] = deque()
        self._failure = ""

    @property
    def health(self) -> StoreHealth:
        return StoreHealth(description="SQLite", warning=self._failure)

    @property
    def position(self) -> Position:
        """Where the file stands: after the last write that is durable."""
        return self._file.position

    @property
    def deletions_known_after(self) -> int:
        """A copy at a lower sequence cannot be told all that was deleted since: it must be emptied and given
        everything after sequence 0."""
        return self._file.deletions_known_after

    async def peek(self) -> Position:
        """Where the file stands, without opening it for writing; epoch 0 when there is none.

        Raises ``StoreError`` when the file is damaged, is of a newer layout or cannot be read.
        """
        if self._thread is not None:
            return self.position
        thread = ThreadPoolExecutor(1, thread_name_prefix="state-reader")
        examined = thread.submit(self._in_words, examine, self._path)
        thread.shutdown(wait=False)
        return await self._bounded(examined)

    async def open(self, above: int = 0) -> int:
        """As the protocol says; the epoch is also higher than ``above``, the highest one of a second copy."""
        if self._thread is not None:
            raise StoreError(f"The team's state {self._path} is open already.")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state-writer")
        # Both new: the thread of an earlier opening may still be busy with its own.
        self._file = StateFile(self._path, keep_tombstones=self._keep_tombstones)
        self._waiting = deque()
        try:
            await self._run(self._file.open, above)
        except BaseException:
            self._release_host()
            raise
        if self.position.sequence == 0:
            await self._ask_whether_to_begin()
        self._failure = ""
        return self._file.position.epoch

    async def _ask_whether_to_begin(self) -> None:
        """Who opens next after a refusal must not find the lock still held."""
        try:
            await self._may_begin()
        except BaseException:
            with contextlib.suppress(StoreError):
                await self.close()
            raise

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        """As the protocol says. A disk that hangs in the middle is the exception to "nothing was written": then it is
        not known, and the error says so."""
        await self.write(records, delete)

    async def write(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> Change:
        """``save``, and what another copy needs to follow it. A key in both is deleted."""
        write = _Write(records=dict(records), delete=tuple(delete))
        thread = self._opened()
        self._waiting.append(write)
        thread.submit(self._commit_waiting, self._file, self._waiting)
        return await self._bounded(write.made)

    async def load(self, prefix: str) -> dict[str, bytes]:
        return await self._run(self._file.load, prefix)

    async def changes_after(self, sequence: int, limit: int) -> Changes:
        """What was written after ``sequence``, at most ``limit`` records or one write. Empty when nothing was."""
        return await self._run(self._file.changes_after, sequence, limit)

    async def forget_tombstones(self, upto: int) -> None:
        """Every other copy has what was deleted through this sequence."""
        await self._run(self._file.forget_tombstones, upto)

    async def replace(self, position: Position, records: AsyncIterator[Mapping[str, bytes]]) -> None:
        """Takes another copy's content over in place of its own, in one transaction when all of it has arrived.

        A file that held records is kept as ``<name>.superseded-<epoch>-<n>`` beside it. Afterwards ``position`` is the
        given one, with our epoch if that is higher. What is written here meanwhile is lost: call it before anything
        else. Waits for ``records`` without a bound of its own.
        """
        takeover = Takeover(self._file)
        try:
            await self._run(takeover.begin)
            async for part in records:
                await self._run(takeover.stage, part)
            await self._run(takeover.finish, position)
        except BaseException:
            if self._thread is not None:
                await self._run(takeover.abandon)
            raise

    async def close(self) -> None:
        """Makes what waits durable first."""
        if self._thread is None:
            return
        closed = asyncio.wrap_future(self._release_host())
        await asyncio.wait({closed}, timeout=self._patience_s)  # unlike other work it is never withdrawn
        if not closed.done():
            raise self._no_answer("It is closed as soon as the disk answers")
        await closed

    def _release_host(self) -> Future[None]:
        """Whatever the thread is busy with ends first; nothing new is accepted."""
        thread, self._thread = self._opened(), None
        closed = thread.submit(self._in_words, self._file.close)
        thread.shutdown(wait=False)
        return closed

    def _commit_waiting(self, file: StateFile, waiting: deque[_Write]) -> None:
        """In the thread: everything that waits, in one transaction. Runs once a write, and finds nothing if an
        earlier run took it along."""
        group = []
        while waiting:
            write = waiting.popleft()
            if write.made.set_running_or_notify_cancel():
                group.append(write)
        if group:
            self._commit(file, group)

    def _commit(self, file: StateFile, group: Sequence[_Write]) -> None:
        try:
            changes = self._in_words(file.write, [(write.records, write.delete) for write in group])
        except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits for this write must hear of it
            if len(group) == 1:
                self._failure = str(error)
                group[0].made.set_exception(error)
                return
            for write in group:  # one that cannot be written must not take the others with it
                self._commit(file, [write])
            return
        self._failure = ""
        for write, change in zip(group, changes, strict=True):
            write.made.set_result(change)

    def _in_words(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return work(*args, **kwargs)
        except (sqlite3.Error, OSError) as error:
            raise in_words(error, self._path) from error

    async def _run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self._bounded(self._opened().submit(lambda: self._in_words(work, *args, **kwargs)))

    async def _bounded(self, future: Future[_T]) -> _T:
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            known = "Nothing was written" if future.cancel() else "Whether this was written is not known"
            raise self._no_answer(known) from None

    def _no_answer(self, what_is_known: str) -> StoreError:
        return StoreError(
            f"The disk with the team's state {self._path} has not answered for {self._patience_s:g} s. "
            f"{what_is_known}. Look at the disk; the team goes on when it answers."
        )

    def _opened(self) -> ThreadPoolExecutor:
        if self._thread is None:
            raise StoreError(f"The team's state {self._path} is not open. Nothing was written.")
        return self._thread
