"""Event loop helpers: waiting for a change, periodic work, and background tasks.

The supervisor and the host's relay use them. asyncio keeps no reference to its tasks and reports nowhere how they
ended: ``TaskSet`` does both and ends them together. Nothing here polls, except ``every``, which is periodic by design.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from actors.errors import FencedError, PhalanxError

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class ChangeNotifier:
    """``announce`` wakes all waiters; each waiter checks its own condition."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def announce(self) -> None:
        for waiter in self._waiters:
            _wake(waiter)
        self._waiters.clear()

    async def next(self, timeout_s: float | None) -> None:
        """Returns with the next announcement, or after ``timeout_s`` seconds."""
        if timeout_s is not None and timeout_s <= 0:
            return
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, _wake, waiter)
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if timer is not None:
                timer.cancel()

    async def until(self, satisfied: Callable[[], bool], timeout_s: float | None) -> bool:
        """Returns True as soon as ``satisfied()`` holds, False when ``timeout_s`` seconds have passed before."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while not satisfied():
            left_s = None if deadline is None else deadline - loop.time()
            if left_s is not None and left_s <= 0:
                return False
            await self.next(left_s)
        return True


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def every(interval_s: float, work: Callable[[], Awaitable[None]], what: str, *, at_once: bool = False) -> None:
    """Repeats ``work`` with a pause of ``interval_s`` in between; with ``at_once`` the first run has no pause.

    A failure is logged as ``what``, and the work goes on. Returns only on ``FencedError``: another supervisor has the
    team, so there is nothing left to do.
    """
    if not at_once:
        await asyncio.sleep(interval_s)
    while True:
        try:
            await work()
        except FencedError:
            logger.warning("%s: another supervisor has the state", what)
            return
        except PhalanxError as error:
            logger.warning("%s: %s", what, error)
        except Exception:
            logger.exception("%s", what)
        await asyncio.sleep(interval_s)


class TaskSet:
    """The tasks of one owner. The owner calls ``end`` when it stops."""

    def __init__(self, what: str) -> None:
        """``what``: the name of the tasks in logged failures."""
        self._what = what
        self._tasks: set[asyncio.Task[object]] = set()

    def begin(self, work: Coroutine[Any, Any, object], name: str = "") -> None:
        self.keep(asyncio.create_task(work, name=name or self._what))

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Adds a task that was created elsewhere."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def done(self) -> None:
        """Waits until all current tasks have ended by themselves."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def end(self, within_s: float | None = None) -> None:
        """Cancels all and waits until they have ended, ``within_s`` at most when that is given."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, PhalanxError):
            logger.warning("%s: %s", task.get_name(), error)
        elif error is not None:
            logger.error("%s", task.get_name(), exc_info=error)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, _Result]) -> AsyncIterator[asyncio.Task[_Result]]:
    """Runs ``work`` beside the block and cancels it at the block's end. Awaiting the task raises its failure."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def whole(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Who is cancelled meanwhile is so only when ``work`` has ended; a second time, at once."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


async def begun(hold: AbstractAsyncContextManager[Any], work: Callable[[], Awaitable[_Result]]) -> _Result:
    """Does ``work`` inside of ``hold``. Who is cancelled meanwhile gives up waiting for ``hold``, but not the work."""

    async def held_work(held: AsyncExitStack) -> _Result:
        async with held:
            return await work()

    async with AsyncExitStack() as waiting:
        await waiting.enter_async_context(hold)
        task = asyncio.create_task(held_work(waiting.pop_all()))
    return await asyncio.shield(task)
