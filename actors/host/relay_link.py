"""The door from a host to the team's supervisor, by which its relay passes on what clients say."""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from actors.errors import TeamNotRunningError, UnavailableError
from actors.home import away_words
from actors.host.relay import RelayLink
from actors.ray_client import SUPERVISOR, answer_of, in_thread, own_namespace

PATIENCE_S = 20.0
"""How long a new connection waits for a supervisor that is just coming back."""
_ASK_S = 10.0
_PUSH_S = 40.0
_PULL_S = 30.0
_POLL_S = 0.5


class SupervisorLink:
    """A ``RelayLink`` over calls to the supervisor's actor."""

    def __init__(self, actor: Any, name: str) -> None:
        self._actor = actor
        self._name = name

    async def push(self, data: bytes) -> None:
        await answer_of(self._actor.relay_push.remote(self._name, data), "The supervisor", _PUSH_S)

    async def pull(self) -> bytes | None:
        data: bytes | None = await answer_of(self._actor.relay_pull.remote(self._name), "The supervisor", _PULL_S)
        return data

    async def close(self) -> None:
        await answer_of(self._actor.relay_close.remote(self._name), "The supervisor", _ASK_S)


async def open_link(head: str) -> RelayLink:
    """A new connection to the supervisor on the host ``head``; one that is just coming back is waited for.

    Raises ``TeamNotRunningError``.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await _opened()
    except TimeoutError:
        raise TeamNotRunningError(away_words(head)) from None


async def _opened() -> RelayLink:
    """Asks for the actor each time: after a restart of the head it is another one."""
    while True:
        try:
            actor = await in_thread(lambda: ray.get_actor(SUPERVISOR, namespace=own_namespace()), "Ray")
            name = await answer_of(actor.relay_open.remote(), "The supervisor", _ASK_S)
            return SupervisorLink(actor, str(name))
        except (ValueError, UnavailableError):
            await asyncio.sleep(_POLL_S)
