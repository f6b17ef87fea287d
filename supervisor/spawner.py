"""The one recipe by which an instance comes to be, undone in reverse when a step fails.

Promises: when ``spawn`` returns, the agent's own record shows the first message; when it raises, nothing that it made
is left: no agent, session, actor, directory or branch. The agent and its actor start side by side, because each takes
longer than all the rest.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from actors.agents.base import AgentStart, LaunchRequest
from actors.errors import AgentError, PhalanxError, TerminalError
from actors.home import Home
from actors.inbox import BatchLimits
from actors.instance import InstanceConfig
from actors.messages import MessageStatus, Receipt
from actors.states import ALIVE, Status
from supervisor.identity import system_prompt
from supervisor.mail import Draft, check_text
from supervisor.permits import Permits
from supervisor.ports import HostPort, InstanceFactory, InstancePort
from supervisor.registry import InstanceRecord, Member
from supervisor.requests import SpawnRequest
from supervisor.roll import Roll
from supervisor.work_dirs import WorkDirPolicy

logger = logging.getLogger(__name__)

END_GRACE_S = 3.0
_TROUBLE_PATIENCE_S = 2.0
_SCREEN_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnSettings:
    agent: str
    limits: BatchLimits
    timeout_s: float
    """Longest time from the start of the agent to the proof of its first message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """Who does the work of a spawn."""

    host: HostPort
    factory: InstanceFactory
    permits: Permits


class Spawner:
    def __init__(self, home: Home, settings: SpawnSettings, staff: Staff, roll: Roll, policy: WorkDirPolicy) -> None:
        self._home = home
        self._settings = settings
        self._host = staff.host
        self._factory = staff.factory
        self._permits = staff.permits
        self._roll = roll
        self._mail = roll.mail
        self._policy = policy

    async def spawn(self, request: SpawnRequest, sender: str) -> InstanceRecord:
        """Starts an instance and gives it its first message. Waits for its turn under the spawn cap."""
        work_dir = self._policy.check(request.work_dir)
        check_text(request.context)
        async with self._permits.hold():
            # A caller who goes away in the middle must not leave half an instance behind.
            return await asyncio.shield(asyncio.create_task(self._spawn(request, work_dir, sender)))

    async def _spawn(self, request: SpawnRequest, work_dir: Path, sender: str) -> InstanceRecord:
        member = self._take_in(request, work_dir)
        async with member.turn, AsyncExitStack() as undo:
            undo.callback(self._roll.registry.remove, member.record.instance_id)
            port = await self._start(member.record, request, undo)
            record = member.record
            await port.adopt(record.pane_id, record.pid)
            self._roll.follow(record.instance_id, port)
            _to_undo(undo, self._roll.leave, record.instance_id)
            await self._give_context(record, request.context, sender, port)
            await self._roll.save(record.instance_id)
            undo.pop_all()
            return record

    def _take_in(self, request: SpawnRequest, work_dir: Path) -> Member:
        return self._roll.registry.add(
            request.model_copy(update={"work_dir": str(work_dir)}),
            agent=request.agent or self._settings.agent,
            session_id=str(uuid.uuid4()),
            now=time.time(),
        )

    async def _start(self, record: InstanceRecord, request: SpawnRequest, undo: AsyncExitStack) -> InstancePort:
        instance_id = record.instance_id
        _to_undo(undo, self._roll.mail.close, instance_id)
        _to_undo(undo, self._host.forget_instance, instance_id)
        _to_undo(undo, self._factory.destroy, instance_id)
        coming = asyncio.create_task(self._factory.create(self.config(record), record.agent))
        try:
            record = await self._give_workspace(record, request, undo)
            _to_undo(undo, self._host.end_agent, instance_id, record.session_name, END_GRACE_S)
            pane = await self._host.start_agent(self._agent_start(record, request))
            self._roll.registry.change(instance_id, pane_id=pane.pane_id, pid=pane.pid)
            return await coming
        finally:
            coming.cancel()

    async def _give_workspace(
        self, record: InstanceRecord, request: SpawnRequest, undo: AsyncExitStack
    ) -> InstanceRecord:
        workspace = await self._host.create_workspace(record.instance_id, record.work_dir, request.workspace_mode)
        _to_undo(undo, self._host.undo_workspace, workspace)
        return self._roll.registry.change(record.instance_id, workspace=workspace, host=await self._host.name())

    def config(self, record: InstanceRecord) -> InstanceConfig:
        return InstanceConfig(
            instance_id=record.instance_id,
            session_id=record.session_id,
            directory=self._home.instance_directory(record.instance_id),
            tmux_socket=self._home.tmux_socket,
            limits=self._settings.limits,
        )

    def _agent_start(self, record: InstanceRecord, request: SpawnRequest) -> AgentStart:
        return AgentStart(
            agent=record.agent,
            session_name=record.session_name,
            working_directory=record.directory,
            trusted_directories=self._trusted(record),
            request=LaunchRequest(
                instance_id=record.instance_id,
                session_id=record.session_id,
                resume=False,
                instance_directory=self._home.instance_directory(record.instance_id),
                system_prompt=system_prompt(record),
                model=request.model,
                permission_mode=request.permission_mode,
                environment=request.env,
            ),
        )

    def _trusted(self, record: InstanceRecord) -> tuple[Path, ...]:
        """Older versions of Claude Code inherit trust from any directory above, newer ones only from the repository."""
        workspace = record.workspace
        if workspace is None or workspace.worktree is None:
            return (record.directory,)
        git_directory = workspace.git_directory
        main = git_directory.parent if git_directory is not None and git_directory.name == ".git" else None
        return (self._home.worktrees, main or workspace.worktree)

    async def _give_context(self, record: InstanceRecord, context: str, sender: str, port: InstancePort) -> None:
        draft = Draft(instance_id=record.instance_id, text=context, immediate=True)
        (message,) = await self._mail.accept([draft], sender, time.time())
        if isinstance(message, PhalanxError):
            raise message
        receipt = await self._first_receipt(record.instance_id, message.id)
        if receipt.status is not MessageStatus.SUBMITTED:
            raise AgentError(await self._why_not(record.instance_id, receipt, port))

    async def _first_receipt(self, instance_id: str, message_id: str) -> Receipt:
        """The receipt when it is final, or as it stands when the agent cannot get ready by itself."""

        def decided() -> bool:
            return self._mail.receipt(message_id).final or self._is_in_trouble(instance_id)

        await self._roll.news.until(decided, self._settings.timeout_s)
        await self._roll.news.until(lambda: self._mail.receipt(message_id).final, _TROUBLE_PATIENCE_S)
        return self._mail.receipt(message_id)

    def _is_in_trouble(self, instance_id: str) -> bool:
        snapshot = self._roll.registry.get(instance_id).snapshot
        return snapshot.status not in ALIVE or (snapshot.status is Status.STARTING and bool(snapshot.reason))

    async def _why_not(self, instance_id: str, receipt: Receipt, port: InstancePort) -> str:
        snapshot = self._roll.registry.get(instance_id).snapshot
        reason = snapshot.reason or receipt.reason or f"no proof within {self._settings.timeout_s:.0f} s"
        words = f"The agent of {instance_id} did not take its first message ({snapshot.status}): {reason}"
        if snapshot.status not in ALIVE:
            return words
        try:
            return f"{words}\nIts screen:\n{await port.screen(_SCREEN_LINES)}"
        except (PhalanxError, TerminalError):
            return words


def _to_undo(undo: AsyncExitStack, step: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """A step back that fails is logged: it must neither hide why the spawn failed nor keep the others from running."""

    async def run() -> None:
        try:
            await step(*arguments)
        except PhalanxError:
            logger.exception("a step of a failed spawn could not be undone")

    undo.push_async_callback(run)
