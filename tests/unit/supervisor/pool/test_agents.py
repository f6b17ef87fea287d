"""Which spare agent is given to whom, and which are taken away when hosts are others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.errors import UnavailableError
from actors.status import Status
from actors.worktrees.model import Workspace
from supervisor.pool import agents as agents_module
from supervisor.pool import demand as demand_module
from supervisor.pool.agents import STUCK_S, UNUSED_S, AgentPool
from supervisor.pool.demand import AgentSpec, KindOfAgent, PoolOrders
from supervisor.spawning.admission import FairSemaphore
from supervisor.spawning.staff import Staff
from supervisor.store.memory import MemoryStore
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.pool.hosts import Hosts
from tests.unit.supervisor.stand_ins import READY, StandInInstance, record

RECIPE = AgentSpec(work_dir=Path("/project"), agent="demo")
OTHER = AgentSpec(work_dir=Path("/other"), agent="demo")
SECRET = AgentSpec(work_dir=Path("/project"), agent="demo", environment=(("KEY", "secret"),))


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (agents_module, demand_module):
        monkeypatch.setattr(module, "time", virtual_time.clock())


def orders(*recipes: AgentSpec, current: AgentSpec | None = None, **counts: int) -> PoolOrders:
    """As they are stored; a count by the last part of the recipe's directory."""
    return PoolOrders(
        kinds={each.key: KindOfAgent.of(each) for each in recipes},
        current=current.key if current else "",
        agents={each.key: counts[each.work_dir.name] for each in recipes if each.work_dir.name in counts},
    )


class Scene:
    """Spare agents on three hosts, with a maker that only takes down what it was asked for."""

    def __init__(self, size: int = 0) -> None:
        self.team = Team(MemoryStore())
        self.hosts = Hosts()
        self.deeds: list[str] = []
        self.stuck: set[str] = set()
        this: Any = self
        nothing: Any = None
        self.permits = FairSemaphore(8)
        staff = Staff(host=this, factory=nothing, permits=self.permits, actor_pool=nothing, memory=nothing)
        self.agents = AgentPool(self.team, staff, this, self.hosts, size)
        self._number = 0

    async def make(self, recipe: AgentSpec) -> None:
        place = await self.hosts.for_agent(recipe.agent)
        self.add(place.host, recipe)
        self.deeds.append(f"make on {place.host}")
        self.team.changes.announce()

    async def discard(self, spare: Member) -> None:
        self.deeds.append(f"discard {spare.record.instance_id}")
        await asyncio.sleep(1)
        if spare.record.instance_id in self.stuck:
            raise UnavailableError("the host does not answer")
        self.team.registry.remove(spare.record.instance_id)

    def add(self, host: str, recipe: AgentSpec = RECIPE) -> Member:
        self._number += 1
        name, workspace = f"spare_{self._number}", Workspace(mode="isolated", directory=Path("/w"))
        now = asyncio.get_running_loop().time()
        made = {
            "instance_id": name,
            "host": host,
            "recipe": recipe.key,
            "workspace": workspace,
            "stage": InstanceStage.SPARE,
        }
        member = self.team.registry.restore(record(self._number, created_at=now, **made), now=now)
        member.snapshot = replace(READY, since=now)
        instance: Any = StandInInstance()
        self.team.members.follow(name, instance, "first", self)  # type: ignore[arg-type]
        return member

    async def is_spare(self, workspace: object) -> bool:
        return True

    async def on_report(self, *_: object) -> None:
        """Nothing is reported."""

    async def on_unreachable(self, *_: object) -> None:
        """Nobody is silent."""

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        keeping = asyncio.create_task(self.agents.keep())
        try:
            yield
        finally:
            keeping.cancel()

    def names(self) -> list[str]:
        """Of those that are ready."""
        return [spare.record.instance_id for spare in self.agents.ready()]


def played(test: Callable[[Scene], Awaitable[None]], size: int = 0) -> None:
    async def play() -> None:
        scene = Scene(size)
        try:
            await test(scene)
        finally:
            await scene.agents.end()
            await scene.team.members.leave_all()

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
        scene.team.changes.announce()
        await asyncio.sleep(0.1)
        assert scene.deeds == ["discard spare_1"]
        scene.hosts.there.remove("b")
        scene.team.changes.announce()
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
        scene.team.changes.announce()
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
        assert "spare_1" not in scene.team.registry
        keeping.cancel()

    played(test)


def test_a_program_that_is_newer_on_one_host_makes_only_the_spares_of_that_host_old() -> None:
    async def test(scene: Scene) -> None:
        for host in ("a", "b"):
            scene.team.registry.change(scene.add(host).record.instance_id, program="old")
        scene.hosts.programs.update(a="old", b="new")
        keeping = asyncio.create_task(scene.agents.keep())
        await asyncio.sleep(1)
        assert scene.deeds == ["discard spare_2"]
        keeping.cancel()

    played(test)


def test_a_spare_is_kept_for_days_as_long_as_it_is_good() -> None:
    async def test(scene: Scene) -> None:
        scene.agents.asked_for(RECIPE)
        async with scene.kept():
            await asyncio.sleep(3 * 86_400)
        assert scene.names() == ["spare_1", "spare_2"]
        assert len(scene.deeds) == 2

    played(test, size=2)


def test_one_that_lives_but_is_not_at_its_prompt_for_long_is_replaced_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(scene: Scene) -> None:
        scene.agents.asked_for(RECIPE)
        async with scene.kept():
            await asyncio.sleep(1)
            spare = scene.team.registry.get("spare_1")
            now = asyncio.get_running_loop().time()
            spare.snapshot = replace(spare.snapshot, status=Status.RATE_LIMITED, since=now, reason="a limit")
            await asyncio.sleep(STUCK_S - 30)
            assert scene.names() == []
            assert len(scene.deeds) == 1
            await asyncio.sleep(60)
            assert scene.names() == ["spare_2"]

    played(test, size=1)
    assert "the spare agent spare_1 is discarded: a limit" in caplog.text


def test_spares_of_a_kind_that_nobody_wants_any_more_stay_for_half_an_hour() -> None:
    async def test(scene: Scene) -> None:
        scene.agents.asked_for(RECIPE)
        async with scene.kept():
            await asyncio.sleep(1)
            scene.agents.asked_for(OTHER)
            await asyncio.sleep(UNUSED_S - 60)
            assert scene.names() == ["spare_1", "spare_2"]
            await asyncio.sleep(120)
            assert scene.names() == ["spare_2"]

    played(test, size=1)


def test_what_an_earlier_supervisor_was_asked_for_is_kept_whatever_is_tuned() -> None:
    async def test(scene: Scene) -> None:
        for recipe in (RECIPE, RECIPE, SECRET, OTHER):
            scene.add("a", recipe)
        scene.agents.restore(orders(RECIPE, OTHER, current=OTHER, project=2))
        async with scene.kept():
            await asyncio.sleep(1)
            scene.agents.resize(1)
            await asyncio.sleep(1)
            assert scene.deeds == ["discard spare_3"]
            assert scene.agents.take(RECIPE, None) is not None
            assert scene.agents.demand.orders == {RECIPE.key: 1}
            scene.agents.resize(0)
            await asyncio.sleep(1)
            assert scene.names() == ["spare_2"]

    played(test)


def test_what_an_earlier_supervisor_had_not_made_yet_is_made() -> None:
    async def test(scene: Scene) -> None:
        scene.agents.restore(orders(RECIPE, project=3))
        async with scene.kept():
            await asyncio.sleep(1)
        assert len(scene.agents.ready(RECIPE.key)) == 3

    played(test)


def test_what_needs_an_environment_that_is_not_stored_stays_and_says_what_it_waits_for() -> None:
    async def test(scene: Scene) -> None:
        scene.add("a", SECRET)
        scene.agents.restore(orders(SECRET, project=2))
        async with scene.kept():
            scene.agents.resize(0)
            await asyncio.sleep(1)
            assert scene.deeds == []
            assert scene.agents.waits_for == "a spawn of the same kind: the values of its environment are not stored"
            scene.agents.asked_for(SECRET)
            scene.team.changes.announce()
            await asyncio.sleep(1)
            assert len(scene.agents.ready(SECRET.key)) == 2
            assert scene.agents.waits_for == ""

    played(test)


def test_the_spares_of_the_settings_wait_for_the_first_instance_and_say_so() -> None:
    async def test(scene: Scene) -> None:
        assert (scene.agents.size, scene.agents.waits_for[:9]) == (1, "the first")
        scene.agents.restore(orders(RECIPE, current=RECIPE))
        async with scene.kept():
            await asyncio.sleep(60)
            assert scene.deeds == []
            assert scene.agents.waits_for.startswith("the first instance to be spawned or resumed")
            instance: Any = StandInInstance()
            scene.team.registry.restore(record(7), now=1.0)
            scene.team.members.follow("spec_0_0_7", instance, "first", scene)  # type: ignore[arg-type]
            await asyncio.sleep(60)
            assert len(scene.agents.ready()) == 1
            assert scene.agents.waits_for == ""

    played(test, size=1)


def test_why_fewer_are_there_than_wanted_is_told_in_words() -> None:
    async def test(scene: Scene) -> None:
        scene.hosts.drained.update(scene.hosts.there)
        scene.agents.order(RECIPE, 2)
        async with scene.kept(), scene.permits.hold("lead"):
            await asyncio.sleep(1)
            assert scene.agents.waits_for == "spawns of callers, which come first: 1 run, 0 wait"
        async with scene.kept():
            await asyncio.sleep(1)
        assert scene.agents.waits_for == ""
        assert scene.agents.demand.errors[RECIPE.key] == ["no host has room"] * 2

    played(test)
