"""Finds by itself how many instances should start at the same time; pure, the clock is in the samples.

It climbs: while spawns wait it raises the cap as long as that starts more instances a second, and goes back by one step
when it does not. Little free memory or many failures lower the cap at once. Cores that are all busy are no reason by
themselves: the starts per second show whether more at once still helps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LOWEST, HIGHEST = 1, 100
GROWTH = 0.25
"""Of the cap, a step; at least one."""
GAIN = 1.05
"""A step that starts less than this times as many a second was in vain."""
HOLD_S = 120.0
"""After a step in vain it is not tried again for so long."""
SHORT_OF_MEMORY = 0.10
"""Part of the memory that is left free."""
LEAST_MEMORY_BYTES = 1_000_000_000
AGENT_BYTES = 300_000_000
"""What an agent with its actor takes."""
_MANY_FAILURES = 0.5
_FEWEST = 2
_PAUSE_S = 5.0
"""Between two lowerings: the first one must have had time to help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """``started`` and ``failed`` add up since the supervisor began; memory is that of the host with the least."""

    at: float
    cap: int
    waiting: int
    started: int
    failed: int
    memory_total_bytes: int
    memory_available_bytes: int

    @property
    def spare_bytes(self) -> float:
        reserve = max(SHORT_OF_MEMORY * self.memory_total_bytes, LEAST_MEMORY_BYTES)
        return self.memory_available_bytes - reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``at``: seconds since the epoch."""

    at: float
    before: int
    after: int
    reason: str


class Autopilot:
    """``step`` takes a sample whenever spawns have ended; it says what to do, or None."""

    def __init__(self) -> None:
        self._round: Sample | None = None
        self._earlier: tuple[int, float] | None = None
        self._held_until = 0.0
        self._lowered_at = -math.inf

    def step(self, now: Sample) -> Step | None:
        first, done = self._round, 0
        if first is not None and first.cap == now.cap:
            done = now.started + now.failed - first.started - first.failed
        else:
            first = self._round = now
        lowered = self._lower(now, first, done)
        if lowered is not None:
            return lowered
        if now.waiting == 0:
            # Without demand the rate says nothing about the cap.
            self._round = self._earlier = None
            return None
        if done < max(_FEWEST, now.cap) or now.at <= first.at:
            return None
        return self._climb(now, (now.started - first.started) / (now.at - first.at))

    def _lower(self, now: Sample, first: Sample, done: int) -> Step | None:
        cap = max(LOWEST, now.cap // 2)
        if cap == now.cap or now.at - self._lowered_at < _PAUSE_S:
            return None
        failed = now.failed - first.failed
        if now.spare_bytes < 0:
            reason = f"only {now.memory_available_bytes / 1e9:.1f} GB of memory are left"
        elif done >= _FEWEST and failed > _MANY_FAILURES * done:
            reason = f"{failed} of {done} spawns failed"
        else:
            return None
        self._lowered_at, self._held_until = now.at, now.at + HOLD_S
        return self._change(now, cap, reason)

    def _climb(self, now: Sample, rate: float) -> Step | None:
        earlier, self._earlier, self._round = self._earlier, (now.cap, rate), now
        if earlier is not None and earlier[0] < now.cap and rate < GAIN * earlier[1]:
            self._held_until = now.at + HOLD_S
            return self._change(
                now,
                earlier[0],
                f"{now.cap} at once start {rate:.2f} instances a second, {earlier[0]} started {earlier[1]:.2f}",
            )
        cap = min(HIGHEST, now.cap + max(1, round(GROWTH * now.cap)))
        if now.at < self._held_until or cap == now.cap or now.spare_bytes < (cap - now.cap) * AGENT_BYTES:
            return None
        words = f"{now.waiting} spawns wait, {now.cap} at once start {rate:.2f} instances a second"
        return self._change(now, cap, f"{words}, and memory is free", keep_rate=True)

    def _change(self, now: Sample, cap: int, reason: str, *, keep_rate: bool = False) -> Step:
        self._round = None
        if not keep_rate:
            self._earlier = None
        return Step(at=now.at, before=now.cap, after=cap, reason=reason)
