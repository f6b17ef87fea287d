"""What the hosts' part of the supervisor needs from below. The real ones are Ray actors behind handles."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol

from actors.agents.base import AgentStart
from actors.nodes import Node
from actors.travel.values import Arrival, Origin, Parcel, Work
from actors.workspace.values import Workspace
from supervisor.ports import HostPort


class DepotPort(Protocol):
    """See ``actors.travel.depot``. Another depot is handed over as it is: the two speak to each other."""

    async def origin(self, instance_id: str, work_dir: Path) -> Origin: ...
    async def origin_again(self, git_directory: Path, branch: str, prefix: PurePath) -> Origin: ...
    async def copy_file(self, path: Path, other: Any, at_other: Path, *, anew: bool = False) -> None: ...
    async def drop_branch(self, git_directory: Path, branch: str, made_at: str | None) -> str | None: ...
    async def pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Parcel: ...
    async def piece(self, parcel_id: str, offset: int) -> bytes: ...
    async def discard(self, parcel_id: str) -> None: ...
    async def settle(self, origin: Origin, home: Any) -> Workspace: ...
    async def work(self, workspace: Workspace, *, uncommitted: bool) -> Work: ...
    async def come_home(self, git_directory: Path, work: Work, mirror: Path, away: Any) -> Arrival: ...


class FullHost(HostPort, Protocol):
    """One host of a cluster."""

    @property
    def depot(self) -> DepotPort: ...

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

    async def connect(self, node: Node) -> FullHost:
        """The host's actor, made if there is none; returns when it answers."""
        ...

    async def leave(self, node: str) -> None:
        """Ends the host's actor; no-op when there is none."""
        ...

    async def want_slots(self, count: int) -> None:
        """Tells Ray's autoscaler for how many instances in all there must be room; 0: as many as there is now."""
        ...
