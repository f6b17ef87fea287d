"""Brings the work of instances on other hosts home by itself: when a turn ends, and at intervals what is not committed.

A host that is lost for good then costs at most what was done since the last interval. All in the supervisor's event
loop; one instance at a time is carried by itself, so a large one does not hold up the others.
"""

from __future__ import annotations

import asyncio
import logging
import time

from actors.concurrency import Background
from actors.errors import PhalanxError
from actors.status import IDLE
from supervisor.hosts.many import ManyHosts
from supervisor.team.registry import Member
from supervisor.team.roll import Roll

logger = logging.getLogger(__name__)

_LOOK_S = 1.0


class Carrier:
    def __init__(self, roll: Roll, hosts: ManyHosts, every_s: float) -> None:
        """``every_s``: how long what is not committed is on the other host alone, at most; 0: it is not carried."""
        self._roll = roll
        self._hosts = hosts
        self._every_s = every_s
        self._turns: dict[str, float] = {}
        self._saved: dict[str, float] = {}
        self._work = Background("carry work home")
        self._carrying: set[str] = set()

    def begin(self) -> None:
        self._work.begin(self._run())

    async def end(self) -> None:
        await self._work.end()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            for member in self._roll.registry:
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
                await self._hosts.carry_conversation(member.record.place, member.snapshot.transcript_path)
                await self._note_what_came_home(member)
                note = await self._hosts.carry_home(workspace, uncommitted=uncommitted)
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
        instance_id, abroad = member.record.instance_id, self._roll.mail.abroad
        if said := abroad.of(instance_id):
            shown = await self._hosts.shown_at_home(member.record.place, member.snapshot.transcript_path, said)
            await abroad.came_home(instance_id, shown)
