"""Hands the instances of drained hosts over to others: each between two turns, with branch, work and conversation.

Promises: an instance that is at work is not disturbed; messages that come while it is on its way wait for it; nothing
is started twice; what a crash cuts off is gone on with, by the record (``moving_from``). What cannot be handed over now
stays as it is, is told of (``remaining``) and tried again. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

from actors.concurrency import Background
from actors.errors import FencedError, PhalanxError
from actors.instance.reports import Snapshot
from actors.status import TYPABLE, Status
from supervisor.hosts.placing import Wanted
from supervisor.hosts.relocation import MoveParts, Relocation
from supervisor.hosts.roster import NoLongerWantedError, Placement
from supervisor.team.closing import END_GRACE_S
from supervisor.team.registry import InstanceRecord, Member, Stage

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_AT_ONCE = 4
_AGAIN_S = 15.0
_ASK_S = 5.0
_WHY = {
    Status.BUSY: "is at work: it goes when its turn is done",
    Status.WAITING_PERMISSION: "waits for permission: answer it, or terminate it",
    Status.WAITING_INPUT: "waits for somebody at its terminal: answer it, or terminate it",
    Status.STARTING: "is just being started",
}


class Drainer:
    def __init__(self, parts: MoveParts) -> None:
        self._roll = parts.roll
        self._roster = parts.roster
        self._hosts = parts.hosts
        self._factory = parts.factory
        self._adoption = parts.adoption
        self._closing = parts.closing
        self._relocation = Relocation(parts)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._work = Background("hand over from drained hosts")
        self._under_way: set[str] = set()
        self._waiting: dict[str, str] = {}
        """For which host, in words, by instance."""
        self._troubles: dict[str, tuple[float, str]] = {}

    def begin(self) -> None:
        self._work.begin(self._watch())

    async def end(self) -> None:
        await self._work.end()

    def remaining(self, host: str) -> Mapping[str, str]:
        """Who is on the host still, or on its way from it, each with why."""
        members = [member for member in self._roll.registry if host in (member.record.host, member.record.moving_from)]
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
        return _WHY.get(member.snapshot.status, "is handed over next")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._look()
            except PhalanxError as error:
                logger.warning("the hosts cannot be seen now: %s", error)
            except Exception:
                logger.exception("the drained hosts could not be looked at")

    async def _look(self) -> None:
        if not self._roster.drained and not any(member.record.moving_from for member in self._roll.registry):
            return
        there = {node.name for node in await self._roster.nodes()}
        for member in self._roll.registry:
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
            record.host in self._roster.drained and (record.resumable or self._is_idle(member))
        )

    def _may_go(self, member: Member) -> bool:
        record = member.record
        carried = record.workspace is not None and record.workspace.home is not None
        return carried and record.wanted and (member.alive or record.resumable)

    def _is_leaving(self, member: Member) -> bool:
        """It is to be handed over, if only when its turn is done."""
        return self._may_go(member) and member.record.host in self._roster.drained

    def _is_moved(self, record: InstanceRecord) -> bool:
        """It has got to where it goes, or need not go any more, but that is not noted."""
        return bool(record.moving_from) and (
            record.moving_from != record.host or record.host not in self._roster.drained
        )

    def _is_idle(self, member: Member) -> bool:
        idle = member.alive and member.snapshot.status in TYPABLE and not member.ending
        return idle and not self._roll.mail.pending(member.record.instance_id)

    async def _try(self, member: Member) -> None:
        instance_id = member.record.instance_id
        try:
            await self._next_step(member)
            self._troubles.pop(instance_id, None)
        except NoLongerWantedError:
            self._troubles.pop(instance_id, None)
        except FencedError:
            logger.warning("%s is not handed over: another supervisor has the state", instance_id)
        except PhalanxError as error:
            self._troubles[instance_id] = (time.monotonic() + _AGAIN_S, str(error))
            logger.warning("%s could not be handed over yet: %s", instance_id, error)
        except Exception as error:
            self._troubles[instance_id] = (time.monotonic() + _AGAIN_S, f"an error in Phalanx: {error!r}")
            logger.exception("%s could not be handed over yet", instance_id)
        finally:
            self._under_way.discard(instance_id)
            self._roll.news.announce()

    async def _next_step(self, member: Member) -> None:
        record = member.record
        if self._is_moved(record):
            await self._closing.resume(member)
            await self._roll.save(record.instance_id, moving_from="")
            return
        async with self._placed(member) as placement, self._turns, member.turn:
            await self._hand_over(member, placement)

    @asynccontextmanager
    async def _placed(self, member: Member) -> AsyncIterator[Placement]:
        """It may take long until there is room, and meanwhile others have their turn."""
        record = member.record
        wanted = Wanted(labels=record.labels)
        self._waiting[record.instance_id] = wanted.on_another
        try:
            async with self._roster.placed(wanted, partial(self._is_leaving, member)) as placement:
                del self._waiting[record.instance_id]
                yield placement
        finally:
            self._waiting.pop(record.instance_id, None)

    async def _hand_over(self, member: Member, placement: Placement) -> None:
        """What does not hold any more, now that it is its turn, is left alone."""
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
        port = self._roll.members.port(record.instance_id)
        await self._roll.members.leave(record.instance_id)
        try:
            report = await port.reports(-1, _ASK_S)
            under_way = self._roll.mail.pending(record.instance_id) or any(not each.final for each in report.receipts)
            idle = report.snapshot.status in TYPABLE and not under_way
            if idle:
                await self._roll.save(record.instance_id, moving_from=record.host)
        except BaseException:
            await self._follow_again(record)
            raise
        if not idle:
            await self._follow_again(record)
            return False
        await self._factory.destroy(record.actor_name)
        await self._hosts.end_agent(record.place, record.session_name, END_GRACE_S)
        member.snapshot = Snapshot(since=time.time(), transcript_path=record.transcript_path)
        return True

    async def _follow_again(self, record: InstanceRecord) -> None:
        with suppress(PhalanxError):  # the reconciler does it later
            await self._adoption.adopt(record, await self._adoption.actor(record))

    async def _take_along(self, member: Member, placement: Placement) -> None:
        before = member.record
        if before.workspace is None:
            return
        await self._hosts.carry_conversation(before.place, before.transcript_path)
        await self._hosts.carry_home(before.workspace, uncommitted=True)
        await self._relocation.settle(member, placement)
        try:
            await self._hosts.clear_behind(before.host, before.place, before.workspace)
        except PhalanxError as error:
            logger.warning("what %s had on %s stays there: %s", before.instance_id, before.host, error)

    async def _start(self, member: Member) -> None:
        await self._closing.start_again(member)
        await self._roll.save(member.record.instance_id, moving_from="")


def _matters(member: Member) -> bool:
    """What has ended and could go on counts, too: its work is on the host."""
    record = member.record
    carried = record.workspace is not None and record.workspace.home is not None
    return member.alive or record.stage is Stage.STARTING or bool(record.moving_from) or (record.resumable and carried)
