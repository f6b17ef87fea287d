"""Moves instances between hosts and brings their work home; only in a cluster.

``ClusterService`` begins and ends three loops: ``Failover`` (lost hosts), ``Drainer`` (drained hosts) and ``WorkSync``
(work of other hosts). All belong to the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import TaskSet, every
from actors.errors import PhalanxError, UnknownInstanceError, WorkspaceError
from actors.instance.reports import InstanceSnapshot
from actors.status import IDLE, TYPABLE, Status
from actors.worktrees.model import Workspace
from supervisor.cluster.router import HostRouter
from supervisor.cluster.scheduler import HostScheduler, Placement, PlacementCancelledError, PlacementRequest
from supervisor.ports import InstanceFactory
from supervisor.team.adoption import Adopter
from supervisor.team.lifecycle import END_GRACE_S, Lifecycle
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

_FAILOVER_LOOK_S = 2.0
_DRAIN_LOOK_S = 1.0
_SYNC_LOOK_S = 1.0
_AT_ONCE = 4
"""Moves that run at the same time."""
_AGAIN = Backoff(first_s=15.0, longest_s=15.0)
_ASK_S = 5.0
_WHY_NOT_YET = {
    Status.BUSY: "is at work: it goes when its turn is done",
    Status.WAITING_PERMISSION: "waits for permission: answer it, or terminate it",
    Status.WAITING_INPUT: "waits for somebody at its terminal: answer it, or terminate it",
    Status.STARTING: "is just being started",
}


class Relocation(ABC):
    """Moves instances to other hosts, each in a task of its own. A move that fails is tried again after a pause."""

    def __init__(
        self,
        team: Team,
        scheduler: HostScheduler,
        hosts: HostRouter,
        factory: InstanceFactory,
        lifecycle: Lifecycle,
    ) -> None:
        self._team = team
        self._scheduler = scheduler
        self._hosts = hosts
        self._factory = factory
        self._lifecycle = lifecycle
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._tries = RetrySchedule[str](_AGAIN)
        self._work = TaskSet("move instances between hosts")
        self._moving: set[str] = set()
        self._waiting: dict[str, str] = {}
        """The host that it waits for, in words, by instance."""
        self._troubles: dict[str, str] = {}
        """Why the last move failed, by instance."""

    @abstractmethod
    async def _move(self, member: Member) -> None: ...

    async def end(self) -> None:
        await self._work.end()

    def _may_begin(self, member: Member) -> bool:
        """Whether no move is under way, and the pause after the last one is over."""
        instance_id = member.record.instance_id
        return instance_id not in self._moving and self._tries.may(instance_id, time.monotonic())

    def _begin_move(self, member: Member) -> None:
        instance_id, host = member.record.instance_id, member.record.host
        self._moving.add(instance_id)
        self._work.begin(self._try(member), name=f"move {instance_id} from {host}")

    async def _try(self, member: Member) -> None:
        instance_id = member.record.instance_id
        try:
            with suppress(PlacementCancelledError, UnknownInstanceError):  # or it was removed meanwhile
                await self._move(member)
            self._troubles.pop(instance_id, None)
            self._tries.worked(instance_id)
        except Exception as error:
            said = str(error) if isinstance(error, PhalanxError) else f"an error in Phalanx: {error!r}"
            self._troubles[instance_id] = said
            self._tries.failed(instance_id, time.monotonic())
            raise
        finally:
            self._moving.discard(instance_id)
            self._team.changes.announce()

    @asynccontextmanager
    async def _placed(self, member: Member, still: Callable[[], bool]) -> AsyncIterator[Placement]:
        """A slot on another host with its labels. The wait for it may be long and holds up no other instance."""
        instance_id, wanted = member.record.instance_id, PlacementRequest(labels=member.record.labels)
        self._waiting[instance_id] = f"another host that is {wanted.words}" if wanted.words else "another host"
        try:
            async with self._scheduler.placed(wanted, still) as placement:
                del self._waiting[instance_id]
                async with self._at_once:
                    yield placement
        finally:
            self._waiting.pop(instance_id, None)

    async def _settle(self, member: Member, placement: Placement, moving_from: str) -> None:
        """Gives it worktree, launch and conversation on the new host. It runs nowhere; the caller holds its turn.

        The record says so afterwards, with ``moving_from``. Raises ``PhalanxError``; then it belongs where it was.
        """
        record = member.record
        instance_id = record.instance_id
        workspace = _workspace(record)
        await self._team.outbox.leave_behind(instance_id)
        self._scheduler.places.update(dict.fromkeys(record.names, placement.host))
        try:
            made = await self._hosts.prepare_on_new_host(record.place, workspace, record.transcript_path)
            actor = "" if placement.own else f"{instance_id}@{placement.address}"
            await self._team.save(
                instance_id,
                host=placement.host,
                actor=actor,
                workspace=made,
                pid=0,
                pane_id="",
                moving_from=moving_from,
            )
        except BaseException:
            self._scheduler.places.update(dict.fromkeys(record.names, record.host))
            raise
        placement.instance_id = instance_id

    async def _resume(self, member: Member) -> None:
        await self._lifecycle.resume(member)
        await self._team.save(member.record.instance_id, moving_from="")
        logger.warning("%s goes on on %s", member.record.instance_id, member.record.host)


class Failover(Relocation):
    """Starts the instances of a lost host again on others, with what came home of them last.

    A host is lost when Ray takes it for dead; whether it is without power or only cut off cannot be told. So none
    starts elsewhere before the lease by which it types there has run out: at most one copy takes messages. When the
    host is back in time, its instances are adopted in place, as after any crash.
    """

    def begin(self) -> None:
        self._work.begin(every(_FAILOVER_LOOK_S, self._look, "the hosts cannot be seen now"))

    async def _look(self) -> None:
        there = {node.name for node in await self._scheduler.nodes()}
        for name in self._scheduler.places.keys() - self._team.registry.names():
            del self._scheduler.places[name]
        due: list[Member] = []
        for member in self._team.registry:
            host = member.record.host
            if not host or host in there or member.turn.locked() or not self._may_go_on(member):
                continue
            if host not in self._scheduler.away:
                logger.warning("the host %s is missing", host)
            self._scheduler.away.add(host)
            self._tell(member, host)
            if self._may_be_replaced(member) and self._may_begin(member):
                due.append(member)
        if due:
            await self._team.confirm()
        for member in due:
            self._begin_move(member)

    def _may_go_on(self, member: Member) -> bool:
        record = member.record
        given_up = record.stage is InstanceStage.FAILED and record.reason.startswith(_words(record.host))
        was_moving = record.resumable and bool(record.moving_from)
        return record.wanted and (member.alive or given_up or was_moving)

    def _may_be_replaced(self, member: Member) -> bool:
        record = member.record
        return self._scheduler.may_be_replaced(record.host, self._team.links.heard_at(record.instance_id))

    def _tell(self, member: Member, host: str) -> None:
        instance_id = member.record.instance_id
        if instance_id in self._waiting:
            words = f"{_words(host)}, and it waits until there is room on {self._waiting[instance_id]}"
        elif instance_id in self._moving:
            words = f"{_words(host)}, and it waits until others have moved"
        elif instance_id in self._troubles:
            words = f"{_words(host)}, and it cannot go on elsewhere yet: {self._troubles[instance_id]}"
        else:
            words = f"{_words(host)}: if it is not back soon, it is started again on another one"
        if member.alive and member.silence != words:
            member.silence = words
            self._team.changed(member)

    async def _move(self, member: Member) -> None:
        lost = member.record.host
        async with self._placed(member, partial(self._is_still_lost, member, lost)) as placement:
            async with member.turn:
                await self._scheduler.nodes()
                if not self._is_still_lost(member, lost):
                    raise PlacementCancelledError
                await self._give_up(member, lost)
                await self._deliver_again_what_is_lost(member)
                await self._settle(member, placement, lost)
            await self._resume(member)

    def _is_still_lost(self, member: Member, lost: str) -> bool:
        """Whether there is still something to move, after a wait for room."""
        return self._may_go_on(member) and member.record.host == lost and self._may_be_replaced(member)

    async def _give_up(self, member: Member, lost: str) -> None:
        """Stops following the copy on the lost host and ends its actor, which must not come back with the host."""
        await self._team.links.leave(member.record.instance_id)
        with suppress(PhalanxError):
            await self._factory.destroy(member.record.actor_name)
        if member.record.stage is not InstanceStage.FAILED:
            await self._team.mark_ended(member, InstanceStage.FAILED, f"{_words(lost)}.")

    async def _deliver_again_what_is_lost(self, member: Member) -> None:
        instance_id, outbox = member.record.instance_id, self._team.outbox
        await _note_what_came_home(self._team, self._hosts, member.record)
        if lost := outbox.unsynced.of(instance_id):
            await outbox.deliver_again(instance_id)
            logger.warning("%s is given %d messages again: the lost host alone had them", instance_id, len(lost))


def _words(host: str) -> str:
    return f"Its host {host} is lost"


class Drainer(Relocation):
    """Hands the instances of drained hosts over to others: each between two turns, with branch, work and conversation.

    Promises: an instance at work is not disturbed; messages that come while it moves wait for it; nothing starts twice;
    a hand-over that a crash cuts off goes on by the record (``moving_from``). What cannot be handed over now stays as
    it is, is listed by ``remaining`` and tried again.
    """

    def __init__(
        self,
        team: Team,
        scheduler: HostScheduler,
        hosts: HostRouter,
        factory: InstanceFactory,
        lifecycle: Lifecycle,
        adopter: Adopter,
    ) -> None:
        super().__init__(team, scheduler, hosts, factory, lifecycle)
        self._adopter = adopter

    def begin(self) -> None:
        self._work.begin(every(_DRAIN_LOOK_S, self._look, "the drained hosts cannot be seen now"))

    def remaining(self, host: str) -> Mapping[str, str]:
        """Instances that are still on the host or on their way from it, each with the reason.

        An ended instance that could go on counts, too: its work is on the host.
        """
        return {
            member.record.instance_id: self._why(member)
            for member in self._team.registry
            if host in (member.record.host, member.record.moving_from)
            and (
                member.alive
                or member.record.stage is InstanceStage.STARTING
                or member.record.moving_from
                or (member.record.resumable and _has_home(member.record))
            )
        }

    def _why(self, member: Member) -> str:
        instance_id, workspace = member.record.instance_id, member.record.workspace
        if instance_id in self._waiting:
            return f"waits until there is room on {self._waiting[instance_id]}"
        if instance_id in self._moving:
            return "is being handed over"
        if workspace is not None and workspace.home is None:
            return "works in a directory of that host itself: it stays until it is terminated"
        if instance_id in self._troubles:
            return f"could not be handed over yet: {self._troubles[instance_id]}"
        return _WHY_NOT_YET.get(member.snapshot.status, "is handed over next")

    async def _look(self) -> None:
        if not self._scheduler.drained and not any(member.record.moving_from for member in self._team.registry):
            return
        there = {node.name for node in await self._scheduler.nodes()}
        for member in self._team.registry:
            free = not member.turn.locked() and self._may_begin(member)
            if free and member.record.host in there and self._is_due(member):
                self._begin_move(member)

    def _is_due(self, member: Member) -> bool:
        """Whether there is something to hand over, or to go on with."""
        if not self._may_move(member):
            return False
        rests = member.record.resumable or self._is_idle(member)
        return self._has_moved(member.record) or (member.record.host in self._scheduler.drained and rests)

    def _may_move(self, member: Member) -> bool:
        record = member.record
        return _has_home(record) and record.wanted and (member.alive or record.resumable)

    def _is_leaving(self, member: Member) -> bool:
        """It is to be handed over, now or after its turn."""
        return self._may_move(member) and member.record.host in self._scheduler.drained

    def _has_moved(self, record: InstanceRecord) -> bool:
        """It has reached its new host, or need not move any more, but the record does not say so yet."""
        return bool(record.moving_from) and (
            record.moving_from != record.host or record.host not in self._scheduler.drained
        )

    def _is_idle(self, member: Member) -> bool:
        idle = member.alive and member.snapshot.status in TYPABLE and not member.ending
        return idle and not self._team.outbox.pending(member.record.instance_id)

    async def _move(self, member: Member) -> None:
        if self._has_moved(member.record):
            await self._resume(member)
            return
        async with self._placed(member, partial(self._is_leaving, member)) as placement, member.turn:
            await self._hand_over(member, placement)

    async def _hand_over(self, member: Member, placement: Placement) -> None:
        """Hands the instance over, if that is still to be done when its turn has come."""
        record = member.record
        if not self._is_due(member) or placement.host == record.host:
            return
        starts = member.alive or bool(record.moving_from)
        if member.alive and not await self._stop(member):
            return
        try:
            await self._take_along(member, placement)
        except PhalanxError:
            if starts:  # where it was
                await self._start(member)
            raise
        if starts:
            await self._start(member)
        logger.warning("%s has been handed over from %s to %s", record.instance_id, record.host, member.record.host)

    async def _stop(self, member: Member) -> bool:
        """Ends the agent if it is idle, seen from close by; from the first step on messages for it wait."""
        record = member.record
        port = self._team.links.port(record.instance_id)
        await self._team.links.leave(record.instance_id)
        try:
            report = await port.reports(-1, _ASK_S)
            under_way = self._team.outbox.pending(record.instance_id) or any(not each.final for each in report.receipts)
            idle = report.snapshot.status in TYPABLE and not under_way
            if idle:
                await self._team.save(record.instance_id, moving_from=record.host)
        except BaseException:
            await self._follow_again(record)
            raise
        if not idle:
            await self._follow_again(record)
            return False
        await self._factory.destroy(record.actor_name)
        await self._hosts.end_agent(record.place, record.session_name, END_GRACE_S)
        member.snapshot = InstanceSnapshot(since=time.time(), transcript_path=record.transcript_path)
        return True

    async def _follow_again(self, record: InstanceRecord) -> None:
        with suppress(PhalanxError):  # the reconciler does it later
            await self._adopter.adopt(record, await self._adopter.actor(record))

    async def _take_along(self, member: Member, placement: Placement) -> None:
        before = member.record
        workspace = _workspace(before)
        await self._hosts.sync_transcript(before.place, before.transcript_path)
        await self._hosts.sync_work(workspace, uncommitted=True)
        await self._settle(member, placement, before.moving_from)
        try:
            await self._hosts.remove_left_behind(before.host, before.place, workspace)
        except PhalanxError as error:
            logger.warning("what %s had on %s stays there: %s", before.instance_id, before.host, error)

    async def _start(self, member: Member) -> None:
        await self._lifecycle.start_again(member)
        await self._team.save(member.record.instance_id, moving_from="")


class WorkSync:
    """Brings the work of instances on other hosts home: when a turn ends, and at intervals what is not committed.

    A host that is lost for good then costs at most the work since the last interval. Each instance has its own task, so
    a large one does not hold up the others.
    """

    def __init__(self, team: Team, hosts: HostRouter, every_s: float) -> None:
        """``every_s``: longest time that uncommitted work is on the other host alone; 0: it is never carried."""
        self._team = team
        self._hosts = hosts
        self._every_s = every_s
        self._turns: dict[str, float] = {}
        """Since when it was idle when it was carried last, by instance."""
        self._saved: dict[str, float] = {}
        self._work = TaskSet("look for work of other hosts")
        self._carrying: set[str] = set()

    def begin(self) -> None:
        self._work.begin(every(_SYNC_LOOK_S, self._look, "work cannot be carried home now"))

    async def end(self) -> None:
        await self._work.end()

    async def _look(self) -> None:
        now = time.monotonic()
        for member in self._team.registry:
            instance_id = member.record.instance_id
            if (
                not _has_home(member.record)
                or not member.alive
                or member.turn.locked()
                or instance_id in self._carrying
            ):
                continue
            idle_since = member.snapshot.since if member.snapshot.status in IDLE else 0.0
            turn_ended = idle_since and self._turns.get(instance_id) != idle_since
            due = bool(self._every_s) and now - self._saved.setdefault(instance_id, now) >= self._every_s
            if turn_ended:
                self._turns[instance_id] = idle_since
            if due:
                self._saved[instance_id] = now
            if turn_ended or due:
                self._carrying.add(instance_id)
                self._work.begin(self._carry(member, uncommitted=due), name=f"carry the work of {instance_id} home")

    async def _carry(self, member: Member, *, uncommitted: bool) -> None:
        record = member.record
        try:
            await self._hosts.sync_transcript(record.place, record.transcript_path)
            await _note_what_came_home(self._team, self._hosts, record)
            if note := await self._hosts.sync_work(_workspace(record), uncommitted=uncommitted):
                logger.info("%s", note)
        except Exception:
            self._turns.pop(record.instance_id, None)
            raise
        finally:
            self._carrying.remove(record.instance_id)


async def _note_what_came_home(team: Team, hosts: HostRouter, record: InstanceRecord) -> None:
    """Notes which messages the copy of its conversation on this machine shows."""
    unsynced = team.outbox.unsynced
    if said := unsynced.of(record.instance_id):
        shown = await hosts.shown_in_copy(record.place, record.transcript_path, said)
        await unsynced.came_home(record.instance_id, shown)


def _has_home(record: InstanceRecord) -> bool:
    """Its work can be brought to a repository of this machine, so that it can go on on another host."""
    return record.workspace is not None and record.workspace.home is not None


def _workspace(record: InstanceRecord) -> Workspace:
    """Raises ``WorkspaceError``."""
    if record.workspace is None:
        raise WorkspaceError(f"{record.instance_id} has no workspace: nothing of it can go on elsewhere.")
    return record.workspace
