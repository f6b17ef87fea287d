"""How many spares a team has and for what: what is asked for, what is left alone, what outlives the supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.errors import InvalidRequestError
from actors.worktrees.model import Workspace
from supervisor.api.requests import PrewarmRequest, Role, SpawnRequest
from supervisor.api.results import PrewarmResult
from supervisor.api.verbs import Caller
from supervisor.metrics.snapshot import SpareCount
from supervisor.pool.makers import AgentSpec, WorktreeMaker, spare_agent
from supervisor.pool.placement import StaleSpareCleaner
from supervisor.pool.pool import EVERY_S, Pool, Spare, SpareMaker
from supervisor.pool.service import DIRECTORIES, UNUSED_S, OrderBook, Pools
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import FairSemaphore
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.instances import READY, FakeInstance
from tests.fakes.pools import FakePlacement
from tests.fakes.store import MemoryStore
from tests.fakes.team import record

PROJECT = Path("/project")
MAKING_S = 2.0
ENDED = Workspace(mode="isolated", directory=Path("/w"))


def asked(work_dir: Path = PROJECT, **more: Any) -> SpawnRequest:
    return SpawnRequest(**{"role": Role.SPECIALIST, "work_dir": str(work_dir), "context": "hello", **more})


def spec(work_dir: Path = PROJECT, **more: Any) -> AgentSpec:
    return AgentSpec.of(asked(work_dir, **more), work_dir, "demo")


SECRET: Mapping[str, Any] = {"env": {"KEY": "secret"}}


class Scene(SpareMaker[str, Member]):
    """Pools whose agents this makes: one after the other, each taking ``MAKING_S`` longer than the one before."""

    what = "spare agent"

    def __init__(self, store: MemoryStore, boot: str = "this boot", size: int = 0) -> None:
        self.team = Team(store)
        self.permits = FairSemaphore(8)
        self.told: list[tuple[int, int, str]] = []
        self.specs: dict[str, AgentSpec] = {}
        self.settings = Settings(prewarm_instances=size)
        self.live = LiveSettings(TunableValues.of(self.settings))
        this: Any = self
        self.full: asyncio.Queue[list[str]] = asyncio.Queue()
        memory: Any = SimpleNamespace(full_hosts=self.full.get)
        hosts = FakePlacement()
        self.pools = Pools(
            self.team,
            self.permits,
            memory,
            hosts,
            self.live,
            OrderBook(store, boot),
            agents=this,
            worktrees=WorktreeMaker(this, self.team, hosts),
            cleaner=StaleSpareCleaner(self.team, hosts),
            work_dirs=this,
            default_agent="demo",
            timeout_s=20.0,
        )

    def new_name(self, key: str) -> str:
        return self.team.registry.next_spare()

    def check(self, spec: AgentSpec) -> None:
        """Every kind may be started."""

    def obstacle(self, key: str) -> str:
        return "" if self.specs[key].key == key else "a spawn of the same kind"

    async def make(self, name: str, key: str) -> Spare[str, Member]:
        number = int(name.removeprefix("spare_"))
        await asyncio.sleep(MAKING_S * number)
        made = record(number, instance_id=name, host="a", recipe=key, workspace=ENDED, stage=InstanceStage.SPARE)
        return spare_agent(self.add(made))

    async def end(self, spare: Spare[str, Member]) -> None:
        self.team.registry.remove(spare.name)

    def add(self, made: Any) -> Member:
        member = self.team.registry.restore(made, now=asyncio.get_running_loop().time())
        member.snapshot = READY
        return member

    async def create_spare(self, name: str, work_dir: Path) -> Workspace:
        return Workspace(mode="isolated", directory=Path("/w") / name, worktree=Path("/w") / name)

    async def undo_workspace(self, spare: Workspace) -> None:
        """It is gone."""

    async def on_report(self, *_: object) -> None:
        """Nothing is reported."""

    async def checked(self, work_dir: str) -> Path:
        return Path(work_dir)

    def fill(
        self, instances: int | None, worktrees: int | None = None, work_dir: Path = PROJECT, **more: Any
    ) -> Awaitable[PrewarmResult]:
        wanted = {"instances": instances, "worktrees": worktrees, "workDir": str(work_dir), **more}
        caller = Caller(sender="lead", progress=lambda *told: self.told.append(told))
        return self.pools.prewarm(PrewarmRequest.model_validate(wanted), caller)

    def take(self, **more: Any) -> Spare[str, Member] | None:
        return self.pools.take_agent(asked(**more), PROJECT, None)

    def starts_cold(self, work_dir: Path = PROJECT, **more: Any) -> None:
        self.pools.note_cold_start(asked(work_dir, **more), work_dir, ENDED)
        self.team.changes.announce()

    def runs(self) -> None:
        """An instance of an earlier supervisor is followed again."""
        instance: Any = FakeInstance()
        self.add(record(7, workspace=ENDED))
        self.team.links.follow("spec_0_0_7", instance, "first", self)  # type: ignore[arg-type]

    def tune(self, **changes: int) -> None:
        self.live.change(TunableValues.of(self.settings.model_copy(update=changes)))

    @property
    def instances(self) -> SpareCount:
        return self.pools.figures.instances

    def ready(self) -> tuple[int, int]:
        figures = self.pools.figures
        return figures.instances.ready, figures.worktrees.ready

    def names(self) -> list[str]:
        return [spare.name for spare in self.pools.agents.ready()]


@asynccontextmanager
async def running(store: MemoryStore | None = None, boot: str = "this boot", size: int = 0) -> AsyncIterator[Scene]:
    """The pools of one supervisor. ``store``: of the supervisor before. ``size``: of spare agents by the settings."""
    scene = Scene(store or MemoryStore(), boot, size)
    await scene.pools.begin()
    try:
        yield scene
    finally:
        await scene.pools.end()
        await scene.team.links.leave_all()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with running() as scene:
        yield scene


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def test_what_is_not_named_stays_as_it_is(scene: Scene) -> None:
    await scene.fill(2, 3)
    assert scene.ready() == (2, 3)
    assert (await scene.fill(None, True)).errors == []
    assert scene.ready() == (2, 5)
    await scene.fill(1)
    assert scene.ready() == (1, 5)
    await scene.fill(None)
    assert scene.ready() == (1, 5)
    await scene.fill(0, 0)
    assert scene.ready() == (0, 0)


@pytest.mark.parametrize(
    ("named", "worked_in", "caller_is_in", "found"),
    [
        ("/named", "/worked", "/caller", "/named"),
        ("", "/worked", "/caller", "/worked"),
        ("", "", "/caller", "/caller"),
        ("", "", "", None),
    ],
)
async def test_spares_are_for_the_directory_that_is_named_was_worked_in_last_or_the_caller_is_in(
    scene: Scene, named: str, worked_in: str, caller_is_in: str, found: str | None
) -> None:
    scene.add(record(8, workspace=ENDED, work_dir=Path("/refused"), stage=InstanceStage.STARTING))
    if worked_in:
        scene.add(record(7, workspace=ENDED, work_dir=Path(worked_in)))
    request = PrewarmRequest.model_validate({"instances": 0, "workDir": named or None})
    caller = Caller(sender="lead", directory=caller_is_in)
    if found is None:
        with pytest.raises(InvalidRequestError, match="give workDir"):
            await scene.pools.prewarm(request, caller)
    else:
        assert (await scene.pools.prewarm(request, caller)).work_dir == found


async def test_an_order_from_which_spawns_take_ends_when_the_others_are_there(scene: Scene) -> None:
    filling = asyncio.ensure_future(scene.fill(3, 1))
    await scene.team.changes.until(lambda: scene.ready() == (1, 1), None)
    assert scene.pools.worktrees.take(PROJECT, ["a"]) is not None
    assert scene.take() is not None
    started = asyncio.get_running_loop().time()
    done = await filling
    assert (done.success, done.instances, done.worktrees, done.taken) == (True, 2, 0, 2)
    assert asyncio.get_running_loop().time() - started < 3 * MAKING_S


async def test_an_order_of_which_some_were_given_up_for_an_instance_ends_and_says_so(scene: Scene) -> None:
    filling = asyncio.ensure_future(scene.fill(2))
    await scene.team.changes.until(lambda: scene.ready() == (1, 0), None)
    scene.full.put_nowait(["a"])
    done = await filling
    assert done.instances == 1
    assert done.errors == ["One was given up, because its room was needed."]


async def test_while_spawns_of_callers_come_first_an_order_says_so_and_ends_in_words_when_it_takes_too_long(
    scene: Scene,
) -> None:
    words = "spawns of callers, which come first: 1 run, 0 wait"
    async with scene.permits.hold("lead"):
        done = await scene.fill(2)
        assert scene.told[-1] == (0, 2, f"spare agents wait for {words}")
        assert done.errors == [f"2 are not ready after 60 s: they wait for {words}."]
    scene.team.changes.announce()
    await asyncio.sleep(10)
    assert scene.ready() == (2, 0), "it is ordered all the same"


async def test_an_order_outlives_the_supervisor_less_what_was_taken(store: MemoryStore) -> None:
    async with running(store) as scene:
        await scene.fill(3, 2)
        scene.take()
        await asyncio.sleep(1)
    async with running(store) as scene:
        await asyncio.sleep(60)
        assert scene.ready() == (2, 2)


async def test_an_order_ends_with_the_team_and_with_the_machine(store: MemoryStore) -> None:
    async with running(store) as scene:
        await scene.fill(3, 2)
        await scene.pools.give_up()
    async with running(store) as scene:
        await asyncio.sleep(60)
        assert scene.ready() == (0, 0)
    async with running(store) as scene:
        await scene.fill(3, 2)
    async with running(store, "next boot") as scene:
        await asyncio.sleep(60)
        assert scene.ready() == (0, 0)


async def test_the_spares_of_the_settings_are_of_the_kind_that_was_spawned_last_once_the_team_is_used(
    store: MemoryStore,
) -> None:
    async with running(store, size=2) as scene:
        assert (scene.instances.wanted, scene.instances.waits_for[:15]) == (2, "the first spawn")
        assert scene.take() is None
        scene.starts_cold(workspace_mode="shared")
        await asyncio.sleep(10)
        assert scene.ready() == (0, 0)
        scene.starts_cold()
        await asyncio.sleep(10)
        assert scene.ready() == (2, 0)
        await scene.pools.give_up()
    async with running(store, size=2) as scene:
        await asyncio.sleep(60)
        assert scene.ready() == (0, 0)
        assert scene.instances.wanted == 2
        assert scene.instances.waits_for.startswith("the first instance to be spawned or resumed")
        scene.runs()
        await asyncio.sleep(60)
        assert scene.ready() == (2, 0)
        assert scene.instances.waits_for == ""


async def test_spares_of_a_kind_that_nobody_wants_any_more_stay_for_half_an_hour() -> None:
    async with running(size=1) as scene:
        scene.starts_cold()
        await asyncio.sleep(10)
        scene.starts_cold(model="other")
        await asyncio.sleep(UNUSED_S - 2 * EVERY_S)
        assert scene.names() == ["spare_1", "spare_2"]
        await asyncio.sleep(4 * EVERY_S)
        assert scene.names() == ["spare_2"]


@pytest.mark.parametrize(
    "more", [{"context": "", "role": Role.EXECUTIVE}, {"prepare": {"setup": "make"}}, {"workspace_mode": "shared"}]
)
async def test_no_spare_is_kept_of_a_kind_that_a_spare_cannot_serve(more: Mapping[str, Any]) -> None:
    async with running(size=1) as scene:
        scene.starts_cold(**more)
        await asyncio.sleep(EVERY_S)
        assert (scene.names(), scene.take(**more)) == ([], None)
        scene.starts_cold()
        await asyncio.sleep(EVERY_S)
        assert (scene.names(), scene.take(**more)) == (["spare_1"], None)


async def test_of_the_kinds_before_only_the_last_one_keeps_its_spares() -> None:
    async with running(size=1) as scene:
        for model in ("first", "second", "third"):
            scene.starts_cold(model=model)
            await asyncio.sleep(EVERY_S)
        assert scene.names() == ["spare_2", "spare_3"]
        assert scene.take(model="second") is not None


async def test_what_was_ordered_is_kept_whatever_is_tuned_and_the_rest_goes_at_once() -> None:
    async with running(size=1) as scene:
        scene.starts_cold(model="other")
        await scene.fill(2)
        assert scene.names() == ["spare_1", "spare_2", "spare_3"]
        scene.tune(prewarm_instances=0)
        assert scene.names() == ["spare_2", "spare_3"]
        assert scene.take() is not None
        scene.tune(prewarm_instances=1)
        assert (scene.pools.agents.orders, scene.names()) == ({spec().key: 1}, ["spare_3"])


async def test_an_order_of_none_lets_go_what_was_ordered_and_leaves_the_spares_of_the_settings() -> None:
    async with running(size=1) as scene:
        scene.starts_cold()
        await scene.fill(3)
        assert scene.ready() == (3, 0)
        await scene.fill(0)
        assert scene.ready() == (1, 0)
        scene.tune(prewarm_instances=0)
        assert scene.ready() == (0, 0)


async def test_what_needs_an_environment_that_is_not_stored_stays_and_further_ones_wait_for_a_spawn_of_its_kind(
    store: MemoryStore,
) -> None:
    async with running(store) as scene:
        await scene.fill(1, **SECRET)
        asked_for_more = asyncio.ensure_future(scene.fill(2, **SECRET))
        await asyncio.sleep(1)
        asked_for_more.cancel()
        assert b"secret" not in b"".join((await store.load("")).values())
    async with running(store) as scene:
        key = spec(**SECRET).key
        scene.pools.agents.recognise([await scene.make("spare_9", key)])
        await asyncio.sleep(60)
        assert scene.ready() == (1, 0)
        assert scene.instances.waits_for == "a spawn of the same kind"
        assert scene.take(**SECRET) is not None
        scene.starts_cold(**SECRET)
        await asyncio.sleep(60)
        assert scene.ready() == (1, 0)
        assert scene.instances.waits_for == ""


async def test_worktrees_are_kept_for_the_directories_of_last_use_and_where_they_are_ordered(scene: Scene) -> None:
    ordered = [PROJECT / str(number) for number in range(DIRECTORIES + 2)]
    for work_dir in ordered:
        await scene.fill(None, 1, work_dir)
    scene.tune(worktree_pool_size=2)
    used = [Path("/elsewhere") / str(number) for number in range(DIRECTORIES + 1)]
    for work_dir in used:
        scene.starts_cold(work_dir)
        await asyncio.sleep(3)
    worktrees: Pool[Path, Any] = scene.pools.worktrees
    assert [len(worktrees.ready(work_dir)) for work_dir in ordered] == [1] * len(ordered)
    assert [len(worktrees.ready(work_dir)) for work_dir in used] == [0] + [2] * DIRECTORIES


async def test_worktrees_are_made_where_an_instance_of_an_earlier_supervisor_works(scene: Scene) -> None:
    scene.tune(worktree_pool_size=1)
    assert scene.pools.figures.worktrees.waits_for.startswith("the first spawn of an isolated instance")
    scene.runs()
    await asyncio.sleep(3 * EVERY_S)
    assert scene.ready() == (0, 1)


async def test_what_cannot_be_stored_now_is_stored_later(store: MemoryStore) -> None:
    async with running(store) as scene:
        await scene.fill(2)
        store.fails()
        scene.take()
        await asyncio.sleep(EVERY_S)
        store.error = None
        await asyncio.sleep(EVERY_S)
        found = await OrderBook(store, "this boot").load(scene.team.unreadable)
        assert found.agents == {spec().key: 1}
