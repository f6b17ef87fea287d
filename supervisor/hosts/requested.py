"""What a spawn asks of its host."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.errors import InvalidRequestError
from supervisor.api.requests import SpawnRequest
from supervisor.hosts.placing import Wanted
from supervisor.hosts.roster import Placement, Roster


@asynccontextmanager
async def placed(roster: Roster | None, request: SpawnRequest) -> AsyncIterator[Placement | None]:
    """The place for the instance, kept while the block runs; None on one machine. Raises ``InvalidRequestError``."""
    if roster is None:
        if request.labels or request.host not in (None, socket.gethostname()):
            raise InvalidRequestError(
                f"This team is on one machine, {socket.gethostname()}: leave host and labels out. docs/cluster.md says "
                "how a team gets more of them."
            )
        yield None
        return
    async with roster.placed(_wanted(roster, request)) as placement:
        yield placement


def _wanted(roster: Roster, request: SpawnRequest) -> Wanted:
    """A directory itself is on this host, unless the caller says that it is on another one, too."""
    if request.workspace_mode == "shared" and not request.host and not request.labels:
        return Wanted(host=roster.own)
    return Wanted(host=request.host or "", labels=request.labels)
