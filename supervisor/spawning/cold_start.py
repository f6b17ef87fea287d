"""Starts an agent for an instance from nothing: actor and agent side by side, because each takes longer than the rest.

The record is stored before each step, so that what a crash cuts off is finished or undone. A spare actor or a spare
worktree is used where there is one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from actors.concurrency import beside
from actors.errors import PhalanxError, WorkspaceError
from actors.home import Home
from actors.messages import Receipt
from actors.worktrees.model import Workspace
from supervisor.api.requests import SpawnRequest
from supervisor.messaging.drafts import Draft
from supervisor.pool.pool import Pool
from supervisor.ports import HostPort, InstancePort
from supervisor.recovering.adoption import Adoption
from supervisor.spawning.agent_start import Wishes, agent_start
from supervisor.spawning.identity import system_prompt
from supervisor.spawning.staff import Staff
from supervisor.team.registry import InstanceRecord, Member
from supervisor.team.roll import Roll


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An agent that runs, its actor, and its first message, which is stored."""

    port: InstancePort
    context: Receipt


class ColdStart:
    def __init__(self, home: Home, staff: Staff, roll: Roll, adoption: Adoption, pool: Pool) -> None:
        self._home = home
        self._host: HostPort = staff.host
        self._stock = staff.stock
        self._roll = roll
        self._adoption = adoption
        self._pool = pool

    async def begin(self, member: Member, request: SpawnRequest, sender: str) -> Begun:
        instance_id = member.record.instance_id
        self._roll.registry.change(instance_id, actor=self._actor_for(member.record))
        await self._roll.save(instance_id)
        async with beside(self._adoption.actor(member.record)) as coming:
            await self._give_workspace(member.record, request)
            context = await self._start(member, request, sender)
            return Begun(port=await coming, context=context)

    def _actor_for(self, record: InstanceRecord) -> str:
        """A spare one of its host, if there is one."""
        return self._stock.take(record.actor.partition("@")[2]) or record.actor

    async def _give_workspace(self, record: InstanceRecord, request: SpawnRequest) -> None:
        workspace = await self._from_pool(record, request)
        if workspace is None:
            workspace = await self._host.create_workspace(record.instance_id, record.work_dir, request.workspace_mode)
        self._roll.registry.change(record.instance_id, workspace=workspace)
        self._pool.works(request, record.work_dir, workspace)
        await self._roll.save(record.instance_id, host=record.host or await self._host.name())

    async def _from_pool(self, record: InstanceRecord, request: SpawnRequest) -> Workspace | None:
        isolated = request.workspace_mode == "isolated"
        spare = self._pool.take_worktree(record.work_dir, record.host) if isolated else None
        if spare is None:
            return None
        try:
            return await self._host.bind_spare(spare, record.instance_id, record.work_dir)
        except PhalanxError as error:
            self._pool.reject_worktree(spare, str(error))
            if isinstance(error, WorkspaceError):
                return None
            raise

    async def _start(self, member: Member, request: SpawnRequest, sender: str) -> Receipt:
        """The agent with its pane and its first message stand in the store together: from here on it is not undone."""
        wishes = Wishes(
            system_prompt=system_prompt(member.record),
            model=request.model,
            permission_mode=request.permission_mode,
            environment=request.env,
        )
        pane = await self._host.start_agent(agent_start(self._home, member.record, wishes))
        draft = Draft(instance_id=member.record.instance_id, text=request.context, immediate=True)
        message = self._roll.mail.first(draft, sender, time.time())
        async with member.writing:
            record = self._roll.registry.change(member.record.instance_id, pane_id=pane.pane_id, pid=pane.pid)
            (receipt,) = await self._roll.mail.accept([message], self._roll.stored_form(record))
        return receipt
