"""Brings registry, panes and actors together again: after the supervisor came back, and now and then while it runs.

``load`` takes in what the store tells, so that callers can be answered; ``run`` then compares it with what the host and
Ray tell (see ``reconciler``) and carries out what has to be done, each act alone and under the instance's turn. What
has changed since it was looked at is left alone and looked at again. A part that does not answer is asked again soon;
nothing is touched before the store has confirmed that no other supervisor has the team.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from actors.errors import FencedError, PhalanxError
from actors.reports import Snapshot
from supervisor.adoption import Adoption
from supervisor.closing import Closing
from supervisor.ports import HostPort
from supervisor.reconciler import Act, Adopt, EndActor, EndAgent, Finish, NoteEnd, Undo, plan
from supervisor.registry import InstanceRecord, Member, Stage
from supervisor.roll import Roll
from supervisor.spawner import Staff
from supervisor.undoing import Undoing

logger = logging.getLogger(__name__)

EVERY_S = 30.0
COMPARED_S = 20.0
_AGAIN_S = 0.5
_AT_ONCE = 8
"""Actors that are made at the same time: each start costs half a second of CPU."""
_END_GRACE_S = 5.0


class Recovery:
    """All in the supervisor's event loop."""

    def __init__(self, roll: Roll, staff: Staff, adoption: Adoption, undoing: Undoing, closing: Closing) -> None:
        self._roll = roll
        self._host: HostPort = staff.host
        self._factory = staff.factory
        self._adoption = adoption
        self._undoing = undoing
        self._closing = closing
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._compared = asyncio.Event()

    async def compared(self) -> bool:
        """Waits until the records have been compared with what runs, since this process began; False if that lasts."""
        with suppress(TimeoutError):
            async with asyncio.timeout(COMPARED_S):
                await self._compared.wait()
        return self._compared.is_set()

    async def run(self) -> None:
        """Reconciles at once and then for ever; ends when another supervisor has taken over."""
        while True:
            try:
                done = await self.reconcile()
            except FencedError:
                logger.warning("no more reconciling: another supervisor has the state")
                return
            except Exception:
                logger.exception("the team could not be compared with what runs")
                done = False
            if done and not self._compared.is_set():
                self._compared.set()
                self._tell_who_has_failed()
            await asyncio.sleep(EVERY_S if done else _AGAIN_S)

    def _tell_who_has_failed(self) -> None:
        """A crash may have come between a failure and what was to be done about it."""
        for member in self._roll.registry:
            if member.record.stage is Stage.FAILED:
                self._roll.on_failed(member)

    async def reconcile(self) -> bool:
        """One comparison and its acts; whether all of them worked."""
        before = {
            member.record.instance_id: member.record for member in self._roll.registry if not member.turn.locked()
        }
        agents = await self._host.agents()
        actors = await self._factory.running()
        members = list(self._roll.registry)
        acts = plan(
            [member.record for member in members],
            agents,
            actors,
            followed={i.record.instance_id for i in members if self._roll.members.has(i.record.instance_id)},
            busy={*self._roll.unreadable.instance_ids, *_busy(members, before)},
        )
        if acts:
            await self._roll.confirm()
        done = all(await asyncio.gather(*(self._carry_out(act, before) for act in acts)))
        await self._undoing.clear_late()
        return done

    async def _carry_out(self, act: Act, planned: Mapping[str, InstanceRecord]) -> bool:
        logger.info("reconciling: %s", act)
        try:
            async with self._turns:
                return await self._act(act, planned)
        except FencedError:
            raise
        except PhalanxError as error:
            logger.warning("%s did not work: %s", act, error)
        except Exception:
            logger.exception("%s did not work", act)
        return False

    async def _act(self, act: Act, planned: Mapping[str, InstanceRecord]) -> bool:
        if isinstance(act, EndAgent):
            # Sessions are named after their instances.
            await self._host.end_agent(act.session_name, act.session_name, _END_GRACE_S)
            return True
        if act.instance_id not in self._roll.registry:
            await self._factory.destroy(act.instance_id)
            return True
        member = self._roll.registry.get(act.instance_id)
        async with member.turn:
            if member.record != planned[act.instance_id]:
                return False
            return await self._act_on(member, act)

    async def _act_on(self, member: Member, act: Adopt | NoteEnd | Finish | Undo | EndActor) -> bool:
        match act:
            case Adopt():
                await self._adopt(member, act)
            case NoteEnd(instance_id, reason):
                await self._factory.destroy(instance_id)
                await self._roll.mark_ended(member, Stage.FAILED, reason)
            case Finish():
                await self._closing.finish(member)
            case Undo():
                return await self._undoing.undo(member.record)
            case EndActor(instance_id):
                await self._factory.destroy(instance_id)
        return True

    async def _adopt(self, member: Member, act: Adopt) -> None:
        found = {"pane_id": act.pane_id, "pid": act.pid, "stage": Stage.RUNNING, "reason": "", "ended_at": 0.0}
        record = await self._roll.save(act.instance_id, **found)
        if not member.alive:
            member.snapshot = Snapshot(since=time.time(), transcript_path=record.transcript_path)
        await self._adoption.adopt(record, await self._adoption.actor(record))


def _busy(members: Iterable[Member], before: Collection[str]) -> set[str]:
    """Who is being started, restarted or ended, or was when we began to look: what we saw of them may be old."""
    return {
        member.record.instance_id
        for member in members
        if member.turn.locked() or member.record.instance_id not in before
    }
