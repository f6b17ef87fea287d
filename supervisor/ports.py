"""Protocols of what the supervisor uses and tests replace: the factory of instance actors, git, and Ray's cluster.

Hosts and instances are typed as the classes ``Host`` and ``Instance``; the supervisor gets proxies of them
(``actors.ray_client.ActorProxy``). Every method is bounded in time and raises ``PhalanxError``; ``UnavailableError``
means that the part did not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from actors.git.model import GitRequest, GitResponse, RepositoryPaths
from actors.host.host import Host
from actors.instance.instance import Instance
from actors.nodes import Node


class InstanceFactory(Protocol):
    """Makes and ends actors by name. A name is not an instance's id; see ``InstanceRecord.actor_name``."""

    async def create(self, name: str) -> Instance:
        """The actor of this name, created if there is none; returns when it answers."""
        ...

    async def running(self) -> tuple[str, ...]:
        """The names of all actors."""
        ...

    async def destroy(self, name: str) -> None:
        """Ends the actor; no-op when there is none. The agent that it follows is not touched."""
        ...


class GitPort(Protocol):
    """Runs git for ``git_batch``. Every outcome, also a refusal, comes back as a value."""

    async def git_places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        """The repository of each directory; None when it is in none."""
        ...

    async def git_read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        """Runs them one after another. May be called again when no answer came."""
        ...

    async def git_write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        """Makes new branches and tags first and together (no ref may come twice); then all else one after another.

        None: it was not begun, because those before it took too long. When no answer came, each may have been done or
        not.
        """
        ...


class ClusterPort(Protocol):
    """Ray's cluster."""

    async def nodes(self) -> tuple[Node, ...]:
        """The hosts on which Ray runs."""
        ...

    async def connect(self, node: Node) -> Host:
        """The host's actor, created if there is none; returns when it answers."""
        ...

    async def leave(self, node: str) -> None:
        """Ends the host's actor; no-op when there is none."""
        ...

    async def want_slots(self, count: int) -> None:
        """Asks Ray's autoscaler for room for this many instances in all; 0 asks for no more than there is."""
        ...
