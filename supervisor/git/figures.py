"""What the git queue has done so far; the meters of the team are told, too."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.git.values import Outcome
from supervisor.performance.meters import Meters
from supervisor.performance.names import Count, Timing


@dataclass(slots=True)
class GitFigures:
    meters: Meters = field(default_factory=Meters)
    operations: int = 0
    failed: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    shared: int = 0
    """Answered by the same git as another caller's operation."""
    transactions: int = 0
    """Of new branches and tags; each may make many."""

    def count(self, outcome: Outcome) -> None:
        """One that a host has run."""
        self.meters.count(Count.GIT_RETRIES, outcome.retries)
        if not outcome.unchanged and outcome.error is None:
            self.meters.observe(Timing.GIT, outcome.took_s)

    def answered(self, *, failed: bool) -> None:
        """One that a caller has asked for."""
        self.operations += 1
        self.failed += failed
        self.meters.count(Count.GIT_ANSWERED)
        self.meters.count(Count.GIT_FAILED, int(failed))

    def looked_up(self, *, hit: bool) -> None:
        """In the cache."""
        self.cache_hits += hit
        self.cache_misses += not hit
        self.meters.count(Count.CACHE_HITS if hit else Count.CACHE_MISSES)

    def evicted(self, answers: int) -> None:
        """From the cache, because it was full."""
        self.meters.count(Count.CACHE_EVICTIONS, answers)
