"""Clearing away what terminated instances have left.

Clears away what is left of instances that nobody wants any more; see ``GcService`` for when.

Terminated instances whose workspace was kept are retired once more, and forgotten when nothing of them is left; so are
worktrees and directories in the home that belong to no instance. The host saves unsaved work before it removes
anything. Instances that could be resumed are never touched. A dry run goes the same way, with the removals rehearsed.

Clears away what terminated instances have left: when a person asks (``gc``), and by itself after a while.

By itself goes who was terminated a day ago, and of more than two hundred those that were terminated first, unless those
that they led live: their records and private directories, and their worktrees as far as nothing in them would be lost.
What stays for a reason is tried again later. Until then they can be read like others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import TaskSet, every
from actors.errors import FencedError, PhalanxError
from actors.home import Home
from actors.worktrees.model import DryRun, OrphanWorktree, RemovalResult, Workspace
from supervisor.api import requests, results
from supervisor.api.failures import told
from supervisor.api.results import CollectedItem
from supervisor.api.verbs import Caller, Handler
from supervisor.ports import HostPort
from supervisor.team.instance import SPARE_PREFIX
from supervisor.team.lifecycle import Lifecycle, where_saved
from supervisor.team.registry import Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

_IN_USE = "an instance is being started, restarted or ended in it"
_CHANGED = "it was restarted or cleared away meanwhile"


class GarbageCollector:
    """All in the supervisor's event loop."""

    def __init__(self, home: Home, team: Team, host: HostPort, lifecycle: Lifecycle) -> None:
        self._home = home
        self._team = team
        self._host = host
        self._lifecycle = lifecycle

    async def collect(self, *, dry_run: bool) -> list[CollectedItem]:
        """What went or, with ``dry_run``, would go, and what stays and why."""
        if not dry_run:
            await self._team.confirm()
        removing: _Remover = _DryRunRemover(self._host) if dry_run else _RealRemover(self._host, self._team)
        items = []
        for member in self._team.registry:
            if member.terminated:
                items.append(await self._instance(member, removing))
        for orphan in await self._host.orphans(self._worktrees()):
            if not self._is_taken(orphan.path.name):
                items.append(await self._orphan(orphan, removing))
        for instance_id in await self._host.instance_directories():
            if instance_id not in self._places() and not self._may_be_of_unreadable(instance_id):
                items.append(await self._directory(instance_id, removing))
        return items

    async def dismiss(self, member: Member) -> CollectedItem:
        """The same with one that was terminated."""
        return await self._instance(member, _RealRemover(self._host, self._team))

    def _worktrees(self) -> set[str]:
        """Names below the worktrees' root that belong to somebody."""
        return self._team.registry.worktree_names() | self._unreadable

    def _places(self) -> set[str]:
        """Names of private directories that belong to somebody."""
        return {member.record.place for member in self._team.registry.everyone()}

    @property
    def _unreadable(self) -> set[str]:
        return set(self._team.unreadable.instance_ids)

    def _is_taken(self, worktree: str) -> bool:
        """Whether it belongs to somebody by now; a spawn whose id was taken gets a worktree ``<id>-<number>``."""
        taken = worktree in self._worktrees() or worktree.partition("-")[0] in self._team.registry
        return taken or self._may_be_of_unreadable(worktree)

    def _may_be_of_unreadable(self, name: str) -> bool:
        """An instance whose record cannot be read may have been a spare: what it has is named after that."""
        return name in self._unreadable or (bool(self._unreadable) and name.startswith(SPARE_PREFIX))

    async def _instance(self, member: Member, removing: _Remover) -> CollectedItem:
        record = member.record
        worktree = record.workspace.worktree if record.workspace else None
        path = worktree or self._home.instance_directory(record.place)
        host = record.host if record.elsewhere else None
        item = CollectedItem(what="instance", path=str(path), host=host, instance_id=record.instance_id)
        if member.turn.locked():
            return item.model_copy(update={"kept": _IN_USE})
        async with member.turn:
            if not member.terminated or record.instance_id not in self._team.registry:
                return item.model_copy(update={"kept": _CHANGED})
            try:
                removal = await self._lifecycle.retire(record, removing.workspace)
                goes = removal.removed or record.workspace is None or record.workspace.worktree is None
                if goes:
                    await removing.directory(record.place)
                    await removing.record(record.instance_id)
            except Exception as error:  # noqa: BLE001 - told and logged
                return _not_cleared(item, error)
        kept = None if goes else removal.kept_reason
        saved = {"saved_ref": removal.saved_ref, "repository": where_saved(record, removal)}
        return item.model_copy(update={"kept": kept, **saved})

    async def _orphan(self, orphan: OrphanWorktree, removing: _Remover) -> CollectedItem:
        item = CollectedItem(what="worktree", path=str(orphan.path), host=orphan.host or None)
        try:
            removal = await removing.orphan(orphan)
        except Exception as error:  # noqa: BLE001 - told and logged
            return _not_cleared(item, error)
        kept = None if removal.removed else removal.kept_reason
        saved_in = str(orphan.git_directory) if removal.saved_ref and orphan.git_directory else None
        return item.model_copy(update={"kept": kept, "saved_ref": removal.saved_ref, "repository": saved_in})

    async def _directory(self, instance_id: str, removing: _Remover) -> CollectedItem:
        path: Path = self._home.instance_directory(instance_id)
        item = CollectedItem(what="directory", path=str(path), instance_id=instance_id)
        try:
            await removing.directory(instance_id)
        except Exception as error:  # noqa: BLE001 - told and logged
            return _not_cleared(item, error)
        return item


def _not_cleared(item: CollectedItem, error: Exception) -> CollectedItem:
    return item.model_copy(update={"kept": told(error, f"Clearing away {item.path}")["message"]})


class _Remover(Protocol):
    """What one run removes with: the run itself is the same, whether it does so or only rehearses it."""

    async def workspace(self, workspace: Workspace) -> RemovalResult: ...
    async def orphan(self, orphan: OrphanWorktree) -> RemovalResult: ...
    async def directory(self, instance_id: str) -> None: ...
    async def record(self, instance_id: str) -> None: ...


class _RealRemover:
    def __init__(self, host: HostPort, team: Team) -> None:
        self.workspace = host.retire_workspace
        self.orphan = host.remove_orphan
        self.directory = host.forget_instance
        self.record = team.dismiss


class _DryRunRemover:
    """Foresees each removal on the host, knowing those before it."""

    def __init__(self, host: HostPort) -> None:
        self._host = host
        self._before = DryRun()

    async def workspace(self, workspace: Workspace) -> RemovalResult:
        return await self._foresee(workspace)

    async def orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        return await self._foresee(orphan)

    async def _foresee(self, what: Workspace | OrphanWorktree) -> RemovalResult:
        removal, self._before = await self._host.preview_removal(what, self._before)
        return removal

    async def directory(self, instance_id: str) -> None:
        """It would go."""

    async def record(self, instance_id: str) -> None:
        """It would go."""


KEPT_S = 86_400.0
KEPT = 200
EVERY_S = 600.0
_AGAIN = Backoff(first_s=3600.0, longest_s=86_400.0)


class GcService:
    """A ``VerbService``. All in the supervisor's event loop."""

    def __init__(self, team: Team, collector: GarbageCollector) -> None:
        self._team = team
        self._collector = collector
        self._tries = RetrySchedule[str](_AGAIN)
        self._work = TaskSet("clear away who was terminated long ago")

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"gc": self.gc}

    async def begin(self) -> None:
        self._work.begin(every(EVERY_S, self._clear, "who was terminated long ago is not cleared away now"))

    async def end(self) -> None:
        await self._work.end()

    async def gc(self, request: requests.GcRequest, caller: Caller) -> results.GcResult:
        items = await self._collector.collect(dry_run=request.dry_run)
        return results.GcResult(dry_run=request.dry_run, items=items)

    async def _clear(self) -> None:
        for member in self._due():
            try:
                await self._dismiss(member)
            except FencedError:
                raise
            except PhalanxError as error:
                logger.warning("%s cannot be cleared away now: %s", member.record.instance_id, error)

    def _due(self) -> Sequence[Member]:
        """Who was terminated long ago, or before many others; first who was so first."""
        stopped = sorted(filter(_is_stopped, self._team.registry), key=lambda member: member.record.ended_at)
        late, many, now = time.time() - KEPT_S, len(stopped) - KEPT, asyncio.get_running_loop().time()
        return [
            member
            for number, member in enumerate(stopped)
            if (number < many or member.record.ended_at < late)
            and self._tries.may(member.record.instance_id, now)
            and not any(below.alive for below in self._team.registry.children(member.record.instance_id))
        ]

    async def _dismiss(self, member: Member) -> None:
        instance_id = member.record.instance_id
        await self._team.confirm()
        item = await self._collector.dismiss(member)
        if item.kept and instance_id in self._team.registry:
            self._tries.failed(instance_id, asyncio.get_running_loop().time())
            logger.info("%s, which was terminated, stays for now: %s", instance_id, item.kept)
            return
        self._tries.worked(instance_id)
        saved = f"; its work is in {item.saved_ref} of {item.repository}" if item.saved_ref else ""
        logger.info("%s, which was terminated, is cleared away%s", instance_id, saved)


def _is_stopped(member: Member) -> bool:
    return member.terminated and not member.turn.locked()
