"""The writes of all callers: one at a time in a repository, in the order they came; new branches and tags together.

While a repository is being written, new branches and tags that are asked for gather, and go in one transaction of git
when it is their turn. A write that has begun is not cut off: whoever asked may go away, its turn and its permit are
kept until it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from actors.git.values import Asked, CreateRef, Outcome
from supervisor.git.figures import GitFigures
from supervisor.git.settling import settle, settle_error
from supervisor.permits import Permits
from supervisor.ports import GitPort

_T = TypeVar("_T")
MOST_IN_TRANSACTION = 200
_Pending = list[tuple[Asked, asyncio.Future[Outcome]]]


class Writes:
    """All in the supervisor's event loop. A repository is named by its common git directory."""

    def __init__(self, host: GitPort, permits: Permits, figures: GitFigures) -> None:
        self._host = host
        self._permits = permits
        self._figures = figures
        self._turns: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        self._pending: dict[Path, _Pending] = {}
        self._creating: set[Path] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.waiting = 0

    async def write(self, repository: Path, asked: Asked) -> Outcome:
        """One write that stands by itself. Raises ``UnavailableError``; then it may have been done or not."""
        self.waiting += 1
        task = self._begin(self._in_turn(repository, lambda: self._host.git_write(asked)))
        outcome = await asyncio.shield(task)
        self._figures.count(outcome)
        return outcome

    async def create_ref(self, repository: Path, asked: Asked) -> Outcome:
        """A new branch or tag. Raises as ``write`` does."""
        made: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._pending.setdefault(repository, []).append((asked, made))
        self.waiting += 1
        if repository not in self._creating:
            self._creating.add(repository)
            self._begin(self._create_pending(repository))
        return await asyncio.shield(made)

    async def end(self) -> None:
        pending = [made for each in self._pending.values() for _, made in each]
        for waiting in (*self._tasks, *pending):
            waiting.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _create_pending(self, repository: Path) -> None:
        while repository in self._pending:
            await self._in_turn(repository, lambda: self._create_together(repository))
        self._creating.discard(repository)

    async def _create_together(self, repository: Path) -> None:
        taken = self._take(repository)
        self._figures.transactions += 1
        try:
            outcomes = await self._host.git_create_refs([asked for asked, _ in taken])
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            for _, made in taken:
                settle_error(made, error)
            return
        for (_, made), outcome in zip(taken, outcomes, strict=True):
            self._figures.count(outcome)
            settle(made, outcome)

    def _take(self, repository: Path) -> _Pending:
        """Those for one transaction: in it no ref may come twice."""
        taken: _Pending = []
        left: _Pending = []
        refs: set[str] = set()
        for asked, made in self._pending.pop(repository):
            ref = asked.operation.ref if isinstance(asked.operation, CreateRef) else ""
            fits = ref not in refs and len(taken) < MOST_IN_TRANSACTION
            (taken if fits else left).append((asked, made))
            refs.add(ref)
        if left:
            self._pending[repository] = left
        self.waiting -= len(taken) - 1
        return taken

    async def _in_turn(self, repository: Path, run: Callable[[], Awaitable[_T]]) -> _T:
        turn = self._turns.get(repository)
        if turn is None:
            turn = self._turns[repository] = asyncio.Lock()
        async with turn, self._permits.hold():
            self.waiting -= 1
            return await run()

    def _begin(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work, name="git write")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to look at it
