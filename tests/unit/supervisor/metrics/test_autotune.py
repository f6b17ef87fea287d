"""The spawn cap that tunes itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from actors.host.host import Host
from supervisor.metrics.autotune import HIGHEST, HOLD_S, LOWEST, CapStep, CapTuner, CapTuningLoop, Sample, SpawnEnd
from supervisor.metrics.metrics import MetricsRecorder, Timing
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import FairSemaphore
from tests.fakes.clock import turns
from tests.fakes.hosts import FakeHost, host_load

GB = 1_000_000_000


class Team:
    """Spawns that wait, and a machine that starts ``rate(cap)`` of them a second."""

    def __init__(self, rate: Callable[[int], float], *, waiting: int = 50, cap: int = 5) -> None:
        self.rate = rate
        self.waiting = waiting
        self.cap = cap
        self.now = 1000.0
        self.free_bytes = 20 * GB
        self.cap_tuner = CapTuner()
        self.steps: list[CapStep] = []

    def spawn_ends(self, *, well: bool = True, from_pool: bool = False) -> None:
        self.now += 1 / self.rate(self.cap)
        seconds = self.cap / self.rate(self.cap)
        step = self.cap_tuner.step(
            Sample(
                at=self.now,
                cap=self.cap,
                waiting=self.waiting,
                ended=[SpawnEnd(at=self.now, seconds=seconds if well else None)],
                from_pool=int(from_pool),
                memory_total_bytes=24 * GB,
                memory_available_bytes=self.free_bytes,
            )
        )
        if step is not None:
            assert step.before == self.cap
            self.cap = step.after
            self.steps.append(step)

    def runs(self, spawns: int) -> None:
        for _ in range(spawns):
            self.spawn_ends()


def caps(team: Team) -> Iterator[int]:
    return (step.after for step in team.steps)


def test_the_cap_doubles_while_more_at_once_start_as_many_more_a_second() -> None:
    team = Team(rate=float)
    team.runs(100)
    assert list(caps(team))[:3] == [10, 20, 40]
    assert "5 at once start 5.00 instances a second" in team.steps[0].reason


def test_it_rises_in_small_steps_once_more_at_once_help_only_a_little() -> None:
    team = Team(rate=lambda cap: cap**0.5)
    team.runs(60)
    assert list(caps(team))[:4] == [10, 7, 9, 11]


def test_it_rises_no_further_than_there_are_spawns_that_wait() -> None:
    team = Team(rate=float, waiting=2)
    team.runs(6)
    assert list(caps(team)) == [7]


def test_it_goes_back_where_more_at_once_do_not_help_and_stays_there_for_a_while() -> None:
    team = Team(rate=lambda cap: min(cap, 12) / 2)
    team.runs(200)
    assert list(caps(team)) == [10, 20, 12, 15, 12]
    assert "15 at once start 6.00 instances a second, 12 started 6.00" in team.steps[-1].reason
    settled = len(team.steps)
    team.runs(int(HOLD_S * 6 * 0.5) - 40)
    assert len(team.steps) == settled


def test_after_the_while_it_tries_again() -> None:
    team = Team(rate=lambda cap: min(cap, 12) / 2)
    team.runs(200)
    settled = len(team.steps)
    team.runs(int(HOLD_S * 6) + 60)
    assert len(team.steps) > settled


def test_spares_that_are_taken_say_nothing_about_the_cap() -> None:
    team = Team(rate=lambda _: 100.0)
    for _ in range(30):
        team.spawn_ends(from_pool=True)
    assert team.steps == []
    team.rate = float
    team.runs(5)
    assert [step.after for step in team.steps] == [10]


def test_without_demand_it_stays_as_it_is() -> None:
    team = Team(rate=float, waiting=0)
    team.runs(100)
    assert team.steps == []


def test_little_memory_halves_it_at_once_and_keeps_it_from_rising() -> None:
    team = Team(rate=float, cap=8)
    team.free_bytes = 2 * GB
    team.runs(3)
    assert [(step.after, step.reason) for step in team.steps] == [(4, "only 2.0 GB of memory are left")]
    team.runs(100)
    assert team.cap == LOWEST


def test_it_does_not_rise_into_memory_that_is_not_there() -> None:
    team = Team(rate=float)
    team.free_bytes = int(2.5 * GB)
    team.runs(100)
    assert team.steps == []


def test_many_failures_halve_it() -> None:
    team = Team(rate=float, cap=8)
    for _ in range(4):
        team.spawn_ends(well=False)
    assert [step.after for step in team.steps] == [4]
    assert "spawns failed" in team.steps[0].reason


@given(
    st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 100), st.integers(0, 24 * GB), st.booleans()), max_size=200)
)
def test_whatever_happens_the_cap_stays_within_its_bounds_and_every_step_has_a_reason(
    events: list[tuple[float, int, int, bool]],
) -> None:
    team = Team(rate=lambda _: 1.0)
    for rate, waiting, free, well in events:
        team.rate, team.waiting, team.free_bytes = (lambda _, rate=rate: rate), waiting, free  # type: ignore[misc]
        team.spawn_ends(well=well)
    for step in team.steps:
        assert LOWEST <= step.after <= HIGHEST
        assert step.after != step.before
        assert step.reason


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
