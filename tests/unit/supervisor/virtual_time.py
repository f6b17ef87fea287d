"""An event loop in which waiting takes no time: when nobody can go on, the clock jumps to whoever waits least."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

_Result = TypeVar("_Result")


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
