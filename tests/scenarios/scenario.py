"""What a scenario is: one function with a sentence as its name, that lives through something real and says what it saw.

It takes the ``InstanceStage`` and returns when all held; it raises ``AssertionError`` with words when something did
not, and ``Skipped`` when it does not apply to the version that is tried. Scenarios run side by side over one team, so
each keeps to the instances that it starts.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.scenarios.stage import Stage

Play = Callable[["Stage"], Awaitable[None]]


class Skipped(Exception):  # noqa: N818 - it is no error
    """The scenario does not apply here; the text says why."""


class Verdict(StrEnum):
    HELD = "held"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    play: Play
    limit_s: float

    @property
    def name(self) -> str:
        return self.play.__name__

    @property
    def sentence(self) -> str:
        return self.name.replace("_", " ")

    @property
    def theme(self) -> str:
        """The module in which it stands."""
        return inspect.getmodule(self.play).__name__.rpartition(".")[2]  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``words``: what failed, or why it was skipped."""

    scenario: Scenario
    verdict: Verdict
    words: str
    took_s: float

    def __str__(self) -> str:
        line = f"{self.verdict:<8}{self.scenario.sentence} ({self.took_s:.0f} s)"
        return line if not self.words else "\n".join([line, *(f"        {each}" for each in self.words.splitlines())])


SCENARIOS: list[Scenario] = []
"""In the order in which they were told."""


def scenario(limit_s: float = 180.0) -> Callable[[Play], Play]:
    """Makes a function a scenario; ``limit_s`` is how long it may take at most."""

    def take(play: Play) -> Play:
        SCENARIOS.append(Scenario(play=play, limit_s=limit_s))
        return play

    return take


def expect(condition: object, words: str) -> None:
    """Raises ``AssertionError`` with the words unless the condition holds."""
    if not condition:
        raise AssertionError(words)
