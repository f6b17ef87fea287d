"""Fakes of a host, of the transfer between hosts, and of Ray's cluster."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import cast

from actors.agents.base import AgentStart, Handover, LaunchRequest, RunningAgent
from actors.agents.catalog import AgentCatalog
from actors.errors import PhalanxError, UnavailableError, WorkspaceError
from actors.host.host import Host
from actors.host.load import HostLoad
from actors.nodes import Node
from actors.transfer.bundles import ImportResult, RemoteWork, StartPoint
from actors.transfer.service import TransferService
from actors.worktrees.model import CopiedFile, OrphanWorktree, RemovalResult, Workspace, WorkspaceMode, instance_in
from tests.fakes.calls import CallLog

CATALOG = AgentCatalog(claude_command="claude", python="python")
SILENT_S = 20.0
"""A host that is silent refuses to list its worktrees only after this long."""


def host_load(available_mb: int = 20_000, **changes: object) -> HostLoad:
    """Of a machine with two cores."""
    load = HostLoad(
        host="desk",
        cpus=2,
        load_1m=0.1,
        cpu_busy_s=50,
        cpu_total_s=200,
        memory_total_bytes=24_000_000_000,
        memory_available_bytes=available_mb * 1_000_000,
        disk_available_bytes=90_000_000_000,
    )
    return replace(load, **changes)  # type: ignore[arg-type]


def workspace(name: str, *, home: str | None = "/repository/.git") -> Workspace:
    """A worktree on another host; with no ``home`` one on this machine."""
    return Workspace(
        mode="isolated",
        directory=Path("/w") / name,
        worktree=Path("/w") / name,
        git_directory=Path("/mirror"),
        branch=f"phalanx/{name}",
        base_commit="c",
        home=Path(home) if home else None,
    )


class FakeHost(Host):
    """One machine. Agents are entries of ``sessions``, worktrees and directories of instances are names."""

    def __init__(self, name: str = "desk", log: CallLog | None = None, *, several: bool = False) -> None:
        """``several``: the log is shared with other hosts, so each call begins with the host's name."""
        self._name = name
        self.log = log or CallLog()
        self._prefix = f"{name}: " if several else ""
        self.transfer = FakeTransfer(self)
        self.load_now = host_load(host=name)
        self.sessions: dict[str, RunningAgent] = {}
        self.worktrees: list[str] = []
        self.branches: dict[str, str] = {}
        """Of worktrees that were bound to an instance."""
        self.directories: list[str] = []
        self.program_version = ""
        self.asked: Counter[str] = Counter()
        """How often it was asked for ``load``, ``agents`` and ``orphans``."""
        self.gate = asyncio.Event()
        self.gate.set()
        """A closed gate holds the answers of ``agents``, which was read before, and ``show_needing`` back."""
        self.needing: list[tuple[str, tuple[str, ...]]] = []
        """What it was told to show of who needs somebody."""
        self.silent = False
        self.making: set[str] = set()
        """Instances of which it is making something."""
        self.in_use = False
        """Its worktrees cannot be removed."""
        self.kept_branch: str | None = None
        """Why a branch is not dropped."""
        self.spare_was_changed = False
        self.bound_branch = ""

    @property
    def available_mb(self) -> int:
        """Of its memory."""
        return self.load_now.memory_available_bytes // 1_000_000

    @available_mb.setter
    def available_mb(self, available_mb: int) -> None:
        self.load_now = replace(self.load_now, memory_available_bytes=available_mb * 1_000_000)

    def call(self, text: str) -> None:
        if self.silent:
            raise UnavailableError(f"{self._name} does not answer")
        self.log.call(self._prefix + text)

    def add_agent(self, name: str, pid: int = 7) -> None:
        self.sessions[name] = RunningAgent(session_name=name, pane_id=f"%{pid}", pid=pid, alive=True)

    async def name(self) -> str:
        return self._name

    async def program(self, agent: str) -> str:
        return self.program_version

    async def show_needing(self, words: str, session_names: Sequence[str]) -> None:
        if self.silent:
            raise UnavailableError(f"{self._name} does not answer.")
        await self.gate.wait()
        self.needing.append((words, tuple(session_names)))

    async def load(self) -> HostLoad:
        self.asked["load"] += 1
        if self.silent:
            raise UnavailableError("The host does not answer.")
        return self.load_now

    async def agents(self) -> tuple[RunningAgent, ...]:
        self.asked["agents"] += 1
        if self.silent:
            raise UnavailableError("no answer")
        seen = tuple(self.sessions.values())
        await self.gate.wait()
        if "agents" in self.log.errors:
            raise self.log.errors["agents"]
        return seen

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        self.call(f"end {session_name}" + (f" in {instance_id}" if instance_id != session_name else ""))
        self.sessions.pop(session_name, None)

    async def instance_directories(self) -> tuple[str, ...]:
        return tuple(self.directories)

    async def forget_instance(self, instance_id: str) -> None:
        self.call(f"forget {instance_id}")
        if instance_id in self.directories:
            self.directories.remove(instance_id)

    async def orphans(self, known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        self.asked["orphans"] += 1
        if self.silent:
            await asyncio.sleep(SILENT_S)
            raise UnavailableError("the host does not answer")
        return tuple(
            OrphanWorktree(
                path=Path("/w") / name,
                git_directory=None,
                branch=self.branches.get(name),
                unfinished=False,
                state="",
                age_s=1.0,
            )
            for name in self.worktrees
            if name not in known
        )

    async def withdraw(self, instance_id: str) -> None:
        if instance_id in self.making:
            raise UnavailableError(f"Something is still being made for {instance_id}")

    async def discard_worktrees(self, instance_id: str, known: Collection[str]) -> None:
        for name in [each for each in self.worktrees if each not in known and instance_in(each) == instance_id]:
            self.call(f"collect {name}")
            self.worktrees.remove(name)

    async def remove_orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        self.call(f"collect {orphan.path.name}")
        if not self.in_use:
            self.worktrees.remove(orphan.path.name)
        return RemovalResult(removed=not self.in_use, kept_reason=None, branch_deleted=True)

    async def plan_removals(
        self, what: Sequence[Workspace | OrphanWorktree]
    ) -> tuple[RemovalResult | PhalanxError, ...]:
        names = [each.path.name if isinstance(each, OrphanWorktree) else each.directory.name for each in what]
        self.call(f"plan {' '.join(names)}")
        return tuple(RemovalResult(removed=True, kept_reason=name, branch_deleted=True) for name in names)

    async def create_workspace(self, instance_id: str, work_dir: Path, mode: WorkspaceMode) -> Workspace:
        self.call(f"create {mode}")
        return workspace(instance_id, home=None)

    async def read_files(self, directory: Path, paths: Sequence[str]) -> tuple[CopiedFile, ...]:
        self.call(f"read {' '.join(paths)}")
        return tuple(CopiedFile(path=path, mode=0o600, content=b"") for path in paths)

    async def prepare_workspace(
        self, instance_id: str, workspace: Workspace, files: Sequence[CopiedFile], setup: str, more: Mapping[str, str]
    ) -> None:
        self.call(f"prepare {instance_id}: {' '.join(file.path for file in files)}; {setup}")

    async def undo_workspace(self, workspace: Workspace) -> None:
        self.call("undo")

    async def retire_workspace(self, workspace: Workspace) -> RemovalResult:
        self.call("retire")
        return RemovalResult(removed=True, kept_reason=None, branch_deleted=False)

    async def create_spare(self, name: str, work_dir: Path) -> Workspace:
        self.call(f"create {name}")
        return workspace(name, home=None)

    async def is_spare(self, workspace: Workspace) -> bool:
        self.call("is it spare")
        return True

    async def bind_spare(self, spare: Workspace, instance_id: str, work_dir: Path) -> Workspace:
        self.call(f"bind to {instance_id}")
        return spare

    async def hand_over(self, handover: Handover) -> None:
        self.call(f"hand {handover.place} over to {handover.instance_id}")

    async def kept_launch(self, instance_id: str) -> AgentStart:
        return AgentStart(
            agent="demo",
            session_name=instance_id,
            working_directory=Path("/w"),
            trusted_directories=(),
            request=cast("LaunchRequest", None),
        )

    async def keep_launch(self, start: AgentStart) -> None:
        self.call(f"keep launch of {start.session_name}")


class FakeTransfer(TransferService):
    def __init__(self, host: FakeHost) -> None:
        self._host = host

    async def origin(self, instance_id: str, work_dir: Path) -> StartPoint:
        self._host.call(f"origin {instance_id}")
        return _start_point(instance_id)

    async def origin_again(self, git_directory: Path, branch: str, prefix: PurePath) -> StartPoint:
        self._host.call(f"origin again {branch}")
        return _start_point(branch)

    async def origin_of_spare(self, name: str, work_dir: Path) -> StartPoint:
        self._host.call(f"look for {name}")
        return _start_point(name)

    async def settle(self, origin: StartPoint, home: TransferService) -> Workspace:
        directory = f" in {origin.directory}" if origin.directory else ""
        self._host.call(f"settle{directory} from {await _name_of(home)}")
        return workspace(origin.branch, home=None)

    async def settle_spare(self, name: str, origin: StartPoint, home: TransferService) -> Workspace:
        self._host.call(f"settle spare {name} from {await _name_of(home)}")
        return workspace(name, home=None)

    async def bind_spare(self, spare: Workspace, origin: StartPoint, home: TransferService) -> Workspace:
        self._host.call(f"bind to {origin.branch} from {await _name_of(home)}")
        if self._host.spare_was_changed:
            raise WorkspaceError("it is not as it was made")
        return replace(spare, branch=f"phalanx/{origin.branch}", home=None)

    async def bound(self, workspace: Workspace) -> str:
        return self._host.bound_branch

    async def drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None:
        self._host.call(f"drop {branch}")
        return self._host.kept_branch

    async def work(self, workspace: Workspace, *, uncommitted: bool) -> RemoteWork:
        self._host.call("work" if uncommitted else "commits")
        return RemoteWork(name=workspace.directory.name, branch=workspace.branch or "", commit="c")

    async def import_work(
        self, git_directory: Path, work: RemoteWork, mirror: Path, away: TransferService
    ) -> ImportResult:
        self._host.call(f"import from {await _name_of(away)}")
        return ImportResult(work=work, note="")

    async def copy_file(self, path: Path, other: TransferService, at_other: Path, *, anew: bool = False) -> None:
        self._host.call(f"copy {path} from {await _name_of(other)}{' anew' if anew else ''}")

    async def host_name(self) -> str:
        return await self._host.name()


async def _name_of(transfer: TransferService) -> str:
    assert isinstance(transfer, FakeTransfer)
    return await transfer.host_name()


def _start_point(branch: str) -> StartPoint:
    return StartPoint(
        key="k",
        git_directory=Path("/repository/.git"),
        top=Path("/repository"),
        prefix=PurePath(),
        commit="c",
        branch=branch,
    )


class FakeCluster:
    """A ``ClusterPort`` over ``nodes_now``; a host of the name is made when it is first connected to."""

    def __init__(self, *nodes: Node, hosts: Mapping[str, FakeHost] | None = None, connect_s: float = 0.0) -> None:
        self.nodes_now = list(nodes)
        self.hosts: dict[str, FakeHost] = dict(hosts or {})
        self._connect_s = connect_s
        self.connected: list[str] = []
        self.left: list[str] = []
        self.wanted: list[int] = []
        self.refuses: set[str] = set()

    async def nodes(self) -> tuple[Node, ...]:
        return tuple(self.nodes_now)

    async def connect(self, node: Node) -> Host:
        await asyncio.sleep(self._connect_s)
        if node.name in self.refuses:
            raise UnavailableError("it does not answer")
        self.connected.append(node.name)
        return self.hosts.setdefault(node.name, FakeHost(node.name))

    async def leave(self, node: str) -> None:
        self.left.append(node)

    async def want_slots(self, count: int) -> None:
        self.wanted.append(count)
