"""The relay's connection from a worker host to the team's supervisor, through Ray."""

from __future__ import annotations

import asyncio
from typing import cast

import ray

from actors.errors import TeamNotRunningError, UnavailableError
from actors.home import away_words
from actors.host.relay import RelayServer
from actors.ray_client import SUPERVISOR, ActorProxy, in_thread, own_namespace

PATIENCE_S = 20.0
"""How long a new connection waits for a supervisor that is being restarted."""
_POLL_S = 0.5


async def open_link(head: str) -> tuple[RelayServer, str]:
    """A new connection to the supervisor on the host ``head``; waits for one that is being restarted.

    Raises ``TeamNotRunningError``.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await _opened()
    except TimeoutError:
        raise TeamNotRunningError(away_words(head)) from None


async def _opened() -> tuple[RelayServer, str]:
    """Looks up the actor each time, because it is another one after a restart of the head."""
    while True:
        try:
            actor = await in_thread(lambda: ray.get_actor(SUPERVISOR, namespace=own_namespace()), "Ray")
            server = cast("RelayServer", ActorProxy(actor, RelayServer, "The supervisor", "relay_"))
            return server, await server.open()
        except (ValueError, UnavailableError):
            await asyncio.sleep(_POLL_S)
