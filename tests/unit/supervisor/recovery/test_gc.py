"""What terminated instances left is cleared away: on request, shown beforehand, and by itself after a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.errors import FencedError, PhalanxError, WorkspaceError
from actors.home import Home
from actors.worktrees.model import OrphanWorktree, RemovalResult, Workspace
from supervisor.api.requests import GcRequest
from supervisor.api.results import CollectedItem
from supervisor.api.verbs import Caller
from supervisor.recovery.gc import EVERY_S, KEPT, KEPT_S, GarbageCollector, GcService
from supervisor.store import keys
from supervisor.team.lifecycle import Lifecycle
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.fakes.hosts import FakeHost
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

ROOT = Path("/home/worktrees")
HOUR_S = 3600.0
GOES = {"spec_0_0_4": None, "spec_0_0_8": None, "spec_0_0_9": None}
STAYS = ["spec_0_0_1", "spec_0_0_2", "spec_0_0_3", "spec_0_0_5"]


class Disk(FakeHost):
    """A host that removes worktrees, each by the name of its instance."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: dict[str, Exception] = {}
        """By the name of what cannot be removed."""

    async def plan_removals(
        self, what: Sequence[Workspace | OrphanWorktree]
    ) -> tuple[RemovalResult | PhalanxError, ...]:
        before = list(self.worktrees)
        names = [each.directory.name if isinstance(each, Workspace) else each.path.name for each in what]
        try:
            return tuple(map(self._plan, names))
        finally:
            self.worktrees = before

    def _plan(self, name: str) -> RemovalResult | PhalanxError:
        try:
            return self._remove(name)
        except PhalanxError as error:
            return error

    async def remove_orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        return self._remove(orphan.path.name)

    async def retire_workspace(self, workspace: Workspace) -> RemovalResult:
        return self._remove(workspace.directory.name)

    async def forget_instance(self, instance_id: str) -> None:
        if instance_id in self.failures:
            raise self.failures[instance_id]
        await super().forget_instance(instance_id)

    def _remove(self, name: str) -> RemovalResult:
        if name in self.failures:
            raise self.failures[name]
        if name in self.worktrees:
            self.worktrees.remove(name)
        saved = f"refs/phalanx/saved/{name}"
        return RemovalResult(removed=True, kept_reason=None, branch_deleted=True, saved_ref=saved)


class Scene:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.disk = Disk()
        self.take_over(self.store)

    def take_over(self, store: MemoryStore) -> None:
        """A supervisor begins that knows nothing yet of what the store holds."""
        self.team = Team(store)
        nothing: Any = None
        lifecycle = Lifecycle(self.team, self.disk, nothing, nothing, nothing, None, nothing, 1.0)
        self.collector = GarbageCollector(Home(Path("/home")), self.team, self.disk, lifecycle)
        self.service = GcService(self.team, self.collector)

    async def add(
        self, number: int, stage: InstanceStage, *, wanted: bool, ended_at: float = 0.0, parent_id: str | None = None
    ) -> None:
        name = f"spec_0_0_{number}"
        self.disk.worktrees.append(name)
        self.disk.directories.append(name)
        workspace = Workspace(mode="isolated", directory=ROOT / name, worktree=ROOT / name)
        changes = {"wanted": wanted, "workspace": workspace, "ended_at": ended_at, "parent_id": parent_id}
        await add_member(self.team, number, stage=stage, **changes)

    async def add_terminated(self, number: int) -> None:
        now = asyncio.get_running_loop().time()
        await self.add(number, InstanceStage.STOPPED, wanted=False, ended_at=now)

    async def collect(self, *, dry_run: bool = False) -> dict[str, str | None]:
        return {Path(item.path).name: item.kept for item in await self.items(dry_run=dry_run)}

    async def items(self, *, dry_run: bool) -> list[CollectedItem]:
        return (await self.service.gc(GcRequest(dry_run=dry_run), Caller(sender="lead"))).items

    @property
    def numbers(self) -> list[int]:
        return sorted(member.record.number for member in self.team.registry)


@pytest.fixture
async def scene() -> Scene:
    made = Scene()
    await made.add(1, InstanceStage.RUNNING, wanted=True)
    await made.add(2, InstanceStage.STOPPED, wanted=True)
    await made.add(3, InstanceStage.FAILED, wanted=True)
    await made.add(4, InstanceStage.STOPPED, wanted=False)
    await made.add(5, InstanceStage.ENDING, wanted=False)
    made.disk.worktrees += ["spec_0_0_8"]
    made.disk.directories += ["spec_0_0_9"]
    return made


async def test_a_dry_run_names_what_would_go_and_changes_nothing(scene: Scene) -> None:
    before = (list(scene.disk.worktrees), list(scene.disk.directories), await scene.store.load(""))
    assert await scene.collect(dry_run=True) == GOES
    assert (scene.disk.worktrees, scene.disk.directories, await scene.store.load("")) == before


@pytest.mark.parametrize("stuck", [set(), {"spec_0_0_4"}, {"spec_0_0_8"}])
async def test_a_dry_run_tells_what_the_real_one_does_word_for_word(scene: Scene, stuck: set[str]) -> None:
    scene.disk.failures = {name: WorkspaceError(f"git cannot tell about {name}") for name in stuck}
    foreseen = await scene.items(dry_run=True)
    assert await scene.items(dry_run=False) == foreseen


async def test_only_what_nobody_wants_any_more_goes_and_is_forgotten(scene: Scene) -> None:
    assert await scene.collect() == GOES
    assert scene.disk.worktrees == STAYS
    assert scene.disk.directories == STAYS
    assert sorted(member.record.instance_id for member in scene.team.registry) == STAYS
    assert await scene.store.load(keys.instance("spec_0_0_4")) == {}
    assert await scene.collect() == {}


async def test_what_cannot_be_cleared_away_stays_known_with_the_reason_and_harms_no_other(scene: Scene) -> None:
    for name in ("spec_0_0_4", "spec_0_0_8"):
        scene.disk.failures[name] = WorkspaceError(f"git cannot tell about {name}")
    kept = await scene.collect()
    assert kept == {
        "spec_0_0_4": "git cannot tell about spec_0_0_4",
        "spec_0_0_8": "git cannot tell about spec_0_0_8",
        "spec_0_0_9": None,
    }
    assert "spec_0_0_4" in scene.team.registry
    assert "spec_0_0_4" in scene.disk.directories


async def test_who_is_just_being_started_is_left_alone(scene: Scene) -> None:
    async with scene.team.registry.get("spec_0_0_4").turn:
        kept = await scene.collect()
    assert "being started" in (kept["spec_0_0_4"] or "")
    assert "spec_0_0_4" in scene.disk.worktrees


async def test_what_belongs_to_an_instance_whose_record_cannot_be_read_is_left_alone(scene: Scene) -> None:
    await scene.store.save({keys.instance("spec_0_0_8"): b"\xff", keys.instance("spec_0_0_9"): b""})
    scene.disk.worktrees += ["spare_10"]
    scene.disk.directories += ["spare_11"]
    scene.take_over(scene.store)
    await scene.team.load()
    assert list(await scene.collect()) == ["spec_0_0_4"]
    assert "spec_0_0_8" in scene.disk.worktrees
    assert "spec_0_0_9" in scene.disk.directories
    assert ("spare_10" in scene.disk.worktrees, "spare_11" in scene.disk.directories) == (True, True)


async def test_a_worktree_whose_instance_came_to_be_while_it_was_looked_at_is_left_alone(scene: Scene) -> None:
    listed = scene.disk.orphans

    async def slowly(known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        found = await listed(known)
        await add_member(scene.team, 8, stage=InstanceStage.STARTING)
        return found

    scene.disk.orphans = slowly  # type: ignore[method-assign]
    await scene.collect()
    assert "spec_0_0_8" in scene.disk.worktrees


async def test_what_came_to_belong_to_somebody_since_the_plan_was_made_is_left_alone(scene: Scene) -> None:
    plan = await scene.collector.plan()
    await scene.team.save("spec_0_0_4", stage=InstanceStage.RUNNING, wanted=True)
    for number in (8, 9):
        await add_member(scene.team, number, stage=InstanceStage.STARTING)
    items = await scene.collector.carry_out(plan)
    assert {item.kept for item in items} == {"it was restarted or cleared away meanwhile"}
    assert "spec_0_0_4" in scene.team.registry
    assert {"spec_0_0_4", "spec_0_0_8"} <= set(scene.disk.worktrees)
    assert "spec_0_0_9" in scene.disk.directories


async def test_a_supervisor_that_was_replaced_clears_nothing_away(scene: Scene) -> None:
    scene.store.is_fenced()
    with pytest.raises(FencedError):
        await scene.collect()
    assert "spec_0_0_4" in scene.disk.worktrees


@pytest.mark.parametrize("broken", GOES)
async def test_an_unexpected_error_with_one_thing_keeps_no_other_from_going(scene: Scene, broken: str) -> None:
    scene.disk.failures[broken] = RuntimeError("a fault of ours")
    kept = await scene.collect()
    assert {name for name, why in kept.items() if why is None} == GOES.keys() - {broken}
    assert "its log says why" in (kept[broken] or "")


@pytest.fixture
async def team() -> AsyncIterator[Scene]:
    """Its service clears away by itself."""
    made = Scene()
    await made.service.begin()
    yield made
    await made.service.end()


async def test_who_was_terminated_a_day_ago_goes_and_nobody_else(team: Scene) -> None:
    await team.add(1, InstanceStage.RUNNING, wanted=True)
    await team.add(2, InstanceStage.STOPPED, wanted=True)
    await team.add(3, InstanceStage.FAILED, wanted=True)
    await team.add(4, InstanceStage.ENDING, wanted=False)
    await team.add_terminated(5)
    await asyncio.sleep(HOUR_S)
    await team.add_terminated(6)
    await asyncio.sleep(KEPT_S - HOUR_S - EVERY_S)
    assert team.numbers == [1, 2, 3, 4, 5, 6]
    await asyncio.sleep(3 * EVERY_S)
    assert team.numbers == [1, 2, 3, 4, 6]
    assert "spec_0_0_5" not in (*team.disk.worktrees, *team.disk.directories)
    await asyncio.sleep(KEPT_S)
    assert team.numbers == [1, 2, 3, 4]


async def test_of_very_many_those_that_were_terminated_first_go_at_once(team: Scene) -> None:
    for number in range(1, KEPT + 4):
        await team.add_terminated(number)
        await asyncio.sleep(0.1)
    await asyncio.sleep(EVERY_S)
    assert team.numbers == list(range(4, KEPT + 4))


async def test_what_cannot_be_saved_stays_and_is_tried_again_now_and_then(team: Scene) -> None:
    team.disk.failures["spec_0_0_1"] = WorkspaceError("git cannot tell")
    await team.add_terminated(1)
    await asyncio.sleep(KEPT_S + HOUR_S)
    assert team.numbers == [1]
    assert team.disk.worktrees == ["spec_0_0_1"]
    team.disk.failures.clear()
    await asyncio.sleep(KEPT_S)
    assert team.numbers == []


async def test_who_led_somebody_that_lives_stays_known(team: Scene) -> None:
    await team.add_terminated(1)
    await team.add(2, InstanceStage.RUNNING, wanted=True, parent_id="spec_0_0_1")
    await asyncio.sleep(2 * KEPT_S)
    assert team.numbers == [1, 2]


async def test_those_below_go_before_who_leads_them(team: Scene) -> None:
    left: list[int] = []
    team.team.subscribe_changes(lambda member: left.append(member.record.number))
    for number, parent in ((1, None), (2, "spec_0_0_1"), (3, "spec_0_0_2")):
        await team.add(number, InstanceStage.STOPPED, wanted=False, parent_id=parent)
    left.clear()
    await asyncio.sleep(KEPT_S + 2 * EVERY_S)
    assert (left, team.numbers) == ([3, 2, 1], [])


@pytest.mark.parametrize("lives", [True, False])
async def test_who_leads_somebody_that_stays_is_kept_and_a_dry_run_says_so(scene: Scene, *, lives: bool) -> None:
    await scene.add(10, InstanceStage.STOPPED, wanted=False)
    await scene.add(11, InstanceStage.STOPPED, wanted=False, parent_id="spec_0_0_10")
    stage = InstanceStage.RUNNING if lives else InstanceStage.STOPPED
    await scene.add(12, stage, wanted=lives, parent_id="spec_0_0_11")
    foreseen = await scene.items(dry_run=True)
    kept = {item.instance_id: item.kept for item in foreseen}
    below = {each: kept[each] for each in ("spec_0_0_10", "spec_0_0_11")}
    assert below == (
        {
            "spec_0_0_10": "it leads spec_0_0_11, not cleared away so far",
            "spec_0_0_11": "it leads spec_0_0_12, not cleared away so far",
        }
        if lives
        else {"spec_0_0_10": None, "spec_0_0_11": None}
    )
    assert await scene.items(dry_run=False) == foreseen


async def test_a_supervisor_that_was_replaced_clears_nothing_away_by_itself(team: Scene) -> None:
    await team.add_terminated(1)
    team.store.is_fenced()
    await asyncio.sleep(2 * KEPT_S)
    assert team.numbers == [1]
    assert team.disk.worktrees == ["spec_0_0_1"]
