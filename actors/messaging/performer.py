"""Performs on a pane what a delivery asks for, and feeds back what came of it, until the delivery is at its end.

Used by the courier alone. ``typing`` is held while keys go to the pane, so that no two key sequences mix. Whoever
resumes a delivery only looks before it holds it. Whoever waits, for the proof or until what stands in the way is gone,
holds it no more: perhaps it is for ``respond`` or ``interrupt`` to take that away. Before the next key it looks anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress

from actors.agents.base import Composer, Screen
from actors.concurrency import News
from actors.errors import PaneGoneError, SocketGoneError, TerminalError
from actors.following.observer import Observer
from actors.following.pace import Pace
from actors.inotify import Growth
from actors.messages import Message
from actors.messaging.delivery import (
    Act,
    Barred,
    Clear,
    Cleared,
    Delivery,
    End,
    Interrupted,
    Look,
    Lost,
    Paste,
    Pasted,
    Pressed,
    PressEnter,
    Proved,
    Refused,
    Saw,
    Stimulus,
)
from actors.messaging.draft import begins_with, is_whole
from actors.messaging.envelope import compose, parts_of
from actors.messaging.gate import SOMEBODY_TYPES, asks_for_permission
from actors.messaging.journal import Entry
from actors.messaging.lease import CUT_OFF, Lease
from actors.tmux.pane import LastKey, Pane
from actors.troubles import Trouble

logger = logging.getLogger(__name__)

_LAST_WORDS_S = 0.5

Hold = Callable[[Sequence[Message], str], None]


class Performer:
    """``hold`` is told why a batch is held back in the midst of its delivery, and in empty words when it is no more."""

    def __init__(self, pane: Pane, observer: Observer, news: News, hold: Hold) -> None:
        self._pane = pane
        self._observer = observer
        self._news = news
        self._hold = hold
        self._pace: Pace | None = None
        self._growth: Growth | None = None
        self._delivery: Delivery | None = None
        self._interrupted = False
        self._last_key: LastKey | None = None
        self._unseen = Trouble(logger, "tmux did not do what a delivery needs, which looks again")
        self.typing = asyncio.Lock()
        self.lease = Lease(0)

    def interrupted(self) -> None:
        """The turn that has just begun was stopped on purpose. What had not begun one is entered later."""
        if self._delivery is not None and self._delivery.taken:
            self._interrupted = True
            self._news.announce()

    async def perform(self, entry: Entry, delivery: Delivery, act: Act, after: LastKey | None = None) -> End:
        """``after``: the last key of a person before the look in answer to which is pasted.

        Raises ``TerminalError`` when tmux does not say whether it has pasted.
        """
        paste = compose(entry.messages)
        self._delivery, self._interrupted = delivery, False
        async with AsyncExitStack() as keys, AsyncExitStack() as rest:
            drawing = keys.enter_context(ExitStack())
            self._growth = rest.enter_context(Growth(self._read_transcript))
            typing = False
            held = ""
            while not isinstance(act, End):
                if not typing and not isinstance(act, Look):
                    await keys.enter_async_context(self.typing)
                    typing = True
                    self._last_key = after if isinstance(act, Paste) else None
                if isinstance(act, PressEnter | Clear) and self._drawn_in_s() != 0.0:
                    await self._ask_for_the_last_key()
                    act = Look(self._drawn_in_s() or 0.0, held)  # what was seen before may be gone by now
                if isinstance(act, Paste):
                    drawing.enter_context(self._drawing())
                elif isinstance(act, PressEnter):
                    drawing.close()
                elif isinstance(act, Look):
                    held = act.held
                stimulus = await self._do(act, entry, paste, delivery)
                act = delivery.handle(stimulus, time.monotonic())
                at_work = isinstance(stimulus, Saw) and stimulus.screen.busy
                if typing and isinstance(act, Look) and (act.held or delivery.taken or at_work):
                    await keys.aclose()
                    typing = False
        return act

    def _drawn_in_s(self) -> float | None:
        """In how many seconds a look shows all that people have typed up to the last key that is known of; None when
        none is known. A key of ours is pressed only if none has followed that one."""
        if self._last_key is None:
            return None
        return self._last_key.drawn_in_s(time.time())

    async def _ask_for_the_last_key(self) -> None:
        with suppress(TerminalError):  # the look says what is wrong
            self._last_key = await self._pane.last_key()

    def _read_transcript(self) -> None:
        self._observer.witness()
        self._news.announce()

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

    async def _do(self, act: Act, entry: Entry, paste: str, delivery: Delivery) -> Stimulus:
        try:
            match act:
                case Paste() | PressEnter() | Clear() if barred := self._barred():
                    return Barred(barred)
                case Paste():
                    return await self._paste(paste, entry.paste)
                case PressEnter() | Clear():
                    return await self._press(act, entry.messages, paste, delivery)
                case Look(after_s, held):
                    self._hold(entry.messages, held)
                    return await self._proof_or_look(entry.messages, paste, delivery, after_s)
                case _:
                    raise AssertionError("a finished delivery has no act left")
        except TerminalError as error:
            if isinstance(error, PaneGoneError) and not isinstance(error, SocketGoneError):
                return await self._lost(entry.messages, str(error), typed=delivery.typed)
            if isinstance(act, Paste):
                raise
            self._unseen.met(error)
            return Saw(Screen(composer=Composer.ABSENT))

    async def _paste(self, paste: str, name: str) -> Stimulus:
        try:
            self._last_key = await self._pane.paste(parts_of(paste), name, self._last_key)
        except ValueError as error:
            return Lost(f"it cannot be typed: {error}", typed=False)
        return Barred(SOMEBODY_TYPES) if self._last_key is None else Pasted()

    def _barred(self) -> str:
        """Why no key may go to the pane now, by what is known without its screen; empty when keys may."""
        self._observer.absorb()
        return asks_for_permission(self._observer.state) if self.lease.held else CUT_OFF

    async def _press(
        self, act: PressEnter | Clear, batch: Sequence[Message], paste: str, delivery: Delivery
    ) -> Stimulus:
        enters = isinstance(act, PressEnter)
        if enters and self._is_proved(batch):
            return Proved()
        if await self._pane.press("Enter" if enters else "C-c", self._last_key):
            return Pressed() if enters else Cleared()
        self._last_key = None  # somebody has pressed a key since the last look, so ours was not
        return await self._proof_or_look(batch, paste, delivery, 0.0)

    async def _proof_or_look(
        self, batch: Sequence[Message], paste: str, delivery: Delivery, after_s: float
    ) -> Stimulus:
        def told() -> Stimulus | None:
            return self._told(batch, paste, delivery)

        await self._wait(lambda: told() is not None or not self._observer.alive, after_s)
        self._observer.witness()
        if (stimulus := told()) is not None:
            self._interrupted = False
            return stimulus
        if not self._observer.alive:
            return await self._lost(batch, f"the agent ended meanwhile: {self._observer.state.reason}", typed=True)
        began = time.monotonic()
        try:
            screen = await self._observer.look()
        finally:
            if self._pace is not None:
                self._pace.looked(began, time.monotonic())
        self._unseen.over()
        parts = parts_of(paste)
        ours = is_whole(screen.draft, parts, scrolled=screen.scrolled)
        return Saw(
            screen,
            ours=ours,
            with_more=not ours and begins_with(screen.draft, parts, scrolled=screen.scrolled),
            reported=self._observer.proofs.is_reported(paste),
        )

    def _told(self, batch: Sequence[Message], paste: str, delivery: Delivery) -> Stimulus | None:
        """What the agent's own records say, or who has stopped it."""
        if self._is_proved(batch):
            return Proved()
        if (reason := self._observer.proofs.refusal(paste)) and not delivery.refused:
            return Refused(reason)
        if self._interrupted:
            return Interrupted()
        return None

    async def _wait(self, settled: Callable[[], bool], after_s: float) -> None:
        if self._pace is None:
            if self._growth is not None:
                self._growth.follow(self._observer.conversation.path)
            await self._news.until(settled, after_s)
            return
        while not settled() and (left_s := self._pace.due_at - time.monotonic()) > 0:
            await self._news.next(left_s)

    async def _lost(self, batch: Sequence[Message], reason: str, *, typed: bool) -> Stimulus:
        """An agent that has ended writes no more: what its transcript does not show by now is not in it."""
        await self._news.until(lambda: not self._observer.alive, _LAST_WORDS_S)
        self._observer.absorb()
        self._observer.witness()
        if self._is_proved(batch):
            return Proved()
        certain = not self._observer.alive and self._observer.conversation.is_open
        return Lost(reason, typed=typed and not certain)

    def _is_proved(self, batch: Sequence[Message]) -> bool:
        return self._observer.proofs.has_all(message.id for message in batch)
