"""Admission by free memory: an agent is started only where there is room for it, above a reserve for everything else.

Whoever starts an agent holds a place while it starts, since it takes its memory little by little. Who does not fit
waits, first come first served, and says so; what is only kept ready is given up first. Who waits may be the only one
who could make room, so nobody waits for long: when a host has been short for ``patience_s``, all who wait there are
refused together, not one after the other. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from actors.errors import UnavailableError
from supervisor.ports import HostPort

PATIENCE_S = 90.0
_LOOK_S = 0.5
"""Nobody tells when memory becomes free."""
_RIGHT_AFTER_S = 5.0
"""Who comes so soon after others were refused is one of them: a batch comes a few at a time."""
_MB = 1_000_000
_DEMO_MB = 60
"""Measured: the demo program has 12 MB, the actor beside it 45."""

_SLOTS_TAKEN = "each slot of this host is taken, by a spare that gives way or by an instance that is just ending"

Tell = Callable[[str], None]
"""Takes a word on why one waits."""


def say_nothing(_what: str) -> None:
    """For those who wait in the background."""


@dataclass(slots=True)
class _Line:
    """Those who want to start an agent on one host."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    short_since: float | None = None
    """When the first of those who wait now, or were just refused, found no room."""
    refused_at: float = 0.0
    """When that was for the last of them; 0 when none was."""


class Room:
    def __init__(self, host: HostPort, agent_mb: int, reserve_mb: int, patience_s: float = PATIENCE_S) -> None:
        """``agent_mb``: what a Claude Code takes with its actor, in MB."""
        self._host = host
        self._agent_mb = agent_mb
        self._reserve_mb = reserve_mb
        self._patience_s = patience_s
        self._promised_mb = 0
        self._free_mb = 0
        self._lines: defaultdict[str, _Line] = defaultdict(_Line)
        """By host; empty: this one."""
        self.give_up_spare: Callable[[str], bool] = lambda _host: False
        """Called when a host (empty: this one) has no room; whether something only kept ready there is taken away."""
        self.slots_left: Callable[[str], int] = lambda _host: 1
        """Of a host of a cluster (empty: this one), besides those who start already; less than none: something has to
        give way."""

    @property
    def warning(self) -> str:
        """For people; empty while nobody waits."""
        waiting = self._lines[""].waiting
        if not waiting:
            return ""
        return (
            f"{waiting} {'agent waits' if waiting == 1 else 'agents wait'} to be started until there is memory for "
            f"them: {self._in_words(self._agent_mb)}. Terminate instances whose work is done, or lower "
            f"agent_memory_mb or memory_reserve_mb. After {self._patience_s:.0f} s they are given up."
        )

    async def fits(self, agent: str) -> bool:
        """Whether one more agent could be started now, with none waiting before it."""
        return not self._lines[""].waiting and self.slots_left("") > 0 and await self._has_room(self._need_mb(agent))

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

        async def fits() -> bool:
            return self.slots_left(host) >= 0

        async with self._in_turn(host, fits, lambda: _SLOTS_TAKEN, tell):
            """It has its slot already."""

    async def _wait(self, need_mb: int, tell: Tell) -> None:
        async def fits() -> bool:
            return await self._has_room(need_mb)

        async with self._in_turn("", fits, lambda: self._in_words(need_mb), tell):
            self._promised_mb += need_mb

    @asynccontextmanager
    async def _in_turn(
        self, host: str, fits: Callable[[], Awaitable[bool]], why: Callable[[], str], tell: Tell
    ) -> AsyncIterator[None]:
        """Inside there is room. Raises ``UnavailableError`` when there was none for long."""
        line, waits = self._lines[host], False

        def wait() -> None:
            nonlocal waits
            line.waiting += not waits
            waits = True
            tell(f"waits for room{f' on {host}' if host else ''}: {why()}")

        try:
            if line.waiting:
                wait()
            async with line.turn:
                while not await fits():
                    wait()
                    if self._is_over(line):
                        raise UnavailableError(self._refusal(host, why()))
                    self.give_up_spare(host)
                    await asyncio.sleep(_LOOK_S)
                line.short_since, line.refused_at = None, 0.0
                yield
        finally:
            line.waiting -= waits
            if not line.waiting and not line.refused_at:  # whoever waited went away
                line.short_since = None

    def _is_over(self, line: _Line) -> bool:
        """Whether there has been no room for so long that all who wait are refused."""
        now = time.monotonic()
        if line.short_since is None or (line.refused_at and now - line.refused_at > _RIGHT_AFTER_S):
            line.short_since, line.refused_at = now, 0.0
        if now - line.short_since <= self._patience_s:
            return False
        line.refused_at = now
        return True

    def _refusal(self, host: str, why: str) -> str:
        if host:
            return f"There was no slot for another agent on {host} for {self._patience_s:.0f} s: {why}. Try again."
        return (
            f"There was no memory for another agent for {self._patience_s:.0f} s: {why}. Terminate instances whose "
            "work is done, then start it again. Or lower agent_memory_mb or memory_reserve_mb in config.toml, "
            "which holds from the next phalanx up on."
        )

    async def _has_room(self, need_mb: int) -> bool:
        load = await self._host.load()
        self._free_mb = load.memory_available_bytes // _MB - self._reserve_mb - self._promised_mb
        return self._free_mb >= need_mb and self.slots_left("") >= 0

    def _need_mb(self, agent: str) -> int:
        return min(self._agent_mb, _DEMO_MB) if agent == "demo" else self._agent_mb

    def _in_words(self, need_mb: int) -> str:
        if self.slots_left("") < 0:
            return _SLOTS_TAKEN
        return (
            f"{max(self._free_mb, 0)} MB are free beside the reserve of {self._reserve_mb} MB, and one needs up to "
            f"{need_mb} MB"
        )
