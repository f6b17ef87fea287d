"""What of earlier spares is cleared away, and how often a host is looked over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from supervisor.pool.placement import StaleSpareCleaner
from supervisor.pool.pool import PAUSE_S
from supervisor.team.team import Team
from tests.memory_store import MemoryStore
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.pool.hosts import Hosts, Machine
from tests.unit.supervisor.stand_ins import record


class Scene:
    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.hosts = Hosts()

    def __getitem__(self, host: str) -> Machine:
        return self.hosts.machines[host]

    @property
    def looks(self) -> dict[str, int]:
        return {name: machine.deeds.count("look") for name, machine in self.hosts.machines.items()}


def played(test: Callable[[Scene], Awaitable[None]], **before: Callable[[Machine], None]) -> None:
    """``before``: what is so on a host from the start."""

    async def play() -> None:
        scene = Scene()
        for host, prepare in before.items():
            prepare(scene[host])
        keeping = asyncio.create_task(StaleSpareCleaner(scene.team, scene.hosts).keep())
        await test(scene)
        keeping.cancel()

    virtual_time.run(play)


def test_what_a_host_has_kept_of_spares_goes_when_it_is_back_and_what_an_instance_had_stays() -> None:
    async def test(scene: Scene) -> None:
        scene.hosts.there.remove("b")
        scene.hosts.changes.announce()
        await asyncio.sleep(PAUSE_S + 1)
        scene["b"].left = [("spare_7", None), ("spare_8", "phalanx/spec_0_0_1"), ("exec_1", None)]
        scene["b"].directories = ["exec_1", "spare_3", "spare_7"]
        scene["b"].deeds.clear()
        scene.team.registry.restore(record(1, spare="spare_3"), now=1.0)
        scene.hosts.there.append("b")
        await asyncio.sleep(PAUSE_S * 4)
        assert scene["b"].deeds == ["look", "collect spare_7"]
        assert scene["b"].directories == ["exec_1", "spare_3"]

    played(test)


def silent(machine: Machine) -> None:
    machine.silent = True


def test_a_host_that_does_not_answer_is_looked_over_when_it_does_and_only_that_host() -> None:
    async def test(scene: Scene) -> None:
        scene["b"].left = [("spare_7", None)]
        await asyncio.sleep(PAUSE_S * 2 + 1)
        scene["b"].silent = False
        await asyncio.sleep(PAUSE_S * 8)
        assert scene["b"].deeds[-2:] == ["look", "collect spare_7"]
        assert (scene.looks["a"], scene.looks["c"]) == (1, 1)

    played(test, b=silent)


def in_use(machine: Machine) -> None:
    machine.in_use = True
    machine.left = [("spare_7", None)]
    machine.directories = ["spare_6", "spare_7"]


def test_what_cannot_go_is_tried_ever_more_seldom_and_keeps_only_its_own_directory() -> None:
    async def test(scene: Scene) -> None:
        await asyncio.sleep(3600)
        assert scene["a"].directories == ["spare_7"]
        assert 5 < scene.looks["a"] < 12
        assert (scene.looks["b"], scene.looks["c"]) == (1, 1)
        scene["a"].in_use = False
        await asyncio.sleep(3600)
        assert scene["a"].left == []
        assert scene["a"].directories == []

    played(test, a=in_use)
