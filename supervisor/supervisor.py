"""The verbs of a team: the supervisor checks what callers ask, holds the caps and knows who is in the team.

Hosts and instances do the work; ``supervisor.actor`` puts the plain class into a Ray actor and calls ``recover`` once
before the first verb. Promises: a message that was answered ``accepted`` is stored and ends with a receipt, whatever
crashes; a call repeated with its request id is not done twice; results of a batch come in the order asked and a failing
member fails alone; terminating never deletes work; every await below has a bound, so a dead part frees what it held.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from actors.concurrency import begun
from actors.errors import WrongStateError, from_wire
from actors.home import Home
from actors.instance.responding import Reply
from actors.status import Status
from supervisor.api import requests, results
from supervisor.api.requests import Request
from supervisor.api.results import Result
from supervisor.api.verbs import VERBS, Caller, Handler, VerbService
from supervisor.events.telling import LeadNotifier
from supervisor.git.work import WorkOverview
from supervisor.messaging.send import MessageSender, SendOutcome
from supervisor.metrics.metrics import Timing
from supervisor.recovery.recovery import Recovery
from supervisor.spawning.admission import FairSemaphore
from supervisor.spawning.spawner import Spawner, spawn_all
from supervisor.store.guards import FencedStore
from supervisor.team import views
from supervisor.team.access import Access, Act
from supervisor.team.lifecycle import AutoRestart, Lifecycle, restart_all, resume_all
from supervisor.team.naming import with_ids
from supervisor.team.queries import Queries
from supervisor.team.recycling import ContextRecycler
from supervisor.team.registry import InstanceRecord
from supervisor.team.team import Team
from supervisor.versions import VERSION

logger = logging.getLogger(__name__)

GOING_DOWN = "The team is being brought down: nothing is started any more. `phalanx up` brings it up again."
INTERRUPT_S = 10.0
MOVED_ON_S = 5.0
"""An instance reports within milliseconds; this only bounds the wait for one that has just died."""


class Supervisor:
    """``call`` runs one verb: of its own, or of one of its services. All in one event loop."""

    def __init__(
        self,
        *,
        home: Home,
        store: FencedStore,
        team: Team,
        permits: FairSemaphore,
        access: Access,
        queries: Queries,
        work: WorkOverview,
        spawner: Spawner,
        lifecycle: Lifecycle,
        auto_restart: AutoRestart,
        recycling: ContextRecycler,
        notifier: LeadNotifier,
        recovery: Recovery,
        services: Sequence[VerbService],
        on_shutdown: Callable[[], Awaitable[None]],
    ) -> None:
        """``on_shutdown`` is called when all instances have ended, before the process is killed."""
        self._home = home
        self._store = store
        self._team = team
        self._permits = permits
        self._sending = MessageSender(team)
        self._access = access
        self._queries = queries
        self._work = work
        self._spawner = spawner
        self._lifecycle = lifecycle
        self._auto_restart = auto_restart
        self._recycling = recycling
        self._notifier = notifier
        self._recovery = recovery
        self._reconciling: asyncio.Task[None] | None = None
        self._started_at = time.time()
        self._services = services
        self._on_shutdown = on_shutdown
        of_services = {name: handler for service in services for name, handler in service.verbs.items()}
        # All other verbs are methods of the same name. The start fails here when a verb has no handler.
        self._handlers: dict[str, Handler] = {name: of_services.get(name) or getattr(self, name) for name in VERBS}

    async def recover(self) -> None:
        """Takes the state over and begins to bring the stored team back. Raises ``StoreError``.

        Something is saved in the state when this returns.
        """
        await self._store.open()
        await self._team.load()
        await self._team.confirm()
        for service in self._services:
            await service.begin()
        self._reconciling = asyncio.create_task(self._recovery.run(), name="reconcile")

    async def close(self) -> None:
        """Stops following all instances and closes the store; agents and actors go on."""
        if self._reconciling is not None:
            self._reconciling.cancel()
            await asyncio.gather(self._reconciling, return_exceptions=True)
        for service in reversed(self._services):
            await service.end()
        await self._auto_restart.stop()
        await self._recycling.stop()
        await self._team.links.leave_all()
        await self._team.outbox.stop()
        await self._team.events.stop()
        await self._store.close()

    def warn_of(self, warning: Callable[[], str]) -> None:
        """``warning`` says what is wrong with another part of the team, for people; empty while nothing is."""
        self._team.add_warning(warning)

    async def call(self, verb: str, request: Request, caller: Caller) -> Result:
        self._store.check()
        record = None if caller.token is None else self._access.caller_of(caller.token)
        request = with_ids(request, lambda given: self._team.registry.resolve(given, partial(self._sees, record)))
        if record is not None:
            request = self._access.checked(verb, request, record)
            instance_id = record.instance_id
            # All instances of a host come by one connection; turns are taken by each of them.
            caller = replace(caller, sender=instance_id, instance_id=instance_id, client=instance_id)
        handler = self._handlers[verb]
        if not VERBS[verb].measured or getattr(request, "wait", False) or getattr(request, "work", False):
            return await handler(request, caller)
        with self._team.recorder.timing(Timing.CALL):
            return await handler(request, caller)

    def _sees(self, caller: InstanceRecord | None, other: InstanceRecord) -> bool:
        """An instance must not learn by a name who is there beside those whom it sees."""
        return caller is None or self._access.may(caller, Act.SEE, other)

    async def spawn(self, request: requests.SpawnRequest, caller: Caller) -> results.SpawnResult:
        record = await self._spawner.spawn(request, caller)
        return views.spawn_result(record, self._team.snapshot_of(record.instance_id))

    async def spawn_batch(self, request: requests.SpawnBatchRequest, caller: Caller) -> results.SpawnBatchResult:
        begun = time.monotonic()
        outcomes = await spawn_all(request, caller, self.spawn)
        duration_ms = (time.monotonic() - begun) * 1000
        return results.SpawnBatchResult(
            success=all(outcome.success for outcome in outcomes),
            instances=outcomes,
            performance=results.SpawnPerformance(
                duration=round(duration_ms, 1),
                avg_time_per_instance=round(duration_ms / len(outcomes), 1),
                concurrent_spawns=min(self._permits.limit, len(outcomes)),
                from_pool=sum(outcome.from_pool for outcome in outcomes),
            ),
        )

    async def send(self, request: requests.SendRequest, caller: Caller) -> results.SendResult:
        (sent,) = await self._sending.send(request, [request], caller.sender)
        if sent.error is not None:
            raise from_wire(sent.error)
        if request.wait:
            await self._team.outbox.settled([sent.message_id], request.timeout_seconds)
        return self._send_result(sent)

    async def send_batch(self, request: requests.SendBatchRequest, caller: Caller) -> results.SendBatchResult:
        sent = await self._sending.send(request, request.messages, caller.sender)
        if request.wait:
            await self._team.outbox.settled([one.message_id for one in sent], request.timeout_seconds)
        outcomes = [self._send_result(one) for one in sent]
        accepted = [member for one, member in zip(sent, request.messages, strict=True) if one.error is None]
        immediate = sum(isinstance(member, requests.BatchMessage) and member.immediate for member in accepted)
        return results.SendBatchResult(
            success=all(outcome.success for outcome in outcomes),
            results=outcomes,
            performance=results.SendPerformance(
                total_messages=len(sent),
                queued=len(accepted) - immediate,
                immediate=immediate,
                avg_batch_size=round(self._team.average_batch, 2),
            ),
        )

    def _send_result(self, sent: SendOutcome) -> results.SendResult:
        return views.send_result(sent, self._team.outbox.receipt(sent.message_id))

    async def read(self, request: requests.ReadRequest, caller: Caller) -> results.ReadResult:
        at = time.time()
        result = await self._queries.read(request)
        whole = request.source == "conversation" and not request.full and not result.more
        if whole and not request.leaves_unread:
            await self._notifier.has_read(caller.instance_id, request.instance_id, at)
        return result

    async def list(self, request: requests.ListRequest, caller: Caller) -> results.ListResult:
        record = self._team.registry.get(caller.instance_id).record if caller.instance_id else None
        listed = self._queries.list(request, self._team.registry if record is None else self._access.seen_by(record))
        await self._notifier.has_seen(caller.instance_id, listed.instances)
        status_only = frozenset() if record is None else self._access.status_only(record)
        listed = views.with_status_only(listed, status_only)
        return await self._work.added(listed, besides=status_only) if request.work else listed

    async def describe(self, request: requests.DescribeRequest, caller: Caller) -> results.DescribeResult:
        members = [member for member in self._team.registry if request.include_stopped or not member.terminated]
        return results.DescribeResult(instances=list(map(views.description, members)))

    async def wait(self, request: requests.WaitRequest, caller: Caller) -> results.WaitResult:
        waited = await self._queries.wait(request, caller)
        await self._notifier.has_seen(caller.instance_id, waited.instances)
        return waited

    async def respond(self, request: requests.RespondRequest, caller: Caller) -> results.RespondResult:
        member = self._team.registry.get(request.instance_id)
        port = self._team.links.port(request.instance_id)
        before = member.snapshot

        def moved_on() -> bool:
            now = member.snapshot
            if (now.status, now.permission, now.dialog) == (before.status, before.permission, before.dialog):
                return False  # all else may change while the request still waits
            asks = now.status in {Status.WAITING_PERMISSION, Status.WAITING_INPUT}
            return asks or not self._team.outbox.blocked_reason(request.instance_id)

        answered = await port.respond(
            Reply(
                allow=None if request.decision is None else request.decision == "allow",
                option=request.option or "",
                message=request.message or "",
                answers=request.answers,
                permission_id=request.permission_id or "",
                question=request.question,
            )
        )
        # A wait after this call must not take the answered request for one that still waits.
        await self._team.changes.until(moved_on, MOVED_ON_S)
        return results.RespondResult(
            instance_id=request.instance_id,
            decision=request.decision,
            permission=views.permission(answered.permission),
            dialog=views.dialog(answered.dialog),
            status=member.snapshot.status,
        )

    async def interrupt(self, request: requests.InterruptRequest, caller: Caller) -> results.InterruptResult:
        member = self._team.registry.get(request.instance_id)
        stopped = await self._team.links.port(request.instance_id).interrupt(INTERRUPT_S)
        if stopped:  # its last messages are not delivered again, even if its host is lost
            await self._team.outbox.unsynced.end(request.instance_id)
        return results.InterruptResult(
            instance_id=request.instance_id,
            interrupted=stopped,
            status=Status.READY if stopped else member.snapshot.status,
        )

    async def terminate(self, request: requests.TerminateRequest, caller: Caller) -> results.TerminateResult:
        # It goes on when the caller goes away: those that wait for their turn are stored as ending already.
        return await asyncio.shield(asyncio.create_task(self._lifecycle.terminate(request, caller.progress)))

    async def restart(self, request: requests.RestartRequest, caller: Caller) -> results.RestartsResult:
        return await restart_all(request, caller, self._restart)

    async def _restart(self, instance_id: str, caller: Caller) -> results.RestartResult:
        member = self._team.registry.get(instance_id)
        if member.turn.locked():
            raise WrongStateError(f"{instance_id} is just being started or stopped: wait until that is done.")
        asked_of = member.record

        async def restart() -> results.RestartResult:
            return await self._lifecycle.restart(
                member, asked_of, lambda what: caller.progress(0, 1, what), by_instance=bool(caller.instance_id)
            )

        # A caller that goes away must not leave an agent that has ended and is not started again.
        return await begun(self._permits.hold(caller.client), restart)

    async def recycle(self, request: requests.RecycleRequest, caller: Caller) -> results.RecycleResult:
        member = self._team.registry.get(request.instance_id)
        # It goes on when the caller goes away: the agent was told already that its conversation ends.
        return await asyncio.shield(asyncio.create_task(self._recycling.recycle(member)))

    async def status(self, request: requests.StatusRequest, caller: Caller) -> results.StatusResult:
        if request.compared:
            await self._recovery.compared()
        return results.StatusResult(
            home=str(self._home.root),
            version=VERSION,
            supervisor_pid=os.getpid(),
            started_at=results.iso(self._started_at),
            store=self._store.health.description,
            warnings=self._team.warnings,
            resumable=[member.record.instance_id for member in self._team.registry if member.record.resumable],
            counts=views.counts(self._team.registry),
            spares=len(self._team.registry.ready_spares()),
            spawns_running=self._permits.held,
            spawns_waiting=self._permits.waiting,
            max_concurrent_spawns=self._permits.limit,
        )

    async def identify(self, request: requests.IdentifyRequest, caller: Caller) -> results.IdentifyResult:
        record = self._access.holder_of(request.token_hash)
        return results.IdentifyResult(instance_id=record.instance_id, role=record.role)

    async def shutdown(self, request: requests.ShutdownRequest, caller: Caller) -> results.TerminateResult:
        """Refuses new starts, undoes the spawns under way, then ends all instances."""
        await self._team.confirm()  # a supervisor that cannot store must not close its door and go on
        self._permits.close(GOING_DOWN)
        await self._auto_restart.stop()
        await self._recycling.stop()
        await self._spawner.end(GOING_DOWN)
        result = await self._lifecycle.end_all(GOING_DOWN, caller.progress)
        await self._on_shutdown()
        return result

    async def resume(self, request: requests.ResumeRequest, caller: Caller) -> results.ResumeResult:
        await self._recovery.compared()
        members = [member for member in self._team.registry if member.record.resumable and not member.turn.locked()]
        outcomes = await resume_all(members, self._permits, self._lifecycle.resume, caller.progress)
        return results.ResumeResult(success=all(one.error is None for one in outcomes), instances=outcomes)
