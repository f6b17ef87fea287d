"""Performs on a pane what a delivery asks for, and feeds back what came of it, until the delivery is at its end.

Used by the courier alone. ``typing`` is held while keys go to the pane, so that no two key sequences mix; whoever
resumes a delivery only looks before it holds it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager

from actors.agents.base import Composer, Screen
from actors.errors import PaneGoneError, SocketGoneError, TerminalError
from actors.following.observer import Observer
from actors.following.pace import Pace
from actors.messages import Message
from actors.messaging.delivery import (
    Act,
    Delivery,
    Finish,
    Look,
    Lost,
    NotLanded,
    Paste,
    Pasted,
    Pressed,
    PressEnter,
    Proved,
    Saw,
    Stimulus,
)
from actors.messaging.envelope import compose, parts_of
from actors.messaging.journal import Entry
from actors.news import News
from actors.states import Status
from actors.terminal.pane import Pane

logger = logging.getLogger(__name__)

_HELD_LOOK_S = 0.5
_COLLAPSED = "[Pasted text #"
"""So the input box shows a long paste."""

Hold = Callable[[Sequence[Message], str], None]


class Performer:
    """``hold`` is told why a batch is held back in the midst of its delivery."""

    def __init__(self, pane: Pane, observer: Observer, news: News, hold: Hold) -> None:
        self._pane = pane
        self._observer = observer
        self._news = news
        self._hold = hold
        self._pace: Pace | None = None
        self.typing = asyncio.Lock()

    async def perform(self, entry: Entry, delivery: Delivery, act: Act) -> Finish | NotLanded:
        """Raises ``TerminalError`` when tmux does not say whether it has pasted."""
        async with AsyncExitStack() as keys:
            drawing = keys.enter_context(ExitStack())
            typing = False
            while not isinstance(act, Finish | NotLanded):
                if not typing and not isinstance(act, Look):
                    await keys.enter_async_context(self.typing)
                    typing = True
                    if isinstance(act, PressEnter):
                        act = Look(0.0)  # what was seen before may be gone by now
                if isinstance(act, Paste):
                    drawing.enter_context(self._drawing())
                elif isinstance(act, PressEnter):
                    drawing.close()
                stimulus = await self._do(act, entry, delivery)
                act = delivery.handle(stimulus, time.monotonic())
        return act

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Inside, a look is due when the agent has drawn, which may be the draft."""

        def note() -> None:
            pace.drawn(time.monotonic())
            self._news.announce()

        pace = Pace(told=True)
        pace.looked(time.monotonic(), time.monotonic())
        with self._pane.drawing(note) as told:
            self._pace = pace if told else None
            try:
                yield
            finally:
                self._pace = None

    async def _do(self, act: Act, entry: Entry, delivery: Delivery) -> Stimulus:
        try:
            match act:
                case Paste():
                    return await self._paste(entry)
                case PressEnter():
                    return await self._press_enter(entry.messages)
                case Look(after_s, held):
                    if held:
                        self._hold(entry.messages, held)
                    return await self._proof_or_look(entry.messages, after_s)
                case Finish() | NotLanded():
                    raise AssertionError("a finished delivery has no act left")
        except TerminalError as error:
            if isinstance(error, PaneGoneError) and not isinstance(error, SocketGoneError):
                return await self._lost(entry.messages, str(error), typed=delivery.typed)
            if isinstance(act, Paste):
                raise
            logger.warning("tmux did not do what a delivery needs, which looks again: %s", error)
            return Saw(Screen(composer=Composer.ABSENT))

    async def _paste(self, entry: Entry) -> Stimulus:
        try:
            await self._pane.paste(parts_of(compose(entry.messages)), entry.paste)
        except ValueError as error:
            return Lost(f"it cannot be typed: {error}", typed=False)
        return Pasted()

    async def _press_enter(self, batch: Sequence[Message]) -> Stimulus:
        self._observer.absorb()
        if self._is_proved(batch):
            return Proved()
        if self._observer.state.status is Status.WAITING_PERMISSION:
            return await self._proof_or_look(batch, _HELD_LOOK_S)
        await self._pane.press("Enter")
        return Pressed()

    async def _proof_or_look(self, batch: Sequence[Message], after_s: float) -> Stimulus:
        def settled() -> bool:
            return self._is_proved(batch) or not self._observer.alive

        await self._wait(settled, after_s)
        self._observer.witness()
        if self._is_proved(batch):
            return Proved()
        if not self._observer.alive:
            return await self._lost(batch, f"the agent ended meanwhile: {self._observer.state.reason}", typed=True)
        began = time.monotonic()
        screen = await self._observer.look()
        if self._pace is not None:
            self._pace.looked(began, time.monotonic())
        return Saw(screen, foreign=not _shows_any(screen.draft, batch))

    async def _wait(self, settled: Callable[[], bool], after_s: float) -> None:
        if self._pace is None:
            await self._news.until(settled, after_s)
            return
        while not settled() and (left_s := self._pace.due_at - time.monotonic()) > 0:
            await self._news.next(left_s)

    async def _lost(self, batch: Sequence[Message], reason: str, *, typed: bool) -> Stimulus:
        """An agent that has ended writes no more: what its transcript does not show by now is not in it."""
        await self._news.until(lambda: not self._observer.alive, _HELD_LOOK_S)
        self._observer.absorb()
        self._observer.witness()
        if self._is_proved(batch):
            return Proved()
        certain = not self._observer.alive and self._observer.conversation.is_open
        return Lost(reason, typed=typed and not certain)

    def _is_proved(self, batch: Sequence[Message]) -> bool:
        return self._observer.proofs.has_all(message.id for message in batch)


def _shows_any(draft: str, batch: Sequence[Message]) -> bool:
    return _COLLAPSED in draft or any(message.id in draft for message in batch)
