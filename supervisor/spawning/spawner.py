"""Spawns instances, alone or in a batch, with their first message. The supervisor's verbs call it.

Promises: when ``Spawner.spawn`` returns, the agent's own record shows the first message, or the message waits for a
dialog that a person can answer. When it raises, nothing that it made is left: no agent, session, actor, directory or
branch. It takes a ready agent from the pool or starts one (both in ``start``). After a crash a spawn is finished or
undone. A call repeated with its request id gets the same instance. Batches return results in the order asked, and a
failing member fails alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from actors.errors import (
    AgentError,
    InvalidRequestError,
    PhalanxError,
    UnavailableError,
    WrongStateError,
)
from actors.instance.instance import Instance
from actors.messages import MessageStatus, Receipt
from actors.status import ALIVE, Status
from supervisor.api import requests, results
from supervisor.api.failures import alone
from supervisor.api.requests import SpawnRequest
from supervisor.api.results import ErrorInfo
from supervisor.api.verbs import Caller
from supervisor.cluster.scheduler import HostScheduler, Placement, placed
from supervisor.messaging.outgoing import check_text
from supervisor.metrics.metrics import Count, Timing
from supervisor.rpc.idempotency import check_same, fingerprint
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission, WorkDirPolicy
from supervisor.spawning.rollback import SpawnRollback
from supervisor.spawning.start import AgentStarter, StartedAgent
from supervisor.team.adoption import Adopter
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

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


class _SpareLostError(AgentError):
    """The spare agent died before it had its task."""


class Spawner:
    """All in the supervisor's event loop."""

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
        check_text(request.context)
        self._check_mode(request)
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

    async def _finished(self, member: Member) -> InstanceRecord | None:
        """The instance that an earlier call with this request id made, once it has its first message or has ended.

        None when a crash cut that call off and it was undone. Raises ``UnavailableError`` when that is still open.
        """
        instance_id = member.record.instance_id

        def finished() -> bool:
            return instance_id not in self._team.registry or (
                member.record.stage is not InstanceStage.STARTING
                and (self._team.outbox.pending(instance_id) == 0 or member.snapshot.status not in _FIRST_MESSAGE_WAITS)
            )

        await self._team.changes.until(finished, self._timeout_s)
        if instance_id not in self._team.registry:
            return None
        if member.record.stage is InstanceStage.STARTING:
            raise UnavailableError(f"{instance_id}, which this call has made, is still being started: repeat the call.")
        return member.record

    def _check_mode(self, request: SpawnRequest) -> None:
        """The lead may be a Claude, so the user decides whether instances may work without asking."""
        if request.permission_mode == "bypassPermissions" and not self._allow_bypass:
            raise InvalidRequestError(
                "This team may not start instances in the mode bypassPermissions, in which they ask for nothing. "
                "Choose another mode. The user allows it by allow_bypass_permissions = true in config.toml of the "
                "team's home, then `phalanx down` and `phalanx up`."
            )

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

    async def _spawn(self, task: SpawnTask) -> InstanceRecord:
        try:
            return await self._attempt(task, warm=True)
        except _SpareLostError as error:
            logger.warning("the spawn begins anew: %s", error)
            return await self._attempt(task, warm=False)

    async def _attempt(self, task: SpawnTask, *, warm: bool) -> InstanceRecord:
        member = self._take_in(task)
        async with member.turn:
            try:
                return await self._make(member, task, warm=warm)
            except BaseException:
                await self._undo(member.record)
                raise

    async def _undo(self, record: InstanceRecord) -> None:
        """Runs to its end also when the spawn is cancelled: half an instance would be resumed later."""
        rollback = asyncio.create_task(self._rollback.undo(record), name=f"undo {record.instance_id}")
        while not rollback.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([rollback])
        rollback.result()

    def _take_in(self, task: SpawnTask) -> Member:
        request, placement = task.request, task.placement
        member = self._team.registry.add(
            request.model_copy(update={"work_dir": str(task.work_dir)}),
            agent=request.agent or self._default_agent,
            session_id=str(uuid.uuid4()),
            now=time.time(),
            fingerprint=fingerprint(request),
        )
        if self._scheduler is not None and placement is not None:
            instance_id = member.record.instance_id
            actor = "" if placement.own else f"{instance_id}@{placement.address}"
            self._team.registry.change(instance_id, actor=actor, host=placement.host, labels=request.labels)
            self._scheduler.places[instance_id] = placement.host
            placement.instance_id = instance_id
        return member

    async def _make(self, member: Member, task: SpawnTask, *, warm: bool) -> InstanceRecord:
        request, caller, placement = task.request, task.caller, task.placement
        if warm:
            started = await self._starter.warm(member, request, caller.sender, placement)
            if started is not None:
                return await self._finish(member, started, from_pool=True)
        other_host = placement.host if placement is not None and not placement.own else ""
        async with self._memory.hold(member.record.agent, lambda what: caller.progress(0, 1, what), other_host):
            started = await self._starter.cold(member, request, caller.sender)
            return await self._finish(member, started, from_pool=False)

    async def _finish(self, member: Member, started: StartedAgent, *, from_pool: bool) -> InstanceRecord:
        await self._adopter.adopt(member.record, started.port)
        receipt = await self._first_receipt(member, started.first_message)
        held_by_dialog = member.alive and member.snapshot.dialog is not None
        if receipt.status is not MessageStatus.SUBMITTED and (receipt.final or not held_by_dialog):
            kind = _SpareLostError if from_pool and not member.alive else AgentError
            raise kind(await self._why_not_taken(member, receipt, started.port))
        self._team.recorder.count(Count.SPAWNS_FROM_POOL, int(from_pool))
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


async def spawn_all(
    request: requests.SpawnBatchRequest,
    caller: Caller,
    spawn: Callable[[SpawnRequest, Caller], Awaitable[results.SpawnResult]],
) -> list[results.SpawnOutcome]:
    """Starts the members of a batch and reports each that is done as progress.

    Each member gets a request id that is derived from the batch's, so that a repeated call finds each again.
    """
    total, done = len(request.instances), 0
    each = replace(caller, progress=lambda _done, _total, what: caller.progress(done, total, what))

    async def start(number: int, member: SpawnRequest | requests.Malformed) -> results.SpawnResult:
        if isinstance(member, requests.Malformed):
            raise member.error
        request_id = f"{request.request_id}/{number}" if request.request_id else None
        return await spawn(member.model_copy(update={"request_id": request_id}), each)

    async def one(number: int, member: SpawnRequest | requests.Malformed) -> results.SpawnOutcome:
        nonlocal done
        spawned = await alone(start(number, member), "This spawn")
        done += 1
        if isinstance(spawned, ErrorInfo):
            caller.progress(done, total, "failed")
            return results.SpawnOutcome(success=False, error=spawned)
        caller.progress(done, total, spawned.instance_id)
        return results.SpawnOutcome(success=True, **spawned.model_dump())

    return await asyncio.gather(*(one(number, member) for number, member in enumerate(request.instances)))
