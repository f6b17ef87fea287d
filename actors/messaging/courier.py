"""Brings the queued messages of one instance into its agent, one batch at a time.

The courier owns the inbox and is the only one that types messages. It types only when the ``Gate`` is open: between
turns, into an empty input box. What it may do to the pane is decided by the pure ``Delivery``; the proof comes from the
``Observer``. Every queued message gets receipts as its lot changes; one that is held back says why it is so now.

Before it pastes it notes the batch in the journal. A courier whose predecessor was killed goes on from there: what the
agent's own record shows has arrived; what tmux has not pasted is pasted; for the rest the screen decides.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable
from contextlib import suppress

from actors.agents.base import Screen
from actors.concurrency import News
from actors.errors import TerminalError
from actors.following.observer import Observer
from actors.messages import Message, MessageStatus, Receipt
from actors.messaging.delivery import CLEAR_AGAIN_S, Act, Delivery, Finish, NotLanded, Turned
from actors.messaging.draft import is_whole
from actors.messaging.envelope import compose, parts_of
from actors.messaging.gate import LONGEST_RETRY_S, Gate, Verdict, asks_for_permission
from actors.messaging.inbox import BatchLimits, Inbox
from actors.messaging.journal import Entry
from actors.messaging.lease import Lease
from actors.messaging.ledger import Ledger
from actors.messaging.performer import Performer
from actors.tmux.pane import LastKey, Pane, paste_name
from actors.troubles import Trouble

logger = logging.getLogger(__name__)

PATIENCE_S = 20.0
"""Longest wait for the proof of what was entered."""
SETTLE_S = 10.0
"""A paste of any size shows within 0.2 s and is reported within 0.4 s of Enter, or the agent is seen at work: an input
box that stays empty and idle for so long without proof holds nothing of a paste."""
_SETTLE_BYTES_PER_S = 100_000


class Courier:
    """``recall`` it once, then ``run`` it: its loop ends with the agent. All in the event loop of the instance."""

    def __init__(self, pane: Pane, observer: Observer, limits: BatchLimits, news: News, ledger: Ledger) -> None:
        self._pane = pane
        self._observer = observer
        self._news = news
        self._ledger = ledger
        self._gate = Gate(pane, observer)
        self._performer = Performer(pane, observer, news, ledger.hold)
        self._underway: tuple[Message, ...] = ()
        self._typed: tuple[Message, ...] = ()
        self._unfinished: Entry | None = None
        self._unsafe = ""
        """Why the gate is shut; empty while that is not known."""
        self._in_vain = 0
        self._may_have_come_back = False
        self._clear_again_at = 0.0
        self._alone: set[str] = set()
        self._unanswered = Trouble(logger, "what became of a paste cannot be asked now")
        self.inbox = Inbox(limits)
        self.batches = 0
        self.delivered = 0

    def heed(self, lease: Lease) -> None:
        """Nothing is typed while the lease is not held."""
        self._gate.lease = self._performer.lease = lease

    @property
    def typing(self) -> asyncio.Lock:
        """Held while keys go to the pane, so that no two key sequences mix."""
        return self._performer.typing

    def recall(self) -> None:
        """Takes over what an earlier courier has left. The observer has taken in the spool before."""
        self._observer.witness()
        again = self._observer.alive and self._observer.conversation.is_open
        recalled = self._ledger.recall(again=again)
        self._unfinished = recalled.unfinished
        self._underway = recalled.unfinished.messages if recalled.unfinished else ()
        self.inbox.put_back(recalled.again)

    def offer(self, messages: Iterable[Message]) -> None:
        """What one call has brought, in its order."""
        new = [message for message in messages if self._is_to_be_delivered(message)]
        if new:
            self.inbox.offer(new, time.monotonic())
            self._news.announce()

    def _is_to_be_delivered(self, message: Message) -> bool:
        """Of what is known or can come to nothing it only tells what became of it."""
        known = self._ledger.receipt(message.id)
        if known is not None:
            if known.final:
                self._ledger.tell_again(known)
            return False
        if self._observer.proofs.has(message.id):
            self._ledger.settle((message,), MessageStatus.SUBMITTED)
        elif self._observer.alive:
            self._ledger.accept(message)
            return True
        elif not self._observer.coming_back:  # otherwise it is offered again to the agent's next life
            self._ledger.settle((message,), MessageStatus.FAILED, self._why_not())
        return False

    def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        """What is not being typed yet never is."""
        self._ledger.settle(self.inbox.remove(message_ids), MessageStatus.FAILED, reason)

    def _is_ours(self, screen: Screen) -> bool:
        """Whether the draft is the batch that was typed last and nothing else, as it was pasted or as the agent gives
        it back: without the newline at its end. Of one that an earlier actor has typed the transcript tells."""
        typed = (compose(self._typed) if self._typed else "", self._observer.proofs.last_written)
        forms = {form for paste in typed if paste for form in (paste, paste.removesuffix("\n"))}
        return any(is_whole(screen.draft, parts_of(form), scrolled=screen.scrolled) for form in forms)

    def interrupted(self) -> None:
        """The agent's turn was stopped: what it had just taken is not delivered again, also if it is never written. An
        agent that had shown nothing of the turn puts the prompt back into its input box, in its own time."""
        self._performer.interrupted()
        self._may_have_come_back = True

    def acknowledged(self, receipts: Iterable[Receipt]) -> None:
        """The supervisor has taken these in."""
        self._ledger.acknowledged(receipts)

    async def run(self) -> None:
        """Delivers until the agent has ended, then says of every message left what became of it."""
        while self._observer.alive:
            self._ledger.settle_late_proofs()
            self._ledger.hold(self.inbox, self._held_because())
            if self._has_work():
                await self._work()
            else:
                await self._news.next(self._next_try_s())
        self._ledger.settle_late_proofs()
        self._give_up()

    async def _work(self) -> None:
        """A fault of ours in one delivery must not leave all later messages without an end."""
        try:
            if self._unfinished is not None:
                await self._resume(self._unfinished)
            else:
                await self._deliver_if_safe()
        except Exception:
            if not self._underway:
                raise
            logger.exception("a delivery failed")
            failed, self._underway, self._unfinished = self._underway, (), None
            reason = "an error in Phalanx: see the log of the instance's actor"
            self._ledger.settle(failed, MessageStatus.UNCONFIRMED, reason)

    def _next_try_s(self) -> float | None:
        """Seconds until time alone gives the courier something to do."""
        due_at = self.inbox.due_at()
        if due_at is None or not self._typable():
            return None
        return max(due_at, self._gate.retry_at) - time.monotonic()

    def _has_work(self) -> bool:
        return self._unfinished is not None or self._may_try(time.monotonic())

    def _may_try(self, now: float) -> bool:
        due_at = self.inbox.due_at()
        return self._typable() and due_at is not None and max(due_at, self._gate.retry_at) <= now

    def _typable(self) -> bool:
        return self._observer.state.typable

    def _held_because(self) -> str:
        """Why what is queued needs a decision of somebody; empty when it only waits for the end of a turn."""
        if not self._typable():
            self._unsafe = ""
        return asks_for_permission(self._observer.state) or self._unsafe

    async def _deliver_if_safe(self) -> None:
        """Delivers the next batch if it is due and typing is safe now; otherwise notes why it is not."""
        if not self._may_try(time.monotonic()):
            return
        verdict = await self._gate.look(self._attach())
        if not verdict.open:
            self._unsafe = verdict.reason or self._unsafe
            if self._may_have_come_back:
                await self._clear_what_came_back(verdict)
            return
        self._unsafe = ""
        if batch := self.inbox.take(time.monotonic(), self._alone):
            await self._deliver(batch, verdict.last_key)

    async def _clear_what_came_back(self, verdict: Verdict) -> None:
        """What an interrupt has put back into the input box would hold up messages. Any other draft is a person's."""
        if not self._is_ours(verdict.screen) or self.typing.locked() or time.monotonic() < self._clear_again_at:
            return
        if verdict.last_key is None or verdict.last_key.drawn_in_s(time.time()):
            return
        async with self.typing:
            with suppress(TerminalError):  # the next look says what is wrong
                if await self._pane.press("C-c", verdict.last_key):
                    self._clear_again_at = time.monotonic() + CLEAR_AGAIN_S

    def _attach(self) -> str:
        first = next(iter(self.inbox), None) or next(iter(self._underway), None)
        return f"run phalanx attach {first.instance_id}" if first else "attach"

    async def _deliver(self, batch: tuple[Message, ...], after: LastKey | None) -> None:
        self._underway = batch
        try:
            entry = self._ledger.begin(batch, paste_name())
        except OSError as error:
            self._put_back(batch)
            self._unsafe = f"what is typed cannot be noted in the instance's directory: {error.strerror}"
            self._gate.shut()
            return
        self._observer.proofs.begin(batch)
        delivery = self._delivery(entry)
        await self._carry_out(entry, delivery, delivery.begin(), after)

    def _delivery(self, entry: Entry) -> Delivery:
        settle_s = SETTLE_S + len(compose(entry.messages).encode()) / _SETTLE_BYTES_PER_S
        return Delivery(PATIENCE_S, settle_s, self._attach())

    async def _resume(self, entry: Entry) -> None:
        """Goes on with a batch that was being pasted when its courier was killed or tmux did not answer."""
        try:
            was_pasted = await self._pane.has_pasted(entry.paste)
        except TerminalError as error:
            self._unanswered.met(error)
            await self._news.next(LONGEST_RETRY_S)
            return
        self._unanswered.over()
        self._unfinished = None
        if not was_pasted:
            self._put_back(entry.messages)
            return
        delivery = self._delivery(entry)
        await self._carry_out(entry, delivery, delivery.resume(time.monotonic()))

    async def _carry_out(self, entry: Entry, delivery: Delivery, act: Act, after: LastKey | None = None) -> None:
        self._typed, self._may_have_come_back = entry.messages, False
        try:
            end = await self._performer.perform(entry, delivery, act, after)
        except TerminalError as error:
            self._ledger.hold(entry.messages, f"tmux did not say whether it has pasted, which is looked into: {error}")
            self._unfinished = entry
            await self._news.next(LONGEST_RETRY_S)
            return
        if isinstance(end, Finish):  # before the receipts, which carry the counts
            self.batches += 1
            self.delivered += len(entry.messages)
        arrived = [message for message in entry.messages if self._observer.proofs.has(message.id)]
        self._ledger.settle(arrived, MessageStatus.SUBMITTED)
        left = tuple(message for message in entry.messages if message not in arrived)
        if isinstance(end, NotLanded):
            self._put_back(left)
            if end.reason:
                self._gate.shut()  # it says so itself as long as that lasts
            else:
                self._in_vain += 1
                self._unsafe = _in_vain(self._in_vain)
            return
        self._in_vain = 0
        if isinstance(end, Turned):
            self._turned(left, end.reason)
            return
        self._underway = ()
        self._alone.difference_update(message.id for message in entry.messages)
        if end.status is MessageStatus.SUBMITTED or not self._observer.coming_back:
            self._ledger.settle(left, end.status, end.reason)

    def _turned(self, batch: tuple[Message, ...], reason: str) -> None:
        """The agent has refused the prompt: which message of several was the reason shows when each goes alone."""
        if len(batch) > 1:
            self._alone.update(message.id for message in batch)
            self._put_back(batch)
            return
        self._underway = ()
        self._alone.difference_update(message.id for message in batch)
        self._ledger.settle(batch, MessageStatus.FAILED, reason)

    def _put_back(self, batch: tuple[Message, ...]) -> None:
        self._underway = ()
        self._ledger.typed_in_vain(batch)
        self.inbox.put_back(batch)

    def _give_up(self) -> None:
        if self._observer.coming_back:
            return  # the supervisor hands what is pending to the agent's next life
        left, self._underway, self._unfinished = self._underway, (), None
        certain = self._observer.conversation.is_open
        self._ledger.settle(left, MessageStatus.FAILED if certain else MessageStatus.UNCONFIRMED, self._why_not())
        self._ledger.settle(self.inbox.drain(), MessageStatus.FAILED, self._why_not())

    def _why_not(self) -> str:
        return f"not delivered: {self._observer.state.reason or 'the instance was stopped'}"


def _in_vain(times: int) -> str:
    """Once may be a person's doing."""
    return "" if times < 2 else f"it was pasted {times} times, but did not stay in the agent's input box"
