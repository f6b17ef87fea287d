"""Lets the autopilot have the spawn cap while ``auto`` is on.

Woken by each spawn that ends, so it costs nothing while none do. It reads how the hosts are, asks the autopilot, and
remembers what was done and why.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from actors.host.load import HostLoad
from supervisor.performance.meters import Meters
from supervisor.performance.monitor import Hosts, load_of
from supervisor.performance.names import Count, Timing
from supervisor.permits import Permits
from supervisor.settings.live import Tunables, Tuning
from supervisor.tuning.autopilot import Autopilot, Sample, Spawned, Step

logger = logging.getLogger(__name__)

_STEPS_KEPT = 20


class SelfTuning:
    """All in the supervisor's event loop."""

    def __init__(self, tunables: Tunables, permits: Permits, meters: Meters, hosts: Hosts) -> None:
        self._tunables = tunables
        self._permits = permits
        self._meters = meters
        self._hosts = hosts
        self._autopilot = Autopilot()
        self._steps: deque[Step] = deque(maxlen=_STEPS_KEPT)
        self._ended: list[Spawned] = []
        self._from_pool = 0
        self._looking: asyncio.Task[None] | None = None
        meters.watch(Timing.SPAWN, self._spawn_succeeded)
        meters.watch(Count.SPAWNS_FAILED, self._spawn_failed)
        meters.watch(Count.SPAWNS_FROM_POOL, self._spare_taken)
        tunables.subscribe(self._tuned)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The last ones, oldest first."""
        return tuple(self._steps)

    async def end(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _tuned(self, before: Tuning, after: Tuning) -> None:
        if (before.max_concurrent_spawns, before.auto) != (after.max_concurrent_spawns, after.auto):
            self._autopilot = Autopilot()
            self._ended.clear()
            self._permits.resize(after.max_concurrent_spawns)

    def _spawn_succeeded(self, seconds: float) -> None:
        self._note(Spawned(at=self._meters.clock(), seconds=seconds))

    def _spawn_failed(self, _number: float) -> None:
        self._note(Spawned(at=self._meters.clock(), seconds=None))

    def _spare_taken(self, number: float) -> None:
        self._from_pool += int(number)

    def _note(self, spawned: Spawned) -> None:
        if not self._tunables.current.auto:
            return
        self._ended.append(spawned)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="tune the spawn cap")

    async def _look(self) -> None:
        looks = await asyncio.gather(*(load_of(name, host) for name, host in self._hosts().items()))
        loads = [look for look in looks if isinstance(look, HostLoad)]
        if not loads:
            logger.info("the spawn cap stays as it is: %s", looks)
            return
        ended, from_pool, self._ended, self._from_pool = self._ended, self._from_pool, [], 0
        tightest = min(loads, key=lambda load: load.memory_available_bytes)
        step = self._autopilot.step(
            Sample(
                at=self._meters.clock(),
                cap=self._permits.limit,
                waiting=self._permits.waiting,
                ended=ended,
                from_pool=from_pool,
                memory_total_bytes=tightest.memory_total_bytes,
                memory_available_bytes=tightest.memory_available_bytes,
            )
        )
        if step is not None and self._tunables.current.auto:
            logger.info("the spawn cap goes from %d to %d: %s", step.before, step.after, step.reason)
            self._steps.append(step)
            self._permits.resize(step.after)
