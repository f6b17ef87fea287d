"""One machine of the team: starts and ends agents, keeps workspaces, runs git.

A plain class; ``actors.host.actor`` runs it in one Ray actor per host, and the supervisor calls it. It alone changes
tmux sessions, worktrees and processes on its machine. Agents are children of the tmux server, never of an actor, so
they outlive this process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from actors.agents.base import Agent, AgentStart, Handover, LaunchRequest, RestartedAgent, RunningAgent
from actors.agents.catalog import AgentCatalog
from actors.agents.launch import REQUEST_NAME, can_resume, program_mark, renew, tell, write_launch
from actors.agents.spool import LAUNCH_MARK, SPOOL_NAME
from actors.errors import AgentError, PhalanxError, TerminalError
from actors.files import append_private, in_words, write_private
from actors.git.compare import Comparer
from actors.git.executor import GitExecutor
from actors.git.merge_branches import BranchMerger
from actors.git.model import (
    READ_S,
    WRITE_S,
    Comparison,
    ComparisonReport,
    GitRequest,
    GitResponse,
    MergedBranches,
    MergeJob,
    MergeReport,
    PreparedMerge,
    RepositoryPaths,
)
from actors.home import Home
from actors.host import notice
from actors.host.endpoint import kept_url
from actors.host.load import HostLoad, LoadMeter
from actors.instance.transcript import PageQuery, TranscriptPage, read_page
from actors.marks import INSTANCE_MARK
from actors.processes import end_all_found, processes_with
from actors.remote import remote
from actors.starts import Starts
from actors.tmux.pane import PaneInfo
from actors.tmux.server import TmuxServer
from actors.transfer.service import TransferService
from actors.worktrees.limits import SETUP_LIMIT_S
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import (
    CopiedFile,
    OrphanWorktree,
    RemovalResult,
    Workspace,
    WorkspaceMode,
)
from actors.worktrees.prepare import note_copies, read_files, run_setup, write_files

logger = logging.getLogger(__name__)

AGENT_S = 30.0
GIT_S = 300.0
"""The checkout of a large repository takes long; each git process has its own limit."""
_MOST_THREADS = 128
"""More than the supervisor ever calls at once; threads start on demand."""
_MOST_NOTICES = 8
"""More than the supervisor ever gives at once."""
_Result = TypeVar("_Result")
_REQUEST_FIELDS = frozenset(field.name for field in fields(LaunchRequest))
_WITHDRAWN_S = 20.0
"""Longest wait of ``withdraw`` for what is being made."""
_ENDPOINT_S = 8.0
"""A start waits no longer for the tools of the team: its agent finds them when they are there."""


class Endpoint(Protocol):
    """What serves the tools of the team to the agents of this machine."""

    async def ensure(self) -> str:
        """Its URL, after it was started if it did not run. Raises ``PhalanxError``."""
        ...


class Host:
    """Blocking libraries run in threads; every method is bounded in time by the modules that do the work."""

    REMOTE_PARTS: ClassVar[Mapping[str, type]] = {"transfer": TransferService}

    def __init__(
        self,
        home: Home,
        catalog: AgentCatalog,
        agent_environment: Mapping[str, str],
        endpoint: Endpoint | None = None,
    ) -> None:
        """``endpoint``: None: agents get no tools of the team."""
        self._home = home
        self._catalog = catalog
        self._environment = dict(agent_environment)
        self._endpoint = endpoint
        self._server = TmuxServer(home.tmux_socket)
        self._needing: tuple[str, tuple[str, ...]] = ("", ())
        self._load_meter = LoadMeter(home.root)
        self._workspaces = WorktreeManager(home.worktrees, self._environment)
        self._starts = Starts()
        self.transfer = TransferService(home.travel, self._workspaces, self._starts, self._environment)
        self._git = GitExecutor(self._environment)
        self._comparer = Comparer(self._environment)
        self._merger = BranchMerger(self._environment, self._workspaces, self._comparer)
        self._git_threads = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="git")
        self._notice_threads = ThreadPoolExecutor(_MOST_NOTICES, thread_name_prefix="notice")
        self._workspace_threads = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="workspace")

    @remote(timeout_s=AGENT_S, retry=True)
    async def name(self) -> str:
        return socket.gethostname()

    @remote(timeout_s=AGENT_S, retry=True)
    async def release(self) -> None:
        """Ends the tmux server; agents that still run in it are hung up on."""
        await asyncio.to_thread(self._server.stop)

    @remote(timeout_s=AGENT_S, retry=True)
    async def load(self) -> HostLoad:
        """How busy this machine is."""
        return await asyncio.to_thread(self._load_meter.read)

    @remote(timeout_s=AGENT_S, retry=True)
    async def agents(self) -> tuple[RunningAgent, ...]:
        """Every session on the home's tmux server; empty without a server. Raises ``TerminalError`` when tmux hangs."""
        return await asyncio.to_thread(self._server.agents)

    @remote(timeout_s=AGENT_S, retry=True)
    async def show_needing(self, words: str, session_names: Sequence[str]) -> None:
        """Shows in every attached terminal who needs somebody; see ``TmuxServer.show_needing``. A tmux server that is
        started later shows it too. Raises ``TerminalError``."""
        self._needing = (words, tuple(session_names))
        await asyncio.to_thread(self._server.show_needing, *self._needing)

    @remote(timeout_s=AGENT_S, retry=True)
    async def instance_directories(self) -> tuple[str, ...]:
        """The ids of all instances with a private directory here, running or not."""
        return await asyncio.to_thread(self._instance_directories)

    @remote(timeout_s=AGENT_S, retry=True)
    async def page(self, agent: str, transcript_path: str, query: PageQuery) -> TranscriptPage:
        """A page of the conversation of an instance that has no actor. Raises ``InvalidRequestError``."""
        return await asyncio.to_thread(read_page, self._catalog.named(agent), Path(transcript_path), query)

    @remote(timeout_s=AGENT_S, retry=True)
    async def withdraw(self, instance_id: str) -> None:
        """Lets nothing more be made for the instance, whose spawn is undone, and waits for what is being made.

        It concerns the methods that make something for a first start. Raises ``UnavailableError`` when that takes long.
        """
        await self._starts.withdraw(instance_id, _WITHDRAWN_S)

    @remote(timeout_s=GIT_S, ping=True)
    async def create_workspace(self, instance_id: str, work_dir: Path, mode: WorkspaceMode) -> Workspace:
        self._require_environment()
        create = partial(self._in, self._workspace_threads, self._workspaces.create, instance_id, work_dir, mode)
        return await self._starts.make(instance_id, create)

    @remote(timeout_s=AGENT_S, retry=True)
    async def read_files(self, directory: Path, paths: Sequence[str]) -> tuple[CopiedFile, ...]:
        """Files below the directory, for ``prepare_workspace``. Raises ``WorkspaceError``."""
        return await self._in(self._workspace_threads, read_files, directory, paths)

    @remote(timeout_s=SETUP_LIMIT_S + AGENT_S, ping=True)
    async def prepare_workspace(
        self, instance_id: str, workspace: Workspace, files: Sequence[CopiedFile], setup: str, more: Mapping[str, str]
    ) -> None:
        """Writes the files into the worktree, then runs the command ``setup`` there, if there is one.

        The command has the agents' environment and ``more``. It is known as the instance's, so ``end_agent`` ends it.
        Raises ``WorkspaceError``.
        """
        self._require_environment()
        self._starts.check(instance_id)  # its undo does not wait for the command: it ends it
        if files:
            worktree = workspace.worktree or workspace.directory
            await self._in(self._workspace_threads, note_copies, worktree, workspace.directory, files)
            await self._in(self._workspace_threads, write_files, workspace.directory, files)
        if setup:
            mark = {INSTANCE_MARK: str(self._home.instance_directory(instance_id))}
            environment = {**self._environment, **more, **mark}
            await self._in(self._workspace_threads, run_setup, workspace.directory, setup, environment)

    @remote(timeout_s=GIT_S, retry=True)
    async def undo_workspace(self, workspace: Workspace) -> None:
        await self._in(self._workspace_threads, self._workspaces.undo, workspace)

    @remote(timeout_s=GIT_S, retry=True)
    async def discard_worktrees(self, instance_id: str, known: Collection[str]) -> None:
        """Removes what was made for an instance whose workspace nobody knows; those ``known`` are others'.

        Raises ``UnavailableError`` while a process of an earlier host is still making one.
        """
        await self._in(self._workspace_threads, self._workspaces.discard_named, instance_id, known)

    @remote(timeout_s=GIT_S, ping=True)
    async def retire_workspace(self, workspace: Workspace) -> RemovalResult:
        return await self._in(self._workspace_threads, self._workspaces.retire, workspace)

    @remote(timeout_s=GIT_S, retry=True)
    async def plan_removals(
        self, what: Sequence[Workspace | OrphanWorktree]
    ) -> tuple[RemovalResult | PhalanxError, ...]:
        """What ``retire_workspace`` or ``remove_orphan`` would do to each, in this order. Changes nothing."""
        return await self._in(self._workspace_threads, self._workspaces.plan_removals, what)

    @remote(timeout_s=GIT_S, retry=True)
    async def orphans(self, known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        """Worktrees of this home other than those ``known``."""
        return await self._in(self._workspace_threads, self._workspaces.orphans, known)

    @remote(timeout_s=GIT_S, ping=True)
    async def remove_orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        """Removes the worktree as far as no work is lost."""
        return await self._in(self._workspace_threads, self._workspaces.collect, orphan)

    @remote(timeout_s=AGENT_S, ping=True)
    async def start_agent(self, start: AgentStart) -> PaneInfo:
        """Starts the agent as the process of a new tmux session. Raises ``AgentError`` or ``TerminalError``."""
        self._require_environment()

        async def begin() -> PaneInfo:
            return await asyncio.to_thread(self._start_agent, start, await self._team_url())

        return await self._starts.make(start.request.instance_id, begin)

    @remote(timeout_s=GIT_S, ping=True)
    async def create_spare(self, name: str, work_dir: Path) -> Workspace:
        """A worktree for a later instance; ``undo_workspace`` discards it."""
        create = partial(self._in, self._workspace_threads, self._workspaces.create_spare, name, work_dir)
        return await self._starts.make(name, create)

    @remote(timeout_s=GIT_S, retry=True)
    async def is_spare(self, workspace: Workspace) -> bool:
        """Whether it is not bound to an instance."""
        return await self._in(self._workspace_threads, self._workspaces.is_spare, workspace)

    @remote(timeout_s=GIT_S)
    async def bind_spare(self, spare: Workspace, instance_id: str, work_dir: Path) -> Workspace:
        """Turns the spare into what ``create_workspace`` would make. After a ``WorkspaceError``, discard it."""
        return await self._in(self._workspace_threads, self._workspaces.bind_spare, spare, instance_id, work_dir)

    @remote(timeout_s=AGENT_S)
    async def hand_over(self, handover: Handover) -> None:
        """Gives a spare agent to an instance. Raises ``AgentError`` or ``TerminalError`` when it is gone."""
        await asyncio.to_thread(self._hand_over, handover)

    @remote(timeout_s=AGENT_S, retry=True)
    async def program(self, agent: str) -> str:
        """A mark that differs between installed versions of the agent's program."""
        return await asyncio.to_thread(program_mark, self._catalog.named(agent).program, self._environment)

    @remote(timeout_s=AGENT_S, retry=True)
    async def renew_agent(self, place: str, session_id: str, system_prompt: str) -> None:
        """Lets the agent's next start begin this conversation with this system prompt. May be repeated.

        For an agent that has ended and that no actor follows: notes on another conversation are dropped.
        """
        request = self._home.instance_directory(place) / REQUEST_NAME
        await asyncio.to_thread(renew, request, session_id, system_prompt)

    @remote(timeout_s=AGENT_S, ping=True)
    async def restart_agent(
        self, instance_id: str, session_name: str, transcript_path: str, session_id: str
    ) -> RestartedAgent:
        """Starts an ended agent again as it was first started, with this conversation if it exists."""
        self._require_environment()
        named = (instance_id, session_name, transcript_path, session_id)
        return await asyncio.to_thread(self._restart_agent, *named, await self._team_url())

    @remote(timeout_s=AGENT_S, retry=True)
    async def keep_launch(self, start: AgentStart) -> None:
        """Stores the launch of an agent from another host, so ``restart_agent`` works here; its environment stays
        private."""
        await asyncio.to_thread(self._keep_launch, start)

    @remote(timeout_s=AGENT_S, retry=True)
    async def kept_launch(self, instance_id: str) -> AgentStart:
        """The stored launch of the instance. Raises ``AgentError`` when there is none."""
        return await asyncio.to_thread(self._kept_launch, instance_id)

    @remote(timeout_s=AGENT_S, plus="grace_s", retry=True)
    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        """Ends every process of the instance, first with SIGTERM, then its session. No-op when there is none."""
        await asyncio.to_thread(self._end_agent, instance_id, session_name, grace_s)

    @remote(timeout_s=AGENT_S, retry=True)
    async def forget_instance(self, instance_id: str) -> None:
        """Removes the private directory of an instance."""
        directory = self._home.instance_directory(instance_id)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    @remote(timeout_s=AGENT_S, retry=True)
    async def git_places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        """The repository of each directory; None for a directory in none."""
        return await self._in(self._git_threads, self._git.places, directories)

    @remote(timeout_s=AGENT_S, retry=True)
    async def git_read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        """Runs reads one after another. ``HostProxy`` adds to the limit for each of them."""
        return await self._in(self._git_threads, self._git.read, asked)

    @remote(timeout_s=WRITE_S, ping=True)
    async def git_write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        """Runs writes. git goes on to its end even if this process ends.

        New branches and tags come first and together, each ref at most once; then the others one after another. None
        means not started, because the earlier ones took long. Without an answer, each may have been done or not.
        """
        return await self._in(self._git_threads, self._git.write, asked)

    @remote(timeout_s=READ_S, retry=True)
    async def compare_branches(self, asked: Comparison) -> ComparisonReport:
        """Changes nothing."""
        return await self._in(self._git_threads, self._comparer.compare, asked)

    @remote(timeout_s=READ_S, plus="limit_s", retry=True)
    async def find_merged(self, job: MergeJob, limit_s: float) -> MergedBranches:
        """Changes nothing; waits for a merge that is under way in the repository."""
        return await self._in(self._git_threads, self._merger.find_merged, job, limit_s)

    @remote(timeout_s=WRITE_S, plus="limit_s", ping=True)
    async def prepare_merge(self, job: MergeJob, limit_s: float) -> MergeReport | PreparedMerge:
        """Merges all that can be merged, beside everybody's work; ``move_merged`` moves the target."""
        self._require_environment()
        return await self._in(self._git_threads, self._merger.prepare, job, limit_s)

    @remote(timeout_s=WRITE_S, plus="limit_s", ping=True)
    async def move_merged(self, prepared: PreparedMerge, limit_s: float) -> None:
        """It goes on when its caller dies; without an answer, look or merge again."""
        self._require_environment()
        await self._in(self._git_threads, self._merger.move, prepared, limit_s)

    @remote(timeout_s=AGENT_S + notice.LONGEST_S, ping=True)
    async def notify(self, command: Sequence[str], text: str) -> str:
        """Runs a command of the user's with the text on its standard input. Returns why it failed; empty: it did not.

        Our ``phalanx`` is the last on its PATH: agents are kept from the environment in which it may be installed.
        Raises ``SettingsError`` while the agents' environment, with which it runs, is missing.
        """
        self._require_environment()
        programs = str(Path(sys.executable).parent)
        path = os.pathsep.join((self._environment.get("PATH", os.defpath), programs))
        environment = {**self._environment, "PHALANX_HOME": str(self._home.root), "PATH": path}
        return await self._in(self._notice_threads, notice.run_notice, command, text, environment)

    @remote(timeout_s=AGENT_S + notice.LONGEST_S, ping=True)
    async def show_on_desktop(self, summary: str, body: str) -> str:
        """Returns why it could not, for example because there is no desktop. Raises ``SettingsError`` as ``notify``."""
        self._require_environment()
        environment = {**self._environment, "PHALANX_HOME": str(self._home.root)}
        return await self._in(self._notice_threads, notice.show_on_desktop, summary, body, environment)

    def _require_environment(self) -> None:
        """Raises ``SettingsError`` while the agents' environment is missing; only the actor can lack it."""

    async def _team_url(self) -> str:
        """Where the tools of the team are; empty when that is not known.

        An agent starts also while they do not answer. Their port stays the same, so it finds them there later.
        """
        if self._endpoint is None:
            return ""
        try:
            async with asyncio.timeout(_ENDPOINT_S):
                return await self._endpoint.ensure()
        except (PhalanxError, TimeoutError) as error:
            url = await asyncio.to_thread(kept_url, self._home)
            logger.warning("an agent starts while the tools of the team do not answer: %s", error or "no answer")
            return url

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[..., _Result], *given: object) -> _Result:
        """Own threads, because a hook or the checkout of a large repository must not delay the start of agents."""
        return await asyncio.get_running_loop().run_in_executor(threads, work, *given)

    def _instance_directories(self) -> tuple[str, ...]:
        return tuple(sorted(entry.name for entry in self._home.instances.iterdir() if entry.is_dir()))

    def _start_agent(self, start: AgentStart, team_url: str) -> PaneInfo:
        agent = self._catalog.named(start.agent)
        agent.check(start, self._environment)
        pane = self._launch(agent, start, team_url)
        self._write_launch(start)
        return pane

    def _write_launch(self, start: AgentStart) -> None:
        request = {**asdict(start.request), "environment": dict(start.request.environment)}
        saved = {**asdict(start), "request": request}
        write_private(start.request.instance_directory / REQUEST_NAME, json.dumps(saved, default=str))

    def _keep_launch(self, start: AgentStart) -> None:
        start.request.instance_directory.mkdir(mode=0o700, exist_ok=True)
        self._write_launch(start)

    def _hand_over(self, handover: Handover) -> None:
        directory = self._home.instance_directory(handover.place)
        tell(directory, directory / REQUEST_NAME, handover, self._catalog)
        self._server.rename_session(handover.session_name, handover.instance_id)

    def _restart_agent(
        self, instance_id: str, session_name: str, transcript_path: str, session_id: str, team_url: str
    ) -> RestartedAgent:
        kept = self._kept_launch(instance_id)
        agent = self._catalog.named(kept.agent)
        resume = can_resume(agent, transcript_path)
        request = replace(kept.request, resume=resume, session_id=session_id)
        start = replace(kept, session_name=session_name, request=request)
        self._server.close_session(session_name)
        return RestartedAgent(pane=self._launch(agent, start, team_url), resumed=resume)

    def _kept_launch(self, instance_id: str) -> AgentStart:
        path = self._home.instance_directory(instance_id) / REQUEST_NAME
        try:
            saved = json.loads(path.read_text())
        except FileNotFoundError:
            raise AgentError(f"{instance_id} was never started: spawn a new instance.") from None
        # One that a newer version wrote may say more than this one knows.
        request = {name: value for name, value in saved["request"].items() if name in _REQUEST_FIELDS}
        request["instance_directory"] = Path(request["instance_directory"])
        servers = request.get("mcp_servers")
        request["mcp_servers"] = None if servers is None else tuple(servers)
        return AgentStart(
            agent=saved["agent"],
            session_name=saved["session_name"],
            working_directory=Path(saved["working_directory"]),
            trusted_directories=tuple(map(Path, saved["trusted_directories"])),
            request=LaunchRequest(**request),
        )

    def _launch(self, agent: Agent, start: AgentStart, team_url: str) -> PaneInfo:
        _check_real(start)
        start = replace(start, request=replace(start.request, team_url=team_url))
        request = agent.prepare(start, self._environment)
        marked = {**request.environment, INSTANCE_MARK: str(request.instance_directory)}
        launch = agent.launch(replace(request, environment=marked))
        directory = request.instance_directory
        try:
            command = write_launch(directory, launch, start.working_directory, python=sys.executable)
            append_private(directory / SPOOL_NAME, LAUNCH_MARK + b"\n")
        except ValueError as error:
            raise AgentError(f"{request.instance_id} was not started: {error}.") from error
        except OSError as error:
            raise AgentError(
                f"{request.instance_id} was not started: {error.filename or directory}: {in_words(error)}"
            ) from error
        self._start_server()
        return self._server.open_session(start.session_name, command, start.working_directory)

    def _start_server(self) -> None:
        """It may have ended, with its agents. A new one knows nothing of who needs somebody."""
        if not self._server.is_running():
            self._server.start(self._environment)
            with suppress(TerminalError):  # the next change is shown
                self._server.show_needing(*self._needing)

    def _end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        mark = str(self._home.instance_directory(instance_id))
        end_all_found(lambda: processes_with(INSTANCE_MARK, mark), grace_s)
        self._server.close_session(session_name)


def _check_real(start: AgentStart) -> None:
    """The directory was checked, and is trusted, by its real path. Raises ``AgentError``."""
    directory = start.working_directory
    if (leads_to := directory.resolve()) != directory:
        raise AgentError(
            f"{start.request.instance_id} was not started: a link has come in the place of its directory, {directory}, "
            f"which leads to {leads_to} now. Put the directory back, or spawn a new instance for the other one."
        )
