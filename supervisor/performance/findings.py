"""What a look at the team finds: each point that the score loses has one, with its reason and, where there is one, the
setting that would help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from supervisor.performance.facts import Facts

Severity = Literal["info", "warning", "error"]
Category = Literal["spawning", "messages", "git", "instances", "machine", "state"]
Priority = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    suggestion: str
    impact: str
    priority: Priority = "medium"
    setting: str | None = None
    """As ``optimize_settings`` calls it."""
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    code: str
    """The same for the same trouble, whatever its figures."""
    category: Category
    severity: Severity
    points: int
    """What the score loses."""
    message: str
    advice: Advice | None = None


Rule = Callable[[Facts], Iterator[Finding]]
BEST = 100


def score(findings: Sequence[Finding]) -> int:
    return max(0, BEST - sum(finding.points for finding in findings))
