"""Spawns instances, alone or in a batch, with their first message. The supervisor's verbs call it.

Promises: when ``Spawner.spawn`` returns, the agent's own record shows the first message, or the message waits for a
dialog that a person can answer. An attended instance gets no message: it is at its prompt, or at such a dialog. When it
raises, nothing that it made is left: no agent, session, actor, directory or branch. After a crash a spawn is finished
or undone. A call repeated with its request id gets the same instance. Batches return results in the order asked, and a
failing member fails alone.

``AgentStarter`` hands the instance a spare agent of the pool (warm) or starts one (cold). A spare goes to one spawn.
One that cannot be handed over is discarded, and the spawn goes on cold. In a cluster a spare on the host of the
placement comes first. One on another host that the request allows is taken too if the instances are then uneven by one
at most (``HostScheduler.choices``): a cold start takes seconds, and the next spawn evens that out.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from actors.agents.base import Handover
from actors.concurrency import beside
from actors.errors import (
    AgentError,
    PhalanxError,
    TerminalError,
    UnavailableError,
    WorkspaceError,
    WrongStateError,
)
from actors.home import Home
from actors.host.host import Host
from actors.instance.instance import Instance
from actors.instance.reports import InstanceSnapshot
from actors.messages import MessageStatus, Receipt
from actors.status import ALIVE, Status
from actors.worktrees.model import Workspace
from supervisor.api import requests, results
from supervisor.api.requests import SpawnRequest
from supervisor.api.results import ErrorInfo, alone, called
from supervisor.api.verbs import Caller, Tally
from supervisor.cluster.scheduler import HostScheduler, Placement, placed
from supervisor.messaging.outbox import Writes, check_text
from supervisor.metrics.metrics import Count, Timing
from supervisor.pool.service import Pools
from supervisor.rpc.idempotency import check_same, fingerprint
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission, WorkDirPolicy, check_mode
from supervisor.spawning.agent import agent_start, spare_identity, system_prompt
from supervisor.spawning.rollback import SpawnRollback
from supervisor.store import keys
from supervisor.team.access import Access, new_token, token_hash
from supervisor.team.accounts import account_of
from supervisor.team.adoption import Adopter
from supervisor.team.limits import check_start
from supervisor.team.rate_limits import RateLimits
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from supervisor.team.tokens import TokenLimits

logger = logging.getLogger(__name__)

_CUT_OFF = "the spawn that took it was cut off"
_TROUBLE_PATIENCE_S = 2.0
_SCREEN_LINES = 15
_UNDONE_S = 30.0
_FIRST_MESSAGE_WAITS = frozenset({Status.STARTING, Status.READY})
"""In any other status the first message has arrived, whatever else is pending: a turn shows that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnTask:
    """One spawn that was checked and has a host."""

    request: SpawnRequest
    work_dir: Path
    caller: Caller
    placement: Placement | None
    """None on one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedAgent:
    """A running agent's actor, and its stored first message."""

    port: Instance
    first_message: Receipt | None
    """None: a person begins the conversation at the terminal."""


class _SpareLostError(AgentError):
    """The spare agent died before it had its task."""


class Spawner:
    def __init__(
        self,
        team: Team,
        starter: AgentStarter,
        adopter: Adopter,
        rollback: SpawnRollback,
        permits: FairSemaphore,
        memory: MemoryAdmission,
        scheduler: HostScheduler | None,
        work_dirs: WorkDirPolicy,
        access: Access,
        tokens: TokenLimits,
        rate_limits: RateLimits,
        *,
        default_agent: str,
        timeout_s: float,
        allow_bypass: bool,
    ) -> None:
        """``scheduler``: the hosts of a cluster; None on one machine. ``timeout_s``: the longest time from the start of
        the agent to the proof of its first message. ``allow_bypass``: instances may run with ``bypassPermissions``."""
        self._team = team
        self._starter = starter
        self._adopter = adopter
        self._rollback = rollback
        self._permits = permits
        self._memory = memory
        self._scheduler = scheduler
        self._work_dirs = work_dirs
        self._access = access
        self._tokens = tokens
        self._rate_limits = rate_limits
        self._default_agent = default_agent
        self._timeout_s = timeout_s
        self._allow_bypass = allow_bypass
        self._under_way: set[asyncio.Task[InstanceRecord]] = set()
        self._ending = ""

    async def spawn(self, request: SpawnRequest, caller: Caller) -> InstanceRecord:
        """Starts an instance and gives it its first message. Waits for its turn under the spawn cap."""
        return await self._team.idempotency.once(request, request.request_id, lambda: self._spawn_once(request, caller))

    async def _spawn_once(self, request: SpawnRequest, caller: Caller) -> InstanceRecord:
        made = self._team.registry.made_by(request.request_id) if request.request_id else None
        if made is not None:
            check_same(request.request_id or "", made.record.fingerprint, fingerprint(request))
            finished = await self._finished(made)
            if finished is not None:
                return finished
        dismissed = self._team.dismissed(request.request_id, fingerprint(request))
        if dismissed is not None:
            return dismissed
        work_dir = await self._work_dirs.checked(request.work_dir)
        self._access.check_work_dir(caller.instance_id, work_dir, request.workspace_mode)
        if not request.attended:
            check_text(request.context)
        check_mode(request.permission_mode, allow_bypass=self._allow_bypass)
        self._check_limits(request, caller)
        self._team.registry.check_name(request.name, request.request_id)
        account = account_of(request.env)
        await self._rate_limits.until_free(account, lambda what: caller.progress(0, 1, what), self._timeout_s)
        asked = time.perf_counter()
        async with AsyncExitStack() as waiting:
            placement = await waiting.enter_async_context(placed(self._scheduler, request))
            await waiting.enter_async_context(self._permits.hold(caller.client))
            self._team.recorder.observe(Timing.SPAWN_WAIT, time.perf_counter() - asked)
            self._check_goes_on()
            task = SpawnTask(request=request, work_dir=work_dir, caller=caller, placement=placement)
            # A caller that goes away must not leave half an instance behind: its spawn goes on, and keeps its permit.
            spawning = asyncio.create_task(self._spawn_holding(waiting.pop_all(), task))
        self._under_way.add(spawning)
        spawning.add_done_callback(self._under_way.discard)
        return await asyncio.shield(spawning)

    def _check_limits(self, request: SpawnRequest, caller: Caller) -> None:
        self._tokens.check_start(request.parent_id)
        if caller.instance_id:
            check_start(request.parent_id, request.model, request.permission_mode, self._team.registry)

    async def _finished(self, member: Member) -> InstanceRecord | None:
        """The instance that an earlier call with this request id made, once it has its first message or has ended.

        None when a crash cut that call off and it was undone. Raises ``UnavailableError`` when that is still open.
        """
        instance_id = member.record.instance_id

        def finished() -> bool:
            if instance_id not in self._team.registry:
                return True
            if member.record.stage is InstanceStage.STARTING:
                return False
            if member.record.attended:
                return _shows_something(member)
            return self._team.outbox.pending(instance_id) == 0 or member.snapshot.status not in _FIRST_MESSAGE_WAITS

        await self._team.changes.until(finished, self._timeout_s)
        if instance_id not in self._team.registry:
            return None
        if member.record.stage is InstanceStage.STARTING:
            raise UnavailableError(f"{instance_id}, which this call has made, is still being started: repeat the call.")
        return member.record

    async def end(self, why: str) -> None:
        """Undoes the spawns under way and begins no more, because the team ends. Callers get ``why``."""
        self._ending = why
        await asyncio.sleep(0)  # a task that has not begun could not answer its caller
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_UNDONE_S)

    def _check_goes_on(self) -> None:
        if self._ending:
            raise WrongStateError(self._ending)

    async def _spawn_holding(self, held: AsyncExitStack, task: SpawnTask) -> InstanceRecord:
        async with held:
            try:
                with self._team.recorder.timing(Timing.SPAWN, failures=Count.SPAWNS_FAILED):
                    return await self._spawn(task)
            except asyncio.CancelledError:
                self._check_goes_on()
                raise

    async def _spawn(self, task: SpawnTask, *, warm: bool = True) -> InstanceRecord:
        member = self._take_in(task)
        try:
            async with member.turn:
                try:
                    return await self._make(member, task, warm=warm)
                except BaseException:
                    await self._undo(member.record)
                    raise
        except _SpareLostError as error:
            logger.warning("the spawn begins anew: %s", error)
            return await self._spawn(task, warm=False)

    async def _undo(self, record: InstanceRecord) -> None:
        """Runs to its end also when the spawn is cancelled: half an instance would be resumed later."""
        rollback = asyncio.create_task(self._rollback.undo(record), name=f"undo {record.instance_id}")
        while not rollback.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([rollback])
        rollback.result()

    def _take_in(self, task: SpawnTask) -> Member:
        request, placement = task.request, task.placement
        self._check_limits(request, task.caller)  # no await from here on: two starts do not take one last place
        member = self._team.registry.add(
            request.model_copy(update={"work_dir": str(task.work_dir)}),
            agent=request.agent or self._default_agent,
            session_id=str(uuid.uuid4()),
            now=time.time(),
            fingerprint=fingerprint(request),
            caller_id=task.caller.instance_id,
        )
        if self._scheduler is not None and placement is not None:
            instance_id = member.record.instance_id
            actor = "" if placement.own else f"{instance_id}@{placement.address}"
            self._team.registry.change_in_memory(instance_id, actor=actor, host=placement.host, labels=request.labels)
            self._scheduler.places[instance_id] = placement.host
            placement.instance_id = instance_id
        return member

    async def _make(self, member: Member, task: SpawnTask, *, warm: bool) -> InstanceRecord:
        request, caller, placement = task.request, task.caller, task.placement
        if warm:
            started = await self._starter.warm(member, request, caller, placement)
            if started is not None:
                return await self._finish(member, started, from_pool=True)
        other_host = placement.host if placement is not None and not placement.own else ""
        async with self._memory.hold(member.record.agent, lambda what: caller.progress(0, 1, what), other_host):
            started = await self._starter.cold(member, request, caller)
            return await self._finish(member, started, from_pool=False)

    async def _finish(self, member: Member, started: StartedAgent, *, from_pool: bool) -> InstanceRecord:
        await self._adopter.adopt(member.record, started.port)
        if started.first_message is None:
            return await self._attended(member)
        receipt = await self._first_receipt(member, started.first_message)
        held_by_dialog = member.alive and member.snapshot.dialog is not None
        if receipt.status is not MessageStatus.SUBMITTED and (receipt.final or not held_by_dialog):
            kind = _SpareLostError if from_pool and not member.alive else AgentError
            raise kind(await self._why_not_taken(member, receipt, started.port))
        self._team.recorder.count(Count.SPAWNS_FROM_POOL, int(from_pool))
        return await self._team.save(member.record.instance_id, stage=InstanceStage.RUNNING)

    async def _attended(self, member: Member) -> InstanceRecord:
        """Returns when the agent is at its prompt, or shows something else: the person who attaches to it sees to that.

        Raises ``AgentError`` when it has ended.
        """
        await self._team.changes.until(lambda: _shows_something(member), self._timeout_s)
        if not member.alive:
            raise AgentError(f"The agent of {member.record.instance_id} did not start: {member.snapshot.reason}")
        return await self._team.save(member.record.instance_id, stage=InstanceStage.RUNNING)

    async def _first_receipt(self, member: Member, accepted: Receipt) -> Receipt:
        """The receipt when it is final, or the latest one when the agent cannot get ready by itself."""

        def receipt() -> Receipt:
            return self._team.outbox.receipt(accepted.message_id) or accepted

        def in_trouble() -> bool:
            snapshot = member.snapshot
            starts_not = snapshot.status is Status.STARTING and bool(snapshot.reason)
            return snapshot.status not in ALIVE or snapshot.status is Status.WAITING_INPUT or starts_not

        def decided() -> bool:
            return receipt().final or in_trouble()

        def over() -> bool:
            return receipt().final or not in_trouble()

        deadline = time.monotonic() + self._timeout_s
        while await self._team.changes.until(decided, deadline - time.monotonic()) and not receipt().final:
            # A dialog that was just answered, or a screen drawn late, is no trouble a moment later.
            if not await self._team.changes.until(over, _TROUBLE_PATIENCE_S):
                break
        return receipt()

    async def _why_not_taken(self, member: Member, receipt: Receipt, port: Instance) -> str:
        snapshot = member.snapshot
        reason = snapshot.reason or receipt.reason or f"no proof within {self._timeout_s:.0f} s"
        words = f"The agent of {member.record.instance_id} did not take its first message ({snapshot.status}): {reason}"
        if not member.alive:
            return words
        try:
            return f"{words}\nIts screen:\n{await port.screen(_SCREEN_LINES)}"
        except PhalanxError:
            return words


def _shows_something(member: Member) -> bool:
    """A person at its terminal can go on, or it has ended."""
    return member.snapshot.status is not Status.STARTING or bool(member.snapshot.reason)


class AgentStarter:
    """Starts the agent of a spawn."""

    def __init__(
        self,
        home: Home,
        host: Host,
        team: Team,
        access: Access,
        adopter: Adopter,
        pools: Pools,
        scheduler: HostScheduler | None,
    ) -> None:
        """``scheduler``: the hosts of a cluster; None on one machine."""
        self._home = home
        self._host = host
        self._team = team
        self._access = access
        self._adopter = adopter
        self._pools = pools
        self._scheduler = scheduler

    async def cold(self, member: Member, request: SpawnRequest, caller: Caller) -> StartedAgent:
        """Starts the actor beside all the rest: nobody needs it before the agent has started.

        Stores the record before each step, so that a start cut off by a crash is finished or undone. Uses a spare
        worktree if there is one.
        """
        record = await self._team.save(member.record.instance_id)
        async with beside(self._adopter.actor(record)) as actor:
            await self._give_workspace(record, request, caller)
            await self._prepare(member.record, request)
            first_message = await self._start(member, request, caller.sender)
            return StartedAgent(port=await actor, first_message=first_message)

    async def _give_workspace(self, record: InstanceRecord, request: SpawnRequest, caller: Caller) -> None:
        workspace = await self._spare_worktree(record) if request.workspace_mode == "isolated" else None
        if workspace is None:
            workspace = await self._host.create_workspace(record.instance_id, record.work_dir, request.workspace_mode)
        self._team.registry.change_in_memory(record.instance_id, workspace=workspace)
        self._access.check_workspace(caller.instance_id, workspace)
        self._pools.note_cold_start(request, record.work_dir, workspace)
        await self._team.save(record.instance_id, host=record.host or await self._host.name())
        if workspace.place is not None and workspace.place.top is not None:
            await self._team.moving_trees.until_still(workspace.place.top)

    async def _prepare(self, record: InstanceRecord, request: SpawnRequest) -> None:
        """Before the agent starts: it reads some of these files at its start. A failure undoes the spawn."""
        asked = request.prepare
        if asked is None or record.workspace is None:
            return
        files = await self._host.read_files(record.work_dir, asked.copy_files) if asked.copy_files else ()
        await self._host.prepare_workspace(record.place, record.workspace, files, asked.setup or "", request.env)

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

    async def _start(self, member: Member, request: SpawnRequest, sender: str) -> Receipt | None:
        """Stores the agent's pane and its first message together: from then on a crash does not undo it.

        Its token is known before it starts, because its first act may be a call. None for an attended one, which gets
        no message.
        """
        token = new_token()
        record = self._team.registry.change_in_memory(member.record.instance_id, token_hash=token_hash(token))
        start = agent_start(
            self._home,
            record,
            system_prompt=system_prompt(record),
            model=request.model,
            permission_mode=request.permission_mode,
            environment=request.env,
            token=token,
        )
        pane = await self._host.start_agent(start)
        if request.attended:
            await self._team.save(member.record.instance_id, pane_id=pane.pane_id, pid=pane.pid)
            return None
        message = self._team.outbox.first_message(member.record.instance_id, request.context, sender)
        async with member.writing:
            record = self._team.registry.change_in_memory(member.record.instance_id, pane_id=pane.pane_id, pid=pane.pid)
            (receipt,) = await self._team.outbox.accept([message], self._team.stored_form(record))
        return receipt

    async def warm(
        self, member: Member, request: SpawnRequest, caller: Caller, placement: Placement | None
    ) -> StartedAgent | None:
        """None when there is no spare for this request.

        A crash between any two steps leaves a whole instance, or a spare that is never handed out and is undone. So the
        host's work comes first, while the store still knows the spare; then one transaction turns it into an instance
        with its first message.

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
            port = self._team.links.port(spare.record.instance_id)
            try:
                await self._hand_over(member, spare, caller)
            except BaseException as error:
                self._pools.agents.reject(taken, str(error) or _CUT_OFF)
                if not isinstance(error, (WorkspaceError, AgentError, TerminalError, UnavailableError)):
                    raise
                if isinstance(error, UnavailableError) and placed in ("", spare.record.host):
                    raise
                self._place(member, placement, placed)
                return None
            return StartedAgent(port=port, first_message=await self._bind(member, spare, request, caller.sender))

    def _place(self, member: Member, placement: Placement | None, host: str) -> None:
        """Called before anything is there: a search for orphans must not find it on a host where it is not placed."""
        if self._scheduler is not None and placement is not None:
            self._scheduler.shift(placement, host)
            self._team.registry.change_in_memory(member.record.instance_id, host=host)
            self._scheduler.places[member.record.instance_id] = host

    async def _hand_over(self, member: Member, spare: Member, caller: Caller) -> None:
        record, given = member.record, spare.record
        if given.workspace is None:
            raise WorkspaceError(f"{given.instance_id} has no worktree.")
        workspace = await self._host.bind_spare(given.workspace, record.instance_id, record.work_dir)
        self._access.check_workspace(caller.instance_id, workspace)
        bound = replace(record, workspace=workspace, spare=given.instance_id, token_hash=given.token_hash)
        handover = Handover(
            place=given.place,
            session_name=given.session_name,
            instance_id=record.instance_id,
            identity=spare_identity(bound, datetime.date.fromtimestamp(time.time())),
        )
        await self._host.hand_over(handover)
        # From here on an undo of the instance undoes the spare with it.
        self._team.registry.change_in_memory(
            record.instance_id,
            workspace=workspace,
            spare=given.instance_id,
            token_hash=given.token_hash,
            session_id=given.session_id,
            host=given.host,
            actor=given.actor_name,
            pane_id=given.pane_id,
            pid=given.pid,
            transcript_path=given.transcript_path,
        )

    async def _bind(self, member: Member, spare: Member, request: SpawnRequest, sender: str) -> Receipt:
        spare_id = spare.record.instance_id
        message = self._team.outbox.first_message(member.record.instance_id, request.context, sender)
        async with spare.writing, member.writing:
            stored = self._team.stored_form(member.record).records
            extra = Writes(records=stored, delete=[keys.instance(spare_id)])
            (receipt,) = await self._team.outbox.accept([message], extra)
            self._team.registry.remove(spare_id)
            await self._team.links.leave(spare_id)
        member.snapshot = InstanceSnapshot(since=time.time(), transcript_path=member.record.transcript_path)
        return receipt


async def spawn_all(
    request: requests.SpawnBatchRequest,
    caller: Caller,
    spawn: Callable[[SpawnRequest, Caller], Awaitable[results.SpawnResult]],
) -> list[results.SpawnOutcome]:
    """Starts the members of a batch and reports each that is done as progress.

    Each member gets a request id that is derived from the batch's, so that a repeated call finds each again.
    """
    tally = Tally(caller.progress, len(request.instances), "starting them")
    each = replace(caller, progress=lambda _done, _total, what: tally.waits(what))

    async def start(number: int, member: SpawnRequest | requests.Malformed) -> results.SpawnResult:
        if isinstance(member, requests.Malformed):
            raise member.error
        request_id = f"{request.request_id}/{number}" if request.request_id else None
        return await spawn(member.model_copy(update={"request_id": request_id}), each)

    async def one(number: int, member: SpawnRequest | requests.Malformed) -> results.SpawnOutcome:
        spawned = await alone(start(number, member), "This spawn")
        name = member.named("name") if isinstance(member, requests.Malformed) else member.name
        if isinstance(spawned, ErrorInfo):
            tally.is_done(f"{name or 'one'} failed")
            return results.SpawnOutcome(success=False, error=spawned)
        tally.is_done(called(spawned.instance_id, name))
        return results.SpawnOutcome(success=True, **spawned.model_dump())

    return await asyncio.gather(*(one(number, member) for number, member in enumerate(request.instances)))
