"""Spare agents: kept at their prompt, and made in the background.

Spare agents: which there are, who gets one, and how many are kept.

How many: as many as were ordered and not taken yet, and for the kind that was last asked for as many as the settings
say, from the moment that the team is in use. A spare that is dead or of another program is replaced; one that is no
longer wanted goes half an hour after its kind was last asked for. What is made is made in the background, under the
spawn cap, while there is room. All in the supervisor's event loop.

Makes spare agents, each with a worktree and an actor, until it waits at its prompt; and takes them away again.

A spare has a record of its own. Until that says ``SPARE`` a crash undoes it; what a failure leaves goes at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter

from actors.concurrency import TaskSet, beside
from actors.errors import AgentError, FencedError, PhalanxError, UnavailableError
from actors.home import Home
from actors.host.host import Host
from actors.status import ALIVE, Status
from supervisor.pool.demand import AgentSpec, Demand, KindOfAgent, PoolOrders, waits_for
from supervisor.pool.placement import SparePlacement
from supervisor.spawning.admission import MemoryAdmission
from supervisor.spawning.agent import LaunchOptions, agent_start, spare_prompt
from supervisor.spawning.rollback import SpawnRollback
from supervisor.spawning.staff import Staff
from supervisor.team.adoption import Adopter
from supervisor.team.registry import InstanceStage, Member, SpareAgent
from supervisor.team.team import Team

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFactoryParts:
    home: Home
    host: Host
    team: Team
    adopter: Adopter
    rollback: SpawnRollback
    memory: MemoryAdmission
    placement: SparePlacement
    timeout_s: float
    """Longest time from the start of an agent to its prompt."""


class AgentFactory:
    """All in the supervisor's event loop."""

    def __init__(self, parts: AgentFactoryParts) -> None:
        self._home = parts.home
        self._host = parts.host
        self._team = parts.team
        self._adopter = parts.adopter
        self._rollback = parts.rollback
        self._memory = parts.memory
        self._placement = parts.placement
        self._timeout_s = parts.timeout_s

    async def make(self, recipe: AgentSpec) -> None:
        """Returns when the spare is ready. Raises ``PhalanxError``; then nothing of it is left.

        No spare is made for which there is no room just now.
        """
        place = await self._placement.for_agent(recipe.agent)
        member = self._team.registry.add_spare(
            SpareAgent(
                agent=recipe.agent,
                session_id=str(uuid.uuid4()),
                created_at=time.time(),
                work_dir=recipe.work_dir,
                recipe=recipe.key,
                host=place.host,
                address=place.address,
            )
        )
        self._placement.settle(member.record.instance_id, place.host)
        async with member.turn:
            try:
                async with self._memory.hold(recipe.agent, host=place.elsewhere):
                    await self._begin(member, recipe)
                    await self._until_ready(member)
                    await self._team.save(member.record.instance_id, stage=InstanceStage.SPARE)
            except BaseException:
                await self._take_away(member)
                raise
        self._team.changes.announce()

    async def discard(self, member: Member) -> None:
        """No-op when it is gone already."""
        async with member.turn:
            if member.record.instance_id in self._team.registry:
                await self._take_away(member)

    async def _take_away(self, member: Member) -> None:
        if self._placement.is_lost(member.record.host):
            self._placement.forget(member.record.instance_id)
            await self._rollback.abandon(member.record)
        else:
            await self._rollback.undo(member.record)

    async def _begin(self, member: Member, recipe: AgentSpec) -> None:
        instance_id = member.record.instance_id
        program = await (await self._placement.link(member.record.host)).program(recipe.agent)
        await self._team.save(instance_id, program=program)
        async with beside(self._adopter.actor(member.record)) as coming:
            workspace = await self._host.create_spare(instance_id, recipe.work_dir)
            self._team.registry.change(instance_id, workspace=workspace)
            record = await self._team.save(instance_id, host=member.record.host or await self._host.name())
            pane = await self._host.start_agent(agent_start(self._home, record, _options(recipe)))
            record = self._team.registry.change(instance_id, pane_id=pane.pane_id, pid=pane.pid)
            port = await coming
        await self._adopter.adopt(record, port)

    async def _until_ready(self, member: Member) -> None:
        def decided() -> bool:
            snapshot = member.snapshot
            return snapshot.status is not Status.STARTING or bool(snapshot.reason)

        await self._team.changes.until(decided, self._timeout_s)
        snapshot = member.snapshot
        if snapshot.status not in ALIVE or snapshot.status is Status.STARTING:
            why = snapshot.reason or f"it was not at its prompt within {self._timeout_s:.0f} s"
            raise AgentError(f"A spare agent could not be started: {why}")


def _options(recipe: AgentSpec) -> LaunchOptions:
    return LaunchOptions(
        system_prompt=spare_prompt(),
        model=recipe.model,
        permission_mode=recipe.permission_mode,
        environment=dict(recipe.environment),
    )


UNUSED_S = 1800.0
"""Who changes between kinds finds those of the other one still there for so long."""
STUCK_S = 120.0
"""After the supervisor came back it takes a while until all are followed again."""
EVERY_S = 30.0
_ASK_S = 10.0


class AgentPool:
    def __init__(self, team: Team, staff: Staff, maker: AgentFactory, placement: SparePlacement, size: int) -> None:
        self._team = team
        self._host = staff.host
        self._permits = staff.permits
        self._maker = maker
        self._placement = placement
        self._size = size
        self._kinds: dict[str, KindOfAgent] = {}
        """All that are known; those in ``_recipes`` can be made."""
        self._recipes: dict[str, AgentSpec] = {}
        self._current: str = ""
        self._in_use = False
        """An instance of the team runs or was asked for: before that nobody needs the settings' spares."""
        self._began_at = time.monotonic()
        self._asked_at: dict[str, float] = {}
        self._gone: set[str] = set()
        self._leaving: set[str] = set()
        """Those of ``_gone`` that are just being taken away."""
        self._programs: dict[tuple[str, str], str] = {}
        """By host and kind of agent."""
        self._work = TaskSet("a spare agent")
        self.demand: Demand[str] = Demand()
        """By recipe."""

    def ready(self, key: str | None = None) -> list[Member]:
        """Those that can be taken now, oldest first; of all recipes without one."""
        spares = self._team.registry.spares()
        return [spare for spare in spares if key in {None, spare.record.recipe} and self._is_ready(spare)]

    @property
    def size(self) -> int:
        """How many there shall be, also those that wait for something first."""
        return max(self._size, sum(map(self._wanted, self._kinds)))

    def restore(self, orders: PoolOrders) -> None:
        """What an earlier supervisor was asked for."""
        for key, kind in orders.kinds.items():
            self._kinds[key] = kind
            if (recipe := kind.recipe) is not None:
                self._recipes[key] = recipe
        self._current = orders.current
        for key, count in orders.agents.items():
            self.demand.order(key, count)

    @property
    def kinds(self) -> Mapping[str, KindOfAgent]:
        """Those that are ordered, and the one of the settings' spares."""
        named = {*self.demand.orders, self._current}
        return {key: kind for key, kind in self._kinds.items() if key in named}

    @property
    def current(self) -> str:
        """Of which kind the settings' spares are; empty while none was asked for."""
        return self._current

    def asked_for(self, recipe: AgentSpec) -> None:
        """An instance of this kind is being started: the settings' spares are of it from now on."""
        self._learn(recipe)
        self._current = recipe.key
        self._in_use = True

    def _learn(self, recipe: AgentSpec) -> None:
        self._kinds[recipe.key] = KindOfAgent.of(recipe)
        self._recipes[recipe.key] = recipe
        self._asked_at[recipe.key] = time.monotonic()

    def take(self, recipe: AgentSpec, hosts: Sequence[str] | None) -> Member | None:
        """A spare, which is the taker's from now on. ``hosts``: where it may be, best first; None: anywhere."""
        found = min(self._fitting(recipe, hosts), key=itemgetter(0), default=(0, None))[1]
        if found is not None:
            self._gone.add(found.record.instance_id)
            self.asked_for(recipe)
            self.demand.take(recipe.key)
        return found

    def _fitting(self, recipe: AgentSpec, hosts: Sequence[str] | None) -> Iterator[tuple[int, Member]]:
        for spare in self.ready(recipe.key):
            if hosts is None or spare.record.host in hosts:
                yield hosts.index(spare.record.host) if hosts else 0, spare

    def reject(self, spare: Member, why: str) -> None:
        """It was taken, and could not be used."""
        logger.warning("the spare agent %s is discarded: %s", spare.record.instance_id, why)
        self._gone.add(spare.record.instance_id)
        self._leaving.add(spare.record.instance_id)
        self._work.begin(self._discard(spare))

    async def _discard(self, spare: Member) -> None:
        try:
            await self._maker.discard(spare)
        finally:
            self._leaving.discard(spare.record.instance_id)
            if spare.record.instance_id in self._team.registry:  # not all of it went: it is looked at again
                self._gone.discard(spare.record.instance_id)

    def order(self, recipe: AgentSpec, count: int) -> None:
        """From now on there shall be ``count``, until they are taken."""
        self._learn(recipe)
        self._current = self._current or recipe.key
        self.demand.order(recipe.key, count)
        self._trim(recipe.key)
        self._team.changes.announce()

    def resize(self, size: int) -> None:
        self._size = size
        for key in self._keys():
            self._trim(key)
        self._team.changes.announce()

    def _keys(self) -> set[str]:
        """Of the spares that there are."""
        return {spare.record.recipe for spare in self._team.registry.spares()}

    def _trim(self, key: str) -> None:
        for spare in self.ready(key)[self._wanted(key) :]:
            self.reject(spare, "it is one too many")

    async def give_up(self) -> None:
        """Makes no more and takes away all that there are."""
        self._size = 0
        self.demand.forget()
        await self.end()
        await asyncio.gather(*(self._maker.discard(spare) for spare in self._team.registry.spares()))

    async def end(self) -> None:
        """Makes no more; what is ready stays for the next supervisor."""
        await self._work.end()

    @property
    def misplaced(self) -> bool:
        """Some are on a host that has no spares any more."""
        return any(not self._is_kept(spare) for spare in self._team.registry.spares())

    def give_back(self, host: str) -> bool:
        """Takes one spare of the host (empty: this one) away to make room; False when there is none.

        In a cluster one after the other: whoever waits for a slot asks again and again until it is there.
        """
        name = host or self._placement.own
        here = [spare for spare in self._team.registry.spares() if not name or spare.record.host == name]
        if name and any(spare.record.instance_id in self._leaving for spare in here):
            return True
        found = next((spare for spare in here if self._is_ready(spare)), None)
        if found is not None:
            self.demand.give_up(found.record.recipe, "One was given up, because an instance needed its room.")
            self.reject(found, "its memory is needed")
        return found is not None

    async def keep(self) -> None:
        """For ever; ends when another supervisor has the state."""
        await self._look_over()
        while True:
            try:
                self._in_use = self._in_use or self._is_used
                await self._learn_programs()
                self._discard_useless()
                self._let_unused_go()
                self._make_missing()
            except FencedError:
                return
            except PhalanxError as error:
                logger.warning("the spare agents could not be looked at: %s", error)
            await self._team.changes.until(self._has_to_do, EVERY_S)

    async def _look_over(self) -> None:
        """An earlier supervisor may have died while it gave one away."""
        for spare in self._team.registry.spares():
            workspace = spare.record.workspace
            try:
                async with asyncio.timeout(_ASK_S):
                    if workspace is None or not await self._host.is_spare(workspace):
                        self.reject(spare, "it was being given away when the supervisor died")
            except (PhalanxError, TimeoutError) as error:
                # One that was bound is found out when it is taken.
                logger.warning("the spare agent %s could not be looked over: %s", spare.record.instance_id, error)

    @property
    def _is_used(self) -> bool:
        """Those that an earlier supervisor has left, too, are there because somebody uses the team."""
        return self._team.members.any

    def _has_to_do(self) -> bool:
        if self._is_used and not self._in_use:
            return True
        dead = any(self._is_useless(spare) for spare in self._team.registry.spares())
        return dead or any(self._missing(key) > 0 for key in self._recipes)

    async def _learn_programs(self) -> None:
        """A host that does not answer at once keeps no other's spares from being looked after."""
        spares = [spare.record for spare in self._team.registry.spares() if self._placement.is_open(spare.record.host)]
        for host, agent in {(record.host, record.agent) for record in spares}:
            with suppress(UnavailableError, TimeoutError):
                async with asyncio.timeout(_ASK_S):
                    self._programs[host, agent] = await (await self._placement.link(host)).program(agent)

    def _discard_useless(self) -> None:
        for spare in self._team.registry.spares():
            if self._is_useless(spare):
                self.reject(spare, self._why_useless(spare))

    def _is_useless(self, spare: Member) -> bool:
        record = spare.record
        if record.instance_id in self._gone or spare.turn.locked():
            return False
        if not self._is_kept(spare):
            return True
        return record.stage is InstanceStage.SPARE and (
            self._is_outdated(spare) or not spare.alive or self._is_stuck(spare)
        )

    def _is_outdated(self, spare: Member) -> bool:
        record = spare.record
        return record.program != self._programs.get((record.host, record.agent), record.program)

    def _is_stuck(self, spare: Member) -> bool:
        """It lives and is not at its prompt any more. Nobody looks at its screen."""
        snapshot = spare.snapshot
        away = snapshot.status is not Status.READY and self._placement.is_open(spare.record.host)
        return away and time.time() - snapshot.since > STUCK_S

    def _let_unused_go(self) -> None:
        now, there = time.monotonic(), self._keys()
        for key in there | self._kinds.keys():
            if now - self._asked_at.get(key, self._began_at) > UNUSED_S:
                self._trim(key)
                if key not in there | self.kinds.keys():
                    self._forget(key)

    def _forget(self, key: str) -> None:
        del self._kinds[key]
        self._recipes.pop(key, None)
        self._asked_at.pop(key, None)

    def _is_kept(self, spare: Member) -> bool:
        """One that is just being made on a host that is drained goes when it is made."""
        host = spare.record.host
        made = spare.record.stage is InstanceStage.SPARE
        return not (self._placement.is_closed(host) if made else self._placement.is_lost(host))

    def _why_useless(self, spare: Member) -> str:
        if not self._is_kept(spare):
            return f"the host {spare.record.host} is drained or lost"
        if self._is_outdated(spare):
            return "its program was changed"
        return spare.snapshot.reason or f"it is {spare.snapshot.status}"

    def _is_ready(self, spare: Member) -> bool:
        record = spare.record
        return (
            record.stage is InstanceStage.SPARE
            and record.instance_id not in self._gone
            and spare.snapshot.status is Status.READY
            and not spare.turn.locked()
            and self._placement.is_open(record.host)
            and self._team.members.has(record.instance_id)
        )

    def _wanted(self, key: str) -> int:
        of_settings = self._size if key == self._current and (self._in_use or self._is_used) else 0
        return max(self.demand.ordered(key), of_settings)

    def lacking(self, key: str) -> int:
        """How many of those that were ordered are neither ready nor taken nor given up."""
        return max(self.demand.ordered(key) - len(self.ready(key)), 0)

    @property
    def waits_for(self) -> str:
        """Why there are fewer than there shall be, in words that go on after "waits for"; empty when there are not."""
        there = Counter(spare.record.recipe for spare in self.ready())
        lacking = {key: wanted - there[key] for key in self._kinds if (wanted := self._wanted(key)) > there[key]}
        if lacking and not lacking.keys() & self._recipes.keys():
            return "a spawn of the same kind: the values of its environment are not stored"
        if lacking:
            return waits_for(sum(lacking.values()), self.demand, self._permits)
        if self._size and not self._current:
            return "the first spawn of an isolated instance: spares are of the kind that was spawned last"
        if self._size > there[self._current]:
            return "the first instance to be spawned or resumed: before that nobody needs spares"
        return ""

    def _missing(self, key: str) -> int:
        there = sum(
            spare.record.recipe == key and spare.record.stage is InstanceStage.SPARE
            for spare in self._team.registry.spares()
            if spare.record.instance_id not in self._gone
        )
        return self.demand.missing(key, self._wanted(key), there)

    def _make_missing(self) -> None:
        if (
            not self._placement.linked
        ):  # the hosts are just coming back, and what fails now would not be ordered any more
            return
        for key, recipe in self._recipes.items():
            for _ in range(self._missing(key)):
                self.demand.begin(key)
                self._work.begin(self._make(recipe))

    async def _make(self, recipe: AgentSpec) -> None:
        key = recipe.key
        try:
            with self.demand.made(key):
                async with self._permits.hold_in_background():
                    if self._wanted(key) > len(self.ready(key)):
                        await self._maker.make(recipe)
        finally:
            self._team.changes.announce()
