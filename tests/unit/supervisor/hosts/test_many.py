from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import RunningAgent
from actors.errors import UnavailableError
from actors.nodes import Node
from actors.workspace.rehearsal import Rehearsal
from actors.workspace.values import Leftover, Retirement, Workspace
from supervisor.hosts.many import ManyHosts
from supervisor.hosts.roster import Roster
from tests.unit.supervisor import virtual_time

HERE, THERE = "spec_0_0_1", "spec_0_0_2"


class FakeDepot:
    def __init__(self, host: FakeHost) -> None:
        self._host = host

    async def origin(self, instance_id: str, work_dir: Path) -> Any:
        self._host.note(f"origin {instance_id}")
        return _Origin(instance_id)

    async def origin_again(self, git_directory: Path, branch: str, prefix: Path) -> Any:
        self._host.note(f"origin again {branch}")
        return _Origin(branch)

    async def settle(self, origin: Any, home: FakeDepot) -> Workspace:
        self._host.note(f"settle from {home._host.name_}")
        return workspace(home=None)

    async def drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None:
        self._host.note(f"drop {branch}")
        return self._host.branch_stays

    async def work(self, given: Workspace, *, uncommitted: bool) -> str:
        self._host.note("work" if uncommitted else "commits")
        return "work"

    async def come_home(self, git_directory: Path, work: Any, mirror: Path, away: FakeDepot) -> Any:
        self._host.note(f"come home from {away._host.name_}")
        return _Arrival()

    async def copy_file(self, path: Path, other: FakeDepot, at_other: Path, *, anew: bool = False) -> None:
        self._host.note(f"copy {path} from {other._host.name_}{' anew' if anew else ''}")


class _Origin:
    git_directory = Path("/repository/.git")
    commit = "c"
    notes = ()

    def __init__(self, branch: str) -> None:
        self.branch = branch


class _Arrival:
    note = ""


class FakeHost:
    """One machine; all of them write into one list what was asked of whom."""

    def __init__(self, name: str, deeds: list[str]) -> None:
        self.name_ = name
        self._deeds = deeds
        self.depot = FakeDepot(self)
        self.sessions: list[str] = []
        self.silent = False
        self.left: list[str] = []
        self.directories: list[str] = []
        self.branch_stays: str | None = None

    def note(self, deed: str) -> None:
        if self.silent:
            raise UnavailableError(f"{self.name_} does not answer")
        self._deeds.append(f"{self.name_}: {deed}")

    async def agents(self) -> tuple[RunningAgent, ...]:
        if self.silent:
            raise UnavailableError("no answer")
        return tuple(RunningAgent(session_name=name, pane_id="%1", pid=1, alive=True) for name in self.sessions)

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        self.note(f"end {session_name}")

    async def forget_instance(self, instance_id: str) -> None:
        self.note(f"forget {instance_id}")

    async def instance_directories(self) -> tuple[str, ...]:
        self.note("directories")
        return tuple(self.directories)

    async def leftovers(self, known: Collection[str]) -> tuple[Leftover, ...]:
        if self.silent:
            await asyncio.sleep(1000)
        return tuple(
            Leftover(path=Path("/w") / name, git_directory=None, branch=None, unfinished=False, state="", age_s=1.0)
            for name in self.left
        )

    async def collect_leftover(self, leftover: Leftover) -> Retirement:
        self.note(f"collect {leftover.path.name}")
        return Retirement(removed=True, kept_reason=None, branch_deleted=True)

    async def rehearse_removal(self, what: Workspace | Leftover, rehearsal: Rehearsal) -> tuple[Retirement, Rehearsal]:
        self.note("rehearse")
        return Retirement(removed=True, kept_reason=None, branch_deleted=True), rehearsal

    async def retire_workspace(self, given: Workspace) -> Retirement:
        self.note("retire")
        return Retirement(removed=True, kept_reason=None, branch_deleted=False)

    async def undo_workspace(self, given: Workspace) -> None:
        self.note("undo")

    async def create_workspace(self, instance_id: str, work_dir: Path, mode: str) -> Workspace:
        self.note(f"create {mode}")
        return workspace(home=None)

    async def kept_launch(self, instance_id: str) -> str:
        return f"launch of {instance_id}"

    async def keep_launch(self, start: Any) -> None:
        self.note(f"keep {start}")


class FakeCluster:
    def __init__(self, hosts: dict[str, FakeHost]) -> None:
        self._hosts = hosts

    async def nodes(self) -> tuple[Node, ...]:
        return tuple(Node(name=name, address=name, slots=4) for name in self._hosts)

    async def connect(self, node: Node) -> Any:
        return self._hosts[node.name]


def workspace(home: str | None = "/repository/.git", name: str = THERE) -> Workspace:
    return Workspace(
        mode="isolated",
        directory=Path("/w") / name,
        worktree=Path("/w") / name,
        git_directory=Path("/mirror"),
        branch=f"phalanx/{name}",
        base_commit="c",
        home=Path(home) if home else None,
    )


class Scene:
    def __init__(self, conversations: Path = Path("/no-such-directory")) -> None:
        self.deeds: list[str] = []
        self.hosts = {name: FakeHost(name, self.deeds) for name in ("head", "worker", "other")}
        own: Any = self.hosts["head"]
        cluster: Any = FakeCluster(self.hosts)
        self.roster = Roster("head", own, cluster, 0)
        self.roster.places = {HERE: "head", THERE: "worker"}
        self.many: Any = ManyHosts(self.roster, conversations)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_each_call_goes_to_the_host_of_the_instance_that_it_is_about(scene: Scene) -> None:
    await scene.many.end_agent(HERE, HERE, 1.0)
    await scene.many.end_agent(THERE, THERE, 1.0)
    await scene.many.end_agent("spec_0_0_9", "spec_0_0_9", 1.0)
    assert scene.deeds == [f"head: end {HERE}", f"worker: end {THERE}", "head: end spec_0_0_9"]


async def test_all_agents_are_seen_and_a_copy_where_it_does_not_belong_any_more_is_ended(scene: Scene) -> None:
    scene.hosts["head"].sessions = [HERE]
    scene.hosts["worker"].sessions = [THERE, HERE]
    assert sorted(agent.session_name for agent in await scene.many.agents()) == [HERE, THERE]
    assert scene.deeds == [f"worker: end {HERE}"]
    assert scene.roster.away == set()


async def test_a_host_that_does_not_answer_is_away_with_its_instances_and_hides_nobody_else(scene: Scene) -> None:
    scene.hosts["head"].sessions = [HERE]
    scene.hosts["worker"].silent = True
    assert [agent.session_name for agent in await scene.many.agents()] == [HERE]
    assert scene.roster.instances_away == [THERE]


async def test_code_goes_to_another_host_before_its_worktree_is_made_there(scene: Scene) -> None:
    made = await scene.many.create_workspace(THERE, Path("/project"), "isolated")
    assert scene.deeds == [f"head: origin {THERE}", "worker: settle from head"]
    assert made.home == Path("/repository/.git")
    scene.deeds.clear()
    await scene.many.create_workspace(HERE, Path("/project"), "isolated")
    await scene.many.create_workspace(THERE, Path("/srv"), "shared")
    assert scene.deeds == ["head: create isolated", "worker: create shared"]


async def test_a_branch_whose_worktree_could_not_be_made_elsewhere_is_dropped_again(scene: Scene) -> None:
    scene.hosts["worker"].silent = True
    with pytest.raises(UnavailableError):
        await scene.many.create_workspace(THERE, Path("/project"), "isolated")
    assert scene.deeds == [f"head: origin {THERE}", f"head: drop {THERE}"]


async def test_work_comes_home_before_and_after_the_worktree_goes(scene: Scene) -> None:
    retirement = await scene.many.retire_workspace(workspace())
    carried = ["worker: commits", "head: come home from worker"]
    assert scene.deeds == [*carried, "worker: retire", *carried, f"head: drop phalanx/{THERE}"]
    assert retirement.branch_deleted
    scene.hosts["head"].branch_stays = "It is not merged."
    kept = await scene.many.retire_workspace(workspace())
    assert (kept.removed, kept.kept_reason, kept.branch_deleted) == (True, "It is not merged.", False)


async def test_what_cannot_be_carried_home_keeps_the_worktree(scene: Scene) -> None:
    scene.hosts["head"].silent = True
    with pytest.raises(UnavailableError):
        await scene.many.retire_workspace(workspace())
    assert scene.deeds == ["worker: commits"]


async def test_an_instance_settles_again_with_worktree_launch_and_conversation(scene: Scene) -> None:
    scene.roster.places[THERE] = "other"
    made = await scene.many.settle_again(THERE, workspace(), "/t/talk.jsonl")
    assert scene.deeds == [
        f"head: origin again phalanx/{THERE}",
        "other: settle from head",
        f"other: forget {THERE}",
        f"other: keep launch of {THERE}",
        "other: copy /t/talk.jsonl from head anew",
    ]
    assert (made.home, made.base_commit) == (Path("/repository/.git"), "c")


async def test_leftovers_of_all_hosts_are_seen_and_collected_where_they_are(scene: Scene) -> None:
    await scene.roster.link("worker")
    scene.hosts["head"].left, scene.hosts["worker"].left = ["exec_7"], ["exec_8"]
    found = await scene.many.leftovers(())
    assert [(each.host, each.path.name) for each in found] == [("", "exec_7"), ("worker", "exec_8")]
    for each in found:
        await scene.many.rehearse_removal(each, Rehearsal())
        await scene.many.collect_leftover(each)
    assert scene.deeds == ["head: rehearse", "head: collect exec_7", "worker: rehearse", "worker: collect exec_8"]
    scene.deeds.clear()
    await scene.many.rehearse_removal(workspace(), Rehearsal())
    assert scene.deeds == ["worker: rehearse"]


def test_a_host_that_hangs_does_not_keep_what_is_left_on_the_others_from_being_seen() -> None:
    async def play() -> None:
        scene = Scene()
        await scene.roster.link("worker")
        scene.hosts["head"].left = ["exec_7"]
        scene.hosts["worker"].silent = True
        assert [each.path.name for each in await scene.many.leftovers(())] == ["exec_7"]

    virtual_time.run(play)


async def test_all_that_is_kept_of_an_instance_goes_with_it_here_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    (tmp_path / THERE).mkdir()
    (tmp_path / THERE / "talk.jsonl").write_text("{}")
    await scene.many.forget_instance(THERE)
    assert scene.deeds == [f"worker: forget {THERE}", f"head: forget {THERE}"]
    assert not (tmp_path / THERE).exists()


async def test_directories_of_nobody_are_found_on_every_host_and_go_on_every_host(scene: Scene) -> None:
    await scene.roster.link("worker")
    scene.hosts["head"].directories, scene.hosts["worker"].directories = ["exec_7"], ["exec_7", "exec_8"]
    assert await scene.many.instance_directories() == ("exec_7", "exec_8")
    scene.deeds.clear()
    await scene.many.forget_instance("exec_8")
    assert sorted(set(scene.deeds)) == ["head: forget exec_8", "worker: forget exec_8"]
