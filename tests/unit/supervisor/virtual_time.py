"""An event loop in which waiting takes no time: when nobody can go on, the clock jumps to whoever waits least."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from types import SimpleNamespace
from typing import Any, TypeVar, TypeVarTuple, Unpack

_Result = TypeVar("_Result")
_Given = TypeVarTuple("_Given")


class _Selector(selectors.SelectSelector):
    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everybody waits, and nobody will ever go on")
        self.now += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Given]], _Result], *args: *_Given
    ) -> asyncio.Future[_Result]:
        """At once: a thread would go on while the clock jumps."""
        done: asyncio.Future[_Result] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - for who awaits it
            done.set_exception(error)
        return done


def new_loop() -> asyncio.AbstractEventLoop:
    """For who runs one thing after another in it."""
    return _Loop()


def run(test: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(test())


def clock() -> SimpleNamespace:
    """In place of the module ``time``: the time of the loop that runs."""

    def now() -> float:
        return asyncio.get_running_loop().time()

    return SimpleNamespace(time=now, monotonic=now)
