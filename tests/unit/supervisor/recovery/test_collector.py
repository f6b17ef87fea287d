from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from actors.errors import FencedError, PhalanxError, WorkspaceError
from actors.home import Home
from actors.worktrees.model import OrphanWorktree, RemovalResult, Workspace
from supervisor.api.results import CollectedItem
from supervisor.recovery.gc import GarbageCollector
from supervisor.store import keys
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

ROOT = Path("/home/worktrees")


class Disk:
    """In place of ``Lifecycle`` and the host: what is there by name, and what could not be saved."""

    def __init__(self) -> None:
        self.worktrees: list[str] = []
        self.directories: list[str] = []
        self.stuck: set[str] = set()
        self.broken: set[str] = set()
        """With these an error of ours comes up."""
        self.known: Collection[str] = ()

    def stays(self, record: InstanceRecord) -> RemovalResult | None:
        gone = record.workspace is None or record.workspace.worktree is None
        return RemovalResult(removed=False, kept_reason=None, branch_deleted=False) if gone else None

    async def retire(self, record: InstanceRecord) -> RemovalResult:
        assert record.workspace is not None
        return self.stays(record) or await self.retire_workspace(record.workspace)

    async def retire_workspace(self, workspace: Workspace) -> RemovalResult:
        return self._remove(workspace.directory.name)

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

    async def orphans(self, known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        self.known = known
        return tuple(
            OrphanWorktree(path=ROOT / name, git_directory=None, branch=None, unfinished=False, state="", age_s=1.0)
            for name in self.worktrees
            if name not in known
        )

    async def remove_orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        return self._remove(orphan.path.name)

    def _remove(self, name: str) -> RemovalResult:
        if name in self.broken:
            raise RuntimeError("a fault of ours")
        if name in self.stuck:
            raise WorkspaceError(f"git cannot tell about {name}")
        if name in self.worktrees:
            self.worktrees.remove(name)
        saved = f"refs/phalanx/saved/{name}"
        return RemovalResult(removed=True, kept_reason=None, branch_deleted=True, saved_ref=saved)

    async def instance_directories(self) -> tuple[str, ...]:
        return tuple(self.directories)

    async def forget_instance(self, instance_id: str) -> None:
        if instance_id in self.broken:
            raise RuntimeError("a fault of ours")
        if instance_id in self.directories:
            self.directories.remove(instance_id)


class Scene:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.team = Team(self.store)
        self.disk = Disk()
        self.collector = GarbageCollector(Home(Path("/home")), self.team, self.disk, self.disk)  # type: ignore[arg-type]

    async def add(self, number: int, stage: InstanceStage, *, wanted: bool) -> None:
        name = f"spec_0_0_{number}"
        self.disk.worktrees.append(name)
        self.disk.directories.append(name)
        workspace = Workspace(mode="isolated", directory=ROOT / name, worktree=ROOT / name)
        await add_member(self.team, number, stage=stage, wanted=wanted, workspace=workspace)

    async def collect(self, *, dry_run: bool = False) -> dict[str, str | None]:
        return {Path(item.path).name: item.kept for item in await self.items(dry_run=dry_run)}

    async def items(self, *, dry_run: bool) -> list[CollectedItem]:
        plan = await self.collector.plan()
        return await (self.collector.preview(plan) if dry_run else self.collector.carry_out(plan))

    async def dismiss(self, member: Member) -> CollectedItem:
        return await self.collector.dismiss(member)


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


GOES = {"spec_0_0_4": None, "spec_0_0_8": None, "spec_0_0_9": None}
STAYS = ["spec_0_0_1", "spec_0_0_2", "spec_0_0_3", "spec_0_0_5"]


async def test_a_dry_run_names_what_would_go_and_changes_nothing(scene: Scene) -> None:
    before = (list(scene.disk.worktrees), list(scene.disk.directories), await scene.store.load(""))
    assert await scene.collect(dry_run=True) == GOES
    assert (scene.disk.worktrees, scene.disk.directories, await scene.store.load("")) == before


@pytest.mark.parametrize("stuck", [set(), {"spec_0_0_4"}, {"spec_0_0_8"}])
async def test_a_dry_run_tells_what_the_real_one_does_word_for_word(scene: Scene, stuck: set[str]) -> None:
    scene.disk.stuck = stuck
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
    scene.disk.stuck = {"spec_0_0_4", "spec_0_0_8"}
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
    scene.team = Team(scene.store)
    await scene.team.load()
    scene.collector = GarbageCollector(Home(Path("/home")), scene.team, scene.disk, scene.disk)  # type: ignore[arg-type]
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
    assert {"spec_0_0_4", "spec_0_0_8"} <= set(scene.disk.worktrees)
    assert "spec_0_0_9" in scene.disk.directories


async def test_a_supervisor_that_was_replaced_clears_nothing_away(scene: Scene) -> None:
    scene.store.is_fenced()
    with pytest.raises(FencedError):
        await scene.collect()
    assert "spec_0_0_4" in scene.disk.worktrees


@pytest.mark.parametrize("broken", GOES)
async def test_an_unexpected_error_with_one_thing_keeps_no_other_from_going(scene: Scene, broken: str) -> None:
    scene.disk.broken.add(broken)
    kept = await scene.collect()
    assert {name for name, why in kept.items() if why is None} == GOES.keys() - {broken}
    assert "its log says why" in (kept[broken] or "")


async def test_who_was_restarted_after_it_was_chosen_to_go_is_left_alone(scene: Scene) -> None:
    chosen = scene.team.registry.get("spec_0_0_4")
    await scene.team.save("spec_0_0_4", stage=InstanceStage.RUNNING, wanted=True)
    item = await scene.dismiss(chosen)
    assert "restarted" in (item.kept or "")
    assert "spec_0_0_4" in scene.disk.worktrees
    assert "spec_0_0_4" in scene.team.registry
