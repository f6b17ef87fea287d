"""The host's Ray actor, and the handles by which the supervisor calls it.

How the supervisor has a host's actor work with git: near by a way of its own where there is one, else through Ray.

``HostHandle`` makes one. Of a call whose answer was lost on the way of its own the same is true as of one through Ray:
what only looks is asked again, of the rest the outcome is not known.

The door of the host: its detached, named Ray actor, and the handle by which the supervisor calls it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from actors.agents.base import AgentStart, Handover, RestartedAgent, RunningAgent
from actors.agents.catalog import AgentCatalog
from actors.errors import PhalanxError, SettingsError, UnavailableError
from actors.git.local import (
    GitCallNotSentError,
    GitClient,
    GitServer,
    LocalValidator,
    plain_request,
    plain_response,
    request_of,
    response_of,
)
from actors.git.model import READ_S, WRITE_S, GitRequest, GitResponse, RepositoryPaths
from actors.home import Home, TeamIdentity, prepare_home, read_environment
from actors.host.host import Host
from actors.host.load import HostLoad
from actors.host.relay import Relay
from actors.host.relay_link import open_link
from actors.instance.transcript import PageQuery, TranscriptPage
from actors.marks import UMASK_MARK
from actors.ray_client import ActorAwayError, actor_class, answer_of, answer_when_back, make_actor, meet, on_host
from actors.tmux.pane import PaneInfo
from actors.transfer.actor import TransferHandle, TransferServer
from actors.versions import ACTOR_PROTOCOL, check_protocol
from actors.worktrees.model import OrphanWorktree, RemovalResult, Workspace, WorkspaceMode

logger = logging.getLogger(__name__)

_LOOK_S = 30.0
_GIT_FRESH_S = 0.5
"""A host that has answered so lately is taken to be there, and not asked for that before something is written."""
_Write = Callable[[Sequence[GitRequest]], Awaitable[Sequence[GitResponse | None]]]


class GitHandle:
    def __init__(self, actor: Any, near: LocalValidator | None, link: GitClient | None) -> None:
        """``near`` and ``link``: to the host of this machine, whose repositories this process can look at itself."""
        self._actor = actor
        self._near = near
        self._link = link
        self._answered_at = -_GIT_FRESH_S

    def close(self) -> None:
        """The host is released."""
        if self._link is not None:
            self._link.close()

    async def places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        places: tuple[RepositoryPaths | None, ...] = await answer_when_back(
            lambda: self._actor.git_places.remote(directories), "The host", _LOOK_S
        )
        return places

    async def read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        return await self._near.read(asked, self._read) if self._near else await self._read(asked)

    async def _read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        limit_s = _LOOK_S + READ_S * len(asked)
        try:
            told = await self._by_own_way("read", asked, limit_s)
        except (GitCallNotSentError, ConnectionError):
            told = await answer_when_back(lambda: self._actor.git_read.remote(asked), "The host", limit_s)
            self._answered_at = asyncio.get_running_loop().time()
        return tuple(told)

    async def write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        try:
            return tuple(await self._by_own_way("write", asked, WRITE_S))
        except GitCallNotSentError:
            return await self._write_through_ray(asked)
        except ConnectionError as error:
            raise ActorAwayError("The host is not running just now: try again.") from error

    async def _write_through_ray(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        if asyncio.get_running_loop().time() - self._answered_at > _GIT_FRESH_S:
            await answer_when_back(self._actor.name.remote, "The host", _LOOK_S)
        done: tuple[GitResponse | None, ...] = await answer_of(self._actor.git_write.remote(asked), "The host", WRITE_S)
        self._answered_at = asyncio.get_running_loop().time()
        return done

    async def _by_own_way(self, what: str, asked: Sequence[GitRequest], limit_s: float) -> list[Any]:
        """Raises ``GitCallNotSentError`` and ``ConnectionError``."""
        if self._link is None:
            raise GitCallNotSentError
        try:
            async with asyncio.timeout(limit_s):
                told = await self._link.call(what, list(map(plain_request, asked)))
        except TimeoutError:
            raise UnavailableError(f"The host did not answer within {limit_s:.0f} s: try again.") from None
        return list(map(response_of, told))


def own_way_of(read: _Write, write: _Write) -> dict[str, Callable[[Any], Awaitable[Any]]]:
    """What the host's end of the way answers."""

    def answering(work: _Write) -> Callable[[Any], Awaitable[Any]]:
        async def answer(given: Any) -> Any:
            return list(map(plain_response, await work(tuple(map(request_of, given)))))

        return answer

    return {"read": answering(read), "write": answering(write)}


START_S = 60.0
GIT_S = 300.0
"""A large repository takes its time to check out; the workspace bounds each git process itself."""
AGENT_S = 30.0
_FRESH_S = 0.5
"""A host that has answered so lately is taken to be there, and not asked for that before something is done once."""
_WITHOUT_IT = ("HOME", "PATH", "LANG")
"""Of the actor's own environment: enough to look, and for git."""


class _HostServer(Host, TransferServer):
    """Reads the agents' environment on its own machine: it may hold secrets and does not pass through Ray.

    Without it everything works but starting agents. An actor that fails to begin would be begun again for ever, and
    nobody would learn why.
    """

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, home_root: str, catalog: AgentCatalog, leader: TeamIdentity | None = None
    ) -> None:
        """``leader``: of a team of another machine, for which this one is made ready."""
        if leader is not None:
            prepare_home(Home(Path(home_root)), leader)
        self._begin: Callable[[Mapping[str, str]], None] = partial(super().__init__, Home(Path(home_root)), catalog)
        if UMASK_MARK in os.environ:
            os.umask(int(os.environ[UMASK_MARK], 8))
        self._lacks_environment = False
        try:
            self._begin(read_environment(Home(Path(home_root))))
        except SettingsError as error:
            logger.error("%s", error)  # noqa: TRY400 - in words
            self._lacks_environment = True
            self._begin({name: os.environ[name] for name in _WITHOUT_IT if name in os.environ})
        self._relay = None if leader is None else await _relay(Home(Path(home_root)), leader.address)
        self._git_door = GitServer(self._home.git_socket, own_way_of(self.git_read, self.git_write))
        if leader is None:
            await _open(self._git_door)

    async def meet(self, protocol: int) -> None:
        """Raises ``VersionError`` for a supervisor of another protocol."""
        check_protocol(protocol, "this host", "the supervisor", ACTOR_PROTOCOL)

    async def release(self) -> None:
        """Also ends the relay: from then on this machine belongs to no team."""
        await super().release()
        await self._git_door.stop()
        if self._relay is not None:
            self._home.leader_file.unlink(missing_ok=True)
            await self._relay.stop()

    async def create_workspace(self, instance_id: str, work_dir: Path, mode: WorkspaceMode) -> Workspace:
        self._require_environment()
        return await super().create_workspace(instance_id, work_dir, mode)

    async def start_agent(self, start: AgentStart) -> PaneInfo:
        self._require_environment()
        return await super().start_agent(start)

    async def restart_agent(
        self, instance_id: str, session_name: str, transcript_path: str, session_id: str
    ) -> RestartedAgent:
        self._require_environment()
        return await super().restart_agent(instance_id, session_name, transcript_path, session_id)

    def _require_environment(self) -> None:
        """Takes it in when it is there by now. Raises ``SettingsError``."""
        if self._lacks_environment:
            self._begin(read_environment(self._home))
            self._lacks_environment = False


async def _relay(home: Home, head: str) -> Relay:
    """Where it cannot be, agents run all the same."""
    relay = Relay(home.gateway_socket, partial(open_link, head))
    try:
        await relay.start()
    except PhalanxError as error:
        logger.error("nobody here can reach the team: %s", error)  # noqa: TRY400 - in words
    return relay


async def _open(door: GitServer) -> None:
    """Where it cannot be, git is called through Ray."""
    try:
        await door.start()
    except SettingsError as error:
        logger.error("git has no way of its own: %s", error)  # noqa: TRY400 - in words


HostActor = actor_class(_HostServer)


async def start_host(home: Home, catalog: AgentCatalog, address: str = "") -> HostHandle:
    """The host actor of this machine; returns when it answers. ``address``: of the machine, in a cluster."""
    options = on_host(address) if address else {}
    actor = await make_actor(HostActor, "host", str(home.root), catalog, **options)
    await meet(actor, "The host actor", START_S)
    return HostHandle(actor, home)


def _near_look(home: Home) -> LocalValidator | None:
    """None when it is not known where the configuration of the agents' git is; the host says what is wrong."""
    try:
        return LocalValidator(read_environment(home))
    except SettingsError:
        return None


async def start_other_host(
    name: str, address: str, home: Home, catalog: AgentCatalog, leader: TeamIdentity
) -> HostHandle:
    """The same for another machine of the cluster."""
    actor = await make_actor(HostActor, name, str(home.root), catalog, leader, **on_host(address))
    await meet(actor, f"The host actor of {address}", START_S)
    return HostHandle(actor)


class HostHandle:
    """Calls a ``HostActor``; see ``Host`` for what each method does.

    A host that is just being restarted is waited for. What may be done twice is asked again when the host went away
    meanwhile; of the rest the outcome is not known then, and ``UnavailableError`` says so.
    """

    def __init__(self, actor: Any, home: Home | None = None) -> None:
        """``home``: of the host of this machine."""
        self._actor = actor
        self._name = ""
        self._answered_at = -_FRESH_S
        self._git = (
            GitHandle(actor, _near_look(home), GitClient(home.git_socket)) if home else GitHandle(actor, None, None)
        )
        self.transfer = TransferHandle(actor)

    async def release(self) -> None:
        await self._ask_again(self._actor.release.remote, AGENT_S)
        self._git.close()

    async def name(self) -> str:
        self._name = self._name or str(await self._ask_again(self._actor.name.remote, AGENT_S))
        return self._name

    async def load(self) -> HostLoad:
        found: HostLoad = await self._ask_again(self._actor.load.remote, AGENT_S)
        return found

    async def agents(self) -> tuple[RunningAgent, ...]:
        found: tuple[RunningAgent, ...] = await self._ask_again(self._actor.agents.remote, AGENT_S)
        return found

    async def instance_directories(self) -> tuple[str, ...]:
        names: tuple[str, ...] = await self._ask_again(self._actor.instance_directories.remote, AGENT_S)
        return names

    async def page(self, agent: str, transcript_path: str, query: PageQuery) -> TranscriptPage:
        page: TranscriptPage = await self._ask_again(
            lambda: self._actor.page.remote(agent, transcript_path, query), AGENT_S
        )
        return page

    async def create_workspace(self, instance_id: str, work_dir: Path, mode: WorkspaceMode) -> Workspace:
        made: Workspace = await self._ask_once(
            lambda: self._actor.create_workspace.remote(instance_id, work_dir, mode), GIT_S
        )
        return made

    async def undo_workspace(self, workspace: Workspace) -> None:
        await self._ask_again(lambda: self._actor.undo_workspace.remote(workspace), GIT_S)

    async def retire_workspace(self, workspace: Workspace) -> RemovalResult:
        retired: RemovalResult = await self._ask_once(lambda: self._actor.retire_workspace.remote(workspace), GIT_S)
        return retired

    async def plan_removals(
        self, what: Sequence[Workspace | OrphanWorktree]
    ) -> tuple[RemovalResult | PhalanxError, ...]:
        planned: tuple[RemovalResult | PhalanxError, ...] = await self._ask_again(
            lambda: self._actor.plan_removals.remote(what), GIT_S
        )
        return planned

    async def orphans(self, known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        found: tuple[OrphanWorktree, ...] = await self._ask_again(lambda: self._actor.orphans.remote(known), GIT_S)
        return found

    async def remove_orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        retired: RemovalResult = await self._ask_once(lambda: self._actor.remove_orphan.remote(orphan), GIT_S)
        return retired

    async def start_agent(self, start: AgentStart) -> PaneInfo:
        pane: PaneInfo = await self._ask_once(lambda: self._actor.start_agent.remote(start), AGENT_S)
        return pane

    async def create_spare(self, name: str, work_dir: Path) -> Workspace:
        made: Workspace = await self._ask_once(lambda: self._actor.create_spare.remote(name, work_dir), GIT_S)
        return made

    async def is_spare(self, workspace: Workspace) -> bool:
        return bool(await self._ask_again(lambda: self._actor.is_spare.remote(workspace), GIT_S))

    async def bind_spare(self, spare: Workspace, instance_id: str, work_dir: Path) -> Workspace:
        bound: Workspace = await answer_of(
            self._actor.bind_spare.remote(spare, instance_id, work_dir), "The host", GIT_S
        )
        return bound

    async def hand_over(self, handover: Handover) -> None:
        await answer_of(self._actor.hand_over.remote(handover), "The host", AGENT_S)

    async def program(self, agent: str) -> str:
        return str(await self._ask_again(lambda: self._actor.program.remote(agent), AGENT_S))

    async def renew_agent(self, place: str, session_id: str, system_prompt: str) -> None:
        await self._ask_again(lambda: self._actor.renew_agent.remote(place, session_id, system_prompt), AGENT_S)

    async def keep_launch(self, start: AgentStart) -> None:
        await self._ask_again(lambda: self._actor.keep_launch.remote(start), AGENT_S)

    async def kept_launch(self, instance_id: str) -> AgentStart:
        kept: AgentStart = await self._ask_again(lambda: self._actor.kept_launch.remote(instance_id), AGENT_S)
        return kept

    async def restart_agent(
        self, instance_id: str, session_name: str, transcript_path: str, session_id: str
    ) -> RestartedAgent:
        restarted: RestartedAgent = await self._ask_once(
            lambda: self._actor.restart_agent.remote(instance_id, session_name, transcript_path, session_id), AGENT_S
        )
        return restarted

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        await self._ask_again(
            lambda: self._actor.end_agent.remote(instance_id, session_name, grace_s), grace_s + AGENT_S
        )

    async def forget_instance(self, instance_id: str) -> None:
        await self._ask_again(lambda: self._actor.forget_instance.remote(instance_id), AGENT_S)

    async def git_places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        return await self._git.places(directories)

    async def git_read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        return await self._git.read(asked)

    async def git_write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        return await self._git.write(asked)

    async def _ask_once(self, call: Callable[[], Any], timeout_s: float) -> Any:
        """Of a host that is there: one that has not just answered is asked for that first."""
        if asyncio.get_running_loop().time() - self._answered_at > _FRESH_S:
            await self._ask_again(self._actor.name.remote, AGENT_S)
        answer = await answer_of(call(), "The host", timeout_s)
        self._answered_at = asyncio.get_running_loop().time()
        return answer

    async def _ask_again(self, call: Callable[[], Any], timeout_s: float) -> Any:
        answer = await answer_when_back(call, "The host", timeout_s)
        self._answered_at = asyncio.get_running_loop().time()
        return answer
