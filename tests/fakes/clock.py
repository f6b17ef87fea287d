"""Virtual time: an event loop whose clock jumps to the next timer as soon as nothing else is to be done.

``tests/unit/conftest.py`` runs every asynchronous unit test in such a loop and patches ``time.time`` and
``time.monotonic`` to show the loop's clock, so hours pass in no time. A test that waits for what never comes fails.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple, Unpack

import pytest

_Result = TypeVar("_Result")
_Given = TypeVarTuple("_Given")


class _Selector(selectors.DefaultSelector):
    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("every task waits for something that will never happen")
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def skip(self, seconds: float) -> None:
        """As when the machine was suspended for so long."""
        self._virtual.now += seconds

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Given]], _Result], *args: *_Given
    ) -> asyncio.Future[_Result]:
        """Runs it at once: a thread would go on while the clock jumps."""
        done: asyncio.Future[_Result] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the awaiting task gets it
            done.set_exception(error)
        return done


def show_virtual_time(patch: pytest.MonkeyPatch) -> None:
    """Makes the module ``time`` show the clock of the virtual loop that runs, and real time where none runs."""
    for name in ("time", "monotonic"):
        patch.setattr(time, name, _virtual_or(getattr(time, name)))


def _virtual_or(real: Callable[[], float]) -> Callable[[], float]:
    def now() -> float:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return real()
        return loop.time() if isinstance(loop, VirtualTimeLoop) else real()

    return now


async def turns(count: int = 20) -> None:
    """Lets every task go as far as it can without waiting for time to pass."""
    for _ in range(count):
        await asyncio.sleep(0)
