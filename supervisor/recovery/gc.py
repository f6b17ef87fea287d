"""Clears away what terminated instances have left: at the verb ``gc``, and by itself after a while.

``GarbageCollector`` makes a plan, which is shown (dry run) or carried out. It retires terminated instances whose
workspace was kept once more, and forgets them when nothing of them is left. It removes worktrees and directories of the
home that belong to no instance. The host saves unsaved work before it removes anything. Instances that could be resumed
are never touched.

``GcService`` does the same by itself with instances that were terminated a day ago, and with the oldest beyond two
hundred. What has to stay is tried again later. Until then they can be read.

Who leads goes after all that it leads: those below would count for nobody any more, and nobody would be told of them.

All of it runs in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import TaskSet, every
from actors.errors import FencedError, PhalanxError
from actors.home import Home
from actors.host.host import Host
from actors.worktrees.model import OrphanWorktree, RemovalResult, Workspace
from supervisor.api import requests, results
from supervisor.api.results import CollectedItem, public_error
from supervisor.api.verbs import Caller, Handler
from supervisor.team.lifecycle import Lifecycle, where_saved
from supervisor.team.registry import InstanceRecord, Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)
KEPT_S = 86_400.0
KEPT = 200
EVERY_S = 600.0
_RETRY = Backoff(first_s=3600.0, longest_s=86_400.0)
_MOST_NAMED = 5
_IN_USE = "an instance is being started, restarted or ended in it"
_CHANGED = "it was restarted or cleared away meanwhile"


class GcService:
    """A ``VerbService``."""

    def __init__(self, team: Team, collector: GarbageCollector) -> None:
        self._team = team
        self._collector = collector
        self._tries = RetrySchedule[str](_RETRY)
        self._work = TaskSet("clear away instances that were terminated long ago")

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"gc": self.gc}

    async def begin(self) -> None:
        self._work.begin(every(EVERY_S, self._clear, "instances terminated long ago are not cleared away now"))

    async def end(self) -> None:
        await self._work.end()

    async def gc(self, request: requests.GcRequest, caller: Caller) -> results.GcResult:
        plan = await self._collector.plan()
        items = await (self._collector.preview(plan) if request.dry_run else self._collector.carry_out(plan))
        return results.GcResult(dry_run=request.dry_run, items=items)

    async def _clear(self) -> None:
        for member in self._due():
            if self._team.registry.children(member.record.instance_id):
                continue
            try:
                await self._dismiss(member)
            except FencedError:
                raise
            except PhalanxError as error:
                logger.warning("%s cannot be cleared away now: %s", member.record.instance_id, error)

    def _due(self) -> Sequence[Member]:
        """Instances terminated a day ago, or before two hundred others; those below first, then the oldest."""
        terminated = [member for member in self._team.registry if member.terminated and not member.turn.locked()]
        terminated.sort(key=lambda member: member.record.ended_at)
        latest, surplus, now = time.time() - KEPT_S, len(terminated) - KEPT, asyncio.get_running_loop().time()
        due = [
            member
            for number, member in enumerate(terminated)
            if (number < surplus or member.record.ended_at < latest) and self._tries.may(member.record.instance_id, now)
        ]
        return sorted(due, key=self._collector.level, reverse=True)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class GcStep:
    """One thing to clear away, and how it is reported."""

    item: CollectedItem
    what: Member | OrphanWorktree | str
    """A terminated instance, an orphan worktree, or the id of an instance of which only its directory is left."""


class GarbageCollector:
    def __init__(self, home: Home, team: Team, host: Host, lifecycle: Lifecycle) -> None:
        self._home = home
        self._team = team
        self._host = host
        self._lifecycle = lifecycle

    async def plan(self) -> list[GcStep]:
        """What terminated instances have left, in the order in which it is cleared away."""
        terminated = [member for member in self._team.registry if member.terminated]
        steps = [self._step(member) for member in sorted(terminated, key=self.level, reverse=True)]
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

    def level(self, member: Member) -> int:
        """How many are above it."""
        return sum(1 for _ in self._team.registry.line(member.record.parent_id))

    async def preview(self, plan: Sequence[GcStep]) -> list[CollectedItem]:
        """What ``carry_out`` would report now. Changes nothing."""
        items: dict[int, CollectedItem] = {}
        asked: dict[int, Workspace | OrphanWorktree] = {}
        for number, step in enumerate(plan):
            match step.what:
                case Member() as member if member.turn.locked():
                    items[number] = step.item.model_copy(update={"kept": _IN_USE})
                case Member() as member if stays := self._lifecycle.stays(member.record):
                    items[number] = _reported(step, stays)
                case Member(record=InstanceRecord(workspace=Workspace() as workspace)):
                    asked[number] = workspace
                case OrphanWorktree() as orphan:
                    asked[number] = orphan
                case _:
                    items[number] = step.item
        for number, removal in zip(asked, await self._planned(list(asked.values())), strict=True):
            step = plan[number]
            if isinstance(removal, Exception):
                items[number] = _not_cleared(step.item, removal)
            else:
                items[number] = _reported(step, removal)
        return self._with_needed(plan, [items[number] for number in range(len(plan))])

    def _with_needed(self, plan: Sequence[GcStep], items: Sequence[CollectedItem]) -> list[CollectedItem]:
        """Who leads somebody that stays, stays too."""
        gone: set[str] = set()
        judged = []
        for step, item in zip(plan, items, strict=True):
            is_free = isinstance(step.what, Member) and not step.what.turn.locked()
            why = self._why_needed(item.instance_id or "", gone) if is_free else ""
            kept = {"kept": why, "saved_ref": None, "repository": None}
            judged.append(item.model_copy(update=kept) if why else item)
            if judged[-1].kept is None and item.instance_id is not None:
                gone.add(item.instance_id)
        return judged

    def _why_needed(self, instance_id: str, gone: Collection[str] = ()) -> str:
        """Who below it stays, in words; empty when nobody does. ``gone``: who will have left by then."""
        below = [each.record.instance_id for each in self._team.registry.children(instance_id)]
        stay = [each for each in below if each not in gone]
        return f"it leads {', '.join(stay[:_MOST_NAMED])}, not cleared away so far" if stay else ""

    async def _planned(self, asked: Sequence[Workspace | OrphanWorktree]) -> Sequence[RemovalResult | Exception]:
        try:
            return await self._host.plan_removals(asked) if asked else ()
        except Exception as error:  # noqa: BLE001 - told and logged for each
            return [error] * len(asked)

    async def carry_out(self, plan: Sequence[GcStep]) -> list[CollectedItem]:
        """What went, and what stays and why. Each step checks again that what it removes is still unwanted."""
        await self._team.confirm()
        return [await self._carry_out(step) for step in plan]

    async def dismiss(self, member: Member) -> CollectedItem:
        """Clears away one terminated instance."""
        return await self._carry_out(self._step(member))

    def _step(self, member: Member) -> GcStep:
        record = member.record
        worktree = record.workspace.worktree if record.workspace else None
        # Most have no worktree any more: it went when they were terminated.
        if worktree is None or not (record.elsewhere or worktree.exists()):
            path = self._home.instance_directory(record.place)
        else:
            path = worktree
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
                    return _reported(step, await self._host.remove_orphan(orphan))
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
            if why := self._why_needed(record.instance_id):
                return item.model_copy(update={"kept": why})
            removal = await self._lifecycle.retire(record)
            if _goes(record, removal):
                await self._host.forget_instance(record.place)
                await self._team.dismiss(record.instance_id)
        return _reported(GcStep(item=item, what=member), removal)

    def _worktrees(self) -> set[str]:
        """Names below the worktrees' root that belong to an instance, or may."""
        return self._team.registry.worktree_names() | {*self._team.unreadable.instance_ids}

    def _has_place(self, name: str) -> bool:
        """Whether a private directory belongs, or may belong, to an instance."""
        places = {member.record.place for member in self._team.registry.everyone()}
        return name in places or self._team.unreadable.may_have(name)

    def _is_taken(self, worktree: str) -> bool:
        """Whether it belongs to an instance by now. A spawn whose id was taken gets a worktree ``<id>-<number>``."""
        taken = worktree in self._worktrees() or worktree.partition("-")[0] in self._team.registry
        return taken or self._team.unreadable.may_have(worktree)


def _reported(step: GcStep, removal: RemovalResult) -> CollectedItem:
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
    """Whether the instance can be forgotten."""
    return removal.removed or record.workspace is None or record.workspace.worktree is None


def _not_cleared(item: CollectedItem, error: Exception) -> CollectedItem:
    return item.model_copy(update={"kept": str(public_error(error, f"Clearing away {item.path}"))})
