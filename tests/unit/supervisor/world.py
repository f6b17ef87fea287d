"""A world for the supervisor's core without processes: hosts, actors and agents that only pretend.

Lives of the supervisor (``life``) end in it; it goes on. ``violations`` tells what no supervisor may ever do.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.agents.base import AgentStart, RestartedAgent, RunningAgent
from actors.concurrency import ChangeNotifier
from actors.errors import UnavailableError
from actors.host.load import HostLoad
from actors.instance.inbox import BatchLimits
from actors.instance.instance import Instance, InstanceConfig
from actors.instance.reports import InstanceSnapshot, Report
from actors.messages import Message, MessageStatus, Receipt
from actors.status import Status
from actors.tmux.pane import PaneInfo
from actors.worktrees.model import OrphanWorktree, RemovalResult, Workspace, WorkspaceMode
from supervisor.team.registry import is_instance_id
from tests.unit.supervisor.stand_ins import load

_STEP_S = 0.01
"""Everything that is asked for takes so long, so that others get in between."""


@dataclass(slots=True)
class Agent:
    pid: int
    pane_id: str
    alive: bool = True


class Actor(Instance):
    """An instance. What its agent was told stands in the world, as in a transcript."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.restart()

    def restart(self) -> None:
        """Killed, and made anew by Ray: it knows nothing."""
        self._incarnation = f"i{next(self._world.numbers)}"
        self._instance_id = self._session = ""
        self._pid = 0
        self._sequence = 0
        self._expects_end = False
        self._receipts: list[tuple[int, Receipt]] = []
        self._snapshot = InstanceSnapshot()
        self._changes = ChangeNotifier()

    async def vacant(self) -> bool:
        return not self._instance_id

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        if (self._instance_id, self._pid) != (config.instance_id, pid):
            self._instance_id = self._session = config.instance_id
            self._pid, self._expects_end = pid, False
        self.look()
        return self._incarnation

    def look(self) -> None:
        """Reports what has become of the agent."""
        agent = self._world.sessions.get(self._session)
        alive = agent is not None and agent.alive and agent.pid == self._pid
        ended = Status.STOPPED if self._expects_end else Status.FAILED
        snapshot = InstanceSnapshot(
            status=Status.READY if alive else ended, since=1.0, reason="" if alive else "it has ended"
        )
        if self._instance_id and snapshot != self._snapshot:
            self._snapshot = snapshot
            self._tell()

    def _tell(self) -> None:
        self._sequence += 1
        self._changes.announce()

    async def deliver(self, messages: Sequence[Message]) -> None:
        if not self._instance_id:
            raise UnavailableError("it follows nobody yet")
        for message in messages:
            told = self._world.told.setdefault(self._instance_id, [])
            arrives = self._snapshot.status is Status.READY
            if arrives and message.id not in told:
                told.append(message.id)
            status = MessageStatus.SUBMITTED if message.id in told else MessageStatus.FAILED
            receipt = Receipt(message_id=message.id, instance_id=message.instance_id, status=status, at=1.0)
            self._receipts.append((self._sequence + 1, receipt))
            self._tell()

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report:
        if incarnation != self._incarnation:
            after = -1
        changes, asked = self._changes, self._incarnation
        await changes.until(lambda: self._sequence > after or self._incarnation != asked, timeout_s)
        return Report(
            incarnation=self._incarnation,
            sequence=self._sequence,
            snapshot=self._snapshot,
            receipts=tuple(receipt for at, receipt in self._receipts if at > after),
        )

    async def tune(self, limits: BatchLimits) -> None:
        """Nothing is batched here."""

    async def expect_end(self, coming_back: bool = False) -> None:
        self._expects_end = True

    async def screen(self, lines: int) -> str:
        return ""


@dataclass(slots=True)
class World:
    """What there is besides the supervisor. ``free`` are those who may be ended: somebody has asked for it."""

    sessions: dict[str, Agent] = field(default_factory=dict)
    actors: dict[str, Actor] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    deeds: set[asyncio.Task[Any]] = field(default_factory=set)

    def notice(self) -> None:
        for actor in self.actors.values():
            actor.look()

    def open_session(self, name: str) -> Agent:
        number = next(self.numbers)
        there = self.sessions.get(name)
        if there is not None and there.alive:
            self.violations.append(f"a second agent of {name} was started")
        self.sessions[name] = Agent(pid=number, pane_id=f"%{number}")
        return self.sessions[name]

    def close_session(self, name: str) -> None:
        there = self.sessions.pop(name, None)
        if there is not None and there.alive:
            if not is_instance_id(name):
                self.violations.append(f"the session {name} of somebody else was ended")
            elif name in self.acknowledged and name not in self.free:
                self.violations.append(f"the living agent of {name} was ended")
        self.notice()

    async def carry_out(self, part: str, deed: Callable[[], Awaitable[Any]]) -> Any:
        """To its end, whatever becomes of who has asked for it."""

        async def work() -> Any:
            await asyncio.sleep(_STEP_S)
            if part in self.away:
                raise UnavailableError(f"the {part} is away")
            return await deed()

        task = asyncio.create_task(work())
        self.deeds.add(task)
        task.add_done_callback(self.deeds.discard)
        return await asyncio.shield(task)


class Hands:
    """Host and factory of the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def name(self) -> str:
        return "here"

    async def load(self) -> HostLoad:
        return load(available_mb=1000)

    async def agents(self) -> tuple[RunningAgent, ...]:
        return tuple(
            RunningAgent(session_name=name, pane_id=agent.pane_id, pid=agent.pid, alive=agent.alive)
            for name, agent in self._world.sessions.items()
        )

    async def create_workspace(self, instance_id: str, work_dir: Path, mode: WorkspaceMode) -> Workspace:
        return Workspace(mode="shared", directory=work_dir)

    async def undo_workspace(self, workspace: Workspace) -> None:
        """Nothing was made."""

    async def retire_workspace(self, workspace: Workspace) -> RemovalResult:
        return RemovalResult(removed=False, kept_reason=None, branch_deleted=False)

    async def start_agent(self, start: AgentStart) -> PaneInfo:
        return _pane(start.session_name, self._world.open_session(start.session_name))

    async def renew_agent(self, place: str, session_id: str, system_prompt: str) -> None:
        """Every start is like the one before."""

    async def restart_agent(
        self, instance_id: str, session_name: str, transcript_path: str, session_id: str
    ) -> RestartedAgent:
        self._world.close_session(session_name)
        return RestartedAgent(pane=_pane(session_name, self._world.open_session(session_name)), resumed=True)

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        self._world.close_session(session_name)

    async def forget_instance(self, instance_id: str) -> None:
        """It has no directory."""

    async def orphans(self, known: Sequence[str]) -> tuple[OrphanWorktree, ...]:
        return ()

    async def create(self, name: str) -> Actor:
        return self._world.actors.setdefault(name, Actor(self._world))

    async def running(self) -> tuple[str, ...]:
        return tuple(self._world.actors)

    async def destroy(self, name: str) -> None:
        self._world.actors.pop(name, None)


def _pane(name: str, agent: Agent) -> PaneInfo:
    return PaneInfo(session_name=name, pane_id=agent.pane_id, pid=agent.pid)
