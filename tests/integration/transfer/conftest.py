"""Two directories as two hosts: one has a repository, the other works on it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.starts import Starts
from actors.transfer.bundles import Bundle, ImportResult, StartPoint
from actors.transfer.service import TransferService
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import Workspace
from tests.projects import git, make_repository

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}


@dataclass
class Wire(TransferService):
    """What the other host says, and a note of all that passes."""

    transfer: TransferService
    pieces: list[int] = field(default_factory=list)
    bundles: list[Bundle] = field(default_factory=list)
    held: int = 0
    break_after: int = -1
    silent: asyncio.Event | None = None
    """While it is there the other host does not answer; it is set when something was asked."""

    async def pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Bundle:
        if self.silent is not None:
            self.silent.set()
            await asyncio.Event().wait()
        bundle = await self.transfer.pack(git_directory, commits, haves)
        self.bundles.append(bundle)
        return bundle

    async def piece(self, bundle_id: str, offset: int) -> bytes:
        if self.break_after == len(self.pieces):
            raise ConnectionResetError
        piece = await self.transfer.piece(bundle_id, offset)
        self.pieces.append(len(piece))
        return piece

    async def discard(self, bundle_id: str) -> None:
        await self.transfer.discard(bundle_id)


@dataclass
class Hosts:
    repository: Path
    head: TransferService
    worker: TransferService
    workspaces: WorktreeManager
    """Of the worker."""
    to_worker: Wire
    to_head: Wire
    root: Path

    async def start(self, instance_id: str, work_dir: Path | None = None) -> tuple[StartPoint, Workspace]:
        origin = await self.head.origin(instance_id, work_dir or self.repository)
        return origin, await self.worker.settle(origin, self.to_worker)

    async def carry(self, origin: StartPoint, workspace: Workspace, *, uncommitted: bool = False) -> ImportResult:
        work = await self.worker.work(workspace, uncommitted=uncommitted)
        assert workspace.git_directory is not None
        return await self.head.import_work(origin.git_directory, work, workspace.git_directory, self.to_head)

    def commit(self, name: str, content: bytes, repository: Path | None = None) -> None:
        """In the repository of the head."""
        path = (repository or self.repository) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        git(path.parent, "add", ".")
        git(path.parent, "commit", "-q", "-m", f"Add {name}")

    def left_in_transit(self) -> list[Path]:
        return [*self.root.glob("*/travel/parcels/*")]


def commit(workspace: Workspace, name: str, text: str = "x\n") -> str:
    (workspace.directory / name).write_text(text)
    git(workspace.directory, "add", name)
    git(workspace.directory, "commit", "-q", "-m", f"Add {name}")
    return git(workspace.directory, "rev-parse", "HEAD")


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    made = {}
    for name in ("head", "worker"):
        workspaces = WorktreeManager(tmp_path / name / "worktrees", ENVIRONMENT)
        made[name] = (TransferService(tmp_path / name / "travel", workspaces, Starts(), ENVIRONMENT), workspaces)
    head, worker = made["head"][0], made["worker"][0]
    return Hosts(
        repository=make_repository(tmp_path / "project"),
        head=head,
        worker=worker,
        workspaces=made["worker"][1],
        to_worker=Wire(head),
        to_head=Wire(worker),
        root=tmp_path,
    )
