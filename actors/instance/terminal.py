"""The terminal of one instance for people to look at, live; the instance calls it for each who waits.

The pane is captured some five times a second while anybody waits, once for all who do, and never otherwise. Each view
has a version by which a caller says what it has seen.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass

from actors.tmux.pane import Pane, PaneView

LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class TerminalScreen:
    version: str
    """The same for the same view."""
    view: PaneView


class TerminalView:
    def __init__(self, pane: Pane) -> None:
        self._pane = pane
        self._looking = asyncio.Lock()
        self._looked_at = -LOOK_EVERY_S
        self._last: TerminalScreen | None = None

    async def next(self, after: str, timeout_s: float) -> TerminalScreen:
        """The terminal as soon as its version is another one than ``after``, or what it shows after ``timeout_s``
        seconds. Raises ``TerminalError``."""
        deadline = time.monotonic() + timeout_s
        while True:
            shown = await self._look()
            left_s = deadline - time.monotonic()
            if shown.version != after or left_s <= 0:
                return shown
            await asyncio.sleep(min(LOOK_EVERY_S, left_s))

    async def _look(self) -> TerminalScreen:
        async with self._looking:
            if self._last is None or time.monotonic() - self._looked_at >= LOOK_EVERY_S:
                view = await self._pane.view()
                self._looked_at = time.monotonic()
                self._last = TerminalScreen(_version(view), view)
            return self._last


def _version(view: PaneView) -> str:
    told = repr((view.columns, view.rows, view.cursor, view.title, view.lines))
    return hashlib.blake2b(told.encode(errors="surrogatepass"), digest_size=8).hexdigest()
