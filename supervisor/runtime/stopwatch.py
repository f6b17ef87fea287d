"""How long the parts of bringing up and down take; each is told when it begins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from supervisor.runtime.values import OnStep, Step


class Stopwatch:
    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._steps: list[Step] = []

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those that are over, in order."""
        return tuple(self._steps)

    def tell(self, what: str) -> None:
        """Something that is no step."""
        self._on_step(what)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self._on_step(what)
        begun = time.monotonic()
        yield
        self.add(what, time.monotonic() - begun)

    def add(self, what: str, seconds: float) -> None:
        self._steps.append(Step(what=what, seconds=round(seconds, 3)))
