"""What of earlier spares is cleared away, and how often a host is looked over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from supervisor.pool.pool import PAUSE_S
from supervisor.pool.worktrees import StaleSpareCleaner
from supervisor.team.team import Team
from tests.fakes.hosts import FakeHost
from tests.fakes.pools import FakePlacement
from tests.fakes.store import MemoryStore
from tests.fakes.team import record


class Scene:
    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.hosts = FakePlacement()

    def __getitem__(self, host: str) -> FakeHost:
        return self.hosts.hosts[host]

    @property
    def looks(self) -> dict[str, int]:
        return {name: machine.asked["orphans"] for name, machine in self.hosts.hosts.items()}


async def played(test: Callable[[Scene], Awaitable[None]], **before: Callable[[FakeHost], None]) -> None:
    """``before``: what is so on a host from the start."""

    scene = Scene()
    for host, prepare in before.items():
        prepare(scene[host])
    keeping = asyncio.create_task(StaleSpareCleaner(scene.team, scene.hosts).keep())
    await test(scene)
    keeping.cancel()


async def test_what_a_host_has_kept_of_spares_goes_when_it_is_back_and_what_an_instance_had_stays() -> None:
    async def test(scene: Scene) -> None:
        scene.hosts.there.remove("b")
        scene.hosts.changes.announce()
        await asyncio.sleep(PAUSE_S + 1)
        scene["b"].worktrees = ["spare_7", "spare_8", "exec_1"]
        scene["b"].branches["spare_8"] = "phalanx/spec_0_0_1"
        scene["b"].directories = ["exec_1", "spare_3", "spare_7"]
        scene["b"].log.calls.clear()
        scene.team.registry.restore(record(1, spare="spare_3"), now=1.0)
        scene.hosts.there.append("b")
        await asyncio.sleep(PAUSE_S * 4)
        assert scene["b"].log.calls == ["collect spare_7", "forget spare_7"]
        assert scene["b"].directories == ["exec_1", "spare_3"]

    await played(test)


def silent(machine: FakeHost) -> None:
    machine.silent = True


async def test_a_host_that_does_not_answer_is_looked_over_when_it_does_and_only_that_host() -> None:
    async def test(scene: Scene) -> None:
        scene["b"].worktrees = ["spare_7"]
        await asyncio.sleep(PAUSE_S * 2 + 1)
        scene["b"].silent = False
        await asyncio.sleep(PAUSE_S * 8)
        assert scene["b"].log.calls == ["collect spare_7"]
        assert (scene.looks["a"], scene.looks["c"]) == (1, 1)

    await played(test, b=silent)


def in_use(machine: FakeHost) -> None:
    machine.in_use = True
    machine.worktrees = ["spare_7"]
    machine.directories = ["spare_6", "spare_7"]


async def test_what_cannot_go_is_tried_ever_more_seldom_and_keeps_only_its_own_directory() -> None:
    async def test(scene: Scene) -> None:
        await asyncio.sleep(3600)
        assert scene["a"].directories == ["spare_7"]
        assert 5 < scene.looks["a"] < 12
        assert (scene.looks["b"], scene.looks["c"]) == (1, 1)
        scene["a"].in_use = False
        await asyncio.sleep(3600)
        assert scene["a"].worktrees == []
        assert scene["a"].directories == []

    await played(test, a=in_use)
