"""The spawn cap that tunes itself: how many instances should start at the same time.

``CapTuner`` decides, pure, from samples; ``CapTuningLoop`` takes the samples in the supervisor and applies the
decision. ``SettingsService`` ends the loop, ``MetricsService`` shows its steps.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from actors.host.load import HostLoad
from supervisor.metrics.metrics import Count, MetricsRecorder, Timing
from supervisor.metrics.monitor import Hosts, load_of
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import FairSemaphore

logger = logging.getLogger(__name__)

LOWEST, HIGHEST = 1, 100
SMALL_STEP = 0.25
"""Of the cap; at least one."""
FULL_GAIN = 0.8
"""Twice the cap that starts at least 2 * 0.8 times as many a second pays nearly in full."""
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
_SHORTEST_S = 0.001
_PAUSE_S = 5.0
"""Between two lowerings: the first one must have had time to help."""

_STEPS_KEPT = 20


class CapTuningLoop:
    """Lets a ``CapTuner`` set the spawn cap while ``auto`` is on. All in the supervisor's event loop.

    Each spawn that ends wakes it, so it costs nothing while none do. It reads the load of the hosts, asks the tuner,
    and keeps the last steps with their reasons.
    """

    def __init__(
        self, live_settings: LiveSettings, permits: FairSemaphore, recorder: MetricsRecorder, hosts: Hosts
    ) -> None:
        self._live_settings = live_settings
        self._permits = permits
        self._recorder = recorder
        self._hosts = hosts
        self._cap_tuner = CapTuner()
        self._steps: deque[CapStep] = deque(maxlen=_STEPS_KEPT)
        self._ended: list[SpawnEnd] = []
        self._from_pool = 0
        self._queries: asyncio.Task[None] | None = None
        recorder.watch(Timing.SPAWN, self._spawn_succeeded)
        recorder.watch(Count.SPAWNS_FAILED, self._spawn_failed)
        recorder.watch(Count.SPAWNS_FROM_POOL, self._spare_taken)
        live_settings.subscribe(self._tuned)

    @property
    def steps(self) -> tuple[CapStep, ...]:
        """The last ones, oldest first."""
        return tuple(self._steps)

    async def end(self) -> None:
        if self._queries is not None:
            self._queries.cancel()
            await asyncio.gather(self._queries, return_exceptions=True)

    def _tuned(self, before: TunableValues, after: TunableValues) -> None:
        if (before.max_concurrent_spawns, before.auto) != (after.max_concurrent_spawns, after.auto):
            self._cap_tuner = CapTuner()
            self._ended.clear()
            self._permits.resize(after.max_concurrent_spawns)

    def _spawn_succeeded(self, seconds: float) -> None:
        self._note(SpawnEnd(at=self._recorder.clock(), seconds=seconds))

    def _spawn_failed(self, _number: float) -> None:
        self._note(SpawnEnd(at=self._recorder.clock(), seconds=None))

    def _spare_taken(self, number: float) -> None:
        self._from_pool += int(number)

    def _note(self, spawned: SpawnEnd) -> None:
        if not self._live_settings.current.auto:
            return
        self._ended.append(spawned)
        if self._queries is None or self._queries.done():
            self._queries = asyncio.create_task(self._look(), name="tune the spawn cap")

    async def _look(self) -> None:
        looks = await asyncio.gather(*(load_of(name, host) for name, host in self._hosts().items()))
        loads = [look for look in looks if isinstance(look, HostLoad)]
        if not loads:
            logger.info("the spawn cap stays as it is: %s", looks)
            return
        ended, from_pool, self._ended, self._from_pool = self._ended, self._from_pool, [], 0
        tightest = min(loads, key=lambda load: load.memory_available_bytes)
        step = self._cap_tuner.step(
            Sample(
                at=self._recorder.clock(),
                cap=self._permits.limit,
                waiting=self._permits.waiting,
                ended=ended,
                from_pool=from_pool,
                memory_total_bytes=tightest.memory_total_bytes,
                memory_available_bytes=tightest.memory_available_bytes,
            )
        )
        if step is not None and self._live_settings.current.auto:
            logger.info("the spawn cap goes from %d to %d: %s", step.before, step.after, step.reason)
            self._steps.append(step)
            self._permits.resize(step.after)


class CapTuner:
    """``step`` takes a sample whenever spawns have ended and returns the change to make, or None.

    It climbs: while spawns wait it raises the cap as long as that starts more instances a second, and goes back when it
    does not. It doubles the cap as long as that pays nearly in full, then goes on in small steps. Little free memory or
    many failures lower the cap at once. Busy cores alone are no reason: the starts per second show whether more at once
    helps.

    How many instances a cap starts in a second follows from how long a start takes under it. Only starts count that
    began under it, so starts that were under way when it changed do not blur the picture.
    """

    def __init__(self) -> None:
        self._cap = 0
        self._since = -math.inf
        self._durations: list[float] = []
        self._failed = 0
        self._earlier: tuple[int, float] | None = None
        self._careful = False
        self._held_until = 0.0
        self._lowered_at = -math.inf

    def step(self, now: Sample) -> CapStep | None:
        if now.cap != self._cap:
            self._begin(now.cap, now.at if self._cap else -math.inf)
        self._take(now.ended)
        lowered = self._lower(now)
        if lowered is not None:
            return lowered
        if now.waiting == 0 or now.from_pool:
            # Without demand fewer start at once than the cap allows, and a spare that is taken is no start.
            self._durations.clear()
            self._earlier = None
            return None
        if len(self._durations) < max(_FEWEST, now.cap):
            return None
        rate = now.cap / (sum(self._durations) / len(self._durations))
        self._durations.clear()
        self._failed = 0
        return self._climb(now, rate)

    def _begin(self, cap: int, since: float) -> None:
        self._cap, self._since, self._failed = cap, since, 0
        self._durations.clear()

    def _take(self, ended: Sequence[SpawnEnd]) -> None:
        for spawned in ended:
            if spawned.seconds is None:
                self._failed += 1
            elif spawned.at - spawned.seconds >= self._since:
                self._durations.append(max(spawned.seconds, _SHORTEST_S))

    def _lower(self, now: Sample) -> CapStep | None:
        cap = max(LOWEST, now.cap // 2)
        if cap == now.cap or now.at - self._lowered_at < _PAUSE_S:
            return None
        done = self._failed + len(self._durations)
        if now.spare_bytes < 0:
            reason = f"only {now.memory_available_bytes / 1e9:.1f} GB of memory are left"
        elif done >= _FEWEST and self._failed > _MANY_FAILURES * done:
            reason = f"{self._failed} of {done} spawns failed"
        else:
            return None
        self._lowered_at, self._held_until = now.at, now.at + HOLD_S
        return self._change(now, cap, reason)

    def _climb(self, now: Sample, rate: float) -> CapStep | None:
        earlier, self._earlier = self._earlier, (now.cap, rate)
        if earlier is not None and earlier[0] < now.cap:
            cap = self._fitting(now, rate, *earlier)
            if cap < now.cap:
                words = f"{now.cap} at once start {rate:.2f} instances a second, {earlier[0]} started {earlier[1]:.2f}"
                return self._change(now, cap, words)
        return self._rise(now, rate)

    def _fitting(self, now: Sample, rate: float, earlier_cap: int, earlier_rate: float) -> int:
        """The cap that the last step should have led to."""
        if rate < GAIN * earlier_rate:
            self._careful, self._held_until = True, now.at + HOLD_S
            return earlier_cap
        if not self._careful and rate / earlier_rate < FULL_GAIN * now.cap / earlier_cap:
            self._careful = True
            return round(earlier_cap * rate / earlier_rate)
        return now.cap

    def _rise(self, now: Sample, rate: float) -> CapStep | None:
        step = max(1, round(SMALL_STEP * now.cap)) if self._careful else now.cap
        cap = min(HIGHEST, now.cap + min(step, now.waiting))
        if now.at < self._held_until or cap == now.cap or now.spare_bytes < (cap - now.cap) * AGENT_BYTES:
            return None
        words = f"{now.waiting} spawns wait, {now.cap} at once start {rate:.2f} instances a second"
        return self._change(now, cap, f"{words}, and memory is free", keep_rate=True)

    def _change(self, now: Sample, cap: int, reason: str, *, keep_rate: bool = False) -> CapStep:
        self._begin(cap, now.at)
        if not keep_rate:
            self._earlier = None
        return CapStep(at=now.at, before=now.cap, after=cap, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnEnd:
    """One spawn that has ended, at this time."""

    at: float
    seconds: float | None
    """How long it took once it had begun; None: it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """``ended`` and ``from_pool`` (how many of those were taken ready from the pool): since the last sample. Memory is
    that of the host with the least."""

    at: float
    cap: int
    waiting: int
    ended: Sequence[SpawnEnd]
    from_pool: int = 0
    memory_total_bytes: int
    memory_available_bytes: int

    @property
    def spare_bytes(self) -> float:
        reserve = max(SHORT_OF_MEMORY * self.memory_total_bytes, LEAST_MEMORY_BYTES)
        return self.memory_available_bytes - reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class CapStep:
    """``at``: seconds since the epoch."""

    at: float
    before: int
    after: int
    reason: str
