"""What an order of the pool comes to: what is asked for, what is left alone, what outlives the supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from actors.worktrees.model import Workspace
from supervisor.api.requests import Role, SpawnRequest
from supervisor.pool import agents as agents_module
from supervisor.pool import demand as demand_module
from supervisor.pool.actors import ActorPool
from supervisor.pool.agents import AgentPool
from supervisor.pool.demand import PAUSE_S, AgentSpec, OrderBook
from supervisor.pool.pool import OrderProgress, Pool, SparePools
from supervisor.pool.worktrees import WorktreePool
from supervisor.spawning.admission import FairSemaphore
from supervisor.spawning.staff import Staff
from supervisor.store.memory import MemoryStore
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.pool.hosts import Hosts
from tests.unit.supervisor.stand_ins import READY, StandInInstance, TroubledStore, record

RECIPE = AgentSpec(work_dir=Path("/project"), agent="demo")
REQUEST = SpawnRequest(role=Role.SPECIALIST, work_dir=str(RECIPE.work_dir), context="hello")
MAKING_S = 2.0


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (agents_module, demand_module):
        monkeypatch.setattr(module, "time", virtual_time.clock())


class Scene:
    """A pool whose maker, host and factory are this; a spare agent takes ``MAKING_S`` longer than the one before."""

    def __init__(self, store: MemoryStore, boot: str = "this boot", size: int = 0) -> None:
        self.team = Team(store)
        self.permits = FairSemaphore(8)
        self.told: list[tuple[int, str]] = []
        self._number = 0
        this: Any = self
        hosts = Hosts()
        actor_pool = ActorPool(this, self.permits, 0)
        staff = Staff(host=this, factory=this, permits=self.permits, actor_pool=actor_pool, memory=this)
        agents, worktrees = AgentPool(self.team, staff, this, hosts, size), WorktreePool(self.team, staff, hosts, 0)
        kept = SparePools(placement=hosts, agents=agents, worktrees=worktrees)
        self.pool = Pool(self.team, actor_pool, kept, OrderBook(store, boot), "demo")

    async def make(self, recipe: AgentSpec) -> None:
        self._number += 1
        name = f"spare_{self._number}"
        await asyncio.sleep(MAKING_S * self._number)
        workspace = Workspace(mode="isolated", directory=Path("/w"))
        made = {
            "instance_id": name,
            "host": "a",
            "recipe": recipe.key,
            "workspace": workspace,
            "stage": InstanceStage.SPARE,
        }
        member = self.team.registry.restore(record(int(name[6:]), **made), now=asyncio.get_running_loop().time())
        member.snapshot = READY
        instance: Any = StandInInstance()
        self.team.members.follow(name, instance, "first", self)  # type: ignore[arg-type]
        self.team.changes.announce()

    async def discard(self, spare: Member) -> None:
        self.team.registry.remove(spare.record.instance_id)
        self.team.changes.announce()

    async def is_spare(self, workspace: object) -> bool:
        return True

    async def create_spare(self, name: str, work_dir: Path) -> Workspace:
        return Workspace(mode="isolated", directory=Path("/w") / name, worktree=Path("/w") / name)

    async def undo_workspace(self, spare: Workspace) -> None:
        """It is gone."""

    def fill(
        self, instances: int | None, worktrees: int | None = None, timeout_s: float = 300.0
    ) -> Awaitable[OrderProgress]:
        return self.pool.fill(RECIPE, instances, worktrees, lambda *told: self.told.append(told), timeout_s)

    def take(self) -> Member | None:
        """As a spawn does, which has news to tell as well."""
        taken = self.pool.take_agent(REQUEST, RECIPE.work_dir, None)
        self.team.changes.announce()
        return taken

    def ready(self) -> tuple[int, int]:
        figures = self.pool.figures
        return figures.instances.ready, figures.worktrees.ready


def played(*tests: Callable[[Scene], Awaitable[None]], boots: tuple[str, ...] = ("b", "b"), size: int = 0) -> None:
    """One life of the supervisor after the other, each with the store of the one before."""
    store = MemoryStore()

    async def play(test: Callable[[Scene], Awaitable[None]], boot: str) -> None:
        scene = Scene(store, boot, size)
        await scene.pool.begin()
        try:
            await test(scene)
        finally:
            await scene.pool.end()
            await scene.team.members.leave_all()

    for test, boot in zip(tests, boots, strict=False):
        virtual_time.run(lambda test=test, boot=boot: play(test, boot))  # type: ignore[misc]


def test_what_is_not_named_stays_as_it_is() -> None:
    async def test(scene: Scene) -> None:
        await scene.fill(2, 3)
        assert scene.ready() == (2, 3)
        assert (await scene.fill(None, 5)).errors == ()
        assert scene.ready() == (2, 5)
        await scene.fill(1)
        assert scene.ready() == (1, 5)
        await scene.fill(None)
        assert scene.ready() == (1, 5)
        await scene.fill(0, 0)
        assert scene.ready() == (0, 0)

    played(test)


def test_an_order_from_which_spawns_take_ends_when_the_others_are_there() -> None:
    async def test(scene: Scene) -> None:
        filling = asyncio.ensure_future(scene.fill(3, 1))
        await scene.team.changes.until(lambda: scene.ready() == (1, 1), None)
        assert scene.pool.take_worktree(RECIPE.work_dir, "a") is not None
        taken = scene.take()
        assert taken is not None
        started = asyncio.get_running_loop().time()
        assert await filling == OrderProgress(instances=2, worktrees=0, taken=2)
        assert asyncio.get_running_loop().time() - started < 3 * MAKING_S

    played(test)


def test_an_order_of_which_some_were_given_up_for_an_instance_ends_and_says_so() -> None:
    async def test(scene: Scene) -> None:
        filling = asyncio.ensure_future(scene.fill(2))
        await scene.team.changes.until(lambda: scene.ready() == (1, 0), None)
        assert scene.pool.give_back("a")
        done = await filling
        assert done.instances == 1
        assert done.errors == ("One was given up, because an instance needed its room.",)

    played(test)


def test_while_spawns_of_callers_come_first_an_order_says_so_and_ends_in_words_when_it_takes_too_long() -> None:
    async def test(scene: Scene) -> None:
        words = "spawns of callers, which come first: 1 run, 0 wait"
        async with scene.permits.hold("lead"):
            done = await scene.fill(2, timeout_s=60.0)
            assert scene.told[-1] == (0, f"waits for {words}")
            assert done.errors == (f"2 are not ready after 60 s: they wait for {words}.",)
        scene.team.changes.announce()
        await asyncio.sleep(10)
        assert scene.ready() == (2, 0), "it is ordered all the same"

    played(test)


def test_an_order_outlives_the_supervisor_less_what_was_taken() -> None:
    async def first(scene: Scene) -> None:
        await scene.fill(3, 2)
        scene.take()
        await asyncio.sleep(1)

    async def second(scene: Scene) -> None:
        await asyncio.sleep(60)
        assert scene.ready() == (2, 2)

    played(first, second)


def test_an_order_ends_with_the_team_and_with_the_machine() -> None:
    async def first(scene: Scene) -> None:
        await scene.fill(3, 2)
        await scene.pool.give_up()

    async def nothing(scene: Scene) -> None:
        await asyncio.sleep(60)
        assert scene.ready() == (0, 0)

    async def again(scene: Scene) -> None:
        await scene.fill(3, 2)

    played(first, nothing, again, nothing, boots=("b", "b", "b", "c"))


def test_after_the_end_of_the_team_the_settings_spares_are_of_the_kind_of_before_as_soon_as_it_is_used() -> None:
    async def first(scene: Scene) -> None:
        assert scene.take() is None
        scene.pool.works(REQUEST, RECIPE.work_dir, Workspace(mode="isolated", directory=Path("/w")))
        await asyncio.sleep(10)
        assert scene.ready() == (2, 0)
        await scene.pool.give_up()

    async def second(scene: Scene) -> None:
        await asyncio.sleep(60)
        assert scene.ready() == (0, 0)
        assert scene.pool.figures.instances.wanted == 2
        assert "resumed" in scene.pool.figures.instances.waits_for
        instance: Any = StandInInstance()
        scene.team.registry.restore(record(7), now=1.0)
        scene.team.members.follow("spec_0_0_7", instance, "first", scene)  # type: ignore[arg-type]
        await asyncio.sleep(60)
        assert scene.ready() == (2, 0)

    played(first, second, size=2)


def test_what_cannot_be_stored_now_is_stored_later() -> None:
    async def play() -> None:
        store = TroubledStore()
        scene = Scene(store)
        await scene.pool.begin()
        await scene.fill(2)
        store.fails()
        scene.take()
        scene.team.changes.announce()
        await asyncio.sleep(PAUSE_S)
        store.error = None
        await asyncio.sleep(PAUSE_S)
        assert (await OrderBook(store, "this boot").load(scene.team.unreadable)).agents == {RECIPE.key: 1}
        await scene.pool.end()
        await scene.team.members.leave_all()

    virtual_time.run(play)
