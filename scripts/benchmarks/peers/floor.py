"""The floor: Claude Code in tmux, typed into by paste and Enter, with nothing that checks or keeps anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

import psutil

from actors.agents.base import Composer
from scripts.benchmarks.bare_claude import BareClaude, BareClaudes
from scripts.benchmarks.peers.loop import LoopThread
from scripts.benchmarks.peers.peer import Peer, PeerError, Place, claudes

_SHOWN_S = 1.0
"""How long it waits for the text to show before it presses Enter."""


class Floor(Peer):
    name = "floor"
    cannot: ClassVar[Mapping[str, str]] = {"kill": "nothing stands between: what types is the sender itself"}
    does_not: ClassVar[tuple[str, ...]] = (
        "know whether a text arrived, or an agent is busy or asks",
        "keep anything",
        "make worktrees",
    )
    command_has_the_text = False

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._loop = LoopThread()
        self._bare: BareClaudes | None = None
        self._running: dict[str, BareClaude] = {}

    def open(self) -> None:
        claude = self.place.home / "bin/claude"
        self._bare = BareClaudes(claude, self.place.home / "bare.sock", self.place.environment)

    def close(self) -> None:
        self._tmux.close()
        self._loop.stop()

    @property
    def _tmux(self) -> BareClaudes:
        if self._bare is None:
            raise PeerError("it is not open")
        return self._bare

    def start(self, text: str) -> str:
        words = (text,) if self.command_has_the_text else ()
        claude = self._loop.run(self._tmux.start(self.place.project, *words))
        self._running[claude.session] = claude
        if not words:
            self._loop.run(_type(claude, text))
        return claude.session

    def send(self, instance: str, text: str) -> str:
        self._loop.run(_type(self._running[instance], text))
        return "sent"

    def allow(self, instance: str) -> None:
        self._loop.run(self._running[instance].pane.press("Enter"))

    def end(self, instance: str) -> None:
        self._tmux.end(self._running.pop(instance))

    def agents(self) -> Sequence[psutil.Process]:
        return claudes(self.place)

    def kill_orchestrator(self) -> str:
        raise PeerError("it has none")


class ClaudeText(Floor):
    """The same, but for the first message, which is on the command line."""

    name = "claude TEXT"
    cannot: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("fan", "texts", "dialog", "kill", "memory", "cpu"), "as the floor"
    )
    does_not: ClassVar[tuple[str, ...]] = ("do more than the floor",)
    command_has_the_text = True


async def _type(claude: BareClaude, text: str) -> None:
    await claude.pane.paste(text)
    with suppress(TimeoutError):
        async with asyncio.timeout(_SHOWN_S):
            await claude.shows(lambda screen: screen.composer is Composer.DRAFT)
    await claude.pane.press("Enter")
