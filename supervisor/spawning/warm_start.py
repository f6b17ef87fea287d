"""Gives an instance an agent that waits at its prompt already.

Promises: a spare goes to one taker; a crash between any two steps leaves an instance that is whole, or a spare that
nobody is given, which is undone. So all that the host does comes first, while the store still knows a spare; then one
transaction makes an instance with its first message of it. A spare that cannot be given is discarded, and the caller
goes on as if there had been none.

In a cluster a spare on the host where the instance was placed comes first. One on another host that the request allows
is taken, too, when the instances are then spread unevenly by one at most (``Roster.choices``): starting anew takes
seconds, and the next spawn evens that out. Otherwise the instance starts cold where it was placed.
"""

from __future__ import annotations

import datetime
import time
from dataclasses import replace

from actors.agents.base import Handover
from actors.errors import AgentError, TerminalError, UnavailableError, WorkspaceError
from actors.instance.reports import Snapshot
from actors.messages import Receipt
from supervisor.api.requests import SpawnRequest
from supervisor.cluster.scheduler import Placement
from supervisor.messaging.drafts import Draft
from supervisor.messaging.mail import Extra
from supervisor.pool.pool import Pool
from supervisor.ports import HostPort
from supervisor.spawning.cold_start import Begun
from supervisor.spawning.identity import spare_identity
from supervisor.spawning.staff import Staff
from supervisor.store import keys
from supervisor.team.registry import Member
from supervisor.team.roll import Roll


class WarmStart:
    def __init__(self, staff: Staff, roll: Roll, pool: Pool) -> None:
        self._host: HostPort = staff.host
        self._roll = roll
        self._pool = pool
        self._roster = staff.roster

    async def begin(
        self, member: Member, request: SpawnRequest, sender: str, placement: Placement | None
    ) -> Begun | None:
        """None when there is no spare for this request. Raises ``StoreError`` and, when the host of the placement does
        not answer, ``UnavailableError``; then ``member`` is to be undone."""
        hosts = self._roster.choices(placement) if self._roster is not None and placement is not None else None
        spare = self._pool.take_agent(request, member.record.work_dir, hosts)
        if spare is None:
            return None
        placed = placement.host if placement is not None else ""
        self._place(member, placement, spare.record.host)
        async with spare.turn:
            port = self._roll.members.port(spare.record.instance_id)
            try:
                await self._hand_over(member, spare)
            except (WorkspaceError, AgentError, TerminalError, UnavailableError) as error:
                self._pool.reject_agent(spare, str(error))
                if isinstance(error, UnavailableError) and placed in ("", spare.record.host):
                    raise
                self._place(member, placement, placed)
                return None
            return Begun(port=port, context=await self._bind(member, spare, request, sender))

    def _place(self, member: Member, placement: Placement | None, host: str) -> None:
        """Before anything of it is there: who looks for strays must not find it where it is not placed."""
        if self._roster is not None and placement is not None:
            self._roster.shift(placement, host)
            self._roll.registry.change(member.record.instance_id, host=host)
            self._roster.places[member.record.instance_id] = host

    async def _hand_over(self, member: Member, spare: Member) -> None:
        record, given = member.record, spare.record
        if given.workspace is None:
            raise WorkspaceError(f"{given.instance_id} has no worktree.")
        workspace = await self._host.bind_spare(given.workspace, record.instance_id, record.work_dir)
        bound = replace(record, workspace=workspace, spare=given.instance_id)
        handover = Handover(
            place=given.place,
            session_name=given.session_name,
            instance_id=record.instance_id,
            identity=spare_identity(bound, datetime.date.fromtimestamp(time.time())),
        )
        await self._host.hand_over(handover)
        # From here on it is the instance's: whoever undoes that one undoes the spare with it.
        self._roll.registry.change(
            record.instance_id,
            workspace=workspace,
            spare=given.instance_id,
            session_id=given.session_id,
            host=given.host,
            actor=given.actor_name,
            pane_id=given.pane_id,
            pid=given.pid,
            transcript_path=given.transcript_path,
        )

    async def _bind(self, member: Member, spare: Member, request: SpawnRequest, sender: str) -> Receipt:
        instance_id, spare_id = member.record.instance_id, spare.record.instance_id
        draft = Draft(instance_id=instance_id, text=request.context, immediate=True)
        message = self._roll.mail.first(draft, sender, time.time())
        async with spare.writing, member.writing:
            stored = self._roll.stored_form(member.record).records
            extra = Extra(records=stored, delete=[keys.instance(spare_id)])
            (receipt,) = await self._roll.mail.accept([message], extra)
            self._roll.registry.remove(spare_id)
            await self._roll.members.leave(spare_id)
        member.snapshot = Snapshot(since=time.time(), transcript_path=member.record.transcript_path)
        return receipt
