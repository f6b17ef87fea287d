"""The terminal of one instance for people to look at, live; the instance calls it for each who waits.

The pane is captured some five times a second while anybody waits, once for all who do, and never otherwise. Each view
has a version by which a caller says what it has seen. The last few versions are kept, so that a key of somebody who
looks is not taken by a dialog that this person has not seen. Whether the screen is still the same would not do: a busy
agent draws it several times a second, and its own keys change it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, replace

from actors.agents.base import Agent, Composer, Dialog, Screen
from actors.tmux.pane import Pane, PaneView

LOOK_EVERY_S = 0.2
KEPT = 32
"""Versions, of some seconds while the screen changes all the time."""


@dataclass(frozen=True, slots=True)
class TerminalScreen:
    version: str
    """The same for the same view."""
    view: PaneView


class TerminalView:
    def __init__(self, pane: Pane, agent: Agent) -> None:
        self._pane = pane
        self._agent = agent
        self._looking = asyncio.Lock()
        self._looked_at = -LOOK_EVERY_S
        self._last: TerminalScreen | None = None
        self._kept: OrderedDict[str, str] = OrderedDict()
        """By version the screen as ``Pane.view`` gives it to programs, the last one last."""

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
                view, text = await self._pane.view()
                self._looked_at = time.monotonic()
                self._last = TerminalScreen(_version(view), view)
                self._keep(self._last.version, text)
            return self._last

    def _keep(self, version: str, text: str) -> None:
        self._kept[version] = text
        self._kept.move_to_end(version)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def unseen(self, screen: Screen, version: str) -> Dialog | None:
        """The dialog that ``screen``, what the terminal shows now, has and this version had not; None when there is
        none. Of a version that is not kept nothing was seen."""
        up = _dialog_of(screen)
        if up is None or version not in self._kept:
            return up
        before = _dialog_of(self._agent.read_screen(self._kept[version]))
        return None if before is not None and _is_same(before, up) else up


def _dialog_of(screen: Screen) -> Dialog | None:
    return screen.dialog if screen.composer is Composer.ABSENT else None


def _is_same(one: Dialog, other: Dialog) -> bool:
    """Keys of the person move its pointer, and write into an option that takes a text."""
    if one.question:
        return (one.kind, one.question) == (other.kind, other.question)
    return replace(one, chosen=other.chosen) == other


def _version(view: PaneView) -> str:
    told = repr((view.columns, view.rows, view.cursor, view.title, view.lines))
    return hashlib.blake2b(told.encode(errors="surrogatepass"), digest_size=8).hexdigest()
