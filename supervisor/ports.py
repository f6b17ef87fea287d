"""What the supervisor needs of hosts, instances and a cluster.

What the supervisor needs from the parts below it, as protocols.

The real ones are Ray actors behind handles (``actors.instance.actor``, ``actors.host.actor``); tests give the plain
classes. Every method is bounded in time and raises ``PhalanxError``; ``UnavailableError`` means that the part did not
answer.

What the hosts' part of the supervisor needs from below. The real ones are Ray actors behind handles.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol

from actors.agents.base import AgentStart, Handover, RestartedAgent, RunningAgent
from actors.errors import PhalanxError
from actors.git.model import GitRequest, GitResponse, RepositoryPaths
from actors.host.load import HostLoad
from actors.instance.inbox import BatchLimits
from actors.instance.instance import InstanceConfig
from actors.instance.reports import Report
from actors.instance.responding import AnsweredPrompt, Reply
from actors.instance.transcript import PageQuery, TranscriptPage
from actors.messages import Message
from actors.nodes import Node
from actors.tmux.pane import PaneInfo
from actors.transfer.bundles import Bundle, ImportResult, RemoteWork, StartPoint
from actors.worktrees.model import OrphanWorktree, RemovalResult, Workspace, WorkspaceMode


class InstancePort(Protocol):
    async def vacant(self) -> bool:
        """Whether it follows nobody so far."""
        ...

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        """Takes over the agent, or does nothing when it follows it already; returns the incarnation that does."""
        ...

    async def tune(self, limits: BatchLimits) -> None:
        """From now on batches are formed by these."""
        ...

    async def deliver(self, messages: Sequence[Message]) -> None: ...
    async def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        """Those that are not being typed yet never are."""
        ...

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report: ...
    async def page(self, query: PageQuery) -> TranscriptPage: ...
    async def screen(self, lines: int) -> str: ...
    async def respond(self, reply: Reply) -> AnsweredPrompt: ...
    async def interrupt(self, timeout_s: float) -> bool: ...
    async def expect_end(self, coming_back: bool = False) -> None: ...


class InstanceFactory(Protocol):
    """Makes and ends actors by their names, which are no ids of instances; see ``InstanceRecord.actor_name``."""

    async def create(self, name: str) -> InstancePort:
        """The actor of this name, started if there is none; returns when it answers."""
        ...

    async def running(self) -> tuple[str, ...]:
        """The names of all actors that there are."""
        ...

    async def destroy(self, name: str) -> None:
        """Ends the actor; no-op when there is none. The agent that it follows is not touched."""
        ...


class GitPort(Protocol):
    """Runs git for ``git_batch``; every outcome, also a refusal, comes back as a value."""

    async def git_places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        """The repository of each; None when it is in none."""
        ...

    async def git_read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        """One after another. It may be asked again when no answer came."""
        ...

    async def git_write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        """New branches and tags first and together, in which no ref may come twice; then all else one after another.

        None: it was not begun, because those before it took their time. When no answer came, each may have been done
        or not.
        """
        ...


class HostPort(GitPort, Protocol):
    async def name(self) -> str: ...
    async def load(self) -> HostLoad:
        """How busy the machine is."""
        ...

    async def agents(self) -> tuple[RunningAgent, ...]:
        """Every session on this home's tmux server, with whether its agent lives; empty without a server."""
        ...

    async def page(self, agent: str, transcript_path: str, query: PageQuery) -> TranscriptPage:
        """What the conversation of an instance without an actor was."""
        ...

    async def create_workspace(self, instance_id: str, work_dir: Path, mode: WorkspaceMode) -> Workspace: ...
    async def undo_workspace(self, workspace: Workspace) -> None: ...
    async def retire_workspace(self, workspace: Workspace) -> RemovalResult: ...
    async def plan_removals(
        self, what: Sequence[Workspace | OrphanWorktree]
    ) -> tuple[RemovalResult | PhalanxError, ...]:
        """What removing each will answer or raise, in this order; changes nothing."""
        ...

    async def start_agent(self, start: AgentStart) -> PaneInfo: ...
    async def create_spare(self, name: str, work_dir: Path) -> Workspace:
        """A worktree for nobody so far; ``undo_workspace`` discards it."""
        ...

    async def is_spare(self, workspace: Workspace) -> bool:
        """Whether it has been bound to nobody so far."""
        ...

    async def bind_spare(self, spare: Workspace, instance_id: str, work_dir: Path) -> Workspace:
        """Makes of it what ``create_workspace`` would make. Raises ``WorkspaceError``: then it is to be discarded."""
        ...

    async def hand_over(self, handover: Handover) -> None:
        """Gives a spare agent to an instance."""
        ...

    async def program(self, agent: str) -> str:
        """Tells the program that is installed now from an earlier or later one."""
        ...

    async def renew_agent(self, place: str, session_id: str, system_prompt: str) -> None:
        """Its next start begins this conversation, unless it has begun, with this system prompt."""
        ...

    async def restart_agent(
        self, instance_id: str, session_name: str, transcript_path: str, session_id: str
    ) -> RestartedAgent:
        """Starts an agent that has ended again, as it was started first; with this conversation if there is one."""
        ...

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None: ...
    async def forget_instance(self, instance_id: str) -> None:
        """Removes the private directory of an instance."""
        ...

    async def instance_directories(self) -> tuple[str, ...]:
        """Ids of the instances that have a private directory."""
        ...

    async def orphans(self, known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        """Worktrees of the home that belong to none of the instances ``known``."""
        ...

    async def remove_orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        """Removes it as far as that loses nothing; unsaved work is saved first."""
        ...


class TransferPort(Protocol):
    """See ``actors.transfer.service``. Another host's service is handed over as it is: the two speak to each other."""

    async def origin(self, instance_id: str, work_dir: Path) -> StartPoint: ...
    async def origin_of_spare(self, name: str, work_dir: Path) -> StartPoint: ...
    async def origin_again(self, git_directory: Path, branch: str, prefix: PurePath) -> StartPoint: ...
    async def copy_file(self, path: Path, other: Any, at_other: Path, *, anew: bool = False) -> None: ...
    async def drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None: ...
    async def pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Bundle: ...
    async def piece(self, bundle_id: str, offset: int) -> bytes: ...
    async def discard(self, bundle_id: str) -> None: ...
    async def settle(self, origin: StartPoint, home: Any) -> Workspace: ...
    async def settle_spare(self, name: str, origin: StartPoint, home: Any) -> Workspace: ...
    async def bind_spare(self, spare: Workspace, origin: StartPoint, home: Any) -> Workspace: ...
    async def bound(self, workspace: Workspace) -> str: ...
    async def work(self, workspace: Workspace, *, uncommitted: bool) -> RemoteWork: ...
    async def import_work(self, git_directory: Path, work: RemoteWork, mirror: Path, away: Any) -> ImportResult: ...


class ClusterHostPort(HostPort, Protocol):
    """One host of a cluster."""

    @property
    def transfer(self) -> TransferPort: ...

    async def keep_launch(self, start: AgentStart) -> None: ...
    async def kept_launch(self, instance_id: str) -> AgentStart: ...
    async def release(self) -> None:
        """Ends the tmux server there and with it all that still runs in it."""
        ...


class ClusterPort(Protocol):
    """Ray's cluster."""

    async def nodes(self) -> tuple[Node, ...]:
        """The hosts on which Ray runs."""
        ...

    async def connect(self, node: Node) -> ClusterHostPort:
        """The host's actor, made if there is none; returns when it answers."""
        ...

    async def leave(self, node: str) -> None:
        """Ends the host's actor; no-op when there is none."""
        ...

    async def want_slots(self, count: int) -> None:
        """Tells Ray's autoscaler for how many instances in all there must be room; 0: as many as there is now."""
        ...
