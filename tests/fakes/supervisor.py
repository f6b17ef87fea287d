"""A supervisor's core over a machine that is only modelled: it can be killed at any moment, and the machine goes on.

``Machine.violations`` tells what no supervisor may ever do. ``SupervisorRun.kill`` ends a run as kill -9 does: nothing
that is left of it reaches the machine or the store. What it had asked the machine for is done all the same.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.agents.base import AgentStart, RestartedAgent, RunningAgent
from actors.concurrency import ChangeNotifier
from actors.errors import UnavailableError, WorkspaceError
from actors.home import Home
from actors.host.load import HostLoad
from actors.instance.inbox import BatchLimits
from actors.instance.instance import Instance, InstanceConfig
from actors.instance.reports import InstanceSnapshot, Report
from actors.messages import Message, MessageStatus, Receipt
from actors.status import Status
from actors.tmux.pane import PaneInfo
from actors.worktrees.model import CopiedFile, OrphanWorktree, RemovalResult, Workspace, WorkspaceMode
from supervisor.api.requests import Role, SpawnRequest
from supervisor.api.verbs import Caller
from supervisor.pool.makers import AgentMaker, WorktreeMaker
from supervisor.pool.placement import SparePlacement, StaleSpareCleaner
from supervisor.pool.service import OrderBook, Pools
from supervisor.recovery.recovery import Recovery
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission, WorkDirPolicy
from supervisor.spawning.rollback import SpawnRollback
from supervisor.spawning.spawner import AgentStarter, Spawner
from supervisor.store.guards import FencedStore
from supervisor.team.access import Access
from supervisor.team.adoption import Adopter, Batching
from supervisor.team.lifecycle import Lifecycle
from supervisor.team.rate_limits import RateLimits
from supervisor.team.registry import InstanceRecord, is_instance_id
from supervisor.team.team import Team
from supervisor.team.tokens import TokenLimits
from tests.fakes.hosts import CATALOG, host_load
from tests.fakes.store import MemoryStore

CAP = 3
"""How many spawns run at once."""
WORK_DIR = Path("/usr")
"""A directory that every machine has; nothing is written there."""
_HOME = Home(Path("/no-such-home"))
_STEP_S = 0.01
"""Every call takes so long, so that others get in between."""


@dataclass(slots=True)
class ModelledAgent:
    pid: int
    pane_id: str
    alive: bool = True


class ModelledInstance(Instance):
    """An instance. What its agent was told is in ``Machine.conversations``, as in a transcript."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.restart()

    def restart(self) -> None:
        """Killed, and made anew by Ray: it knows nothing."""
        self._incarnation = f"i{next(self._machine.numbers)}"
        self._instance_id = self._session = ""
        self._pid = 0
        self._sequence = 0
        self._expects_end = False
        self._receipts: list[tuple[int, Receipt]] = []
        self._snapshot = InstanceSnapshot()
        self._changes = ChangeNotifier()

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        if (self._instance_id, self._pid) != (config.instance_id, pid):
            self._instance_id = self._session = config.instance_id
            self._pid, self._expects_end = pid, False
        self.look()
        return self._incarnation

    def look(self) -> None:
        """Reports what has become of the agent."""
        agent = self._machine.sessions.get(self._session)
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
            conversation = self._machine.conversations.setdefault(self._instance_id, [])
            arrives = self._snapshot.status is Status.READY
            if arrives and message.id not in conversation:
                conversation.append(message.id)
            status = MessageStatus.SUBMITTED if message.id in conversation else MessageStatus.FAILED
            receipt = Receipt(message_id=message.id, instance_id=message.instance_id, status=status, at=1.0)
            self._receipts.append((self._sequence + 1, receipt))
            self._tell()

    async def reports(self, after: int, timeout_s: float, incarnation: str = "", answer: int = 0) -> Report:
        if incarnation != self._incarnation:
            after = -1
        changes, asked = self._changes, self._incarnation
        await changes.until(lambda: self._sequence > after or self._incarnation != asked, timeout_s)
        return Report(
            incarnation=self._incarnation,
            sequence=self._sequence,
            answer=1,
            snapshot=self._snapshot,
            receipts=tuple(receipt for at, receipt in self._receipts if at > after),
        )

    async def tune(self, limits: BatchLimits, hold: str = "") -> None:
        """Nothing is batched here."""

    async def expect_end(self, coming_back: bool = False) -> None:
        self._expects_end = True

    async def screen(self, lines: int) -> str:
        return ""


@dataclass(slots=True)
class Machine:
    """What there is beside the supervisor. Instances in ``may_end`` were ended by a caller, or by themselves."""

    sessions: dict[str, ModelledAgent] = field(default_factory=dict)
    actors: dict[str, ModelledInstance] = field(default_factory=dict)
    conversations: dict[str, list[str]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    """Of each agent, by its session."""
    acknowledged: set[str] = field(default_factory=set)
    may_end: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)
    prepared: dict[str, tuple[list[str], str, dict[str, str]]] = field(default_factory=dict)
    """The files, the command and its variables, by instance."""
    setup_fails: bool = False
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    calls: set[asyncio.Task[Any]] = field(default_factory=set)

    def look_at_agents(self) -> None:
        for actor in self.actors.values():
            actor.look()

    def open_session(self, name: str) -> ModelledAgent:
        number = next(self.numbers)
        there = self.sessions.get(name)
        if there is not None and there.alive:
            self.violations.append(f"a second agent of {name} was started")
        self.sessions[name] = ModelledAgent(pid=number, pane_id=f"%{number}")
        return self.sessions[name]

    def close_session(self, name: str) -> None:
        there = self.sessions.pop(name, None)
        if there is not None and there.alive:
            if not is_instance_id(name):
                self.violations.append(f"the session {name} of somebody else was ended")
            elif name in self.acknowledged and name not in self.may_end:
                self.violations.append(f"the living agent of {name} was ended")
        self.look_at_agents()

    async def carry_out(self, part: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """Goes on to its end when the caller is killed."""

        async def carried_out() -> Any:
            await asyncio.sleep(_STEP_S)
            if part in self.away:
                raise UnavailableError(f"the {part} is away")
            return await work()

        task = asyncio.create_task(carried_out())
        self.calls.add(task)
        task.add_done_callback(self.calls.discard)
        return await asyncio.shield(task)


class MachinePorts:
    """Host and factory of the machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def name(self) -> str:
        return "here"

    async def load(self) -> HostLoad:
        return host_load(available_mb=1000)

    async def agents(self) -> tuple[RunningAgent, ...]:
        return tuple(
            RunningAgent(session_name=name, pane_id=agent.pane_id, pid=agent.pid, alive=agent.alive)
            for name, agent in self._machine.sessions.items()
        )

    async def create_workspace(self, instance_id: str, work_dir: Path, mode: WorkspaceMode) -> Workspace:
        return Workspace(mode="shared", directory=work_dir)

    async def read_files(self, directory: Path, paths: Sequence[str]) -> tuple[CopiedFile, ...]:
        return tuple(CopiedFile(path=path, mode=0o600, content=b"") for path in paths)

    async def prepare_workspace(
        self, instance_id: str, workspace: Workspace, files: Sequence[CopiedFile], setup: str, more: Mapping[str, str]
    ) -> None:
        if self._machine.setup_fails:
            raise WorkspaceError("no rule to make deps")
        self._machine.prepared[instance_id] = ([file.path for file in files], setup, dict(more))

    async def undo_workspace(self, workspace: Workspace) -> None:
        """Nothing was made."""

    async def retire_workspace(self, workspace: Workspace) -> RemovalResult:
        return RemovalResult(removed=False, kept_reason=None, branch_deleted=False)

    async def start_agent(self, start: AgentStart) -> PaneInfo:
        self._machine.tokens[start.session_name] = start.request.token
        return _pane(start.session_name, self._machine.open_session(start.session_name))

    async def renew_agent(self, place: str, session_id: str, system_prompt: str) -> None:
        """Every start is like the one before."""

    async def restart_agent(
        self, instance_id: str, session_name: str, transcript_path: str, session_id: str
    ) -> RestartedAgent:
        self._machine.close_session(session_name)
        return RestartedAgent(pane=_pane(session_name, self._machine.open_session(session_name)), resumed=True)

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        self._machine.close_session(session_name)

    async def forget_instance(self, instance_id: str) -> None:
        """It has no directory."""

    async def withdraw(self, instance_id: str) -> None:
        """Nothing is made in the background."""

    async def discard_worktrees(self, instance_id: str, known: Sequence[str]) -> None:
        """There are none."""

    async def orphans(self, known: Sequence[str]) -> tuple[OrphanWorktree, ...]:
        return ()

    async def create(self, name: str) -> ModelledInstance:
        return self._machine.actors.setdefault(name, ModelledInstance(self._machine))

    async def running(self) -> tuple[str, ...]:
        return tuple(self._machine.actors)

    async def destroy(self, name: str) -> None:
        self._machine.actors.pop(name, None)


def _pane(name: str, agent: ModelledAgent) -> PaneInfo:
    return PaneInfo(session_name=name, pane_id=agent.pane_id, pid=agent.pid)


class Killed(BaseException):
    """The run has ended: nothing may catch this and go on."""


class _Killable:
    """A part of the machine as one run calls it."""

    def __init__(self, target: Any, part: str, run: SupervisorRun) -> None:
        self._target = target
        self._part = part
        self._run = run

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **more: Any) -> Any:
            self._run.check()
            answer = await self._run.machine.carry_out(self._part, lambda: found(*arguments, **more))
            self._run.check()
            return _Killable(answer, "actors", self._run) if isinstance(answer, ModelledInstance) else answer

        return call


class _KillableStore(MemoryStore):
    """A save is done at once, or not at all."""

    def __init__(self, records: dict[str, bytes], run: SupervisorRun) -> None:
        super().__init__(records)
        self._run = run

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        self._run.check()
        await super().save(records, delete)


class SupervisorRun:
    """One supervisor from its start to its kill."""

    def __init__(self, machine: Machine, records: dict[str, bytes]) -> None:
        self.machine = machine
        self.records = records
        """What the store holds."""
        self._dead = False
        ports: Any = MachinePorts(machine)
        host: Any = _Killable(ports, "host", self)
        factory: Any = _Killable(ports, "Ray", self)
        settings = Settings(prewarm_instances=0)
        self.permits = permits = FairSemaphore(CAP)
        memory = MemoryAdmission(host, CATALOG, 1, 0)
        store = FencedStore(_KillableStore(records, self))
        self.team = team = Team(store)
        live_settings = LiveSettings(TunableValues.of(settings))
        batching = Batching(live_settings, team)
        adopter = Adopter(_HOME, batching, factory, team, auto_restart=False)
        rollback = SpawnRollback(team, host, factory)
        tokens = TokenLimits(team, batching, store)
        self.lifecycle = Lifecycle(team, host, factory, adopter, memory, None, tokens, 20.0)
        policy = WorkDirPolicy(_HOME, Path("/root"), ())
        placement = SparePlacement(host, memory, None)
        pools = Pools(
            team,
            permits,
            memory,
            placement,
            live_settings,
            OrderBook(store, "this boot"),
            agents=AgentMaker(_HOME, host, team, adopter, rollback, memory, placement, 20.0),
            worktrees=WorktreeMaker(host, team, placement),
            cleaner=StaleSpareCleaner(team, placement),
            work_dirs=policy,
            default_agent="demo",
            timeout_s=20.0,
        )
        access = Access(team.registry, siblings_may_send=False)
        self.spawner = Spawner(
            team,
            AgentStarter(_HOME, host, team, access, adopter, pools, None),
            adopter,
            rollback,
            permits,
            memory,
            None,
            policy,
            access,
            tokens,
            RateLimits(team, continues=True),
            default_agent="demo",
            timeout_s=20.0,
            allow_bypass=False,
        )
        self.recovery = Recovery(team, host, factory, None, adopter, rollback, self.lifecycle)

    def check(self) -> None:
        if self._dead:
            raise Killed

    async def begin(self) -> None:
        await self.team.load()
        asyncio.create_task(self.recovery.run())  # noqa: RUF006 - ``kill`` cancels it with all other tasks of the run

    def spawn(self, request_id: str) -> Coroutine[Any, Any, InstanceRecord]:
        request = SpawnRequest(
            role=Role.SPECIALIST,
            work_dir=str(WORK_DIR),
            context="hello",
            workspace_mode="shared",
            request_id=request_id,
        )
        return self.spawner.spawn(request, Caller(sender="lead"))

    async def kill(self) -> None:
        self._dead = True
        mine = [task for task in asyncio.all_tasks() if task not in self.machine.calls]
        mine.remove(asyncio.current_task())  # type: ignore[arg-type]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
