"""Admission by free memory: an agent is started only where there is room for it, above a reserve for everything else.

Whoever starts an agent holds a place while it starts, since it takes its memory little by little. Who does not fit
waits, first come first served, and says so; what is only kept ready is given up first. All in the supervisor's event
loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from actors.errors import UnavailableError
from supervisor.ports import HostPort

PATIENCE_S = 600.0
_LOOK_S = 0.5
"""Nobody tells when memory becomes free."""
_MB = 1_000_000
_DEMO_MB = 60
"""Measured: the demo program has 12 MB, the actor beside it 45."""

_SLOTS_TAKEN = "each slot of this host is taken, by a spare that gives way or by an instance that is just ending"

Tell = Callable[[str], None]
"""Takes a word on why one waits."""


def say_nothing(_what: str) -> None:
    """For those who wait in the background."""


class Room:
    def __init__(self, host: HostPort, agent_mb: int, reserve_mb: int) -> None:
        """``agent_mb``: what a Claude Code takes with its actor, in MB."""
        self._host = host
        self._agent_mb = agent_mb
        self._reserve_mb = reserve_mb
        self._promised_mb = 0
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._free_mb = 0
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By other host."""
        self.give_up_spare: Callable[[str], bool] = lambda _host: False
        """Called when a host (empty: this one) has no room; whether something only kept ready there is taken away."""
        self.slots_left: Callable[[str], int] = lambda _host: 1
        """Of a host of a cluster (empty: this one), besides those who start already; less than none: something has to
        give way."""

    @property
    def warning(self) -> str:
        """For people; empty while nobody waits."""
        if not self._waiting:
            return ""
        return (
            f"{self._waiting} agents wait to be started until there is memory for them: {self._in_words()}. Terminate "
            "instances whose work is done, or lower agent_memory_mb or memory_reserve_mb."
        )

    async def fits(self, agent: str) -> bool:
        """Whether one more agent could be started now, with none waiting before it."""
        return not self._waiting and self.slots_left("") > 0 and await self._has_room(self._need_mb(agent))

    @asynccontextmanager
    async def hold(
        self, agent: str, tell: Tell = say_nothing, host: str = "", *, replaces: bool = False
    ) -> AsyncIterator[None]:
        """To be held while an agent starts. Raises ``UnavailableError`` when there is no room for very long.

        ``host``: another one of a cluster, which has slots for as many as fit into its memory. ``replaces``: an agent
        ends for this one, which takes its place: it need not wait, and nobody else gets what that one leaves.
        """
        if host:
            if not replaces:
                await self._wait_for_slot(host, tell)
            yield
            return
        need_mb = self._need_mb(agent)
        if replaces:
            self._promised_mb += need_mb
        else:
            await self._wait(need_mb, tell)
        try:
            yield
        finally:
            self._promised_mb -= need_mb

    async def _wait_for_slot(self, host: str, tell: Tell) -> None:
        """Ray counts the slots, too: an actor for which none is left would wait there, and nobody would know why."""
        deadline = time.monotonic() + PATIENCE_S
        turn = self._turns.setdefault(host, asyncio.Lock())
        async with turn:
            while self.slots_left(host) < 0:
                tell(f"waits for room on {host}: {_SLOTS_TAKEN}")
                if time.monotonic() > deadline:
                    raise UnavailableError(f"There is no slot for another agent on {host}: {_SLOTS_TAKEN}.")
                self.give_up_spare(host)
                await asyncio.sleep(_LOOK_S)

    async def _wait(self, need_mb: int, tell: Tell) -> None:
        deadline = time.monotonic() + PATIENCE_S
        waits = False
        try:
            async with self._turn:
                while not await self._has_room(need_mb):
                    if not waits:
                        waits, self._waiting = True, self._waiting + 1
                    tell(f"waits for room: {self._in_words()}")
                    if time.monotonic() > deadline:
                        raise UnavailableError(
                            f"There is no memory for another agent: {self._in_words()}. Terminate some, then try again."
                        )
                    self.give_up_spare("")
                    await asyncio.sleep(_LOOK_S)
                self._promised_mb += need_mb
        finally:
            self._waiting -= waits

    async def _has_room(self, need_mb: int) -> bool:
        load = await self._host.load()
        self._free_mb = load.memory_available_bytes // _MB - self._reserve_mb - self._promised_mb
        return self._free_mb >= need_mb and self.slots_left("") >= 0

    def _need_mb(self, agent: str) -> int:
        return min(self._agent_mb, _DEMO_MB) if agent == "demo" else self._agent_mb

    def _in_words(self) -> str:
        if self.slots_left("") < 0:
            return _SLOTS_TAKEN
        return f"{max(self._free_mb, 0)} MB are free beside the reserve, and one needs up to {self._agent_mb} MB"
