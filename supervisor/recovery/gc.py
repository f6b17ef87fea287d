"""Clearing away what terminated instances have left.

Clears away what is left of instances that nobody wants any more; see ``GcService`` for when.

Terminated instances whose workspace was kept are retired once more, and forgotten when nothing of them is left; so are
worktrees and directories in the home that belong to no instance. The host saves unsaved work before it removes
anything. Instances that could be resumed are never touched. A plan of all that is shown (a dry run) or carried out.

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
from dataclasses import dataclass
from pathlib import Path

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import TaskSet, every
from actors.errors import FencedError, PhalanxError
from actors.home import Home
from actors.host.host import Host
from actors.worktrees.model import OrphanWorktree, RemovalResult, Workspace
from supervisor.api import requests, results
from supervisor.api.failures import told
from supervisor.api.results import CollectedItem
from supervisor.api.verbs import Caller, Handler
from supervisor.team.instance import SPARE_PREFIX
from supervisor.team.lifecycle import Lifecycle, where_saved
from supervisor.team.registry import InstanceRecord, Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

_IN_USE = "an instance is being started, restarted or ended in it"
_CHANGED = "it was restarted or cleared away meanwhile"


@dataclass(frozen=True, slots=True, kw_only=True)
class GcStep:
    """One thing that nobody wants any more, and how it is told of."""

    item: CollectedItem
    what: Member | OrphanWorktree | str
    """A terminated instance, a worktree of nobody, or the id of an instance of which only its directory is left."""


class GarbageCollector:
    """All in the supervisor's event loop."""

    def __init__(self, home: Home, team: Team, host: Host, lifecycle: Lifecycle) -> None:
        self._home = home
        self._team = team
        self._host = host
        self._lifecycle = lifecycle

    async def plan(self) -> list[GcStep]:
        """What is left of instances that nobody wants any more, in the order in which it is to go."""
        steps = [self._step(member) for member in self._team.registry if member.terminated]
        for orphan in await self._host.orphans(self._worktrees()):
            if not self._is_taken(orphan.path.name):
                item = CollectedItem(what="worktree", path=str(orphan.path), host=orphan.host or None)
                steps.append(GcStep(item=item, what=orphan))
        for instance_id in await self._host.instance_directories():
            if not self._has_place(instance_id):
                path = self._home.instance_directory(instance_id)
                item = CollectedItem(what="directory", path=str(path), instance_id=instance_id)
                steps.append(GcStep(item=item, what=instance_id))
        return steps

    async def preview(self, plan: Sequence[GcStep]) -> list[CollectedItem]:
        """What ``carry_out`` of the plan would tell now. Changes nothing."""
        items: dict[int, CollectedItem] = {}
        asked: dict[int, Workspace | OrphanWorktree] = {}
        for number, step in enumerate(plan):
            match step.what:
                case Member() as member if member.turn.locked():
                    items[number] = step.item.model_copy(update={"kept": _IN_USE})
                case Member() as member if stays := self._lifecycle.stays(member.record):
                    items[number] = _told(step, stays)
                case Member(record=InstanceRecord(workspace=Workspace() as workspace)):
                    asked[number] = workspace
                case OrphanWorktree() as orphan:
                    asked[number] = orphan
                case _:
                    items[number] = step.item
        for number, removal in zip(asked, await self._planned(list(asked.values())), strict=True):
            step = plan[number]
            items[number] = _not_cleared(step.item, removal) if isinstance(removal, Exception) else _told(step, removal)
        return [items[number] for number in range(len(plan))]

    async def _planned(self, asked: Sequence[Workspace | OrphanWorktree]) -> Sequence[RemovalResult | Exception]:
        try:
            return await self._host.plan_removals(asked) if asked else ()
        except Exception as error:  # noqa: BLE001 - told and logged for each
            return [error] * len(asked)

    async def carry_out(self, plan: Sequence[GcStep]) -> list[CollectedItem]:
        """What went, and what stays and why: each step looks again whether what it removes is still unwanted."""
        await self._team.confirm()
        return [await self._carry_out(step) for step in plan]

    async def dismiss(self, member: Member) -> CollectedItem:
        """The same with one that was terminated."""
        return await self._carry_out(self._step(member))

    def _step(self, member: Member) -> GcStep:
        record = member.record
        worktree = record.workspace.worktree if record.workspace else None
        path = worktree or self._home.instance_directory(record.place)
        host = record.host if record.elsewhere else None
        item = CollectedItem(what="instance", path=str(path), host=host, instance_id=record.instance_id)
        return GcStep(item=item, what=member)

    async def _carry_out(self, step: GcStep) -> CollectedItem:
        try:
            match step.what:
                case Member() as member:
                    return await self._clear_instance(member, step.item)
                case OrphanWorktree() as orphan:
                    if self._is_taken(orphan.path.name):
                        return step.item.model_copy(update={"kept": _CHANGED})
                    return _told(step, await self._host.remove_orphan(orphan))
                case str() as instance_id:
                    if self._has_place(instance_id):
                        return step.item.model_copy(update={"kept": _CHANGED})
                    await self._host.forget_instance(instance_id)
                    return step.item
        except Exception as error:  # noqa: BLE001 - told and logged
            return _not_cleared(step.item, error)

    async def _clear_instance(self, member: Member, item: CollectedItem) -> CollectedItem:
        record = member.record
        if member.turn.locked():
            return item.model_copy(update={"kept": _IN_USE})
        async with member.turn:
            if not member.terminated or record.instance_id not in self._team.registry:
                return item.model_copy(update={"kept": _CHANGED})
            removal = await self._lifecycle.retire(record)
            if _goes(record, removal):
                await self._host.forget_instance(record.place)
                await self._team.dismiss(record.instance_id)
        return _told(GcStep(item=item, what=member), removal)

    def _worktrees(self) -> set[str]:
        """Names below the worktrees' root that belong to somebody."""
        return self._team.registry.worktree_names() | self._unreadable

    def _has_place(self, name: str) -> bool:
        """Whether a private directory belongs, or may belong, to somebody."""
        places = {member.record.place for member in self._team.registry.everyone()}
        return name in places or self._may_be_of_unreadable(name)

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


def _told(step: GcStep, removal: RemovalResult) -> CollectedItem:
    match step.what:
        case Member() as member:
            goes, repository = _goes(member.record, removal), where_saved(member.record, removal)
        case OrphanWorktree(git_directory=Path() as git_directory) if removal.saved_ref:
            goes, repository = removal.removed, str(git_directory)
        case _:
            goes, repository = removal.removed, None
    kept = None if goes else removal.kept_reason
    return step.item.model_copy(update={"kept": kept, "saved_ref": removal.saved_ref, "repository": repository})


def _goes(record: InstanceRecord, removal: RemovalResult) -> bool:
    """Whether nothing is left in the way of forgetting the instance."""
    return removal.removed or record.workspace is None or record.workspace.worktree is None


def _not_cleared(item: CollectedItem, error: Exception) -> CollectedItem:
    return item.model_copy(update={"kept": told(error, f"Clearing away {item.path}")["message"]})


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
        plan = await self._collector.plan()
        items = await (self._collector.preview(plan) if request.dry_run else self._collector.carry_out(plan))
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
