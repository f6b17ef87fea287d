"""Brings registry, panes and actors together again: after the supervisor came back, and now and then while it runs.

``load`` takes in what the store tells, so that callers can be answered; ``run`` then compares it with what the host and
Ray tell (see ``reconciler``) and carries out what has to be done, each act alone and under the instance's turn. A part
that does not answer is asked again soon; nothing that lives is touched without having been asked for.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from actors.errors import FencedError, PhalanxError
from supervisor.adoption import Adoption
from supervisor.ports import HostPort
from supervisor.reconciler import Act, Adopt, EndActor, EndAgent, NoteEnd, Undo, plan
from supervisor.registry import Stage
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

    def __init__(self, roll: Roll, staff: Staff, adoption: Adoption, undoing: Undoing) -> None:
        self._roll = roll
        self._host: HostPort = staff.host
        self._factory = staff.factory
        self._adoption = adoption
        self._undoing = undoing
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
            if done:
                self._compared.set()
            await asyncio.sleep(EVERY_S if done else _AGAIN_S)

    async def reconcile(self) -> bool:
        """One comparison and its acts; whether all of them worked."""
        agents = await self._host.agents()
        actors = await self._factory.running()
        members = list(self._roll.registry)
        acts = plan(
            [member.record for member in members],
            agents,
            actors,
            followed={i.record.instance_id for i in members if self._roll.members.has(i.record.instance_id)},
            busy={i.record.instance_id for i in members if i.turn.locked()},
        )
        return all(await asyncio.gather(*(self._carry_out(act) for act in acts)))

    async def _carry_out(self, act: Act) -> bool:
        logger.info("reconciling: %s", act)
        try:
            async with self._turns:
                await self._act(act)
        except FencedError:
            raise
        except PhalanxError as error:
            logger.warning("%s did not work: %s", act, error)
            return False
        return True

    async def _act(self, act: Act) -> None:
        match act:
            case Adopt():
                await self._adopt(act)
            case NoteEnd(instance_id, stage, reason):
                member = self._roll.registry.get(instance_id)
                async with member.turn:
                    await self._factory.destroy(instance_id)
                    await self._roll.mark_ended(member, stage, reason)
                    if stage is Stage.STOPPED:
                        await self._roll.mail.close(instance_id)
            case Undo(instance_id):
                member = self._roll.registry.get(instance_id)
                async with member.turn:
                    await self._undoing.undo(member.record)
            case EndAgent(session_name):
                # Sessions are named after their instances.
                await self._host.end_agent(session_name, session_name, _END_GRACE_S)
            case EndActor(instance_id):
                await self._factory.destroy(instance_id)

    async def _adopt(self, act: Adopt) -> None:
        member = self._roll.registry.get(act.instance_id)
        async with member.turn:
            found = {"pane_id": act.pane_id, "pid": act.pid, "stage": Stage.RUNNING, "reason": "", "ended_at": 0.0}
            record = await self._roll.save(act.instance_id, **found)
            await self._adoption.adopt(record, await self._adoption.actor(record))
