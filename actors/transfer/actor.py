"""A host's transfer service: methods of its Ray actor, and the handle by which the supervisor and other hosts call it.

A handle travels from the supervisor to a host, so that the two hosts speak to each other and no code passes through the
supervisor. A piece goes from object store to object store.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import Any

from actors.ray_client import answer_of, answer_when_back
from actors.transfer.bundles import Bundle, ImportResult, RemoteWork, StartPoint
from actors.transfer.service import TransferService
from actors.worktrees.model import Workspace

PIECE_S = 60.0
CARRY_S = 1800.0
"""A large repository on a slow line; each step of it is bounded by itself."""
ASK_S = 60.0


class TransferServer:
    """Mixed into the actor of a host. See ``TransferService`` for what each does."""

    transfer: TransferService

    async def transfer_origin(self, instance_id: str, work_dir: Path) -> StartPoint:
        return await self.transfer.origin(instance_id, work_dir)

    async def transfer_origin_of_spare(self, name: str, work_dir: Path) -> StartPoint:
        return await self.transfer.origin_of_spare(name, work_dir)

    async def transfer_origin_again(self, git_directory: Path, branch: str, prefix: PurePath) -> StartPoint:
        return await self.transfer.origin_again(git_directory, branch, prefix)

    async def transfer_file_piece(self, path: Path, offset: int) -> bytes:
        return await self.transfer.file_piece(path, offset)

    async def transfer_copy_file(self, path: Path, other: TransferHandle, at_other: Path, *, anew: bool) -> None:
        await self.transfer.copy_file(path, other, at_other, anew=anew)

    async def transfer_drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None:
        return await self.transfer.drop_branch(git_directory, branch, made_at)

    async def transfer_pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Bundle:
        return await self.transfer.pack(git_directory, commits, haves)

    async def transfer_piece(self, bundle_id: str, offset: int) -> bytes:
        return await self.transfer.piece(bundle_id, offset)

    async def transfer_discard(self, bundle_id: str) -> None:
        await self.transfer.discard(bundle_id)

    async def transfer_settle(self, origin: StartPoint, home: TransferHandle) -> Workspace:
        return await self.transfer.settle(origin, home)

    async def transfer_settle_spare(self, name: str, origin: StartPoint, home: TransferHandle) -> Workspace:
        return await self.transfer.settle_spare(name, origin, home)

    async def transfer_bind_spare(self, spare: Workspace, origin: StartPoint, home: TransferHandle) -> Workspace:
        return await self.transfer.bind_spare(spare, origin, home)

    async def transfer_bound(self, workspace: Workspace) -> str:
        return await self.transfer.bound(workspace)

    async def transfer_work(self, workspace: Workspace, *, uncommitted: bool) -> RemoteWork:
        return await self.transfer.work(workspace, uncommitted=uncommitted)

    async def transfer_import_work(
        self, git_directory: Path, work: RemoteWork, mirror: Path, away: TransferHandle
    ) -> ImportResult:
        return await self.transfer.import_work(git_directory, work, mirror, away)


class TransferHandle:
    """What may be done twice is asked again when the host was just being restarted."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def origin(self, instance_id: str, work_dir: Path) -> StartPoint:
        made: StartPoint = await answer_of(self._actor.transfer_origin.remote(instance_id, work_dir), "The host", ASK_S)
        return made

    async def origin_of_spare(self, name: str, work_dir: Path) -> StartPoint:
        call = self._actor.transfer_origin_of_spare.remote
        made: StartPoint = await answer_when_back(lambda: call(name, work_dir), "The host", ASK_S)
        return made

    async def origin_again(self, git_directory: Path, branch: str, prefix: PurePath) -> StartPoint:
        call = self._actor.transfer_origin_again.remote
        made: StartPoint = await answer_when_back(lambda: call(git_directory, branch, prefix), "The host", ASK_S)
        return made

    async def file_piece(self, path: Path, offset: int) -> bytes:
        piece: bytes = await answer_when_back(
            lambda: self._actor.transfer_file_piece.remote(path, offset), "The host", PIECE_S
        )
        return piece

    async def copy_file(self, path: Path, other: TransferHandle, at_other: Path, *, anew: bool = False) -> None:
        call = self._actor.transfer_copy_file.remote
        await answer_when_back(lambda: call(path, other, at_other, anew=anew), "The host", CARRY_S)

    async def drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None:
        call = self._actor.transfer_drop_branch.remote
        stays: str | None = await answer_when_back(lambda: call(git_directory, branch, made_at), "The host", ASK_S)
        return stays

    async def pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Bundle:
        call = self._actor.transfer_pack.remote
        packed: Bundle = await answer_when_back(lambda: call(git_directory, commits, haves), "The host", CARRY_S)
        return packed

    async def piece(self, bundle_id: str, offset: int) -> bytes:
        piece: bytes = await answer_when_back(
            lambda: self._actor.transfer_piece.remote(bundle_id, offset), "The host", PIECE_S
        )
        return piece

    async def discard(self, bundle_id: str) -> None:
        await answer_of(self._actor.transfer_discard.remote(bundle_id), "The host", ASK_S)

    async def settle(self, origin: StartPoint, home: TransferHandle) -> Workspace:
        made: Workspace = await answer_of(self._actor.transfer_settle.remote(origin, home), "The host", CARRY_S)
        return made

    async def settle_spare(self, name: str, origin: StartPoint, home: TransferHandle) -> Workspace:
        call = self._actor.transfer_settle_spare.remote
        made: Workspace = await answer_of(call(name, origin, home), "The host", CARRY_S)
        return made

    async def bind_spare(self, spare: Workspace, origin: StartPoint, home: TransferHandle) -> Workspace:
        call = self._actor.transfer_bind_spare.remote
        bound: Workspace = await answer_of(call(spare, origin, home), "The host", CARRY_S)
        return bound

    async def bound(self, workspace: Workspace) -> str:
        return str(await answer_when_back(lambda: self._actor.transfer_bound.remote(workspace), "The host", ASK_S))

    async def work(self, workspace: Workspace, *, uncommitted: bool) -> RemoteWork:
        call = self._actor.transfer_work.remote
        found: RemoteWork = await answer_when_back(
            lambda: call(workspace, uncommitted=uncommitted), "The host", CARRY_S
        )
        return found

    async def import_work(
        self, git_directory: Path, work: RemoteWork, mirror: Path, away: TransferHandle
    ) -> ImportResult:
        call = self._actor.transfer_import_work.remote
        arrived: ImportResult = await answer_when_back(
            lambda: call(git_directory, work, mirror, away), "The host", CARRY_S
        )
        return arrived
