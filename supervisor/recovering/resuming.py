"""Agents that ended without having been asked to are started again with their conversation, if the settings say so.

``Roll`` tells of each failure, ``Recovery`` of those that a crash of the supervisor has left failed. Each next attempt
for the same instance waits longer, and after ``limit`` in a row it stays failed until somebody restarts it. An instance
that has run for a while has its attempts back.
"""

from __future__ import annotations

import asyncio
import logging
import time

from actors.errors import PhalanxError
from supervisor.spawning.admission import Permits
from supervisor.team.closing import Closing
from supervisor.team.registry import InstanceRecord, Member
from supervisor.team.roll import Roll

logger = logging.getLogger(__name__)

GIVEN_UP = "It is not started again by itself"
FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_FORGIVEN_S = 600.0
"""Who fails after having run for so long starts counting anew."""


class Resuming:
    """All in the supervisor's event loop."""

    def __init__(self, roll: Roll, closing: Closing, permits: Permits, limit: int) -> None:
        self._roll = roll
        self._closing = closing
        self._permits = permits
        self._limit = limit
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def failed(self, member: Member) -> None:
        """Begins to bring the instance back, unless that is under way or was tried too often."""
        instance_id = member.record.instance_id
        earlier = self._tasks.get(instance_id)
        if not member.record.wanted or (earlier is not None and not earlier.done()):
            return
        self._tasks[instance_id] = asyncio.create_task(self._bring_back(member), name=f"resume {instance_id}")

    async def _bring_back(self, member: Member) -> None:
        resumes = _in_a_row(member.record)
        while member.record.resumable and member.record.instance_id in self._roll.registry:
            if resumes >= self._limit:
                await self._give_up(member, resumes)
                return
            await asyncio.sleep(min(FIRST_PAUSE_S * 2**resumes, _LONGEST_PAUSE_S))
            resumes += 1
            await self._try(member, resumes)

    async def _give_up(self, member: Member, resumes: int) -> None:
        """Says in its reason that nothing more happens by itself; once, also over restarts of the supervisor."""
        instance_id, reason = member.record.instance_id, member.record.reason
        if GIVEN_UP in reason:
            return
        logger.warning("%s failed again after %d attempts in a row and stays failed", instance_id, resumes)
        times = f"{resumes} times" if resumes != 1 else "once"
        told = (
            f"{reason}\n{GIVEN_UP}: it was started again {times} in a row, which is the limit. See why it ends, "
            f"then restart {instance_id}, which goes on with its conversation, or terminate it."
        )
        try:
            await self._roll.tell_reason(member, told.strip())
        except PhalanxError as error:
            logger.warning("why %s stays failed could not be stored: %s", instance_id, error)

    async def _try(self, member: Member, resumes: int) -> None:
        try:
            async with self._permits.hold():
                # Stored before: an agent that takes the supervisor down with it is not started again for ever.
                await self._roll.save(member.record.instance_id, resumes=resumes, resumed_at=time.time())
                done = await self._closing.resume(member)
            if done is not None:
                logger.info("%s goes on with its conversation", member.record.instance_id)
        except PhalanxError as error:
            logger.warning("%s could not be resumed: %s", member.record.instance_id, error)
        except Exception:
            logger.exception("%s could not be resumed", member.record.instance_id)

    async def stop(self) -> None:
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _in_a_row(record: InstanceRecord) -> int:
    return 0 if record.ended_at - record.resumed_at > _FORGIVEN_S else record.resumes
