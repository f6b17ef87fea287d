"""One team through several runs of its supervisor: each can be killed at any of its calls, as by kill -9.

What a supervisor does outside itself goes through its store, its host and its instances. ``KillSwitch`` counts these
calls and ends the run just before one of them: from then on nothing that is left of that run gets through, so none of
its clean-up code can pretend that it still runs. Agents live on in tmux; actors live on unless they are killed too.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from contextvars import ContextVar, copy_context
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from actors.agents.catalog import AgentCatalog
from actors.errors import StateHeldError
from actors.home import Home
from actors.host.host import Endpoint, Host
from actors.instance.instance import Instance
from actors.tmux.server import TmuxServer
from supervisor.api.requests import Request, StatusRequest
from supervisor.api.verbs import Caller
from supervisor.build import build_supervisor
from supervisor.recovery.recovery import Recovery
from supervisor.settings import Settings
from supervisor.store.base import StateStore
from supervisor.store.choice import make_store
from supervisor.supervisor import Supervisor
from supervisor.team.access import token_hash
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.projects import git

LEAD = Caller(sender="lead")
_OWNER: ContextVar[object] = ContextVar("owner", default=None)
_CHANGING = {"save", "adopt", "deliver", "expect_end", "create", "destroy"}
"""Calls that change something. Of the host it is all but its questions."""
_QUESTIONS = {
    *("name", "program", "is_spare", "load", "agents", "orphans", "instance_directories"),
    *("compare_branches", "find_merged"),
}


class Killed(BaseException):
    """The run has ended: nothing may catch this and go on."""


class KillSwitch:
    """Of one run. ``calls`` are the names of those that change something, oldest first."""

    def __init__(self) -> None:
        self._at = 0
        self._changes: set[asyncio.Task[Any]] = set()
        self._questions: set[asyncio.Task[Any]] = set()
        self.calls: list[str] = []
        self.killed = asyncio.Event()

    def kill_at(self, call: int) -> None:
        """Of the calls from now on, beginning with 1; earlier ones are forgotten."""
        self.calls.clear()
        self._at = call

    async def call(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]], *, counts: bool) -> Any:
        if counts and not self.killed.is_set():
            self.calls.append(name)
            if len(self.calls) == self._at:
                self.killed.set()
        self._check(name)
        # The part that is called does not notice that its caller dies.
        asked = asyncio.get_running_loop().create_task(work(), context=_without_owner())
        (self._changes if counts else self._questions).add(asked)
        answer = await asyncio.shield(asked)
        self._check(name)
        return answer

    def _check(self, name: str) -> None:
        if self.killed.is_set():
            raise Killed(name)

    async def kill(self) -> None:
        """Ends the run, and returns when what it has asked others to do is done."""
        self.killed.set()
        for question in self._questions:
            question.cancel()
        await asyncio.gather(*self._changes, *self._questions, return_exceptions=True)


def _without_owner() -> Any:
    context = copy_context()
    context.run(_OWNER.set, None)
    return context


class Killable:
    """Any part that a run calls, behind the switch of that run."""

    def __init__(self, target: Any, switch: KillSwitch, *, all_count: bool = False) -> None:
        self._target = target
        self._switch = switch
        self._all_count = all_count

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not inspect.iscoroutinefunction(found):
            return found
        counts = name in _CHANGING or (self._all_count and name not in _QUESTIONS)

        async def call(*arguments: Any, **more: Any) -> Any:
            answer = await self._switch.call(name, lambda: found(*arguments, **more), counts=counts)
            return Killable(answer, self._switch) if isinstance(answer, Instance) else answer

        return call


class Actors:
    """Instances as plain objects in this event loop; ``die`` ends them as if all of Ray had been killed."""

    def __init__(self, catalog: AgentCatalog) -> None:
        self._catalog = catalog
        self.instances: dict[str, Instance] = {}

    async def create(self, name: str) -> Instance:
        if name not in self.instances:
            self.instances[name] = Instance(self._catalog)
        return self.instances[name]

    async def running(self) -> tuple[str, ...]:
        return tuple(self.instances)

    async def destroy(self, name: str) -> None:
        instance = self.instances.pop(name, None)
        if instance is not None:
            await instance.leave()

    async def die(self) -> None:
        for instance_id in tuple(self.instances):
            await self.destroy(instance_id)


class _PatientStore:
    """A child that was just being forked holds the lock of the last run until it begins to run its program."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def open(self) -> int:
        for _ in range(100):
            with suppress(StateHeldError):
                return await self._store.open()
            await asyncio.sleep(0.02)
        return await self._store.open()


class SupervisorRun:
    """One supervisor from its start to its death."""

    def __init__(self, supervisor: Supervisor, store: Any, switch: KillSwitch) -> None:
        self.supervisor = supervisor
        self.kill_switch = switch
        self.store = store
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def team(self) -> Team:
        return self.supervisor._team

    @property
    def recovery(self) -> Recovery:
        return self.supervisor._recovery

    def own(self, task: asyncio.Task[Any]) -> None:
        self._tasks.append(task)

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = copy_context()
        context.run(_OWNER.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    async def until_compared(self) -> None:
        """Raises ``Killed`` when the run ends before."""
        await self._unless_killed(self.begin(self.compared()))

    async def call(self, verb: str, request: Request) -> Any:
        """Raises ``Killed`` when the run ends meanwhile."""
        return await self._unless_killed(self.begin(self.supervisor.call(verb, request, LEAD)))

    async def _unless_killed(self, call: asyncio.Task[Any]) -> Any:
        killed = asyncio.create_task(self.kill_switch.killed.wait())
        await asyncio.wait((call, killed), return_when=asyncio.FIRST_COMPLETED)
        killed.cancel()
        if not call.done():
            raise Killed
        return call.result()

    async def compared(self) -> None:
        await self.supervisor.call("status", StatusRequest(compared=True), LEAD)

    async def kill(self) -> None:
        """Nothing of it runs any more, and its lock is free."""
        await self.kill_switch.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()


class RestartableTeam:
    """A home, its host and its actors; ``start`` gives it a supervisor."""

    def __init__(self, home: Home, environment: Mapping[str, str], repository: Path) -> None:
        self.home = home
        self.repository = repository
        self._environment = environment
        self.catalog = AgentCatalog(claude_command="no-such-claude", python=sys.executable)
        self.actors = Actors(self.catalog)
        self.runs: list[SupervisorRun] = []
        self.endpoint: Endpoint | None = None
        """Of the tools that its agents call the team with."""

    async def start(self, store: Any | None = None, **settings: str) -> SupervisorRun:
        """A supervisor that has taken the state over and begins to bring the team back."""
        asyncio.get_running_loop().set_task_factory(_owned)
        switch = KillSwitch()
        found = Settings.load(self.home, {**self._environment, **settings})
        store = store or _PatientStore(make_store(self.home, found))
        host = Host(self.home, self.catalog, self._environment, self.endpoint)
        reached: Any = Killable(host, switch, all_count=True)
        factory = Killable(self.actors, switch)
        supervisor = build_supervisor(self.home, found, reached, self.catalog, factory, Killable(store, switch))
        run = SupervisorRun(supervisor, store, switch)
        self.runs.append(run)
        await run.begin(supervisor.recover())
        return run

    async def start_compared(self, **more: Any) -> SupervisorRun:
        run = await self.start(**more)
        await run.compared()
        return run

    async def restart(self, actors_die: bool = False, compared: bool = True, **settings: str) -> SupervisorRun:
        """Kills what runs and brings the team back; with ``compared`` until it is known who is still there."""
        await self.runs[-1].kill()
        if actors_die:
            await self.actors.die()
        return await (self.start_compared(**settings) if compared else self.start(**settings))

    async def end(self) -> None:
        """Everything of it ends, whatever state it is in."""
        for run in self.runs:
            with suppress(Exception):
                await run.kill()
        await self.actors.die()
        host = Host(self.home, self.catalog, self._environment)
        names = {agent.session_name for agent in await host.agents()} | set(await host.instance_directories())
        for name in names:
            await host.end_agent(name, name, 1.0)


def _owned(loop: asyncio.AbstractEventLoop, work: Any, context: Any = None, **more: Any) -> asyncio.Task[Any]:
    """Makes tasks that end with the run that began them. ``more``: newer Pythons give the task's name, too."""
    task = asyncio.Task(work, loop=loop, context=context, **more)
    owner = context.get(_OWNER) if context is not None else _OWNER.get()
    if isinstance(owner, SupervisorRun):
        owner.own(task)
    return task


async def disagreements(team: RestartableTeam, run: SupervisorRun) -> list[str]:
    """Where registry, panes, actors, directories, worktrees and branches tell different stories."""
    everyone = run.team.registry.everyone()
    records = {member.record.instance_id: member.record for member in everyone}
    alive = {member.record.instance_id for member in everyone if member.alive}
    actors = {record.actor_name for record in records.values()}
    sessions = {agent.session_name: agent for agent in TmuxServer(team.home.tmux_socket).agents()}
    kept = {record.workspace.worktree for record in records.values() if record.workspace} - {None}
    kept_names = {worktree.name for worktree in kept if worktree is not None and worktree.exists()}
    kept_branches = {
        record.workspace.branch
        for record in records.values()
        if not record.is_spare and record.workspace and record.workspace.worktree and record.workspace.worktree.exists()
    }
    spare_worktrees = run.team.registry.spare_worktrees
    try:
        branches = git(team.repository, "branch", "--list", "--format=%(refname:short)", "phalanx/*").split()
        registered = git(team.repository, "worktree", "list", "--porcelain").count("worktree ") - 1
    except CalledProcessError as error:  # a worktree is just being removed
        return [f"git: {error}"]
    found = {
        "panes": ({name for name, agent in sessions.items() if agent.alive}, alive),
        "processes": ({sessions[one].pid for one in alive & sessions.keys()}, {records[one].pid for one in alive}),
        "actors": ({one for one in alive if records[one].actor_name in team.actors.instances}, alive),
        "tokens": (
            {_token_kept(team, records[one].place) for one in alive},
            {records[one].token_hash for one in alive},
        ),
        "actors of nobody": (set(team.actors.instances) - actors, set()),
        "directories": ({entry.name for entry in team.home.instances.iterdir()}, {r.place for r in records.values()}),
        "worktrees": ({entry.name for entry in team.home.worktrees.iterdir()}, kept_names | spare_worktrees),
        "branches": (set(branches), kept_branches),
        "registered worktrees": ({registered}, {len(kept_names | spare_worktrees)}),
        "half-made": (
            {r.instance_id for r in records.values() if r.stage in (InstanceStage.STARTING, InstanceStage.ENDING)},
            set(),
        ),
    }
    return [f"{what}: {there} and not {known}" for what, (there, known) in found.items() if there != known]


def _token_kept(team: RestartableTeam, place: str) -> str:
    """The hash of the token with which its agent is started again."""
    try:
        launch = json.loads((team.home.instance_directory(place) / "launch-request.json").read_text())
    except FileNotFoundError:
        return "no launch"
    return token_hash(launch["request"]["token"])
