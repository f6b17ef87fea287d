"""How instances end and start again: on request, after a failure, alone or several at once.

``Supervisor``, ``Recovery``, ``Failover``, ``Drainer`` and ``ContextRecycler`` call ``Lifecycle``; ``AutoRestart``
starts failed agents again. ``restart_all`` and ``resume_all`` run one call for several instances.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import replace

from actors.backoff import Backoff
from actors.concurrency import begun
from actors.errors import (
    AgentError,
    FencedError,
    PhalanxError,
    StoreError,
    UnavailableError,
    WorkspaceError,
    WrongStateError,
)
from actors.host.host import Host
from actors.instance.instance import Instance
from actors.instance.reports import InstanceSnapshot
from actors.status import ALIVE, Status
from actors.worktrees.model import RemovalResult
from supervisor.api import requests, results
from supervisor.api.results import ErrorInfo, RestartResult, TerminatedInstance, TerminateResult, alone, error_info
from supervisor.api.verbs import Caller, ProgressCallback, Tally, ignore_progress
from supervisor.cluster.scheduler import HostScheduler
from supervisor.ports import InstanceFactory
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission, Tell, check_mode, say_nothing
from supervisor.spawning.agent import system_prompt
from supervisor.team.adoption import Adopter
from supervisor.team.limits import check_start
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from supervisor.team.tokens import TokenLimits

logger = logging.getLogger(__name__)

END_GRACE_S = 5.0
_NOTICE_S = 5.0
_HEARD_S = 1.0
"""An actor says within milliseconds what became of its messages once its agent has ended."""
_AT_ONCE = 10
"""Endings that run at the same time: each is a few processes on the host."""

GIVEN_UP = "It is not started again by itself"
_RESUME = Backoff(first_s=0.5, longest_s=60.0)
_FORGIVEN_S = 600.0
"""The count of attempts starts anew after the agent has run for so long."""

_NOTHING_REMOVED = RemovalResult(removed=False, kept_reason=None, branch_deleted=False)


class Lifecycle:
    """Ends and restarts instances.

    Promises: work is never deleted; a worktree goes only when the host finds nothing in it that would be lost, or has
    saved it. That an instance is being terminated is stored before its agent is ended, so an end that a crash cuts off
    is finished later.
    """

    def __init__(
        self,
        team: Team,
        host: Host,
        factory: InstanceFactory,
        adopter: Adopter,
        memory: MemoryAdmission,
        scheduler: HostScheduler | None,
        tokens: TokenLimits,
        start_timeout_s: float,
        *,
        allow_bypass: bool = False,
    ) -> None:
        """``scheduler``: the hosts of a cluster; None on one machine. ``allow_bypass``: instances may run with
        ``bypassPermissions``."""
        self._team = team
        self._host = host
        self._factory = factory
        self._adopter = adopter
        self._memory = memory
        self._scheduler = scheduler
        self._tokens = tokens
        self._start_timeout_s = start_timeout_s
        self._allow_bypass = allow_bypass
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._ending = ""

    async def terminate(
        self, request: requests.TerminateRequest, progress: ProgressCallback = ignore_progress
    ) -> TerminateResult:
        """Ends instances, with ``cascade`` also all below them; no instance is started under them afterwards.

        Results come in the order asked; each instance fails alone and is told once. A refusal of an instance that is
        named alone is raised.
        """
        if request.instance_id is not None:
            self._team.registry.get(request.instance_id)
        # An instance that was cleared away leads nobody, though records still name it as the parent.
        leaders = [instance_id for instance_id in request.ids if instance_id in self._team.registry]
        ids: dict[str, None] = {}
        for instance_id in request.ids:
            below = self._descendants(instance_id) if request.cascade and instance_id in leaders else []
            ids |= dict.fromkeys([*(each.record.instance_id for each in below), instance_id])
        known = [self._team.registry.get(instance_id) for instance_id in ids if instance_id in self._team.registry]
        # What cannot be stored here is tried again, and told, in the instance's turn.
        await asyncio.gather(*map(self._begin_ending, known), return_exceptions=True)
        result = await self._end_each(ids, self.finish, progress)
        below = [each for instance_id in leaders for each in self._descendants(instance_id) if each.alive]
        still_running = dict.fromkeys(each.record.instance_id for each in below)
        unnamed = [instance_id for instance_id in still_running if instance_id not in request.ids]
        return result.model_copy(update={"still_running": unnamed})

    async def _begin_ending(self, member: Member) -> None:
        member.ending = True
        try:
            await self._team.save(member.record.instance_id, wanted=False, stage=InstanceStage.ENDING)
        except BaseException:
            member.ending = not member.record.wanted
            raise

    async def end_all(self, why: str, progress: ProgressCallback = ignore_progress) -> TerminateResult:
        """Ends all agents for the team's own end; workspaces stay as they are, and messages wait for a ``resume``.

        No instance is started again afterwards: such a call is refused with the text ``why``.
        """
        self._ending = why
        await self._team.confirm()
        alive = [member.record.instance_id for member in self._team.registry if member.alive]
        return await self._end_each(alive, self._stop, progress)

    def _descendants(self, instance_id: str) -> list[Member]:
        found: list[Member] = []
        for child in self._team.registry.children(instance_id):
            found.extend(self._descendants(child.record.instance_id))
            found.append(child)
        return found

    async def _end_each(
        self,
        instance_ids: Collection[str],
        end: Callable[[Member], Awaitable[RemovalResult]],
        progress: ProgressCallback,
    ) -> TerminateResult:
        tally = Tally(progress, len(instance_ids), "ending them")

        async def one(instance_id: str) -> TerminatedInstance:
            ended = await self._end_alone(instance_id, end)
            tally.is_done(self._called(instance_id, failed=ended.error is not None))
            return ended

        terminated = await asyncio.gather(*map(one, instance_ids))
        return TerminateResult(success=all(one.error is None for one in terminated), terminated=terminated)

    def _called(self, instance_id: str, *, failed: bool) -> str:
        known = instance_id in self._team.registry
        who = results.called(instance_id, self._team.registry.get(instance_id).record.name) if known else instance_id
        return f"{who} failed" if failed else who

    async def _end_alone(
        self, instance_id: str, end: Callable[[Member], Awaitable[RemovalResult]]
    ) -> TerminatedInstance:
        """One member of a batch: what fails here fails alone."""
        member = None
        try:
            member = self._team.registry.get(instance_id)
            async with self._turns, member.turn:
                removal = await end(member)
        except Exception as error:  # noqa: BLE001 - told and logged
            return TerminatedInstance(
                instance_id=instance_id,
                status=member.status if member else None,
                error=error_info(error, f"Ending {instance_id}"),
            )
        return TerminatedInstance(
            instance_id=instance_id,
            status=member.snapshot.status,
            workspace_removed=removal.removed,
            kept=removal.kept_reason,
            saved_ref=removal.saved_ref,
            repository=where_saved(member.record, removal),
        )

    async def _stop(self, member: Member) -> RemovalResult:
        if not member.record.wanted:
            return await self.finish(member)
        await self._end_agent(member, coming_back=True)
        await self._leave(member)
        await self._team.mark_ended(member, InstanceStage.STOPPED, "")
        return _NOTHING_REMOVED

    async def finish(self, member: Member) -> RemovalResult:
        """Terminates it, or does what is left of that. The caller holds the member's turn.

        It counts as ended only when all is done, so that what is cut off before is done again.
        """
        if member.record.wanted:  # it was restarted meanwhile
            await self._begin_ending(member)
        else:
            await self._team.confirm()
        await self._end_agent(member, coming_back=False)
        await self._collect_last_report(member)
        await self._leave(member)
        await self._team.outbox.close(member.record.instance_id)
        try:
            removal = await self.retire(member.record)
        except (UnavailableError, StoreError):
            raise
        except PhalanxError:
            await self._team.mark_ended(member, InstanceStage.STOPPED, "", left=_worktree(member.record))
            raise
        stays = _worktree(member.record) if removal.kept_reason and not removal.removed else ""
        await self._team.mark_ended(member, InstanceStage.STOPPED, "", left=removal.saved_ref or stays)
        return removal

    async def _leave(self, member: Member) -> None:
        await self._team.links.leave(member.record.instance_id)
        await self._factory.destroy(member.record.actor_name)

    async def _collect_last_report(self, member: Member) -> None:
        """Asks what became of messages whose receipt a crash has cut off: the instance's journal decides.

        Raises ``UnavailableError`` when that cannot be asked now: then the end is not finished yet.
        """
        record = member.record

        def heard() -> bool:
            return self._team.outbox.pending(record.instance_id) == 0

        if self._team.links.has(record.instance_id):
            await self._team.changes.until(heard, _HEARD_S)
        if heard() or not record.pid:
            return
        await self._team.links.leave(record.instance_id)
        try:
            await self._adopter.collect_last_report(record)
        except (UnavailableError, StoreError):
            raise
        except PhalanxError as error:
            logger.warning("what became of messages to %s cannot be found out: %s", record.instance_id, error)
        else:
            await self._team.changes.until(heard, _NOTICE_S)

    async def retire(self, record: InstanceRecord) -> RemovalResult:
        """Removes the workspace of an instance that has ended, as far as that loses nothing."""
        stays = self.stays(record)
        if stays is not None or record.workspace is None:
            return stays or _NOTHING_REMOVED
        return await self._host.retire_workspace(record.workspace)

    def stays(self, record: InstanceRecord) -> RemovalResult | None:
        """What ``retire`` answers without asking the host; None when it asks."""
        if record.workspace is None:
            return _NOTHING_REMOVED
        worktree = record.workspace.worktree
        for other in self._team.registry:
            alive = other.alive and other.record.instance_id != record.instance_id
            if worktree is not None and alive and other.record.directory.is_relative_to(worktree):
                reason = f"The worktree {worktree} is kept: {other.record.instance_id} works in it."
                return replace(_NOTHING_REMOVED, kept_reason=reason)
        return None

    async def _end_agent(self, member: Member, *, coming_back: bool) -> None:
        """Ends the agent's processes and waits until its actor has noticed, so that no message is left without end."""
        record = member.record
        if member.alive:
            with suppress(UnavailableError):
                await self._team.links.port(record.instance_id).expect_end(coming_back)
        await self._host.end_agent(record.place, record.session_name, END_GRACE_S)
        if self._team.links.has(record.instance_id):
            await self._team.changes.until(lambda: member.snapshot.status not in ALIVE, _NOTICE_S)

    async def restart(
        self, member: Member, asked_of: InstanceRecord, tell: Tell = say_nothing, *, by_instance: bool = False
    ) -> RestartResult:
        """Starts the agent again with the same conversation in the same workspace; returns when it is ready.

        One that was terminated has given its place away: what holds for a new start holds for it. ``by_instance``: it
        is no user who asks, so the limits of those above it hold too. ``asked_of``: its record when the caller asked,
        before any wait. ``tell``: why it waits, if it does. Raises ``WrongStateError`` when it was restarted or
        terminated meanwhile.
        """
        async with self._slot(member), self._place(member, tell, replaces=member.alive), member.turn:
            now = member.record
            if now.instance_id not in self._team.registry or (asked_of.wanted and not now.wanted):
                raise WrongStateError(f"{now.instance_id} was terminated before it could be restarted.")
            if member.alive and now.pid != asked_of.pid:
                raise WrongStateError(
                    f"{now.instance_id} was restarted meanwhile by another call; it is {member.status}."
                )
            if not now.wanted:
                await self._check_can_start(now)
                await self._take_back(member, by_instance=by_instance)
            await self._team.save(now.instance_id, resumes=0)
            return await self._restart(member)

    async def _take_back(self, member: Member, *, by_instance: bool) -> None:
        """Lets one that was terminated belong to the team again, with its name and a place among those below its lead.

        Raises as a start does that may not be. When it does not start, it stays as one that has failed.
        """
        record, registry = member.record, self._team.registry
        # No await from here until it counts: two do not take one last place.
        registry.checked_parent(record.role, record.parent_id)
        registry.check_name(record.name)
        self._tokens.check_start(record.parent_id)
        if by_instance:
            check_start(record.parent_id, record.asked.get("model"), record.permission_mode, registry)
        registry.change_in_memory(record.instance_id, wanted=True)
        member.ending = False
        try:
            # Its end may not be finished. Who takes over from here must not take it for one that still has to end.
            await self._team.save(record.instance_id, wanted=True, stage=InstanceStage.STOPPED)
        except BaseException:
            registry.change_in_memory(record.instance_id, wanted=False)
            member.ending = True
            raise

    async def resume(self, member: Member) -> RestartResult | None:
        """As ``restart``; None when it runs again, or was terminated, by the time that it is its turn."""
        async with self._slot(member), self._place(member), member.turn:
            if not member.record.resumable:
                return None
            return await self._restart(member)

    async def start_again(self, member: Member) -> RestartResult:
        """As ``restart``; the caller holds the member's turn and its slot."""
        async with self._place(member):
            return await self._restart(member)

    def _slot(self, member: Member) -> AbstractAsyncContextManager[None]:
        """In a cluster, a slot of its host: other instances may have taken the one that it had."""
        if self._scheduler is None:
            return nullcontext()
        return self._scheduler.kept(member.record.instance_id, member.record.host)

    def _place(
        self, member: Member, tell: Tell = say_nothing, *, replaces: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """In the memory of its host. ``replaces``: its agent lives there, and gives its own place to the next one."""
        record = member.record
        host = record.host if record.elsewhere else ""
        return self._memory.hold(record.agent, tell, host, replaces=replaces)

    async def renew(self, member: Member, summary: str) -> Status:
        """Begins a fresh conversation in place of the old one, which gave this summary; returns when it is ready.

        The caller holds the member's turn.
        """
        async with self._place(member, replaces=True):
            return (await self._restart(member, summary)).status

    async def _restart(self, member: Member, summary: str = "") -> RestartResult:
        await self._check_can_start(member.record)
        member.coming_back = True
        try:
            return await self._end_and_start(member, summary)
        finally:
            member.coming_back = False
            self._team.changed(member)

    async def _check_can_start(self, record: InstanceRecord) -> None:
        """Raises ``PhalanxError`` where that is certain to fail, before anything is touched."""
        if self._ending:
            raise WrongStateError(self._ending)
        check_mode(record.permission_mode, allow_bypass=self._allow_bypass)
        await self._team.confirm()
        here = record.workspace is None or record.workspace.home is None
        if here and not await asyncio.to_thread(record.directory.is_dir):
            raise WorkspaceError(
                f"The workspace of {record.instance_id} is gone ({record.directory}): spawn a new instance."
            )

    async def _end_and_start(self, member: Member, summary: str) -> RestartResult:
        record = member.record
        await self._end_agent(member, coming_back=True)
        await self._team.links.leave(record.instance_id)
        try:
            if summary:
                record = await self._team.save_fresh(
                    record.instance_id, session_id=str(uuid.uuid4()), transcript_path="", summary=summary
                )
                await self._factory.destroy(record.actor_name)  # it has the conversation before in mind
            return await self._begin_again(member, await self._adopter.actor(record))
        except FencedError:
            raise
        except Exception as error:
            await self._host.end_agent(record.place, record.session_name, END_GRACE_S)
            reason = str(error) if isinstance(error, PhalanxError) else f"an error in Phalanx: {error!r}"
            await self._team.mark_ended(member, InstanceStage.FAILED, reason)
            raise

    async def _begin_again(self, member: Member, port: Instance) -> RestartResult:
        instance_id, path = member.record.instance_id, member.record.transcript_path
        place, session_id = member.record.place, member.record.session_id
        if member.record.summary and not path:  # the fresh conversation has not begun
            await self._host.renew_agent(place, session_id, system_prompt(member.record))
        restarted = await self._host.restart_agent(place, member.record.session_name, path, session_id)
        pane = restarted.pane
        record = await self._team.save(
            instance_id,
            pane_id=pane.pane_id,
            pid=pane.pid,
            stage=InstanceStage.RUNNING,
            wanted=True,
            reason="",
            ended_at=0.0,
        )
        member.snapshot = InstanceSnapshot(since=time.time(), transcript_path=path)
        member.ending = member.coming_back = False
        self._team.outbox.begin_life(instance_id)
        await self._adopter.adopt(record, port)
        return RestartResult(instance_id=instance_id, status=await self._ready(member), resumed=restarted.resumed)

    async def _ready(self, member: Member) -> Status:
        await self._team.changes.until(lambda: member.snapshot.status is not Status.STARTING, self._start_timeout_s)
        if member.alive and member.snapshot.status is not Status.STARTING:  # perhaps at work on what has waited for it
            return member.snapshot.status
        reason = member.snapshot.reason or f"it was not ready within {self._start_timeout_s:.0f} s"
        raise AgentError(f"{member.record.instance_id} could not be restarted: {reason}")


def _worktree(record: InstanceRecord) -> str:
    worktree = record.workspace.worktree if record.workspace else None
    return str(worktree) if worktree is not None else ""


def where_saved(record: InstanceRecord, removal: RemovalResult) -> str | None:
    """The git directory that has the saved ref: it outlives the worktree that the instance was made from."""
    found = (record.workspace.home or record.workspace.git_directory) if record.workspace else None
    return str(found) if found and removal.saved_ref else None


class AutoRestart:
    """Starts agents again that ended without a request, with their conversation, if the settings say so.

    ``Team`` tells of each failure, ``Recovery`` of those that a crash of the supervisor has left failed. Each next
    attempt for the same instance waits longer, and after ``limit`` in a row it stays failed until it is restarted by a
    call. An instance that has run for a while has its attempts back.
    """

    def __init__(self, team: Team, lifecycle: Lifecycle, permits: FairSemaphore, limit: int) -> None:
        self._team = team
        self._lifecycle = lifecycle
        self._permits = permits
        self._limit = limit
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def failed(self, member: Member) -> None:
        """Begins to bring the instance back, unless that is under way or was tried too often."""
        instance_id = member.record.instance_id
        earlier = self._tasks.get(instance_id)
        # A person who leaves the program at the terminal does not want it back before ``phalanx lead --resume``.
        if not member.record.wanted or member.record.attended or (earlier is not None and not earlier.done()):
            return
        self._tasks[instance_id] = asyncio.create_task(self._bring_back(member), name=f"resume {instance_id}")

    async def _bring_back(self, member: Member) -> None:
        resumes = _in_a_row(member.record)
        while member.record.resumable and member.record.instance_id in self._team.registry:
            if resumes >= self._limit:
                await self._give_up(member, resumes)
                return
            resumes += 1
            await asyncio.sleep(_RESUME.pause_s(resumes))
            await self._try(member, resumes)

    async def _give_up(self, member: Member, resumes: int) -> None:
        """Says in its reason that nothing more happens by itself; once, also over restarts of the supervisor."""
        instance_id, reason = member.record.instance_id, member.record.reason
        if GIVEN_UP in reason:
            return
        logger.warning("%s failed again after %d attempts in a row and stays failed", instance_id, resumes)
        times = f"{resumes} times" if resumes != 1 else "once"
        told = (
            f"{reason}\n{GIVEN_UP}: it was started again {times} in a row, which is the limit. See why it ends, "
            f"then restart {instance_id}, which goes on with its conversation, or terminate it."
        )
        try:
            await self._team.tell_reason(member, told.strip())
        except PhalanxError as error:
            logger.warning("why %s stays failed could not be stored: %s", instance_id, error)

    async def _try(self, member: Member, resumes: int) -> None:
        try:
            async with self._permits.hold():
                # Stored before: an agent that takes the supervisor down with it is not started again for ever.
                await self._team.save(member.record.instance_id, resumes=resumes, resumed_at=time.time())
                done = await self._lifecycle.resume(member)
            if done is not None:
                logger.info("%s goes on with its conversation", member.record.instance_id)
        except PhalanxError as error:
            logger.warning("%s could not be resumed: %s", member.record.instance_id, error)
        except Exception:
            logger.exception("%s could not be resumed", member.record.instance_id)

    async def stop(self) -> None:
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _in_a_row(record: InstanceRecord) -> int:
    return 0 if record.ended_at - record.resumed_at > _FORGIVEN_S else record.resumes


async def restart_all(
    request: requests.RestartRequest, caller: Caller, restart: Callable[[str, Caller], Awaitable[RestartResult]]
) -> results.RestartsResult:
    """In the order asked, each alone; a refusal of an instance that is named alone is raised."""
    if request.instance_id is not None:
        done = await restart(request.instance_id, caller)
        return results.RestartsResult(
            success=True, instance_id=done.instance_id, status=done.status, resumed=done.resumed
        )

    tally = Tally(caller.progress, len(request.ids), "starting them again")
    each = replace(caller, progress=lambda _done, _total, what: tally.waits(what))

    async def one(instance_id: str) -> results.RestartOutcome:
        done = await alone(restart(instance_id, each), f"Restarting {instance_id}")
        tally.is_done(f"{instance_id} failed" if isinstance(done, ErrorInfo) else instance_id)
        if isinstance(done, ErrorInfo):
            return results.RestartOutcome(instance_id=instance_id, success=False, error=done)
        return results.RestartOutcome(instance_id=instance_id, success=True, status=done.status, resumed=done.resumed)

    outcomes = await asyncio.gather(*map(one, request.ids))
    return results.RestartsResult(success=all(each.success for each in outcomes), restarted=outcomes)


async def resume_all(
    members: Sequence[Member],
    permits: FairSemaphore,
    resume: Callable[[Member], Awaitable[RestartResult | None]],
    progress: ProgressCallback,
) -> list[results.ResumedInstance]:
    """Restarts ended members, as many at a time as there are permits, and reports each that is done.

    What has begun when the caller goes away is done to its end.
    """
    tally = Tally(progress, len(members), "starting them")

    async def start(member: Member) -> RestartResult | None:
        return await begun(permits.hold(), lambda: resume(member))

    async def one(member: Member) -> results.ResumedInstance:
        instance_id = member.record.instance_id
        who = results.called(instance_id, member.record.name)
        restarted = await alone(start(member), f"Resuming {instance_id}")
        error = restarted if isinstance(restarted, ErrorInfo) else None
        tally.is_done(f"{who} failed" if error else who)
        if isinstance(restarted, RestartResult):
            status, resumed = restarted.status, restarted.resumed
        else:  # it failed, or was not to be resumed any more when it was its turn
            status, resumed = member.status, False
        return results.ResumedInstance(instance_id=instance_id, status=status, resumed=resumed, error=error)

    return await asyncio.gather(*map(one, members))
