"""Samples, and what is said about them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the page. ``samples`` and ``floor`` are in ms; ``floor`` may be empty."""

    what: str
    aim: str
    samples: Sequence[float]
    floor: Sequence[float] = ()

    @property
    def p50(self) -> float:
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        return sorted(self.samples)[min(len(self.samples) - 1, int(len(self.samples) * 0.95))]

    @property
    def ratio(self) -> float | None:
        """Median of the ratios pair by pair, so that a drift of the machine's speed cancels out."""
        if not self.floor:
            return None
        return statistics.median(ours / bare for ours, bare in zip(self.samples, self.floor, strict=True))
