"""The door of a host's depot: methods of its Ray actor, and the handle by which the supervisor and other hosts call it.

A handle travels from the supervisor to a host, so that the two hosts speak to each other and no code passes through the
supervisor. A piece goes from object store to object store.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import Any

from actors.ray_client import answer_of, answer_when_back
from actors.transfer.bundles import Arrival, Origin, Parcel, Work
from actors.transfer.service import Depot
from actors.worktrees.model import Workspace

PIECE_S = 60.0
CARRY_S = 1800.0
"""A large repository on a slow line; each step of it is bounded by itself."""
ASK_S = 60.0


class DepotServer:
    """Mixed into the actor of a host. See ``Depot`` for what each does."""

    depot: Depot

    async def depot_origin(self, instance_id: str, work_dir: Path) -> Origin:
        return await self.depot.origin(instance_id, work_dir)

    async def depot_origin_of_spare(self, name: str, work_dir: Path) -> Origin:
        return await self.depot.origin_of_spare(name, work_dir)

    async def depot_origin_again(self, git_directory: Path, branch: str, prefix: PurePath) -> Origin:
        return await self.depot.origin_again(git_directory, branch, prefix)

    async def depot_file_piece(self, path: Path, offset: int) -> bytes:
        return await self.depot.file_piece(path, offset)

    async def depot_copy_file(self, path: Path, other: DepotHandle, at_other: Path, *, anew: bool) -> None:
        await self.depot.copy_file(path, other, at_other, anew=anew)

    async def depot_drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None:
        return await self.depot.drop_branch(git_directory, branch, made_at)

    async def depot_pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Parcel:
        return await self.depot.pack(git_directory, commits, haves)

    async def depot_piece(self, parcel_id: str, offset: int) -> bytes:
        return await self.depot.piece(parcel_id, offset)

    async def depot_discard(self, parcel_id: str) -> None:
        await self.depot.discard(parcel_id)

    async def depot_settle(self, origin: Origin, home: DepotHandle) -> Workspace:
        return await self.depot.settle(origin, home)

    async def depot_settle_spare(self, name: str, origin: Origin, home: DepotHandle) -> Workspace:
        return await self.depot.settle_spare(name, origin, home)

    async def depot_bind_spare(self, spare: Workspace, origin: Origin, home: DepotHandle) -> Workspace:
        return await self.depot.bind_spare(spare, origin, home)

    async def depot_bound(self, workspace: Workspace) -> str:
        return await self.depot.bound(workspace)

    async def depot_work(self, workspace: Workspace, *, uncommitted: bool) -> Work:
        return await self.depot.work(workspace, uncommitted=uncommitted)

    async def depot_come_home(self, git_directory: Path, work: Work, mirror: Path, away: DepotHandle) -> Arrival:
        return await self.depot.come_home(git_directory, work, mirror, away)


class DepotHandle:
    """What may be done twice is asked again when the host was just being restarted."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def origin(self, instance_id: str, work_dir: Path) -> Origin:
        made: Origin = await answer_of(self._actor.depot_origin.remote(instance_id, work_dir), "The host", ASK_S)
        return made

    async def origin_of_spare(self, name: str, work_dir: Path) -> Origin:
        call = self._actor.depot_origin_of_spare.remote
        made: Origin = await answer_when_back(lambda: call(name, work_dir), "The host", ASK_S)
        return made

    async def origin_again(self, git_directory: Path, branch: str, prefix: PurePath) -> Origin:
        call = self._actor.depot_origin_again.remote
        made: Origin = await answer_when_back(lambda: call(git_directory, branch, prefix), "The host", ASK_S)
        return made

    async def file_piece(self, path: Path, offset: int) -> bytes:
        piece: bytes = await answer_when_back(
            lambda: self._actor.depot_file_piece.remote(path, offset), "The host", PIECE_S
        )
        return piece

    async def copy_file(self, path: Path, other: DepotHandle, at_other: Path, *, anew: bool = False) -> None:
        call = self._actor.depot_copy_file.remote
        await answer_when_back(lambda: call(path, other, at_other, anew=anew), "The host", CARRY_S)

    async def drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None:
        call = self._actor.depot_drop_branch.remote
        stays: str | None = await answer_when_back(lambda: call(git_directory, branch, made_at), "The host", ASK_S)
        return stays

    async def pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Parcel:
        call = self._actor.depot_pack.remote
        packed: Parcel = await answer_when_back(lambda: call(git_directory, commits, haves), "The host", CARRY_S)
        return packed

    async def piece(self, parcel_id: str, offset: int) -> bytes:
        piece: bytes = await answer_when_back(
            lambda: self._actor.depot_piece.remote(parcel_id, offset), "The host", PIECE_S
        )
        return piece

    async def discard(self, parcel_id: str) -> None:
        await answer_of(self._actor.depot_discard.remote(parcel_id), "The host", ASK_S)

    async def settle(self, origin: Origin, home: DepotHandle) -> Workspace:
        made: Workspace = await answer_of(self._actor.depot_settle.remote(origin, home), "The host", CARRY_S)
        return made

    async def settle_spare(self, name: str, origin: Origin, home: DepotHandle) -> Workspace:
        call = self._actor.depot_settle_spare.remote
        made: Workspace = await answer_of(call(name, origin, home), "The host", CARRY_S)
        return made

    async def bind_spare(self, spare: Workspace, origin: Origin, home: DepotHandle) -> Workspace:
        call = self._actor.depot_bind_spare.remote
        bound: Workspace = await answer_of(call(spare, origin, home), "The host", CARRY_S)
        return bound

    async def bound(self, workspace: Workspace) -> str:
        return str(await answer_when_back(lambda: self._actor.depot_bound.remote(workspace), "The host", ASK_S))

    async def work(self, workspace: Workspace, *, uncommitted: bool) -> Work:
        call = self._actor.depot_work.remote
        found: Work = await answer_when_back(lambda: call(workspace, uncommitted=uncommitted), "The host", CARRY_S)
        return found

    async def come_home(self, git_directory: Path, work: Work, mirror: Path, away: DepotHandle) -> Arrival:
        call = self._actor.depot_come_home.remote
        arrived: Arrival = await answer_when_back(lambda: call(git_directory, work, mirror, away), "The host", CARRY_S)
        return arrived
