"""Machines of a cluster that only take down what they were asked for, and many hosts over them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actors.agents.base import Handover, RunningAgent
from actors.errors import UnavailableError, WorkspaceError
from actors.nodes import Node
from actors.worktrees.model import OrphanWorktree, RemovalResult, Workspace
from supervisor.cluster.router import HostRouter
from supervisor.cluster.scheduler import HostScheduler
from supervisor.team.links import InstanceLinks
from supervisor.team.registry import Registry

HERE, THERE = "spec_0_0_1", "spec_0_0_2"


class FakeTransfer:
    def __init__(self, host: FakeHost) -> None:
        self._host = host

    async def origin(self, instance_id: str, work_dir: Path) -> Any:
        self._host.note(f"origin {instance_id}")
        return _Origin(instance_id)

    async def origin_again(self, git_directory: Path, branch: str, prefix: Path) -> Any:
        self._host.note(f"origin again {branch}")
        return _Origin(branch)

    async def settle(self, origin: Any, home: FakeTransfer) -> Workspace:
        directory = f" in {origin.directory}" if origin.directory else ""
        self._host.note(f"settle{directory} from {home._host.name_}")
        return workspace(home=None)

    async def origin_of_spare(self, name: str, work_dir: Path) -> Any:
        self._host.note(f"look for {name}")
        return _Origin(name)

    async def settle_spare(self, name: str, origin: Any, home: FakeTransfer) -> Workspace:
        self._host.note(f"settle spare {name} from {home._host.name_}")
        return workspace(home=None, name=name)

    async def bind_spare(self, spare: Workspace, origin: Any, home: FakeTransfer) -> Workspace:
        self._host.note(f"bind to {origin.branch} from {home._host.name_}")
        if self._host.touched:
            raise WorkspaceError("it is not as it was made")
        return replace(spare, branch=f"phalanx/{origin.branch}", home=None)

    async def bound(self, given: Workspace) -> str:
        return self._host.bound

    async def drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None:
        self._host.note(f"drop {branch}")
        return self._host.branch_stays

    async def work(self, given: Workspace, *, uncommitted: bool) -> str:
        self._host.note("work" if uncommitted else "commits")
        return "work"

    async def import_work(self, git_directory: Path, work: Any, mirror: Path, away: FakeTransfer) -> Any:
        self._host.note(f"come home from {away._host.name_}")
        return _Arrival()

    async def copy_file(self, path: Path, other: FakeTransfer, at_other: Path, *, anew: bool = False) -> None:
        self._host.note(f"copy {path} from {other._host.name_}{' anew' if anew else ''}")


@dataclass(frozen=True)
class _Origin:
    branch: str
    directory: str = ""
    git_directory: Path = Path("/repository/.git")
    commit: str = "c"
    notes: tuple[str, ...] = ()


class _Arrival:
    note = ""


class FakeHost:
    """One machine; all of them write into one list what was asked of whom."""

    def __init__(self, name: str, deeds: list[str]) -> None:
        self.name_ = name
        self._deeds = deeds
        self.transfer = FakeTransfer(self)
        self.sessions: list[str] = []
        self.silent = False
        self.left: list[str] = []
        self.directories: list[str] = []
        self.branch_stays: str | None = None
        self.touched = False
        self.bound = ""

    def note(self, deed: str) -> None:
        if self.silent:
            raise UnavailableError(f"{self.name_} does not answer")
        self._deeds.append(f"{self.name_}: {deed}")

    async def agents(self) -> tuple[RunningAgent, ...]:
        if self.silent:
            raise UnavailableError("no answer")
        return tuple(RunningAgent(session_name=name, pane_id="%1", pid=1, alive=True) for name in self.sessions)

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        self.note(f"end {session_name}" + (f" in {instance_id}" if instance_id != session_name else ""))

    async def forget_instance(self, instance_id: str) -> None:
        self.note(f"forget {instance_id}")

    async def instance_directories(self) -> tuple[str, ...]:
        self.note("directories")
        return tuple(self.directories)

    async def orphans(self, known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        if self.silent:
            await asyncio.sleep(1000)
        return tuple(
            OrphanWorktree(
                path=Path("/w") / name, git_directory=None, branch=None, unfinished=False, state="", age_s=1.0
            )
            for name in self.left
        )

    async def remove_orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        self.note(f"collect {orphan.path.name}")
        return RemovalResult(removed=True, kept_reason=None, branch_deleted=True)

    async def plan_removals(self, what: Sequence[Workspace | OrphanWorktree]) -> tuple[RemovalResult, ...]:
        names = [each.path.name if isinstance(each, OrphanWorktree) else each.directory.name for each in what]
        self.note(f"plan {' '.join(names)}")
        return tuple(RemovalResult(removed=True, kept_reason=name, branch_deleted=True) for name in names)

    async def retire_workspace(self, given: Workspace) -> RemovalResult:
        self.note("retire")
        return RemovalResult(removed=True, kept_reason=None, branch_deleted=False)

    async def undo_workspace(self, given: Workspace) -> None:
        self.note("undo")

    async def create_workspace(self, instance_id: str, work_dir: Path, mode: str) -> Workspace:
        self.note(f"create {mode}")
        return workspace(home=None)

    async def create_spare(self, name: str, work_dir: Path) -> Workspace:
        self.note(f"create {name}")
        return workspace(home=None, name=name)

    async def bind_spare(self, spare: Workspace, instance_id: str, work_dir: Path) -> Workspace:
        self.note(f"bind to {instance_id}")
        return spare

    async def is_spare(self, given: Workspace) -> bool:
        self.note("is it spare")
        return True

    async def hand_over(self, handover: Handover) -> None:
        self.note(f"hand {handover.place} over to {handover.instance_id}")

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
        self.registry = Registry()
        self.scheduler = HostScheduler("head", own, cluster, self.registry, InstanceLinks())
        self.scheduler.places = {HERE: "head", THERE: "worker"}
        self.many: Any = HostRouter(self.scheduler, self.registry, conversations)
