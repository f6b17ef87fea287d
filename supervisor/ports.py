"""What the supervisor is given by tests too: where instance actors come from, what runs git, and Ray's cluster.

Hosts and instances are typed as the classes ``Host`` and ``Instance``; the supervisor is given proxies of them
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
    """Makes and ends actors by their names, which are no ids of instances; see ``InstanceRecord.actor_name``."""

    async def create(self, name: str) -> Instance:
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


class ClusterPort(Protocol):
    """Ray's cluster."""

    async def nodes(self) -> tuple[Node, ...]:
        """The hosts on which Ray runs."""
        ...

    async def connect(self, node: Node) -> Host:
        """The host's actor, made if there is none; returns when it answers."""
        ...

    async def leave(self, node: str) -> None:
        """Ends the host's actor; no-op when there is none."""
        ...

    async def want_slots(self, count: int) -> None:
        """Tells Ray's autoscaler for how many instances in all there must be room; 0: as many as there is now."""
        ...
