"""The one recipe by which an instance comes to be, undone when a step fails.

Promises: when ``spawn`` returns, the agent's own record shows the first message; when it raises, nothing that it made
is left: no agent, session, actor, directory or branch. It takes an agent that is ready from the pool (``warm_start``),
or starts one (``cold_start``). A spawn that a crash cut off is finished or undone; a call that is repeated with its
request id gets the same instance.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from actors.errors import AgentError, InvalidRequestError, UnavailableError, WrongStateError
from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api.requests import SpawnRequest
from supervisor.api.verbs import Caller
from supervisor.cluster.scheduler import Placement, Roster, placed
from supervisor.messaging.drafts import check_text
from supervisor.metrics.metrics import Count, Timing
from supervisor.recovering.adoption import Adoption
from supervisor.rpc.idempotency import check_same, fingerprint
from supervisor.spawning.cold_start import Begun, ColdStart
from supervisor.spawning.first_message import FirstMessage
from supervisor.spawning.staff import Staff
from supervisor.spawning.undoing import Undoing
from supervisor.spawning.warm_start import WarmStart
from supervisor.spawning.work_dirs import WorkDirPolicy
from supervisor.team.registry import InstanceRecord, Member, Stage
from supervisor.team.roll import Roll

logger = logging.getLogger(__name__)

_UNDONE_S = 30.0
_FIRST_MESSAGE_WAITS = frozenset({Status.STARTING, Status.READY})
"""A turn shows that the first message has arrived, whatever else is pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnSettings:
    roll: Roll
    agent: str
    timeout_s: float
    """Longest time from the start of the agent to the proof of its first message."""
    work_dirs: WorkDirPolicy
    allow_bypass: bool
    """Instances may be started that ask for nothing."""
    roster: Roster | None
    """The hosts of a cluster; None on one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """The two ways in which an instance gets its agent; the warm one is tried first."""

    warm: WarmStart
    cold: ColdStart


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One spawn that was checked and has a place."""

    request: SpawnRequest
    work_dir: Path
    caller: Caller
    placement: Placement | None
    """None on one machine."""


class _SpareLostError(AgentError):
    """The spare agent that was given has died before it had its task."""


class Spawner:
    def __init__(
        self, settings: SpawnSettings, staff: Staff, adoption: Adoption, undoing: Undoing, starts: Starts
    ) -> None:
        self._settings = settings
        self._permits = staff.permits
        self._room = staff.room
        self._roll = settings.roll
        self._mail = settings.roll.mail
        self._adoption = adoption
        self._undoing = undoing
        self._starts = starts
        self._first = FirstMessage(settings.roll, settings.timeout_s)
        self._under_way: set[asyncio.Task[InstanceRecord]] = set()
        self._ending = ""

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
        work_dir = await self._settings.work_dirs.checked(request.work_dir)
        check_text(request.context)
        self._check_mode(request)
        asked = time.perf_counter()
        async with AsyncExitStack() as waiting:
            placement = await waiting.enter_async_context(placed(self._settings.roster, request))
            await waiting.enter_async_context(self._permits.hold(caller.client))
            self._roll.meters.observe(Timing.SPAWN_WAIT, time.perf_counter() - asked)
            self._check_goes_on()
            task = Task(request=request, work_dir=work_dir, caller=caller, placement=placement)
            # A caller who goes away in the middle must not leave half an instance behind. The spawn that then goes on
            # is under the cap like any other.
            spawning = asyncio.create_task(self._spawn_holding(waiting.pop_all(), task))
        self._under_way.add(spawning)
        spawning.add_done_callback(self._under_way.discard)
        return await asyncio.shield(spawning)

    def _check_mode(self, request: SpawnRequest) -> None:
        """Who leads the team may be a Claude: whether instances work unasked is for the user to decide."""
        if request.permission_mode == "bypassPermissions" and not self._settings.allow_bypass:
            raise InvalidRequestError(
                "This team may not start instances in the mode bypassPermissions, in which they ask for nothing. "
                "Choose another mode. The user allows it by allow_bypass_permissions = true in config.toml of the "
                "team's home, then `phalanx down` and `phalanx up`."
            )

    async def end(self, why: str) -> None:
        """For the team's own end: what is under way is undone and nothing is begun any more; callers learn why."""
        self._ending = why
        await asyncio.sleep(0)  # a task that has not begun could not answer its caller
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_UNDONE_S)

    def _check_goes_on(self) -> None:
        if self._ending:
            raise WrongStateError(self._ending)

    async def _spawn_holding(self, held: AsyncExitStack, task: Task) -> InstanceRecord:
        async with held:
            try:
                return await self._spawn(task)
            except asyncio.CancelledError:
                self._check_goes_on()
                raise

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

    async def _spawn(self, task: Task) -> InstanceRecord:
        with self._roll.meters.timing(Timing.SPAWN, failures=Count.SPAWNS_FAILED):
            try:
                return await self._attempt(task, warm=True)
            except _SpareLostError as error:
                logger.warning("the spawn begins anew: %s", error)
                return await self._attempt(task, warm=False)

    async def _attempt(self, task: Task, *, warm: bool) -> InstanceRecord:
        member = self._take_in(task)
        async with member.turn:
            try:
                return await self._make(member, task, warm=warm)
            except BaseException:
                await self._undo(member.record)
                raise

    async def _undo(self, record: InstanceRecord) -> None:
        """To its end, also when the spawn is cancelled meanwhile: half an instance would be resumed later."""
        undoing = asyncio.create_task(self._undoing.undo(record), name=f"undo {record.instance_id}")
        while not undoing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([undoing])
        undoing.result()

    def _take_in(self, task: Task) -> Member:
        request = task.request
        member = self._roll.registry.add(
            request.model_copy(update={"work_dir": str(task.work_dir)}),
            agent=request.agent or self._settings.agent,
            session_id=str(uuid.uuid4()),
            now=time.time(),
            fingerprint=fingerprint(request),
        )
        if self._settings.roster is not None and task.placement is not None:
            instance_id = member.record.instance_id
            actor = "" if task.placement.own else f"{instance_id}@{task.placement.address}"
            self._roll.registry.change(instance_id, actor=actor, host=task.placement.host, labels=request.labels)
            self._settings.roster.places[instance_id] = task.placement.host
            task.placement.instance_id = instance_id
        return member

    async def _make(self, member: Member, task: Task, *, warm: bool) -> InstanceRecord:
        caller = task.caller
        if warm:
            begun = await self._starts.warm.begin(member, task.request, caller.sender, task.placement)
            if begun is not None:
                return await self._finish(member, begun, from_pool=True)
        async with self._place(member, task):
            begun = await self._starts.cold.begin(member, task.request, caller.sender)
            return await self._finish(member, begun, from_pool=False)

    def _place(self, member: Member, task: Task) -> AbstractAsyncContextManager[None]:
        elsewhere = task.placement.host if task.placement is not None and not task.placement.own else ""
        return self._room.hold(member.record.agent, lambda what: task.caller.progress(0, 1, what), elsewhere)

    async def _finish(self, member: Member, begun: Begun, *, from_pool: bool) -> InstanceRecord:
        instance_id = member.record.instance_id
        await self._adoption.adopt(member.record, begun.port)
        receipt = await self._first.receipt(instance_id, begun.context)
        if receipt.status is not MessageStatus.SUBMITTED and not (self._first.is_held(member) and not receipt.final):
            kind = _SpareLostError if from_pool and not member.alive else AgentError
            raise kind(await self._first.why_not(member, receipt, begun.port))
        self._roll.meters.count(Count.SPAWNS_FROM_POOL, int(from_pool))
        return await self._roll.save(instance_id, stage=Stage.RUNNING)
