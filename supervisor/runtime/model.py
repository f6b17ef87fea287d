"""What the runtime tells its callers, and how long its steps take.

What the runtime tells its callers.

How long the parts of bringing up and down take; each is told when it begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OnStep = Callable[[str], None]
"""Told in words what is done just now."""


def ignore_steps(step: str) -> None:
    """For callers that do not show steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """How long one part of bringing up or down took."""

    what: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamAddress:
    """Where a running team is."""

    home: Path
    gateway_socket: Path
    ray_address: str
    team_id: str
    already_running: bool
    """Nothing had to be done."""
    steps: tuple[StepTime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamState:
    """``missing`` says in words which parts of a partly running team do not answer."""

    kind: Literal["running", "partly", "stopped"]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedProcess:
    """A process that was ended, by id and the name of its program."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownReport:
    """``was_running`` is false when there was nothing to bring down."""

    was_running: bool
    ended: tuple[EndedProcess, ...] = ()
    notes: tuple[str, ...] = ()
    steps: tuple[StepTime, ...] = ()


class Stopwatch:
    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._steps: list[StepTime] = []

    @property
    def steps(self) -> tuple[StepTime, ...]:
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
        self._steps.append(StepTime(what=what, seconds=round(seconds, 3)))
