"""Brings the queued messages of one instance into its agent, one batch at a time.

The courier owns the inbox and is the only one that types messages. It types only between turns, into an empty input
box, with no dialog up: then no dialog can come up while it types. What it may do to the pane is decided by the pure
``Delivery``; the proof comes from the ``Observer``. Every queued message gets receipts as its lot changes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from actors.agents.base import Composer, Screen
from actors.delivery import (
    REDRAW_S,
    Act,
    Delivery,
    Finish,
    Look,
    Lost,
    Paste,
    Pasted,
    Pressed,
    PressEnter,
    Proved,
    Saw,
    Stimulus,
)
from actors.envelope import compose
from actors.errors import PaneGoneError, TerminalError
from actors.inbox import BatchLimits, Inbox
from actors.messages import Message, MessageStatus, Receipt
from actors.news import News
from actors.observer import Observer
from actors.states import TYPABLE, Status
from actors.terminal.pane import Pane

logger = logging.getLogger(__name__)

PATIENCE_S = 20.0
"""Longest wait for the next sign of a delivery: draft, then proof."""
_HELD_LOOK_S = 0.5
_SHORTEST_RETRY_S = 0.03

ReceiptSink = Callable[[Receipt], None]


class Courier:
    """``run`` is its loop and ends with the agent. All in the event loop of the instance."""

    def __init__(
        self, pane: Pane, observer: Observer, limits: BatchLimits, news: News, receipt_sink: ReceiptSink
    ) -> None:
        self._pane = pane
        self._observer = observer
        self._news = news
        self._emit = receipt_sink
        self._lot: dict[str, MessageStatus] = {}
        self._doubtful: dict[str, Message] = {}
        self._underway: tuple[Message, ...] = ()
        self._retry_at = 0.0
        self._shut_since: float | None = None
        self._permission_held = False
        self.inbox = Inbox(limits)
        self.typing = asyncio.Lock()
        """Held while keys go to the pane, so that no two key sequences mix."""
        self.batches = 0
        self.delivered = 0

    @property
    def waiting(self) -> int:
        """Messages that are accepted and not at the end of their way."""
        return len(self.inbox) + len(self._underway)

    def offer(self, message: Message) -> None:
        if message.id in self._lot:
            return
        if message.id in self._observer.proved_ids:
            self._settle((message,), MessageStatus.SUBMITTED)
            return
        if not self._observer.alive:
            self._settle((message,), MessageStatus.FAILED, self._why_not())
            return
        self._lot[message.id] = MessageStatus.ACCEPTED
        self.inbox.offer(message, time.monotonic())
        self._news.announce()

    async def run(self) -> None:
        """Delivers until the agent has ended, then says of every message left what became of it."""
        while self._observer.alive:
            if not self._something_to_do():
                await self._news.next(self._next_try_s())
                continue
            self._settle_late_proofs()
            self._unblock()
            batch = await self._open_gate()
            if batch:
                await self._deliver_or_doubt(batch)
        self._give_up()

    async def _deliver_or_doubt(self, batch: tuple[Message, ...]) -> None:
        """A fault of ours in one delivery must not leave all later messages without an end."""
        try:
            await self._deliver(batch)
        except Exception:
            logger.exception("a delivery failed")
            self._underway = ()
            self._settle(batch, MessageStatus.UNCONFIRMED, "an error in Phalanx: see the log of the instance's actor")

    def _next_try_s(self) -> float | None:
        """Seconds until time alone gives the courier something to do."""
        due_at = self.inbox.due_at()
        if due_at is None or not self._typable():
            return None
        return max(due_at, self._retry_at) - time.monotonic()

    def _something_to_do(self) -> bool:
        if not self._observer.alive or self._doubtful.keys() & self._observer.proved_ids:
            return True
        if self._observer.state.status is Status.WAITING_PERMISSION:
            return any(self._lot[message.id] is not MessageStatus.BLOCKED for message in self.inbox)
        return self._is_stale_block() or self._may_try(time.monotonic())

    def _may_try(self, now: float) -> bool:
        due_at = self.inbox.due_at()
        return self._typable() and due_at is not None and max(due_at, self._retry_at) <= now

    def _typable(self) -> bool:
        return self._observer.state.status in TYPABLE

    async def _open_gate(self) -> tuple[Message, ...]:
        """The next batch if it is due and typing is safe now; otherwise says why it is held and returns nothing."""
        state = self._observer.state
        if state.status is Status.WAITING_PERMISSION:
            tool = state.permissions[0].tool if state.permissions else "a tool"
            self._permission_held = True
            self._hold(self.inbox, f"the agent waits for permission to use {tool}: answer it with respond")
            return ()
        if not self._may_try(time.monotonic()):
            return ()
        try:
            screen = await self._observer.look()
            reason = self._unsafe(screen)
        except TerminalError as error:
            screen, reason = Screen(composer=Composer.ABSENT), f"the screen cannot be read: {error}"
        now = time.monotonic()
        if screen.busy:  # the end of a turn is drawn a moment after its hook
            self._try_again_soon(now)
            return ()
        if reason:
            self._stay_shut(reason, now)
            return ()
        self._shut_since = None
        return self.inbox.take(now)

    def _unblock(self) -> None:
        """Nobody needs to decide any more: what was held back is only queued for the end of the turn again."""
        if self._is_stale_block():
            self._permission_held = False
            self._settle(self._blocked(), MessageStatus.ACCEPTED)

    def _is_stale_block(self) -> bool:
        if self._observer.state.status is Status.WAITING_PERMISSION:
            return False
        return self._permission_held or (not self._typable() and bool(self._blocked()))

    def _blocked(self) -> list[Message]:
        return [message for message in self.inbox if self._lot[message.id] is MessageStatus.BLOCKED]

    def _stay_shut(self, reason: str, now: float) -> None:
        """Only a reason that lasts is worth a receipt."""
        if self._try_again_soon(now) >= REDRAW_S:
            self._hold(self.inbox, reason)

    def _try_again_soon(self, now: float) -> float:
        """For how many seconds the gate has been shut by now."""
        self._shut_since = now if self._shut_since is None else self._shut_since
        shut_s = now - self._shut_since
        self._retry_at = now + min(max(shut_s / 2, _SHORTEST_RETRY_S), _HELD_LOOK_S)
        return shut_s

    def _unsafe(self, screen: Screen) -> str:
        if screen.dialog:
            return "a dialog is up in the agent's pane: attach and answer it"
        if screen.composer is Composer.DRAFT:
            return "someone is typing in the agent's input box"
        if screen.composer is Composer.ABSENT:
            return "the agent's input box is not visible"
        if not self._typable():
            return "the agent has just begun a turn"
        return ""

    async def _deliver(self, batch: tuple[Message, ...]) -> None:
        self._underway = batch
        delivery = Delivery(PATIENCE_S)
        act = delivery.begin()
        async with self.typing:
            while not isinstance(act, Finish):
                stimulus = await self._perform(act, batch, delivery)
                act = delivery.handle(stimulus, time.monotonic())
        self._underway = ()
        self.batches += 1
        self.delivered += len(batch)
        self._settle(batch, act.status, act.reason)

    async def _perform(self, act: Act, batch: tuple[Message, ...], delivery: Delivery) -> Stimulus:
        try:
            match act:
                case Paste():
                    await self._pane.paste(compose(batch))
                    return Pasted()
                case PressEnter():
                    return await self._press_enter(batch)
                case Look(after_s, held):
                    if held:
                        self._hold(batch, held)
                    return await self._proof_or_look(batch, after_s)
                case Finish():
                    raise AssertionError("a finished delivery has no act left")
        except PaneGoneError as error:
            return Lost(str(error), typed=delivery.typed)
        except TerminalError as error:
            if isinstance(act, Paste):
                return Lost(str(error), typed=True)
            logger.warning("tmux did not do what a delivery needs, which looks again: %s", error)
            return Saw(Screen(composer=Composer.ABSENT))

    async def _press_enter(self, batch: tuple[Message, ...]) -> Stimulus:
        self._observer.absorb()
        if self._is_proved(batch):
            return Proved()
        if self._observer.state.status is Status.WAITING_PERMISSION:
            return await self._proof_or_look(batch, _HELD_LOOK_S)
        await self._pane.press("Enter")
        return Pressed()

    async def _proof_or_look(self, batch: tuple[Message, ...], after_s: float) -> Stimulus:
        def settled() -> bool:
            return self._is_proved(batch) or not self._observer.alive

        await self._news.until(settled, after_s)
        self._observer.witness()
        if self._is_proved(batch):
            return Proved()
        if not self._observer.alive:
            return Lost(f"the agent ended meanwhile: {self._observer.state.reason}", typed=True)
        return Saw(await self._observer.look())

    def _is_proved(self, batch: Iterable[Message]) -> bool:
        return all(message.id in self._observer.proved_ids for message in batch)

    def _settle_late_proofs(self) -> None:
        late = self._doubtful.keys() & self._observer.proved_ids
        self._settle([self._doubtful.pop(message_id) for message_id in sorted(late)], MessageStatus.SUBMITTED)

    def _hold(self, messages: Iterable[Message], reason: str) -> None:
        for message in messages:
            if self._lot[message.id] is not MessageStatus.BLOCKED:
                self._settle((message,), MessageStatus.BLOCKED, reason)

    def _settle(self, messages: Iterable[Message], status: MessageStatus, reason: str = "") -> None:
        for message in messages:
            self._lot[message.id] = status
            if status is MessageStatus.UNCONFIRMED:
                self._doubtful[message.id] = message
            self._emit(
                Receipt(
                    message_id=message.id,
                    instance_id=message.instance_id,
                    status=status,
                    at=time.time(),
                    reason=reason,
                )
            )

    def _give_up(self) -> None:
        if self._observer.coming_back:
            return  # the supervisor hands what is pending to the agent's next life
        self._settle(self.inbox.drain(), MessageStatus.FAILED, self._why_not())

    def _why_not(self) -> str:
        return f"not delivered: {self._observer.state.reason or 'the instance was stopped'}"
