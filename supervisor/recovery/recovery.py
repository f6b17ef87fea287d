"""Brings records, panes and actors into agreement: after the supervisor came back, and periodically while it runs.

The supervisor starts ``run``. It compares the records with what the host and Ray report (see ``reconciler``) and
carries out each act alone, under the instance's turn. What has changed since the look is left for the next look. A
failed act is tried again after growing pauses; an act that hangs does not hold up the others. Nothing is touched before
the store has confirmed that no other supervisor has the team. All of it runs in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from actors.agents.base import RunningAgent
from actors.backoff import Backoff, RetrySchedule
from actors.errors import FencedError, PhalanxError, UnavailableError
from actors.host.host import Host
from actors.instance.reports import InstanceSnapshot
from supervisor.cluster.scheduler import HostScheduler
from supervisor.ports import InstanceFactory
from supervisor.recovery.reconciler import (
    Act,
    Adopt,
    EndActor,
    EndAgent,
    FinishTermination,
    NoteEnd,
    Undo,
    plan,
    subject,
)
from supervisor.spawning.rollback import SpawnRollback
from supervisor.team.adoption import Adopter
from supervisor.team.lifecycle import Lifecycle
from supervisor.team.registry import InstanceRecord, InstanceStage, Member, is_instance_id
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

EVERY_S = 30.0
FIRST_PAUSE_S = 0.5
COMPARED_S = 20.0
_AGAIN_S = 0.5
_AWAY_S = 2.0
"""Agents of a host that comes back wait to be followed again, so a look is due more often while one is away."""
_UNDER_WAY_S = 5.0
"""The next look does not wait for an act that takes longer."""
_AT_ONCE = 8
"""How many acts run at once: each start of an actor costs 0.1 s of CPU."""
_END_GRACE_S = 5.0


class Recovery:
    def __init__(
        self,
        team: Team,
        host: Host,
        factory: InstanceFactory,
        scheduler: HostScheduler | None,
        adopter: Adopter,
        rollback: SpawnRollback,
        lifecycle: Lifecycle,
    ) -> None:
        self._team = team
        self._host = host
        self._factory = factory
        self._adopter = adopter
        self._rollback = rollback
        self._lifecycle = lifecycle
        self._scheduler = scheduler
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._tries = RetrySchedule[Act](Backoff(FIRST_PAUSE_S, longest_s=30.0))
        self._under_way: dict[Act, asyncio.Task[bool]] = {}
        self._foreign_sessions: set[str] = set()
        self._compared = asyncio.Event()

    async def compared(self) -> bool:
        """Waits until the records were compared with what runs, since this process began; False if that takes long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(COMPARED_S):
                await self._compared.wait()
        return self._compared.is_set()

    async def run(self) -> None:
        """Reconciles at once and then periodically; returns when another supervisor has taken over."""
        began = asyncio.get_running_loop().time()
        try:
            while True:
                await self._round(began)
        except FencedError:
            logger.warning("no more reconciling: another supervisor has the state")
        finally:
            tasks = tuple(self._under_way.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self, began: float) -> None:
        """One look, its acts as far as they are soon done, and a pause."""
        clock = asyncio.get_running_loop().time
        begun: Collection[asyncio.Task[bool]] = ()
        looked = True
        try:
            begun = await self._look()
        except FencedError:
            raise
        except Exception:
            logger.exception("the team could not be compared with what runs")
            looked = False
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=_UNDER_WAY_S)
        stale = not all(task.result() for task in begun if task.done())
        if looked and (clock() - began > COMPARED_S or not (stale or self._under_way or self._tries.soon_over)):
            self._note_compared()
        if not self._under_way:
            every_s = _AWAY_S if self._away else EVERY_S
            await asyncio.sleep(min(every_s, self._tries.pause_s(clock())) if looked and not stale else _AGAIN_S)

    def _note_compared(self) -> None:
        if self._compared.is_set():
            return
        self._compared.set()
        # A crash may have come between a failure and what was to be done about it.
        for member in self._team.registry:
            if member.record.stage is InstanceStage.FAILED:
                self._team.announce_failure(member)

    async def reconcile(self) -> bool:
        """One comparison and its acts. True when nothing is left to be done."""
        results = await asyncio.gather(*await self._look())
        return all(results) and not self._tries.any

    async def _look(self) -> Collection[asyncio.Task[bool]]:
        """Compares and begins the acts that are due. The result of an act is False when another look is needed."""
        before = {
            member.record.instance_id: member.record
            for member in self._team.registry.everyone()
            if not member.turn.locked()
        }
        agents = await self._host.agents()
        actors = await self._factory.running()
        self._log_foreign_sessions(agents)
        members = self._team.registry.everyone()
        # They are being started, restarted or ended, or were when the look began: what it saw may be old.
        changed = {i.record.instance_id for i in members if i.turn.locked() or i.record.instance_id not in before}
        acts = plan(
            [member.record for member in members],
            agents,
            [name for name in actors if not self._team.unreadable.may_have(name.partition("@")[0])],
            followed={i.record.instance_id for i in members if self._team.links.has(i.record.instance_id)},
            # Of the instances of a host that cannot be asked, nothing is known.
            busy={*self._team.unreadable.instance_ids, *changed, *map(subject, self._under_way), *self._away},
        )
        self._tries.forget_all_but({*acts, *self._under_way})
        if acts:
            await self._team.confirm()
        now = asyncio.get_running_loop().time()
        return [self._begin(act, before) for act in acts if self._tries.may(act, now)]

    @property
    def _away(self) -> Collection[str]:
        """The instances whose host is away."""
        return self._scheduler.instances_away if self._scheduler else ()

    def _log_foreign_sessions(self, agents: Iterable[RunningAgent]) -> None:
        """Once for each: a person's own session on the team's tmux server is left alone."""
        names = {agent.session_name for agent in agents if not is_instance_id(agent.session_name)}
        for name in sorted(names - self._foreign_sessions):
            logger.warning("the tmux session %s is none of this team's instances and is left alone", name)
        self._foreign_sessions = names

    def _begin(self, act: Act, planned: Mapping[str, InstanceRecord]) -> asyncio.Task[bool]:
        task = asyncio.create_task(self._carry_out(act, planned), name=f"reconcile {subject(act)}")
        self._under_way[act] = task

        def ended(_: object) -> None:
            del self._under_way[act]
            _ = task.cancelled() or task.exception()  # nobody may be waiting, and asyncio must not complain

        task.add_done_callback(ended)
        return task

    async def _carry_out(self, act: Act, planned: Mapping[str, InstanceRecord]) -> bool:
        logger.info("reconciling: %s", act)
        try:
            async with self._turns:
                done = await self._act(act, planned)
        except FencedError:
            raise
        except PhalanxError as error:
            logger.warning("%s did not work: %s", act, error)
            await self._note_failure(act, str(error))
        except Exception as error:
            logger.exception("%s did not work", act)
            await self._note_failure(act, f"an error in Phalanx: {error!r}")
        else:
            self._tries.worked(act)
            return done
        return True

    async def _note_failure(self, act: Act, why: str) -> None:
        lasts = self._tries.failed(act, asyncio.get_running_loop().time())
        if lasts and isinstance(act, Adopt):
            await self._adopter.on_unreachable(act.instance_id, f"its agent cannot be taken over so far: {why}")

    async def _act(self, act: Act, planned: Mapping[str, InstanceRecord]) -> bool:
        if isinstance(act, EndAgent):
            # Sessions are named after their instances.
            await self._host.end_agent(act.session_name, act.session_name, _END_GRACE_S)
            return True
        if isinstance(act, EndActor):
            member = self._team.registry.served_by(act.actor)
        else:
            member = self._team.registry.find(act.instance_id)
        if member is None:
            if isinstance(act, EndActor):
                await self._factory.destroy(act.actor)
            return True
        async with member.turn:
            if member.record != planned.get(member.record.instance_id):
                return False
            await self._act_on(member, act)
        return True

    async def _act_on(self, member: Member, act: Adopt | NoteEnd | FinishTermination | Undo | EndActor) -> None:
        match act:
            case Adopt():
                await self._adopt(member, act)
            case NoteEnd(_, reason):
                await self._factory.destroy(member.record.actor_name)
                await self._team.mark_ended(member, InstanceStage.FAILED, reason)
            case FinishTermination():
                await self._lifecycle.finish(member)
            case Undo():
                if not await self._rollback.undo(member.record):
                    raise UnavailableError("not all that its spawn has made is gone yet")
            case EndActor(actor):
                await self._factory.destroy(actor)

    async def _adopt(self, member: Member, act: Adopt) -> None:
        stage = InstanceStage.SPARE if member.record.is_spare else InstanceStage.RUNNING
        record = await self._team.save(
            act.instance_id, pane_id=act.pane_id, pid=act.pid, stage=stage, reason="", ended_at=0.0
        )
        if not member.alive:
            member.snapshot = InstanceSnapshot(since=time.time(), transcript_path=record.transcript_path)
        await self._adopter.adopt(record, await self._adopter.actor(record))
