"""Connects to every host of the cluster as soon as Ray runs there: then people and Claudes there can reach the team.

An elastic host is connected to only when it is needed, and let go of again when nothing of the team is on it: Ray would
take none for idle on which an actor lives. All in the supervisor's event loop. A host that cannot be connected to is
tried again, and holds up no other.
"""

from __future__ import annotations

import asyncio
import logging

from actors.concurrency import Background
from actors.errors import PhalanxError
from supervisor.hosts.roster import Roster

logger = logging.getLogger(__name__)

_LOOK_S = 2.0
_AGAIN_S = 30.0
LET_GO_S = 60.0
"""So long after the last that was on an elastic host."""


class Greeter:
    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._work = Background("greet the hosts")
        self._greeting: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._empty_since: dict[str, float] = {}

    def begin(self) -> None:
        self._work.begin(self._watch())

    async def end(self) -> None:
        await self._work.end()

    async def _watch(self) -> None:
        while True:
            try:
                await self._look(asyncio.get_running_loop().time())
            except PhalanxError as error:
                logger.warning("the hosts cannot be seen now: %s", error)
            await asyncio.sleep(_LOOK_S)

    async def _look(self, now: float) -> None:
        linked = self._roster.linked()
        for node in await self._roster.nodes():
            if node.elastic:
                await self._consider(node.name, now, linked=node.name in linked)
                continue
            new = node.name not in linked and node.name not in self._greeting
            if new and now >= self._not_before.get(node.name, 0.0):
                self._greeting.add(node.name)
                self._work.begin(self._greet(node.name))

    async def _consider(self, name: str, now: float, *, linked: bool) -> None:
        """Whether an elastic host is let go of now."""
        if not linked or not self._roster.is_empty(name):
            self._empty_since.pop(name, None)
        elif now - self._empty_since.setdefault(name, now) >= LET_GO_S:
            logger.info("nothing is on %s any more: it is let go of", name)
            await self._roster.let_go(name)

    async def _greet(self, name: str) -> None:
        try:
            await self._roster.link(name)
        except PhalanxError as error:
            self._not_before[name] = asyncio.get_running_loop().time() + _AGAIN_S
            logger.warning("the host %s cannot be connected to yet: %s", name, error)
        finally:
            self._greeting.remove(name)
