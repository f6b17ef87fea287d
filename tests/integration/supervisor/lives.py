"""One team through several lives of its supervisor: each can be killed at any of its calls, as by kill -9.

What a supervisor does outside itself goes through its store, its host and its instances. ``Fate`` counts these calls
and ends the life just before one of them: from then on nothing that is left of that life gets through, so none of its
clean-up code can pretend that it still runs. Agents live on in tmux; actors live on unless they are killed too.
"""

from __future__ import annotations

import asyncio
import inspect
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
from actors.host.host import Host
from actors.instance.instance import Instance
from actors.tmux.server import TmuxServer
from supervisor.api.requests import Request
from supervisor.api.verbs import Caller
from supervisor.build import build_supervisor
from supervisor.settings import Settings
from supervisor.store.sqlite import SqliteStore
from supervisor.supervisor import Supervisor
from supervisor.team.registry import InstanceStage
from tests.projects import git

LEAD = Caller(sender="lead")
_OWNER: ContextVar[object] = ContextVar("owner", default=None)
_TOUCHING = {"save", "adopt", "deliver", "expect_end", "create", "destroy"}
"""Calls that change something. Of the host it is all but its questions."""
_QUESTIONS = {"name", "program", "is_spare", "load", "agents", "leftovers", "instance_directories"}


class Killed(BaseException):
    """The life has ended: nothing may catch this and go on."""


class Fate:
    """Of one life. ``calls`` are the names of those that change something, oldest first."""

    def __init__(self) -> None:
        self._at = 0
        self._deeds: set[asyncio.Task[Any]] = set()
        self._questions: set[asyncio.Task[Any]] = set()
        self.calls: list[str] = []
        self.died = asyncio.Event()

    def ends_at(self, call: int) -> None:
        """Of the calls from now on, beginning with 1."""
        self._at = len(self.calls) + call

    async def share(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]], *, counts: bool) -> Any:
        if counts and not self.died.is_set():
            self.calls.append(name)
            if len(self.calls) == self._at:
                self.died.set()
        self._check(name)
        # Who is asked does not notice that the asker dies.
        asked = asyncio.get_running_loop().create_task(work(), context=_nobodys())
        (self._deeds if counts else self._questions).add(asked)
        answer = await asyncio.shield(asked)
        self._check(name)
        return answer

    def _check(self, name: str) -> None:
        if self.died.is_set():
            raise Killed(name)

    async def strike(self) -> None:
        """Ends the life, and returns when what it has asked others to do is done."""
        self.died.set()
        for question in self._questions:
            question.cancel()
        await asyncio.gather(*self._deeds, *self._questions, return_exceptions=True)


def _nobodys() -> Any:
    context = copy_context()
    context.run(_OWNER.set, None)
    return context


class Mortal:
    """Anything that a life calls, with its fate in between."""

    def __init__(self, target: Any, fate: Fate, *, all_count: bool = False) -> None:
        self._target = target
        self._fate = fate
        self._all_count = all_count

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not inspect.iscoroutinefunction(found):
            return found
        counts = name in _TOUCHING or (self._all_count and name not in _QUESTIONS)

        async def call(*arguments: Any, **more: Any) -> Any:
            answer = await self._fate.share(name, lambda: found(*arguments, **more), counts=counts)
            return Mortal(answer, self._fate) if isinstance(answer, Instance) else answer

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


class _Patient:
    """A child that was just being forked holds the lock of the last life until it begins to run its program."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def open(self) -> int:
        for _ in range(100):
            with suppress(StateHeldError):
                return await self._store.open()
            await asyncio.sleep(0.02)
        return await self._store.open()


class Life:
    """One supervisor from its start to its death."""

    def __init__(self, supervisor: Supervisor, store: Any, fate: Fate) -> None:
        self.supervisor = supervisor
        self.fate = fate
        self._store = store
        self._tasks: list[asyncio.Task[Any]] = []

    def own(self, task: asyncio.Task[Any]) -> None:
        self._tasks.append(task)

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = copy_context()
        context.run(_OWNER.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    async def until_compared(self) -> None:
        """Raises ``Killed`` when the life ends before."""
        await self._outlived(self.begin(self.compared()))

    async def call(self, verb: str, request: Request) -> Any:
        """Raises ``Killed`` when the life ends meanwhile."""
        return await self._outlived(self.begin(self.supervisor.call(verb, request, LEAD)))

    async def _outlived(self, deed: asyncio.Task[Any]) -> Any:
        died = asyncio.create_task(self.fate.died.wait())
        await asyncio.wait((deed, died), return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if not deed.done():
            raise Killed
        return deed.result()

    async def compared(self) -> None:
        assert await self.supervisor._recovery.compared()

    async def kill(self) -> None:
        """Nothing of it runs any more, and its lock is free."""
        await self.fate.strike()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._store.close()


class Team:
    """A home, its host and its actors; ``live`` gives it a supervisor."""

    def __init__(self, home: Home, environment: Mapping[str, str], repository: Path) -> None:
        self.home = home
        self.repository = repository
        self._environment = environment
        self.catalog = AgentCatalog(claude_command="no-such-claude", python=sys.executable)
        self.actors = Actors(self.catalog)
        self.lives: list[Life] = []

    async def live(self, store: Any | None = None, **settings: str) -> Life:
        """A supervisor that has taken the state over and begins to bring the team back."""
        asyncio.get_running_loop().set_task_factory(_owned)
        fate = Fate()
        store = store or _Patient(SqliteStore(self.home.state_file))
        found = Settings.load(self.home, {**self._environment, **settings})
        host = Host(self.home, self.catalog, self._environment)
        factory = Mortal(self.actors, fate)
        reached: Any = Mortal(host, fate, all_count=True)
        supervisor = build_supervisor(self.home, found, reached, factory, Mortal(store, fate))
        life = Life(supervisor, store, fate)
        self.lives.append(life)
        await life.begin(supervisor.recover())
        return life

    async def first_life(self, **more: Any) -> Life:
        life = await self.live(**more)
        await life.compared()
        return life

    async def next_life(self, actors_die: bool = False, compared: bool = True, **settings: str) -> Life:
        """Kills what lives and brings the team back; with ``compared`` until it is known who is still there."""
        await self.lives[-1].kill()
        if actors_die:
            await self.actors.die()
        return await (self.first_life(**settings) if compared else self.live(**settings))

    async def end(self) -> None:
        """Everything of it ends, whatever state it is in."""
        for life in self.lives:
            with suppress(Exception):
                await life.kill()
        await self.actors.die()
        host = Host(self.home, self.catalog, self._environment)
        names = {agent.session_name for agent in await host.agents()} | set(await host.instance_directories())
        for name in names:
            await host.end_agent(name, name, 1.0)


def _owned(loop: asyncio.AbstractEventLoop, work: Any, context: Any = None, **more: Any) -> asyncio.Task[Any]:
    """Makes tasks that end with the life that began them. ``more``: newer Pythons give the task's name, too."""
    task = asyncio.Task(work, loop=loop, context=context, **more)
    owner = context.get(_OWNER) if context is not None else _OWNER.get()
    if isinstance(owner, Life):
        owner.own(task)
    return task


async def disagreements(team: Team, life: Life) -> list[str]:
    """Where registry, panes, actors, directories, worktrees and branches tell different stories."""
    everyone = life.supervisor._team.registry.everyone()
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
    spare_worktrees = life.supervisor._team.registry.spare_worktrees
    try:
        branches = git(team.repository, "branch", "--list", "--format=%(refname:short)", "phalanx/*").split()
        registered = git(team.repository, "worktree", "list", "--porcelain").count("worktree ") - 1
    except CalledProcessError as error:  # a worktree is just being removed
        return [f"git: {error}"]
    found = {
        "panes": ({name for name, agent in sessions.items() if agent.alive}, alive),
        "processes": ({sessions[one].pid for one in alive & sessions.keys()}, {records[one].pid for one in alive}),
        "actors": ({one for one in alive if records[one].actor_name in team.actors.instances}, alive),
        "actors of nobody": (set(team.actors.instances) - actors - life.supervisor._recovery._actor_pool.names, set()),
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
