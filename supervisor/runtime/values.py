"""What the runtime tells its callers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OnStep = Callable[[str], None]
"""Told in words what is done just now."""


def ignore_steps(step: str) -> None:
    """For callers that do not show steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
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
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamState:
    """``missing`` says in words which parts of a partly running team do not answer."""

    kind: Literal["running", "partly", "stopped"]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A process that was ended, by id and the name of its program."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownReport:
    """``was_running`` is false when there was nothing to bring down."""

    was_running: bool
    ended: tuple[Ended, ...] = ()
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
