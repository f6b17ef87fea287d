"""A host's interface for moving code: a remote part of the host's actor. Blocking work runs in threads.

The supervisor passes the proxy of one host's service to another host, so the two talk directly and no code passes
through the supervisor. On the repository's host: ``origin``, ``import_work``, ``drop_branch``. On a worker: ``settle``
(a worktree from what it downloads), the same for spares, ``work``. On both: ``pack``, ``piece``, ``discard``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath
from weakref import WeakValueDictionary

from actors.errors import PhalanxError, UnavailableError
from actors.git.process import GitRunner
from actors.remote import remote
from actors.starts import Starts
from actors.transfer.bundles import (
    Bundle,
    BundleStore,
    ImportResult,
    RemoteWork,
    StartPoint,
    read_from,
    size_of,
    write_at,
)
from actors.transfer.repositories import (
    Mirrors,
    apply_uncommitted,
    forget_instance_ref,
    import_commits,
    origin_again,
    origin_of,
    origin_of_spare,
    save_latest,
    tips_at_home,
    work_of,
)
from actors.worktrees.create import delete_branch
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import Workspace, instance_in, name_in
from actors.worktrees.source import SourceRepository

ASK_S = 60.0
PIECE_S = 60.0
CARRY_S = 1800.0
"""For a large repository on a slow line; each step has its instance_lock limit."""


class TransferService:
    def __init__(self, root: Path, workspaces: WorktreeManager, starts: Starts, environment: Mapping[str, str]) -> None:
        """``root``: for mirrors and bundles, private to the home. ``starts``: of the host."""
        self._git = GitRunner(environment)
        self._workspaces = workspaces
        self._starts = starts
        self._arriving = root / "parcels"
        self._bundles = BundleStore(root / "parcels", self._git)
        self._mirrors = Mirrors(root / "mirrors", self._git)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """One lock per repository or instance, kept while a call holds or awaits it."""

    @remote(timeout_s=ASK_S)
    async def origin(self, instance_id: str, work_dir: Path) -> StartPoint:
        """The start point of an instance on another host, with a new branch for it."""
        return await asyncio.to_thread(origin_of, self._git, work_dir, instance_id)

    @remote(timeout_s=ASK_S, retry=True)
    async def origin_of_spare(self, name: str, work_dir: Path) -> StartPoint:
        """The start point of a spare worktree on another host."""
        return await asyncio.to_thread(origin_of_spare, self._git, work_dir, name)

    @remote(timeout_s=ASK_S, retry=True)
    async def origin_again(self, git_directory: Path, branch: str, prefix: PurePath) -> StartPoint:
        """The start point to continue an instance elsewhere from its last imported work."""
        return await asyncio.to_thread(origin_again, self._git, git_directory, branch, prefix)

    @remote(timeout_s=PIECE_S, retry=True)
    async def file_piece(self, path: Path, offset: int) -> bytes:
        return await asyncio.to_thread(read_from, path, offset)

    @remote(timeout_s=CARRY_S, retry=True)
    async def copy_file(self, path: Path, other: TransferService, at_other: Path, *, anew: bool = False) -> None:
        """Updates ``path``, the copy of the other host's file. No-op without that file.

        ``anew``: deletes the copy first, because it is not an earlier state of the file.
        """
        if anew:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        offset = await asyncio.to_thread(size_of, path)
        while piece := await other.file_piece(at_other, offset):
            await asyncio.to_thread(write_at, path, offset, piece)
            offset += len(piece)

    @remote(timeout_s=ASK_S, retry=True)
    async def drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None:
        """Deletes an instance's branch if no commit is lost or it is still at ``made_at``; else returns why not."""
        return await asyncio.to_thread(self._drop_branch, git_directory, branch, made_at)

    def _drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None:
        repository = self._git.repository(git_directory)
        stays = delete_branch(repository, branch, made_at=made_at)
        if stays is None:
            forget_instance_ref(repository, name_in(branch))
        return stays

    @remote(timeout_s=CARRY_S, retry=True)
    async def pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Bundle:
        return await asyncio.to_thread(self._bundles.pack, git_directory, commits, haves)

    @remote(timeout_s=PIECE_S, retry=True)
    async def piece(self, bundle_id: str, offset: int) -> bytes:
        return await asyncio.to_thread(self._bundles.piece, bundle_id, offset)

    @remote(timeout_s=ASK_S)
    async def discard(self, bundle_id: str) -> None:
        if bundle_id:
            await asyncio.to_thread(self._bundles.discard, bundle_id)

    @remote(timeout_s=CARRY_S)
    async def settle(self, origin: StartPoint, home: TransferService) -> Workspace:
        """A worktree on this host. Calls for one repository share the download from ``home``."""
        source = await self._fetch(origin, home)
        make = partial(asyncio.to_thread, self._worktree, origin, source)
        if origin.directory:  # it goes on here: only a first start can be withdrawn
            return await make()
        return await self._starts.make(instance_in(name_in(origin.branch)), make)

    @remote(timeout_s=CARRY_S)
    async def settle_spare(self, name: str, origin: StartPoint, home: TransferService) -> Workspace:
        """A spare worktree on this host. The download happens now instead of when it is bound."""
        source = await self._fetch(origin, home)
        make = partial(asyncio.to_thread, self._workspaces.create_spare_from, name, source)
        return await self._starts.make(name, make)

    @remote(timeout_s=CARRY_S)
    async def bind_spare(self, spare: Workspace, origin: StartPoint, home: TransferService) -> Workspace:
        """Turns a spare into what ``settle`` would make. After a ``WorkspaceError``, discard it."""
        source = await self._fetch(origin, home)
        return await asyncio.to_thread(self._workspaces.bind_spare_from, spare, name_in(origin.branch), source)

    @remote(timeout_s=ASK_S, retry=True)
    async def bound(self, workspace: Workspace) -> str:
        """The branch that a spare of this host is bound to; empty: none, or the spare is gone."""
        return await asyncio.to_thread(self._workspaces.bound_branch, workspace)

    async def _fetch(self, origin: StartPoint, home: TransferService) -> SourceRepository:
        lock = self._locks.setdefault(origin.key, asyncio.Lock())
        async with lock:
            haves = await asyncio.to_thread(self._mirrors.tips, origin)
            lacks = not set(origin.commits) <= set(haves)
            bundle = await home.pack(origin.git_directory, origin.commits, haves) if lacks else None
            if bundle is None or not bundle.size:
                return await asyncio.to_thread(self._mirrors.take_in, origin, None)
            async with self._download(bundle, home) as path:
                return await asyncio.to_thread(self._mirrors.take_in, origin, path)

    @asynccontextmanager
    async def _download(self, bundle: Bundle, other: TransferService) -> AsyncIterator[Path]:
        """The other host's bundle as a file, until the block ends. The other host's copy is discarded in any case.

        Raises ``PhalanxError`` when it cannot be downloaded whole.
        """
        self._arriving.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._arriving / f"{secrets.token_hex(8)}.arriving"
        try:
            try:
                with path.open("xb") as file:
                    while (at := file.tell()) < bundle.size:
                        piece = await other.piece(bundle.bundle_id, at)
                        if not piece:
                            raise UnavailableError(f"A bundle ended after {at} of {bundle.size} bytes: try again.")
                        await asyncio.to_thread(file.write, piece)
            finally:
                with suppress(PhalanxError):
                    await other.discard(bundle.bundle_id)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _worktree(self, origin: StartPoint, source: SourceRepository) -> Workspace:
        made = self._workspaces.create_from(name_in(origin.branch), source, origin.directory)
        if not origin.uncommitted or made.worktree is None:
            return made
        words = apply_uncommitted(self._git, made.worktree, origin.uncommitted)
        return replace(made, notes=(*made.notes, words)) if words else made

    @remote(timeout_s=CARRY_S, retry=True)
    async def work(self, workspace: Workspace, *, uncommitted: bool) -> RemoteWork:
        """The instance's work; with ``uncommitted`` also a save of what is not committed now."""
        if uncommitted:
            await asyncio.to_thread(save_latest, self._git, self._workspaces, workspace)
        return await asyncio.to_thread(work_of, self._git, workspace)

    @remote(timeout_s=CARRY_S, retry=True)
    async def import_work(
        self, git_directory: Path, work: RemoteWork, mirror: Path, away: TransferService
    ) -> ImportResult:
        """Downloads from ``mirror`` on the host ``away`` what is missing here, and imports it.

        One call at a time per instance, and one import at a time per repository; a silent host does not delay the work
        of other hosts.
        """
        instance_lock = self._locks.setdefault(f"{git_directory} {work.name}", asyncio.Lock())
        lock = self._locks.setdefault(f"{git_directory}", asyncio.Lock())
        repository = self._git.repository(git_directory)
        async with instance_lock:
            tips = await asyncio.to_thread(tips_at_home, repository, work)
            bundle = await away.pack(mirror, work.commits, tips)
            if not bundle.size:
                async with lock:
                    return await asyncio.to_thread(import_commits, repository, work, None)
            async with self._download(bundle, away) as path, lock:
                return await asyncio.to_thread(import_commits, repository, work, path)
