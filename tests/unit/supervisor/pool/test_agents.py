"""Which spare agent is given to whom, and which are taken away when hosts are others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from actors.errors import UnavailableError
from actors.workspace.values import Workspace
from supervisor.permits import Permits
from supervisor.pool.agents import SpareAgents
from supervisor.pool.recipe import Recipe
from supervisor.spawning.staff import Staff
from supervisor.store.memory import MemoryStore
from supervisor.team.registry import Member, Stage
from supervisor.team.roll import Roll
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.pool.hosts import Hosts
from tests.unit.supervisor.stand_ins import READY, StandInInstance, record

RECIPE = Recipe(work_dir=Path("/project"), agent="demo")


class Scene:
    """Spare agents on three hosts, with a maker that only takes down what it was asked for."""

    def __init__(self) -> None:
        self.roll = Roll(MemoryStore())
        self.hosts = Hosts()
        self.deeds: list[str] = []
        self.stuck: set[str] = set()
        this: Any = self
        nothing: Any = None
        staff = Staff(host=this, factory=nothing, permits=Permits(8), stock=nothing, room=nothing)
        self.agents = SpareAgents(self.roll, staff, this, self.hosts, 0)
        self._number = 0

    async def make(self, recipe: Recipe) -> None:
        seat = await self.hosts.for_agent(recipe.agent)
        self.add(seat.host, recipe)
        self.deeds.append(f"make on {seat.host}")
        self.roll.news.announce()

    async def discard(self, spare: Member) -> None:
        self.deeds.append(f"discard {spare.record.instance_id}")
        await asyncio.sleep(1)
        if spare.record.instance_id in self.stuck:
            raise UnavailableError("the host does not answer")
        self.roll.registry.remove(spare.record.instance_id)

    def add(self, host: str, recipe: Recipe = RECIPE) -> Member:
        self._number += 1
        name, workspace = f"spare_{self._number}", Workspace(mode="isolated", directory=Path("/w"))
        made = {"instance_id": name, "host": host, "recipe": recipe.key, "workspace": workspace, "stage": Stage.SPARE}
        member = self.roll.registry.restore(record(self._number, created_at=time.time(), **made), now=1.0)
        member.snapshot = READY
        instance: Any = StandInInstance()
        self.roll.members.follow(name, instance, "first", self)  # type: ignore[arg-type]
        return member

    async def is_spare(self, workspace: object) -> bool:
        return True

    async def on_report(self, *_: object) -> None:
        """Nothing is reported."""

    async def on_silence(self, *_: object) -> None:
        """Nobody is silent."""


def played(test: Callable[[Scene], Awaitable[None]]) -> None:
    async def play() -> None:
        scene = Scene()
        try:
            await test(scene)
        finally:
            await scene.agents.end()
            await scene.roll.members.leave_all()

    virtual_time.run(play)


def taken(scene: Scene, *hosts: str) -> str:
    spare = scene.agents.take(RECIPE, hosts or None)
    return spare.record.host if spare is not None else ""


def test_the_host_that_is_wanted_most_comes_first_and_one_that_is_not_allowed_never() -> None:
    async def test(scene: Scene) -> None:
        for host in ("a", "b", "c"):
            scene.add(host)
        assert taken(scene, "b", "a") == "b"
        assert taken(scene, "b", "a") == "a"
        assert taken(scene, "b", "a") == ""
        assert taken(scene) == "c"

    played(test)


def test_nobody_gets_a_spare_of_a_host_that_is_drained_or_lost_and_it_goes_at_once() -> None:
    async def test(scene: Scene) -> None:
        for host in ("a", "b"):
            scene.add(host)
        keeping = asyncio.create_task(scene.agents.keep())
        await asyncio.sleep(1)
        scene.hosts.drained.add("a")
        assert scene.agents.misplaced
        assert taken(scene, "a") == ""
        scene.roll.news.announce()
        await asyncio.sleep(0.1)
        assert scene.deeds == ["discard spare_1"]
        scene.hosts.there.remove("b")
        scene.roll.news.announce()
        await asyncio.sleep(2)
        assert scene.deeds == ["discard spare_1", "discard spare_2"]
        assert not scene.agents.misplaced
        keeping.cancel()

    played(test)


def test_what_was_ordered_is_made_anew_elsewhere_when_its_host_is_lost() -> None:
    async def test(scene: Scene) -> None:
        scene.agents.order(RECIPE, 3)
        keeping = asyncio.create_task(scene.agents.keep())
        await asyncio.sleep(1)
        assert sorted(scene.deeds) == ["make on a", "make on b", "make on c"]
        scene.deeds.clear()
        scene.hosts.there.remove("c")
        scene.roll.news.announce()
        await asyncio.sleep(3)
        assert len(scene.agents.ready()) == 3
        assert {spare.record.host for spare in scene.agents.ready()} == {"a", "b"}
        keeping.cancel()

    played(test)


def test_room_is_made_on_the_host_that_lacks_it_by_one_spare_at_a_time() -> None:
    async def test(scene: Scene) -> None:
        for host in ("a", "b", "b", "a"):
            scene.add(host)
        assert not scene.agents.give_back("c")
        assert scene.agents.give_back("b")
        assert scene.agents.give_back("b")
        await asyncio.sleep(0.1)
        assert scene.deeds == ["discard spare_2"]
        await asyncio.sleep(2)
        assert scene.agents.give_back("b")
        assert scene.agents.give_back("")
        assert scene.agents.give_back("")
        await asyncio.sleep(0.1)
        assert scene.deeds == ["discard spare_2", "discard spare_3", "discard spare_1"]
        await asyncio.sleep(2)
        assert scene.agents.give_back("")
        await asyncio.sleep(0.1)
        assert scene.deeds[-1] == "discard spare_4"

    played(test)


def test_one_that_could_not_be_taken_away_whole_is_tried_again() -> None:
    async def test(scene: Scene) -> None:
        scene.add("a")
        scene.stuck.add("spare_1")
        keeping = asyncio.create_task(scene.agents.keep())
        scene.hosts.drained.add("a")
        await asyncio.sleep(1)
        scene.stuck.clear()
        await asyncio.sleep(60)
        assert scene.deeds[-1] == "discard spare_1"
        assert "spare_1" not in scene.roll.registry
        keeping.cancel()

    played(test)


def test_a_program_that_is_newer_on_one_host_makes_only_the_spares_of_that_host_old() -> None:
    async def test(scene: Scene) -> None:
        for host in ("a", "b"):
            scene.roll.registry.change(scene.add(host).record.instance_id, program="old")
        scene.hosts.programs.update(a="old", b="new")
        keeping = asyncio.create_task(scene.agents.keep())
        await asyncio.sleep(1)
        assert scene.deeds == ["discard spare_2"]
        keeping.cancel()

    played(test)
