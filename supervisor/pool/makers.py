"""What makes, checks and ends the two kinds of spares. ``Pool`` calls it, in the supervisor's event loop.

- ``WorktreeMaker``: worktrees that are checked out, and bound to an instance when it starts. The key is the directory
  that is worked on. They are known in memory only; ``StaleSpareCleaner`` removes those of an earlier supervisor.
- ``AgentMaker``: agents at their prompt, each with a worktree, an actor and a record of its own. The key is that
  of an ``AgentSpec``: only a spawn of exactly this kind may have the spare, and none whose project has other
  instructions by then than its agent has read. Until its record says ``SPARE`` a crash undoes it, as it undoes a
  spawn.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from actors.agents.base import mode_named
from actors.agents.names import READ_AT_START
from actors.concurrency import beside
from actors.errors import AgentError, PhalanxError, UnavailableError
from actors.home import Home
from actors.host.host import Host
from actors.status import ALIVE, Status
from actors.worktrees.model import Workspace
from supervisor.api.requests import McpServers, PrewarmRequest, Role, SpawnRequest
from supervisor.pool.placement import SparePlacement
from supervisor.pool.pool import Spare, SpareMaker
from supervisor.spawning.admission import MemoryAdmission, check_mode
from supervisor.spawning.agent import agent_start, spare_prompt
from supervisor.spawning.rollback import SpawnRollback
from supervisor.team.access import new_token, token_hash
from supervisor.team.adoption import Adopter
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

STUCK_S = 120.0
"""A spare that is not ready for so long is replaced. After a restart of the supervisor all are followed again only
after a while."""
_ASK_S = 10.0


class WorktreeMaker(SpareMaker[Path, Workspace]):
    """Keeps the names of its spares in ``Registry.spare_worktrees`` until they are bound or gone."""

    what = "spare worktree"

    def __init__(self, host: Host, team: Team, placement: SparePlacement) -> None:
        self._host = host
        self._names = team.registry.spare_worktrees
        self._registry = team.registry
        self._placement = placement
        self._places: dict[str, tuple[Path, str]] = {}
        """Directory and host of each, by name."""

    def new_name(self, key: Path) -> str:
        return self._registry.next_spare()

    def obstacle(self, key: Path) -> str:
        return self._placement.obstacle

    async def make(self, name: str, key: Path) -> Spare[Path, Workspace]:
        self._names.add(name)
        try:
            self._places = {each: place for each, place in self._places.items() if each in self._names}
            place = await self._placement.for_worktree(
                lambda: [host for work_dir, host in self._places.values() if work_dir == key]
            )
            self._places[name] = (key, place.host)
            self._placement.settle(name, place.host)
            workspace = await self._host.create_spare(name, key)
        except BaseException:
            self._names.discard(name)
            raise
        return Spare(name=name, key=key, host=place.host, content=workspace)

    def is_ready(self, spare: Spare[Path, Workspace]) -> bool:
        return self._placement.is_open(spare.host)

    def fault(self, spare: Spare[Path, Workspace]) -> str:
        return f"the host {spare.host} is drained or lost" if self._placement.is_closed(spare.host) else ""

    async def end(self, spare: Spare[Path, Workspace]) -> None:
        """A worktree on a lost host is removed by ``StaleSpareCleaner`` when the host is back."""
        if not self._placement.is_lost(spare.host):
            await self._host.undo_workspace(spare.content)
        self._names.discard(spare.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """The kind of an agent: all that its start depends on."""

    work_dir: Path
    agent: str
    model: str | None = None
    permission_mode: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    role: Role = Role.SPECIALIST
    """Its agent lists its tools when it starts, and each role has its own."""
    mcp_servers: McpServers = "all"

    def __post_init__(self) -> None:
        object.__setattr__(self, "permission_mode", mode_named(self.permission_mode))

    @classmethod
    def of(cls, request: SpawnRequest | PrewarmRequest, work_dir: Path, default_agent: str) -> Self:
        return cls(
            work_dir=work_dir,
            agent=request.agent or default_agent,
            model=request.model,
            permission_mode=request.permission_mode,
            environment=tuple(sorted(request.env.items())),
            role=request.role,
            mcp_servers=request.mcp_servers,
        )

    @property
    def key(self) -> str:
        """Records hold it. It is a hash, because the environment may hold secrets."""
        servers = self.mcp_servers if isinstance(self.mcp_servers, str) else sorted(set(self.mcp_servers))
        words = (
            *(str(self.work_dir), self.agent, self.model, self.permission_mode, self.environment),
            *(self.role, servers),
        )
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]

    @property
    def stored(self) -> AgentSpec:
        """Without the environment, which may not be stored. That gives another key."""
        return replace(self, environment=())


def spare_agent(member: Member) -> Spare[str, Member]:
    record = member.record
    return Spare(name=record.instance_id, key=record.recipe, host=record.host, content=member)


class AgentMaker(SpareMaker[str, Member]):
    what = "spare agent"

    def __init__(
        self,
        home: Home,
        host: Host,
        team: Team,
        adopter: Adopter,
        rollback: SpawnRollback,
        memory: MemoryAdmission,
        placement: SparePlacement,
        timeout_s: float,
        *,
        allow_bypass: bool = False,
    ) -> None:
        """``timeout_s``: the longest time from the start of an agent to its prompt. ``allow_bypass``: it may run with
        ``bypassPermissions``."""
        self._home = home
        self._host = host
        self._team = team
        self._adopter = adopter
        self._rollback = rollback
        self._memory = memory
        self._placement = placement
        self._timeout_s = timeout_s
        self._allow_bypass = allow_bypass
        self._programs: dict[tuple[str, str], str] = {}
        """By host and kind of agent."""
        self.specs: dict[str, AgentSpec] = {}
        """By key. Those that an earlier supervisor stored have no environment."""

    def new_name(self, key: str) -> str:
        return self._team.registry.next_spare()

    def check(self, spec: AgentSpec) -> None:
        """Raises ``InvalidRequestError`` for a kind that the team may not start."""
        check_mode(spec.permission_mode, allow_bypass=self._allow_bypass)

    def obstacle(self, key: str) -> str:
        spec = self.specs.get(key)
        if spec is None or spec.key != key:
            return "a spawn of the same kind: the values of its environment are not stored"
        return self._placement.obstacle

    async def look(self) -> Sequence[Spare[str, Member]]:
        """Learns which programs are installed, and returns unfinished spares on lost hosts.

        The reconciler undoes unfinished ones, but cannot do so on a lost host. A host that does not answer at once is
        skipped.
        """
        spares = self._team.registry.spares()
        for host, agent in {(each.record.host, each.record.agent) for each in spares}:
            if self._placement.is_open(host):
                with suppress(UnavailableError, TimeoutError):
                    async with asyncio.timeout(_ASK_S):
                        self._programs[host, agent] = await (await self._placement.link(host)).program(agent)
        unfinished = [each for each in spares if each.record.stage is not InstanceStage.SPARE]
        return [spare_agent(each) for each in unfinished if self._is_closed(each) and not each.turn.locked()]

    async def make(self, name: str, key: str) -> Spare[str, Member]:
        """Raises ``UnavailableError`` when there is no room for one now."""
        spec = self.specs[key]
        self.check(spec)
        place = await self._placement.for_agent(spec.agent)
        member = self._team.registry.add_spare(
            name,
            agent=spec.agent,
            session_id=str(uuid.uuid4()),
            now=time.time(),
            work_dir=spec.work_dir,
            recipe=key,
            role=spec.role,
            mcp_servers=spec.mcp_servers,
            host=place.host,
            address=place.address,
        )
        self._placement.settle(name, place.host)
        async with member.turn:
            try:
                async with self._memory.hold(spec.agent, host=place.elsewhere):
                    await self._begin(member, spec)
                    await self._until_ready(member)
                    await self._team.save(name, stage=InstanceStage.SPARE)
            except BaseException:
                await self._remove(member)
                raise
        return spare_agent(member)

    async def recognise(self, spare: Spare[str, Member]) -> str:
        """An earlier supervisor may have died while it handed the spare over."""
        workspace = spare.content.record.workspace
        try:
            async with asyncio.timeout(_ASK_S):
                if workspace is None or not await self._host.is_spare(workspace):
                    return "it was being handed over when the supervisor died"
        except (PhalanxError, TimeoutError) as error:
            # Taking it will show whether it was handed over.
            logger.warning("the spare agent %s could not be checked: %s", spare.name, error)
        return ""

    def is_ready(self, spare: Spare[str, Member]) -> bool:
        member = spare.content
        return (
            member.snapshot.status is Status.READY
            and not member.turn.locked()
            and self._placement.is_open(spare.host)
            and self._team.links.has(spare.name)
        )

    def fault(self, spare: Spare[str, Member]) -> str:
        member, snapshot = spare.content, spare.content.snapshot
        if member.turn.locked():
            return ""
        if spare.name not in self._team.registry:
            return "it is gone"
        if self._is_closed(member):
            return f"the host {spare.host} is drained or lost"
        program = member.record.program
        if program != self._programs.get((spare.host, member.record.agent), program):
            return "its program was changed"
        stuck = snapshot.status is not Status.READY and self._placement.is_open(spare.host)
        if not member.alive or (stuck and time.time() - snapshot.since > STUCK_S):
            return snapshot.reason or f"it is {snapshot.status}"
        return ""

    async def end(self, spare: Spare[str, Member]) -> None:
        async with spare.content.turn:
            if spare.name in self._team.registry:
                await self._remove(spare.content)
        if spare.name in self._team.registry:
            raise UnavailableError(f"Not all of {spare.name} is gone yet.")

    def _is_closed(self, member: Member) -> bool:
        """One that is being made on a drained host is ended when it is made."""
        host = member.record.host
        made = member.record.stage is InstanceStage.SPARE
        return self._placement.is_closed(host) if made else self._placement.is_lost(host)

    async def _remove(self, member: Member) -> None:
        if self._placement.is_lost(member.record.host):
            self._placement.forget(member.record.instance_id)
            await self._rollback.abandon(member.record)
        else:
            await self._rollback.undo(member.record)

    async def _begin(self, member: Member, spec: AgentSpec) -> None:
        name = member.record.instance_id
        program = await (await self._placement.link(member.record.host)).program(spec.agent)
        await self._team.save(name, program=program)
        async with beside(self._adopter.actor(member.record)) as actor:
            created = await self._host.create_spare(name, spec.work_dir)
            workspace = replace(created, read=READ_AT_START)
            self._team.registry.change_in_memory(name, workspace=workspace)
            token = new_token()
            host = member.record.host or await self._host.name()
            record = await self._team.save(name, host=host, token_hash=token_hash(token))
            start = agent_start(
                self._home,
                record,
                system_prompt=spare_prompt(),
                model=spec.model,
                permission_mode=spec.permission_mode,
                environment=dict(spec.environment),
                token=token,
            )
            pane = await self._host.start_agent(start)
            record = self._team.registry.change_in_memory(name, pane_id=pane.pane_id, pid=pane.pid)
            port = await actor
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
