from __future__ import annotations

import asyncio
from dataclasses import replace

from actors.host.host import Host
from supervisor.metrics.autotune import CapTuningLoop
from supervisor.metrics.metrics import MetricsRecorder, Timing
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import FairSemaphore
from tests.fakes.clock import turns
from tests.fakes.hosts import FakeHost, host_load
from tests.fakes.metrics import GB


class Scene:
    def __init__(self, *, auto: bool) -> None:
        self.now = 1000.0
        self.machine = FakeHost()
        self.permits = FairSemaphore(5)
        self.recorder = MetricsRecorder(lambda: self.now)
        self.live_settings = LiveSettings(replace(TunableValues.of(Settings()), auto=auto))
        self.tuning = CapTuningLoop(self.live_settings, self.permits, self.recorder, self._hosts)
        self.holders: list[asyncio.Task[None]] = []

    def _hosts(self) -> dict[str, Host]:
        return {"": self.machine}

    async def demand(self, count: int) -> None:
        async def want() -> None:
            async with self.permits.hold():
                await asyncio.Event().wait()

        self.holders = [asyncio.create_task(want()) for _ in range(count)]
        await turns()

    async def starts(self, spawns: int) -> None:
        for _ in range(spawns):
            self.now += 0.2
            self.recorder.observe(Timing.SPAWN, 1.0)
            await turns()

    async def end(self) -> None:
        for holder in self.holders:
            holder.cancel()
        await asyncio.gather(*self.holders, return_exceptions=True)
        await self.tuning.end()


async def test_spawns_that_end_while_others_wait_raise_the_cap_and_the_step_is_told_with_its_reason() -> None:
    scene = Scene(auto=True)
    await scene.demand(30)
    await scene.starts(6)
    (step,) = scene.tuning.steps
    assert (step.before, step.after, scene.permits.limit, scene.permits.held) == (5, 10, 10, 10)
    assert "25 spawns wait" in step.reason
    await scene.end()


async def test_without_auto_nobody_is_asked_and_nothing_changes() -> None:
    scene = Scene(auto=False)
    await scene.demand(30)
    await scene.starts(20)
    assert (scene.machine.asked["load"], scene.permits.limit, scene.tuning.steps) == (0, 5, ())
    await scene.end()


async def test_little_memory_lowers_the_cap() -> None:
    scene = Scene(auto=True)
    scene.machine.load_now = host_load(memory_available_bytes=GB)
    await scene.starts(2)
    assert scene.permits.limit == 2
    await scene.end()


async def test_a_host_that_does_not_answer_leaves_the_cap_as_it_is() -> None:
    scene = Scene(auto=True)
    scene.machine.silent = True
    await scene.demand(30)
    await scene.starts(20)
    assert scene.permits.limit == 5
    await scene.end()
