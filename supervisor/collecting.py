"""Clears away what is left of instances that nobody wants any more: ``phalanx gc``.

Terminated instances whose workspace was kept are retired once more, and forgotten when nothing of them is left; so are
worktrees and directories in the home that belong to no instance. The host saves unsaved work before it removes
anything. Instances that could be resumed are never touched.
"""

from __future__ import annotations

from pathlib import Path

from actors.errors import PhalanxError
from actors.home import Home
from actors.workspace.values import Leftover
from supervisor.closing import Closing
from supervisor.ports import HostPort
from supervisor.registry import Member, Stage, worktree_names
from supervisor.results import CollectedItem
from supervisor.roll import Roll

_IN_USE = "an instance is being started, restarted or ended in it"


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
        items = []
        for member in self._roll.registry:
            if not member.record.wanted and member.record.stage is Stage.STOPPED:
                items.append(await self._instance(member, dry_run=dry_run))
        for leftover in await self._host.leftovers(self._worktrees()):
            if not self._is_taken(leftover.path.name):
                items.append(await self._leftover(leftover, dry_run=dry_run))
        for instance_id in await self._host.instance_directories():
            if instance_id not in self._roll.registry and instance_id not in self._unreadable:
                items.append(await self._directory(instance_id, dry_run=dry_run))
        return items

    def _worktrees(self) -> set[str]:
        """Names below the worktrees' root that belong to somebody."""
        return worktree_names(member.record for member in self._roll.registry) | self._unreadable

    @property
    def _unreadable(self) -> set[str]:
        return set(self._roll.unreadable.instance_ids)

    def _is_taken(self, worktree: str) -> bool:
        """Whether it belongs to somebody by now; a spawn whose id was taken gets a worktree ``<id>-<number>``."""
        return worktree in self._worktrees() or worktree.partition("-")[0] in self._roll.registry

    async def _instance(self, member: Member, *, dry_run: bool) -> CollectedItem:
        record = member.record
        worktree = record.workspace.worktree if record.workspace else None
        path = worktree or self._home.instance_directory(record.instance_id)
        item = CollectedItem(what="instance", path=str(path), instance_id=record.instance_id)
        if dry_run:
            return item
        if member.turn.locked():
            return item.model_copy(update={"kept": _IN_USE})
        async with member.turn:
            try:
                retirement = await self._closing.retire(record)
                if retirement.removed or record.workspace is None or record.workspace.worktree is None:
                    await self._host.forget_instance(record.instance_id)
                    await self._roll.remove(record.instance_id)
                    return item.model_copy(update={"saved_ref": retirement.saved_ref})
            except PhalanxError as error:
                return item.model_copy(update={"kept": str(error)})
        return item.model_copy(update={"kept": retirement.kept_reason, "saved_ref": retirement.saved_ref})

    async def _leftover(self, leftover: Leftover, *, dry_run: bool) -> CollectedItem:
        item = CollectedItem(what="worktree", path=str(leftover.path))
        if dry_run:
            return item
        try:
            retirement = await self._host.collect_leftover(leftover)
        except PhalanxError as error:
            return item.model_copy(update={"kept": str(error)})
        kept = None if retirement.removed else retirement.kept_reason
        return item.model_copy(update={"kept": kept, "saved_ref": retirement.saved_ref})

    async def _directory(self, instance_id: str, *, dry_run: bool) -> CollectedItem:
        path: Path = self._home.instance_directory(instance_id)
        if not dry_run:
            await self._host.forget_instance(instance_id)
        return CollectedItem(what="directory", path=str(path), instance_id=instance_id)
