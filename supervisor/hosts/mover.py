"""What becomes of the instances of a host that is lost: they go on elsewhere, with what came home of them last.

A host is lost when Ray has taken it for dead; whether it is without power or only cut off cannot be told. So nothing is
started elsewhere before the lease of its instances has run out, by which they type; then at most one copy takes
messages. When the host is back in time they are adopted in place, as after any crash. All in the supervisor's loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from actors.concurrency import Background
from actors.errors import PhalanxError
from supervisor.hosts.absences import Absences
from supervisor.hosts.placing import Wanted
from supervisor.hosts.relocation import MoveParts, Relocation
from supervisor.hosts.roster import NoLongerWantedError, Placement
from supervisor.team.registry import Member, Stage

logger = logging.getLogger(__name__)

_LOOK_S = 2.0
_AT_ONCE = 4
_AGAIN_S = 30.0


class Mover:
    def __init__(self, parts: MoveParts) -> None:
        self._roll = parts.roll
        self._roster = parts.roster
        self._factory = parts.factory
        self._hosts = parts.hosts
        self._closing = parts.closing
        self._relocation = Relocation(parts)
        self._absences = Absences()
        self._not_before: dict[str, float] = {}
        self._moving: set[str] = set()
        self._troubles: dict[str, str] = {}
        """Why one that should go on elsewhere does not yet, by instance."""
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._work = Background("watch the hosts")

    def begin(self) -> None:
        self._work.begin(self._watch())

    async def end(self) -> None:
        await self._work.end()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._look(time.monotonic())
            except PhalanxError as error:
                logger.warning("the hosts cannot be seen now: %s", error)
            except Exception:
                logger.exception("the hosts could not be looked at")

    async def _look(self, now: float) -> None:
        there = {node.name for node in await self._roster.nodes()}
        known = self._roll.registry.names()
        for name in [each for each in self._roster.places if each not in known]:
            del self._roster.places[name]
        for name in self._absences.see(there):
            logger.warning("the host %s is back", name)
        ready: list[Member] = []
        for member in self._roll.registry:
            host = member.record.host
            if not host or host in there or not self._goes_on(member):
                continue
            given_up = self._absences.miss(host, now)
            if host not in self._roster.away:
                logger.warning("the host %s is missing", host)
            self._roster.away.add(host)
            self._tell(member, host)
            instance_id = member.record.instance_id
            if given_up and instance_id not in self._moving and now >= self._not_before.get(instance_id, 0.0):
                ready.append(member)
        if ready:
            await self._begin_moving(ready)

    def _goes_on(self, member: Member) -> bool:
        return not member.turn.locked() and self._may_go_on(member)

    def _may_go_on(self, member: Member) -> bool:
        return member.record.wanted and (member.alive or self._is_moving(member))

    def _is_moving(self, member: Member) -> bool:
        record = member.record
        told = record.stage is Stage.FAILED and record.reason.startswith(_words(record.host))
        return told or (record.resumable and bool(record.moving_from))

    def _tell(self, member: Member, host: str) -> None:
        trouble = self._troubles.get(member.record.instance_id)
        soon = "if it is not back soon, it is started again on another one"
        words = f"{_words(host)}: {soon}" if trouble is None else f"{_words(host)}, and it {trouble}"
        if member.alive and member.silence != words:
            member.silence = words
            self._roll.news.announce()

    async def _begin_moving(self, members: Sequence[Member]) -> None:
        await self._roll.confirm()
        for member in members:
            self._moving.add(member.record.instance_id)
            self._work.begin(self._move(member), name=f"move {member.record.instance_id}")

    async def _move(self, member: Member) -> None:
        """One that cannot be moved now is tried again later, and keeps no other from being moved."""
        instance_id, lost, wanted = member.record.instance_id, member.record.host, Wanted(labels=member.record.labels)
        self._troubles[instance_id] = f"waits until there is room on {wanted.on_another}"
        try:
            still = partial(self._is_still_lost, member, lost)
            async with self._roster.placed(wanted, still) as placement, self._turns:
                async with member.turn:
                    await self._take_over(member, lost, placement)
                await self._closing.resume(member)
            await self._roll.save(instance_id, moving_from="")
            logger.warning("%s goes on on %s", instance_id, placement.host)
        except NoLongerWantedError:
            self._troubles.pop(instance_id, None)
        except PhalanxError as error:
            self._not_before[instance_id] = time.monotonic() + _AGAIN_S
            self._troubles[instance_id] = f"cannot go on elsewhere yet: {error}"
            logger.warning("%s could not be moved from %s yet: %s", instance_id, lost, error)
        except Exception as error:
            self._not_before[instance_id] = time.monotonic() + _AGAIN_S
            self._troubles[instance_id] = f"cannot go on elsewhere yet: an error in Phalanx: {error!r}"
            logger.exception("%s could not be moved from %s yet", instance_id, lost)
        else:
            self._troubles.pop(instance_id, None)
        finally:
            self._moving.discard(instance_id)

    async def _take_over(self, member: Member, lost: str, placement: Placement) -> None:
        await self._roster.nodes()
        if not self._is_still_lost(member, lost):
            raise NoLongerWantedError
        await self._give_up(member, lost)
        await self._deliver_again_what_is_lost(member)
        await self._relocation.settle(member, placement, moving_from=lost)

    def _is_still_lost(self, member: Member, lost: str) -> bool:
        """Room may be waited for so long that there is nothing to be moved any more."""
        return self._may_go_on(member) and member.record.host == lost and lost not in self._roster.names

    async def _give_up(self, member: Member, lost: str) -> None:
        """Nobody follows the copy on the lost host any more; its actor must not come back with the host."""
        await self._roll.members.leave(member.record.instance_id)
        with suppress(PhalanxError):
            await self._factory.destroy(member.record.actor_name)
        if member.record.stage is not Stage.FAILED:
            await self._roll.mark_ended(member, Stage.FAILED, f"{_words(lost)}.")

    async def _deliver_again_what_is_lost(self, member: Member) -> None:
        instance_id, mail = member.record.instance_id, self._roll.mail
        if said := mail.abroad.of(instance_id):
            shown = await self._hosts.shown_at_home(member.record.place, member.record.transcript_path, said)
            await mail.abroad.came_home(instance_id, shown)
        if lost := mail.abroad.of(instance_id):
            await mail.deliver_again(instance_id)
            logger.warning("%s is given %d messages again: the lost host alone had them", instance_id, len(lost))


def _words(host: str) -> str:
    return f"Its host {host} is lost"
