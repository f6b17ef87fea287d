"""Starts the agent of a spawn: warm, by handing it a spare agent of the pool, or cold. ``Spawner`` calls it.

A cold start starts actor and agent side by side, because each takes longer than the rest. It stores the record before
each step, so that a start cut off by a crash is finished or undone. It uses a spare actor or worktree if there is one.

A warm start promises: a spare goes to one spawn. A crash between any two steps leaves a whole instance, or a spare that
is never handed out and is undone. So the host's work comes first, while the store still knows the spare; then one
transaction turns it into an instance with its first message. A spare that cannot be handed over is discarded, and the
spawn goes on cold.

In a cluster a spare on the host of the placement comes first. One on another host that the request allows is taken too
if the instances are then uneven by one at most (``HostScheduler.choices``): a cold start takes seconds, and the next
spawn evens that out.
"""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass, replace

from actors.agents.base import Handover
from actors.concurrency import beside
from actors.errors import AgentError, TerminalError, UnavailableError, WorkspaceError
from actors.home import Home
from actors.host.host import Host
from actors.instance.instance import Instance
from actors.instance.reports import InstanceSnapshot
from actors.messages import Message, Receipt
from actors.worktrees.model import Workspace
from supervisor.api.requests import SpawnRequest
from supervisor.cluster.scheduler import HostScheduler, Placement
from supervisor.messaging.outbox import Writes
from supervisor.messaging.outgoing import OutgoingMessage
from supervisor.pool.service import Pools
from supervisor.spawning.agent import agent_start, spare_identity, system_prompt
from supervisor.store import keys
from supervisor.team.adoption import Adopter
from supervisor.team.registry import InstanceRecord, Member
from supervisor.team.team import Team

_CUT_OFF = "the spawn that took it was cut off"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedAgent:
    """A running agent's actor, and its stored first message."""

    port: Instance
    first_message: Receipt


class AgentStarter:
    """All in the supervisor's event loop."""

    def __init__(
        self, home: Home, host: Host, team: Team, adopter: Adopter, pools: Pools, scheduler: HostScheduler | None
    ) -> None:
        """``scheduler``: the hosts of a cluster; None on one machine."""
        self._home = home
        self._host = host
        self._team = team
        self._adopter = adopter
        self._pools = pools
        self._scheduler = scheduler

    async def cold(self, member: Member, request: SpawnRequest, sender: str) -> StartedAgent:
        record = member.record
        spare = self._pools.actors.take(record.actor.partition("@")[2])
        if spare is not None:
            self._team.registry.change(record.instance_id, actor=spare.name)
        await self._team.save(record.instance_id)
        async with beside(self._adopter.actor(member.record)) as actor:
            await self._give_workspace(member.record, request)
            first_message = await self._start(member, request, sender)
            return StartedAgent(port=await actor, first_message=first_message)

    async def _give_workspace(self, record: InstanceRecord, request: SpawnRequest) -> None:
        workspace = await self._spare_worktree(record) if request.workspace_mode == "isolated" else None
        if workspace is None:
            workspace = await self._host.create_workspace(record.instance_id, record.work_dir, request.workspace_mode)
        self._team.registry.change(record.instance_id, workspace=workspace)
        self._pools.note_cold_start(request, record.work_dir, workspace)
        await self._team.save(record.instance_id, host=record.host or await self._host.name())

    async def _spare_worktree(self, record: InstanceRecord) -> Workspace | None:
        spare = self._pools.worktrees.take(record.work_dir, [record.host])
        if spare is None:
            return None
        try:
            return await self._host.bind_spare(spare.content, record.instance_id, record.work_dir)
        except BaseException as error:
            self._pools.worktrees.reject(spare, str(error) or _CUT_OFF)
            if isinstance(error, WorkspaceError):
                return None
            raise

    async def _start(self, member: Member, request: SpawnRequest, sender: str) -> Receipt:
        """Stores the agent's pane and its first message together: from then on a crash does not undo it."""
        start = agent_start(
            self._home,
            member.record,
            system_prompt=system_prompt(member.record),
            model=request.model,
            permission_mode=request.permission_mode,
            environment=request.env,
        )
        pane = await self._host.start_agent(start)
        message = self._first_message(member, request, sender)
        async with member.writing:
            record = self._team.registry.change(member.record.instance_id, pane_id=pane.pane_id, pid=pane.pid)
            (receipt,) = await self._team.outbox.accept([message], self._team.stored_form(record))
        return receipt

    def _first_message(self, member: Member, request: SpawnRequest, sender: str) -> Message:
        outgoing = OutgoingMessage(instance_id=member.record.instance_id, text=request.context, immediate=True)
        return self._team.outbox.make_message(outgoing, sender, time.time())

    async def warm(
        self, member: Member, request: SpawnRequest, sender: str, placement: Placement | None
    ) -> StartedAgent | None:
        """None when there is no spare for this request.

        Raises ``StoreError``, and ``UnavailableError`` when the host of the placement does not answer. Then the caller
        undoes ``member``.
        """
        hosts = self._scheduler.choices(placement) if self._scheduler is not None and placement is not None else None
        taken = self._pools.take_agent(request, member.record.work_dir, hosts)
        if taken is None:
            return None
        spare = taken.content
        placed = placement.host if placement is not None else ""
        self._place(member, placement, spare.record.host)
        async with spare.turn:
            port = self._team.members.port(spare.record.instance_id)
            try:
                await self._hand_over(member, spare)
            except BaseException as error:
                self._pools.agents.reject(taken, str(error) or _CUT_OFF)
                if not isinstance(error, (WorkspaceError, AgentError, TerminalError, UnavailableError)):
                    raise
                if isinstance(error, UnavailableError) and placed in ("", spare.record.host):
                    raise
                self._place(member, placement, placed)
                return None
            return StartedAgent(port=port, first_message=await self._bind(member, spare, request, sender))

    def _place(self, member: Member, placement: Placement | None, host: str) -> None:
        """Called before anything is there: a search for orphans must not find it on a host where it is not placed."""
        if self._scheduler is not None and placement is not None:
            self._scheduler.shift(placement, host)
            self._team.registry.change(member.record.instance_id, host=host)
            self._scheduler.places[member.record.instance_id] = host

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
        # From here on an undo of the instance undoes the spare with it.
        self._team.registry.change(
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
        spare_id = spare.record.instance_id
        message = self._first_message(member, request, sender)
        async with spare.writing, member.writing:
            stored = self._team.stored_form(member.record).records
            extra = Writes(records=stored, delete=[keys.instance(spare_id)])
            (receipt,) = await self._team.outbox.accept([message], extra)
            self._team.registry.remove(spare_id)
            await self._team.members.leave(spare_id)
        member.snapshot = InstanceSnapshot(since=time.time(), transcript_path=member.record.transcript_path)
        return receipt
