"""Moves instances between hosts and brings their work home; only in a cluster.

``ClusterService`` begins and ends three loops: ``Failover`` (lost hosts), ``Drainer`` (drained hosts) and ``WorkSync``
(work of other hosts). The first two share ``Relocation``, which settles one instance on its new host. The list of
drained hosts stands in the home, so it outlives the supervisor. All classes belong to the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import TaskSet, every
from actors.errors import FencedError, PhalanxError, WorkspaceError
from actors.files import write_private
from actors.home import Home
from actors.instance.reports import InstanceSnapshot
from actors.status import IDLE, TYPABLE, Status
from supervisor.cluster.router import HostRouter
from supervisor.cluster.scheduler import (
    FailureDetector,
    HostScheduler,
    Placement,
    PlacementCancelledError,
    PlacementRequest,
)
from supervisor.ports import InstanceFactory
from supervisor.team.adoption import Adopter
from supervisor.team.lifecycle import END_GRACE_S, Lifecycle
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

_FAILOVER_LOOK_S = 2.0
_FAILOVERS_AT_ONCE = 4
_FAILOVER_AGAIN = Backoff(first_s=30.0, longest_s=30.0)
_DRAIN_LOOK_S = 1.0
_DRAINS_AT_ONCE = 4
_DRAIN_AGAIN_S = 15.0
_ASK_S = 5.0
_SYNC_LOOK_S = 1.0
_WHY_NOT_YET = {
    Status.BUSY: "is at work: it goes when its turn is done",
    Status.WAITING_PERMISSION: "waits for permission: answer it, or terminate it",
    Status.WAITING_INPUT: "waits for somebody at its terminal: answer it, or terminate it",
    Status.STARTING: "is just being started",
}


class Relocation:
    """Gives an instance a place on another host, from what of it is on this one. The instance runs nowhere meanwhile.

    The caller holds the instance's turn and its new slot.
    """

    def __init__(self, team: Team, scheduler: HostScheduler, hosts: HostRouter) -> None:
        self._team = team
        self._scheduler = scheduler
        self._hosts = hosts

    async def settle(self, member: Member, placement: Placement, **changes: object) -> None:
        """Worktree, launch and conversation are there afterwards, and the record says so, with ``changes``.

        Raises ``PhalanxError``; then it belongs where it was before.
        """
        record, workspace = member.record, member.record.workspace
        instance_id = record.instance_id
        if workspace is None:
            raise WorkspaceError(f"{instance_id} has no workspace: nothing of it can go on elsewhere.")
        await self._team.outbox.leave_behind(instance_id)
        self._scheduler.places.update(dict.fromkeys(record.names, placement.host))
        try:
            made = await self._hosts.prepare_on_new_host(record.place, workspace, record.transcript_path)
            actor = "" if placement.own else f"{instance_id}@{placement.address}"
            await self._team.save(
                instance_id, host=placement.host, actor=actor, workspace=made, pid=0, pane_id="", **changes
            )
        except BaseException:
            self._scheduler.places.update(dict.fromkeys(record.names, record.host))
            raise
        placement.instance_id = instance_id


class Failover:
    """Starts the instances of a lost host again on others, with what came home of them last.

    A host is lost when Ray takes it for dead; whether it is without power or only cut off cannot be told. So nothing
    starts elsewhere before the lease by which its instances type has run out: at most one copy takes messages. When the
    host is back in time, its instances are adopted in place, as after any crash.
    """

    def __init__(
        self,
        team: Team,
        scheduler: HostScheduler,
        hosts: HostRouter,
        factory: InstanceFactory,
        lifecycle: Lifecycle,
        relocation: Relocation,
    ) -> None:
        self._team = team
        self._scheduler = scheduler
        self._hosts = hosts
        self._factory = factory
        self._lifecycle = lifecycle
        self._relocation = relocation
        self._failure_detector = FailureDetector()
        self._tries = RetrySchedule[str](_FAILOVER_AGAIN)
        self._moving: set[str] = set()
        self._troubles: dict[str, str] = {}
        """Why one that should go on elsewhere does not yet, by instance."""
        self._turns = asyncio.Semaphore(_FAILOVERS_AT_ONCE)
        self._work = TaskSet("watch the hosts")

    def begin(self) -> None:
        self._work.begin(every(_FAILOVER_LOOK_S, self._look, "the hosts cannot be seen now"))

    async def end(self) -> None:
        await self._work.end()

    async def _look(self) -> None:
        now = time.monotonic()
        there = {node.name for node in await self._scheduler.nodes()}
        known = self._team.registry.names()
        for name in [each for each in self._scheduler.places if each not in known]:
            del self._scheduler.places[name]
        for name in self._failure_detector.see(there):
            logger.warning("the host %s is back", name)
        ready: list[Member] = []
        for member in self._team.registry:
            host = member.record.host
            if not host or host in there or not self._goes_on(member):
                continue
            given_up = self._failure_detector.miss(host, now)
            if host not in self._scheduler.away:
                logger.warning("the host %s is missing", host)
            self._scheduler.away.add(host)
            self._tell(member, host)
            instance_id = member.record.instance_id
            if given_up and instance_id not in self._moving and self._tries.may(instance_id, now):
                ready.append(member)
        if ready:
            await self._begin_moving(ready)

    def _goes_on(self, member: Member) -> bool:
        return not member.turn.locked() and self._may_go_on(member)

    def _may_go_on(self, member: Member) -> bool:
        return member.record.wanted and (member.alive or self._is_moving(member))

    def _is_moving(self, member: Member) -> bool:
        record = member.record
        told = record.stage is InstanceStage.FAILED and record.reason.startswith(_words(record.host))
        return told or (record.resumable and bool(record.moving_from))

    def _tell(self, member: Member, host: str) -> None:
        trouble = self._troubles.get(member.record.instance_id)
        soon = "if it is not back soon, it is started again on another one"
        words = f"{_words(host)}: {soon}" if trouble is None else f"{_words(host)}, and it {trouble}"
        if member.alive and member.silence != words:
            member.silence = words
            self._team.changes.announce()

    async def _begin_moving(self, members: Sequence[Member]) -> None:
        await self._team.confirm()
        for member in members:
            self._moving.add(member.record.instance_id)
            self._work.begin(self._move(member), name=f"move {member.record.instance_id}")

    async def _move(self, member: Member) -> None:
        """Moves one instance. One that cannot be moved now is tried again later and holds up no other."""
        instance_id, lost, wanted = (
            member.record.instance_id,
            member.record.host,
            PlacementRequest(labels=member.record.labels),
        )
        self._troubles[instance_id] = f"waits until there is room on {wanted.on_another}"
        try:
            still = partial(self._is_still_lost, member, lost)
            async with self._scheduler.placed(wanted, still) as placement, self._turns:
                async with member.turn:
                    await self._take_over(member, lost, placement)
                await self._lifecycle.resume(member)
            await self._team.save(instance_id, moving_from="")
            logger.warning("%s goes on on %s", instance_id, placement.host)
        except PlacementCancelledError:
            self._troubles.pop(instance_id, None)
        except PhalanxError as error:
            self._tries.failed(instance_id, time.monotonic())
            self._troubles[instance_id] = f"cannot go on elsewhere yet: {error}"
            logger.warning("%s could not be moved from %s yet: %s", instance_id, lost, error)
        except Exception as error:
            self._tries.failed(instance_id, time.monotonic())
            self._troubles[instance_id] = f"cannot go on elsewhere yet: an error in Phalanx: {error!r}"
            logger.exception("%s could not be moved from %s yet", instance_id, lost)
        else:
            self._troubles.pop(instance_id, None)
        finally:
            self._moving.discard(instance_id)

    async def _take_over(self, member: Member, lost: str, placement: Placement) -> None:
        await self._scheduler.nodes()
        if not self._is_still_lost(member, lost):
            raise PlacementCancelledError
        await self._give_up(member, lost)
        await self._deliver_again_what_is_lost(member)
        await self._relocation.settle(member, placement, moving_from=lost)

    def _is_still_lost(self, member: Member, lost: str) -> bool:
        """Whether there is still something to move, after a wait for room."""
        return self._may_go_on(member) and member.record.host == lost and lost not in self._scheduler.names

    async def _give_up(self, member: Member, lost: str) -> None:
        """Stops following the copy on the lost host and ends its actor, which must not come back with the host."""
        await self._team.members.leave(member.record.instance_id)
        with suppress(PhalanxError):
            await self._factory.destroy(member.record.actor_name)
        if member.record.stage is not InstanceStage.FAILED:
            await self._team.mark_ended(member, InstanceStage.FAILED, f"{_words(lost)}.")

    async def _deliver_again_what_is_lost(self, member: Member) -> None:
        instance_id, outbox = member.record.instance_id, self._team.outbox
        if said := outbox.unsynced.of(instance_id):
            shown = await self._hosts.shown_in_copy(member.record.place, member.record.transcript_path, said)
            await outbox.unsynced.came_home(instance_id, shown)
        if lost := outbox.unsynced.of(instance_id):
            await outbox.deliver_again(instance_id)
            logger.warning("%s is given %d messages again: the lost host alone had them", instance_id, len(lost))


def _words(host: str) -> str:
    return f"Its host {host} is lost"


class Drainer:
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
        adopter: Adopter,
        lifecycle: Lifecycle,
        relocation: Relocation,
    ) -> None:
        self._team = team
        self._scheduler = scheduler
        self._hosts = hosts
        self._factory = factory
        self._adopter = adopter
        self._lifecycle = lifecycle
        self._relocation = relocation
        self._turns = asyncio.Semaphore(_DRAINS_AT_ONCE)
        self._work = TaskSet("hand over from drained hosts")
        self._under_way: set[str] = set()
        self._waiting: dict[str, str] = {}
        """For which host, in words, by instance."""
        self._troubles: dict[str, tuple[float, str]] = {}

    def begin(self) -> None:
        self._work.begin(every(_DRAIN_LOOK_S, self._look, "the drained hosts cannot be seen now"))

    async def end(self) -> None:
        await self._work.end()

    def remaining(self, host: str) -> Mapping[str, str]:
        """Instances that are still on the host or on their way from it, each with the reason."""
        members = [member for member in self._team.registry if host in (member.record.host, member.record.moving_from)]
        return {member.record.instance_id: self._why(member) for member in members if _matters(member)}

    def _why(self, member: Member) -> str:
        instance_id, workspace = member.record.instance_id, member.record.workspace
        if instance_id in self._waiting:
            return f"waits until there is room on {self._waiting[instance_id]}"
        if instance_id in self._under_way:
            return "is being handed over"
        if workspace is not None and workspace.home is None:
            return "works in a directory of that host itself: it stays until it is terminated"
        if instance_id in self._troubles:
            return f"could not be handed over yet: {self._troubles[instance_id][1]}"
        return _WHY_NOT_YET.get(member.snapshot.status, "is handed over next")

    async def _look(self) -> None:
        if not self._scheduler.drained and not any(member.record.moving_from for member in self._team.registry):
            return
        there = {node.name for node in await self._scheduler.nodes()}
        for member in self._team.registry:
            instance_id = member.record.instance_id
            pauses = time.monotonic() < self._troubles.get(instance_id, (0.0, ""))[0]
            taken = instance_id in self._under_way or member.turn.locked() or pauses
            if not taken and member.record.host in there and self._goes(member):
                self._under_way.add(instance_id)
                self._work.begin(self._try(member), name=f"hand over {instance_id}")

    def _goes(self, member: Member) -> bool:
        """Whether there is something to hand over, or to go on with."""
        record = member.record
        if not self._may_go(member):
            return False
        return self._is_moved(record) or (
            record.host in self._scheduler.drained and (record.resumable or self._is_idle(member))
        )

    def _may_go(self, member: Member) -> bool:
        record = member.record
        carried = record.workspace is not None and record.workspace.home is not None
        return carried and record.wanted and (member.alive or record.resumable)

    def _is_leaving(self, member: Member) -> bool:
        """It is to be handed over, now or after its turn."""
        return self._may_go(member) and member.record.host in self._scheduler.drained

    def _is_moved(self, record: InstanceRecord) -> bool:
        """It has reached its new host, or need not move any more, but the record does not say so yet."""
        return bool(record.moving_from) and (
            record.moving_from != record.host or record.host not in self._scheduler.drained
        )

    def _is_idle(self, member: Member) -> bool:
        idle = member.alive and member.snapshot.status in TYPABLE and not member.ending
        return idle and not self._team.outbox.pending(member.record.instance_id)

    async def _try(self, member: Member) -> None:
        instance_id = member.record.instance_id
        try:
            await self._next_step(member)
            self._troubles.pop(instance_id, None)
        except PlacementCancelledError:
            self._troubles.pop(instance_id, None)
        except FencedError:
            logger.warning("%s is not handed over: another supervisor has the state", instance_id)
        except PhalanxError as error:
            self._troubles[instance_id] = (time.monotonic() + _DRAIN_AGAIN_S, str(error))
            logger.warning("%s could not be handed over yet: %s", instance_id, error)
        except Exception as error:
            self._troubles[instance_id] = (time.monotonic() + _DRAIN_AGAIN_S, f"an error in Phalanx: {error!r}")
            logger.exception("%s could not be handed over yet", instance_id)
        finally:
            self._under_way.discard(instance_id)
            self._team.changes.announce()

    async def _next_step(self, member: Member) -> None:
        record = member.record
        if self._is_moved(record):
            await self._lifecycle.resume(member)
            await self._team.save(record.instance_id, moving_from="")
            return
        async with self._placed(member) as placement, self._turns, member.turn:
            await self._hand_over(member, placement)

    @asynccontextmanager
    async def _placed(self, member: Member) -> AsyncIterator[Placement]:
        """A slot on another host. The wait for it may be long and holds up no other instance."""
        record = member.record
        wanted = PlacementRequest(labels=record.labels)
        self._waiting[record.instance_id] = wanted.on_another
        try:
            async with self._scheduler.placed(wanted, partial(self._is_leaving, member)) as placement:
                del self._waiting[record.instance_id]
                yield placement
        finally:
            self._waiting.pop(record.instance_id, None)

    async def _hand_over(self, member: Member, placement: Placement) -> None:
        """Hands the instance over, if that is still to be done when its turn has come."""
        record = member.record
        if not self._goes(member) or placement.host == record.host:
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
        port = self._team.members.port(record.instance_id)
        await self._team.members.leave(record.instance_id)
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
        if before.workspace is None:
            return
        await self._hosts.sync_transcript(before.place, before.transcript_path)
        await self._hosts.sync_work(before.workspace, uncommitted=True)
        await self._relocation.settle(member, placement)
        try:
            await self._hosts.remove_left_behind(before.host, before.place, before.workspace)
        except PhalanxError as error:
            logger.warning("what %s had on %s stays there: %s", before.instance_id, before.host, error)

    async def _start(self, member: Member) -> None:
        await self._lifecycle.start_again(member)
        await self._team.save(member.record.instance_id, moving_from="")


def _matters(member: Member) -> bool:
    """An ended instance that could go on counts, too: its work is on the host."""
    record = member.record
    carried = record.workspace is not None and record.workspace.home is not None
    return (
        member.alive
        or record.stage is InstanceStage.STARTING
        or bool(record.moving_from)
        or (record.resumable and carried)
    )


def read_drained(home: Home) -> set[str]:
    """Empty when nothing is kept."""
    try:
        return set(map(str, json.loads(home.drained_file.read_text())))
    except (OSError, ValueError, TypeError):
        return set()


def write_drained(home: Home, hosts: Collection[str]) -> None:
    """Raises ``SettingsError``."""
    write_private(home.drained_file, json.dumps(sorted(hosts)))


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
        self._saved: dict[str, float] = {}
        self._work = TaskSet("carry work home")
        self._carrying: set[str] = set()

    def begin(self) -> None:
        self._work.begin(every(_SYNC_LOOK_S, self._look, "work cannot be carried home now"))

    async def end(self) -> None:
        await self._work.end()

    async def _look(self) -> None:
        for member in self._team.registry:
            self._consider(member, time.monotonic())

    def _consider(self, member: Member, now: float) -> None:
        record = member.record
        away = record.workspace is not None and record.workspace.home is not None
        if not away or not member.alive or member.turn.locked() or record.instance_id in self._carrying:
            return
        idle_since = member.snapshot.since if member.snapshot.status in IDLE else 0.0
        turn_ended = idle_since and self._turns.get(record.instance_id) != idle_since
        due = self._every_s and now - self._saved.setdefault(record.instance_id, now) >= self._every_s
        if turn_ended or due:
            if idle_since:
                self._turns[record.instance_id] = idle_since
            if due:
                self._saved[record.instance_id] = now
            self._carrying.add(record.instance_id)
            self._work.begin(self._carry(member, uncommitted=bool(due)))

    async def _carry(self, member: Member, *, uncommitted: bool) -> None:
        instance_id, workspace = member.record.instance_id, member.record.workspace
        try:
            if workspace is not None:
                await self._hosts.sync_transcript(member.record.place, member.snapshot.transcript_path)
                await self._note_what_came_home(member)
                note = await self._hosts.sync_work(workspace, uncommitted=uncommitted)
                if note:
                    logger.info("%s", note)
        except PhalanxError as error:
            self._turns.pop(instance_id, None)
            logger.warning("the work of %s could not be carried home now: %s", instance_id, error)
        except Exception:
            self._turns.pop(instance_id, None)
            logger.exception("the work of %s could not be carried home now", instance_id)
        finally:
            self._carrying.remove(instance_id)

    async def _note_what_came_home(self, member: Member) -> None:
        instance_id, unsynced = member.record.instance_id, self._team.outbox.unsynced
        if said := unsynced.of(instance_id):
            shown = await self._hosts.shown_in_copy(member.record.place, member.snapshot.transcript_path, said)
            await unsynced.came_home(instance_id, shown)
