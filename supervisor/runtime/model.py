"""The values that ``Runtime`` returns to its callers, and the times of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OnStep = Callable[[str], None]
"""Called with the name of each step when it begins."""


def ignore_steps(step: str) -> None:
    """For callers that do not show steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """How long one step of bringing up or down took."""

    what: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamAddress:
    """A running team."""

    home: Path
    gateway_socket: Path
    ray_address: str
    team_id: str
    already_running: bool
    """True when nothing had to be done."""
    steps: tuple[StepTime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamState:
    kind: Literal["running", "partly", "stopped"]
    missing: tuple[str, ...] = ()
    """Names, for people, of the parts that do not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedProcess:
    pid: int
    name: str
    """Of its program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownReport:
    was_running: bool
    """False when there was nothing to bring down."""
    ended: tuple[EndedProcess, ...] = ()
    notes: tuple[str, ...] = ()
    steps: tuple[StepTime, ...] = ()


class Stopwatch:
    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._steps: list[StepTime] = []

    @property
    def steps(self) -> tuple[StepTime, ...]:
        """The finished ones, in order."""
        return tuple(self._steps)

    def tell(self, what: str) -> None:
        """Shows a word that is not a step."""
        self._on_step(what)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self._on_step(what)
        begun = time.monotonic()
        yield
        self.add(what, time.monotonic() - begun)

    def add(self, what: str, seconds: float) -> None:
        self._steps.append(StepTime(what=what, seconds=round(seconds, 3)))
