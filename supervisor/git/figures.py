"""What the git queue has done so far."""

from __future__ import annotations

from dataclasses import dataclass

from actors.git.values import Outcome


@dataclass(slots=True)
class GitFigures:
    operations: int = 0
    failed: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    shared: int = 0
    """Answered by the same git as another caller's operation."""
    transactions: int = 0
    """Of new branches and tags; each may make many."""
    executed: int = 0
    executed_s: float = 0.0

    def count(self, outcome: Outcome) -> None:
        """One that a host has run."""
        if not outcome.unchanged:
            self.executed += 1
            self.executed_s += outcome.took_s

    @property
    def average_ms(self) -> float:
        return self.executed_s / self.executed * 1000 if self.executed else 0.0
