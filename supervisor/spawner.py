"""The one recipe by which an instance comes to be, undone when a step fails.

Promises: when ``spawn`` returns, the agent's own record shows the first message; when it raises, nothing that it made
is left: no agent, session, actor, directory or branch. The agent and its actor start side by side, because each takes
longer than all the rest. The record is stored before each step, so that a spawn that a crash cut off is finished or
undone; a call that is repeated with its request id gets the same instance.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from actors.agents.base import AgentStart, LaunchRequest
from actors.errors import AgentError, PhalanxError, TerminalError, UnavailableError
from actors.home import Home
from actors.messages import MessageStatus, Receipt
from actors.states import ALIVE, Status
from supervisor.adoption import Adoption
from supervisor.identity import system_prompt
from supervisor.mail import Draft, check_text
from supervisor.performance.names import Count, Timing
from supervisor.permits import Permits
from supervisor.pool.stock import ActorStock
from supervisor.ports import HostPort, InstanceFactory, InstancePort
from supervisor.registry import InstanceRecord, Member, Stage
from supervisor.repeats import check_same, fingerprint
from supervisor.requests import SpawnRequest
from supervisor.roll import Roll
from supervisor.undoing import Undoing
from supervisor.verbs import Caller
from supervisor.work_dirs import WorkDirPolicy

_TROUBLE_PATIENCE_S = 2.0
_SCREEN_LINES = 15
_FIRST_MESSAGE_WAITS = frozenset({Status.STARTING, Status.READY})
"""A turn shows that the first message has arrived, whatever else is pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnSettings:
    home: Home
    agent: str
    timeout_s: float
    """Longest time from the start of the agent to the proof of its first message."""
    work_dirs: WorkDirPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """Who does the work of a spawn."""

    host: HostPort
    factory: InstanceFactory
    permits: Permits
    stock: ActorStock


class Spawner:
    def __init__(self, settings: SpawnSettings, staff: Staff, roll: Roll, adoption: Adoption, undoing: Undoing) -> None:
        self._home = settings.home
        self._settings = settings
        self._host = staff.host
        self._permits = staff.permits
        self._roll = roll
        self._mail = roll.mail
        self._adoption = adoption
        self._undoing = undoing
        self._stock = staff.stock

    async def spawn(self, request: SpawnRequest, caller: Caller) -> InstanceRecord:
        """Starts an instance and gives it its first message. Waits for its turn under the spawn cap."""
        return await self._roll.repeats.once(request, request.request_id, lambda: self._spawn_once(request, caller))

    async def _spawn_once(self, request: SpawnRequest, caller: Caller) -> InstanceRecord:
        made = self._roll.registry.made_by(request.request_id) if request.request_id else None
        if made is not None:
            check_same(request.request_id or "", made.record.fingerprint, fingerprint(request))
            finished = await self._finished(made)
            if finished is not None:
                return finished
        dismissed = self._roll.dismissed(request.request_id, fingerprint(request))
        if dismissed is not None:
            return dismissed
        work_dir = self._settings.work_dirs.check(request.work_dir)
        check_text(request.context)
        asked = time.perf_counter()
        async with self._permits.hold(caller.client):
            self._roll.meters.observe(Timing.SPAWN_WAIT, time.perf_counter() - asked)
            # A caller who goes away in the middle must not leave half an instance behind.
            return await asyncio.shield(asyncio.create_task(self._spawn(request, work_dir, caller.sender)))

    async def _finished(self, member: Member) -> InstanceRecord | None:
        """An instance that this call has made already, once it has its first message or has ended.

        None when a crash had cut that off and it was undone. Raises ``UnavailableError`` when that is not decided yet.
        """
        instance_id = member.record.instance_id

        def finished() -> bool:
            return instance_id not in self._roll.registry or (
                member.record.stage is not Stage.STARTING
                and (self._mail.pending(instance_id) == 0 or member.snapshot.status not in _FIRST_MESSAGE_WAITS)
            )

        await self._roll.news.until(finished, self._settings.timeout_s)
        if instance_id not in self._roll.registry:
            return None
        if member.record.stage is Stage.STARTING:
            raise UnavailableError(f"{instance_id}, which this call has made, is still being started: repeat the call.")
        return member.record

    async def _spawn(self, request: SpawnRequest, work_dir: Path, sender: str) -> InstanceRecord:
        member = self._take_in(request, work_dir)
        async with member.turn:
            try:
                with self._roll.meters.timing(Timing.SPAWN, failures=Count.SPAWNS_FAILED):
                    return await self._make(member, request, sender)
            except BaseException:
                await self._undoing.undo(member.record)
                raise

    def _take_in(self, request: SpawnRequest, work_dir: Path) -> Member:
        member = self._roll.registry.add(
            request.model_copy(update={"work_dir": str(work_dir)}),
            agent=request.agent or self._settings.agent,
            session_id=str(uuid.uuid4()),
            now=time.time(),
            fingerprint=fingerprint(request),
        )
        self._roll.registry.change(member.record.instance_id, actor=self._stock.take())
        return member

    async def _make(self, member: Member, request: SpawnRequest, sender: str) -> InstanceRecord:
        instance_id = member.record.instance_id
        await self._roll.save(instance_id)
        coming = asyncio.create_task(self._adoption.actor(member.record))
        try:
            await self._give_workspace(member.record, request)
            context = await self._start(member, request, sender)
            port = await coming
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await self._adoption.adopt(member.record, port)
        receipt = await self._first_receipt(instance_id, context)
        if receipt.status is not MessageStatus.SUBMITTED:
            raise AgentError(await self._why_not(member, receipt, port))
        return await self._roll.save(instance_id, stage=Stage.RUNNING)

    async def _give_workspace(self, record: InstanceRecord, request: SpawnRequest) -> None:
        workspace = await self._host.create_workspace(record.instance_id, record.work_dir, request.workspace_mode)
        self._roll.registry.change(record.instance_id, workspace=workspace)
        await self._roll.save(record.instance_id, host=await self._host.name())

    async def _start(self, member: Member, request: SpawnRequest, sender: str) -> Receipt:
        """The agent with its pane and its first message stand in the store together: from here on it is not undone."""
        pane = await self._host.start_agent(self._agent_start(member.record, request))
        draft = Draft(instance_id=member.record.instance_id, text=request.context, immediate=True)
        message = self._mail.first(draft, sender, time.time())
        async with member.writing:
            record = self._roll.registry.change(member.record.instance_id, pane_id=pane.pane_id, pid=pane.pid)
            (receipt,) = await self._mail.accept([message], self._roll.stored_form(record))
        return receipt

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

    async def _first_receipt(self, instance_id: str, accepted: Receipt) -> Receipt:
        """The receipt when it is final, or as it stands when the agent cannot get ready by itself."""

        def receipt() -> Receipt:
            return self._mail.receipt(accepted.message_id) or accepted

        def decided() -> bool:
            return receipt().final or self._is_in_trouble(instance_id)

        await self._roll.news.until(decided, self._settings.timeout_s)
        await self._roll.news.until(lambda: receipt().final, _TROUBLE_PATIENCE_S)
        return receipt()

    def _is_in_trouble(self, instance_id: str) -> bool:
        snapshot = self._roll.registry.get(instance_id).snapshot
        return snapshot.status not in ALIVE or (snapshot.status is Status.STARTING and bool(snapshot.reason))

    async def _why_not(self, member: Member, receipt: Receipt, port: InstancePort) -> str:
        snapshot = member.snapshot
        reason = snapshot.reason or receipt.reason or f"no proof within {self._settings.timeout_s:.0f} s"
        words = f"The agent of {member.record.instance_id} did not take its first message ({snapshot.status}): {reason}"
        if not member.alive:
            return words
        try:
            return f"{words}\nIts screen:\n{await port.screen(_SCREEN_LINES)}"
        except (PhalanxError, TerminalError):
            return words
