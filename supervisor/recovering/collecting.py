"""Clears away what is left of instances that nobody wants any more; see ``clearing_desk`` for when.

Terminated instances whose workspace was kept are retired once more, and forgotten when nothing of them is left; so are
worktrees and directories in the home that belong to no instance. The host saves unsaved work before it removes
anything. Instances that could be resumed are never touched. A dry run goes the same way, with the removals rehearsed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from actors.home import Home
from actors.worktrees.model import Leftover, Rehearsal, Retirement, Workspace
from supervisor.api.failures import told
from supervisor.api.results import CollectedItem
from supervisor.ports import HostPort
from supervisor.team.closing import Closing, where_saved
from supervisor.team.instance_record import SPARE_PREFIX
from supervisor.team.registry import Member
from supervisor.team.roll import Roll

_IN_USE = "an instance is being started, restarted or ended in it"
_CHANGED = "it was restarted or cleared away meanwhile"


class Collecting:
    """All in the supervisor's event loop."""

    def __init__(self, home: Home, roll: Roll, host: HostPort, closing: Closing) -> None:
        self._home = home
        self._roll = roll
        self._host = host
        self._closing = closing

    async def collect(self, *, dry_run: bool) -> list[CollectedItem]:
        """What went or, with ``dry_run``, would go, and what stays and why."""
        if not dry_run:
            await self._roll.confirm()
        removing: _Removing = _Rehearsing(self._host) if dry_run else _Doing(self._host, self._roll)
        items = []
        for member in self._roll.registry:
            if member.terminated:
                items.append(await self._instance(member, removing))
        for leftover in await self._host.leftovers(self._worktrees()):
            if not self._is_taken(leftover.path.name):
                items.append(await self._leftover(leftover, removing))
        for instance_id in await self._host.instance_directories():
            if instance_id not in self._places() and not self._may_be_of_unreadable(instance_id):
                items.append(await self._directory(instance_id, removing))
        return items

    async def dismiss(self, member: Member) -> CollectedItem:
        """The same with one that was terminated."""
        return await self._instance(member, _Doing(self._host, self._roll))

    def _worktrees(self) -> set[str]:
        """Names below the worktrees' root that belong to somebody."""
        return self._roll.registry.worktree_names() | self._unreadable

    def _places(self) -> set[str]:
        """Names of private directories that belong to somebody."""
        return {member.record.place for member in self._roll.registry.everyone()}

    @property
    def _unreadable(self) -> set[str]:
        return set(self._roll.unreadable.instance_ids)

    def _is_taken(self, worktree: str) -> bool:
        """Whether it belongs to somebody by now; a spawn whose id was taken gets a worktree ``<id>-<number>``."""
        taken = worktree in self._worktrees() or worktree.partition("-")[0] in self._roll.registry
        return taken or self._may_be_of_unreadable(worktree)

    def _may_be_of_unreadable(self, name: str) -> bool:
        """An instance whose record cannot be read may have been a spare: what it has is named after that."""
        return name in self._unreadable or (bool(self._unreadable) and name.startswith(SPARE_PREFIX))

    async def _instance(self, member: Member, removing: _Removing) -> CollectedItem:
        record = member.record
        worktree = record.workspace.worktree if record.workspace else None
        path = worktree or self._home.instance_directory(record.place)
        host = record.host if record.elsewhere else None
        item = CollectedItem(what="instance", path=str(path), host=host, instance_id=record.instance_id)
        if member.turn.locked():
            return item.model_copy(update={"kept": _IN_USE})
        async with member.turn:
            if not member.terminated or record.instance_id not in self._roll.registry:
                return item.model_copy(update={"kept": _CHANGED})
            try:
                retirement = await self._closing.retire(record, removing.workspace)
                goes = retirement.removed or record.workspace is None or record.workspace.worktree is None
                if goes:
                    await removing.directory(record.place)
                    await removing.record(record.instance_id)
            except Exception as error:  # noqa: BLE001 - told and logged
                return _not_cleared(item, error)
        kept = None if goes else retirement.kept_reason
        saved = {"saved_ref": retirement.saved_ref, "repository": where_saved(record, retirement)}
        return item.model_copy(update={"kept": kept, **saved})

    async def _leftover(self, leftover: Leftover, removing: _Removing) -> CollectedItem:
        item = CollectedItem(what="worktree", path=str(leftover.path), host=leftover.host or None)
        try:
            retirement = await removing.leftover(leftover)
        except Exception as error:  # noqa: BLE001 - told and logged
            return _not_cleared(item, error)
        kept = None if retirement.removed else retirement.kept_reason
        saved_in = str(leftover.git_directory) if retirement.saved_ref and leftover.git_directory else None
        return item.model_copy(update={"kept": kept, "saved_ref": retirement.saved_ref, "repository": saved_in})

    async def _directory(self, instance_id: str, removing: _Removing) -> CollectedItem:
        path: Path = self._home.instance_directory(instance_id)
        item = CollectedItem(what="directory", path=str(path), instance_id=instance_id)
        try:
            await removing.directory(instance_id)
        except Exception as error:  # noqa: BLE001 - told and logged
            return _not_cleared(item, error)
        return item


def _not_cleared(item: CollectedItem, error: Exception) -> CollectedItem:
    return item.model_copy(update={"kept": told(error, f"Clearing away {item.path}")["message"]})


class _Removing(Protocol):
    """What one run removes with: the run itself is the same, whether it does so or only rehearses it."""

    async def workspace(self, workspace: Workspace) -> Retirement: ...
    async def leftover(self, leftover: Leftover) -> Retirement: ...
    async def directory(self, instance_id: str) -> None: ...
    async def record(self, instance_id: str) -> None: ...


class _Doing:
    def __init__(self, host: HostPort, roll: Roll) -> None:
        self.workspace = host.retire_workspace
        self.leftover = host.collect_leftover
        self.directory = host.forget_instance
        self.record = roll.dismiss


class _Rehearsing:
    """Foresees each removal on the host, knowing those before it."""

    def __init__(self, host: HostPort) -> None:
        self._host = host
        self._before = Rehearsal()

    async def workspace(self, workspace: Workspace) -> Retirement:
        return await self._foresee(workspace)

    async def leftover(self, leftover: Leftover) -> Retirement:
        return await self._foresee(leftover)

    async def _foresee(self, what: Workspace | Leftover) -> Retirement:
        retirement, self._before = await self._host.rehearse_removal(what, self._before)
        return retirement

    async def directory(self, instance_id: str) -> None:
        """It would go."""

    async def record(self, instance_id: str) -> None:
        """It would go."""
