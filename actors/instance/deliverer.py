"""Delivers the queued messages of one instance to its agent.

``Deliverer`` owns the inbox and the receipts; ``Instance`` creates it and hands it messages. A ``DeliveryRunner``
presses the keys that the pure state machine ``Delivery`` asks for. ``TypingGate`` says when typing is safe, and
``Lease`` whether this copy of the instance may type at all. Everything runs in the event loop of the instance.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field

from actors.agents.base import Composer, Screen
from actors.backoff import LastingProblem
from actors.concurrency import ChangeNotifier
from actors.errors import PaneGoneError, SocketGoneError, TerminalError
from actors.inotify import GrowthWatch
from actors.instance.delivery import (
    CLEAR_AGAIN_S,
    REDRAW_S,
    Act,
    Barred,
    Clear,
    Delivery,
    Done,
    End,
    Finish,
    Interrupted,
    Look,
    Lost,
    NotLanded,
    Paste,
    PressEnter,
    PromptRejected,
    Proved,
    Refused,
    Saw,
    Stimulus,
)
from actors.instance.evidence import DraftMatch, compare_draft, quoted
from actors.instance.inbox import BatchLimits, Inbox, compose, ids_in, parts_of
from actors.instance.journal import JournalEntry, ReceiptLog
from actors.instance.observer import LookSchedule, Observer
from actors.instance.state import InstanceState
from actors.messages import Message, MessageStatus, Receipt
from actors.status import Status
from actors.tmux.pane import LastKey, Pane, paste_name

logger = logging.getLogger(__name__)

CUT_OFF = "its host is cut off from the team: it may run elsewhere by now"
"""Why nothing is typed while the lease is not held."""

LONGEST_RETRY_S = 0.5
_SHORTEST_RETRY_S = 0.03
SOMEBODY_TYPES = "someone is typing at the agent's terminal"
_TYPING_S = 5.0
"""Attaching counts as a key, and a pause in which the message goes comes soon for most."""

_LAST_WORDS_S = 0.5
_CLOCK_LOOK_S = 60.0
"""The end of a limit is a time of day, which somebody may set or a machine sleep through."""

PATIENCE_S = 20.0
"""Longest wait for the proof of what was entered."""
SETTLE_S = 10.0
"""A paste of any size shows within 0.2 s and is reported within 0.4 s of Enter, or the agent is seen at work: an input
box that stays empty and idle for so long without proof holds nothing of a paste."""
_SETTLE_BYTES_PER_S = 100_000
_LONGEST_PAUSE_S = 5.0
"""Between two looks, of which the first may have been slow."""


class Deliverer:
    """The only one that types messages into the agent, one batch at a time. All in the event loop of the instance.

    ``recall`` it once, then ``run`` it: its loop ends with the agent. It types only when the ``TypingGate`` is open:
    between turns, into an empty input box. ``Delivery`` decides what it may do to the pane; the proof comes from the
    ``Observer``. Every queued message gets a receipt with each change; the receipt of a held message says why it is
    held.

    The batch stands in the journal before it is pasted. The successor of a killed deliverer goes on from there:
    messages that the agent's own record shows have arrived; a batch that tmux has not pasted is pasted; for the rest
    the screen decides.
    """

    def __init__(
        self,
        pane: Pane,
        observer: Observer,
        limits: BatchLimits,
        changes: ChangeNotifier,
        receipts: ReceiptLog,
        lease: Lease,
    ) -> None:
        """Nothing is typed while the lease is not held."""
        self._pane = pane
        self._observer = observer
        self._changes = changes
        self._receipts = receipts
        self._lease = lease
        self._gate = TypingGate(observer, lease)
        self._runner: DeliveryRunner | None = None
        self._underway: tuple[Message, ...] = ()
        self._typed: tuple[Message, ...] = ()
        self._unfinished: JournalEntry | None = None
        self._unsafe = ""
        """Why the gate is shut; empty while that is not known."""
        self._in_vain = 0
        self._may_have_come_back = False
        self._clears = 0
        self._clear_again_at = 0.0
        self._alone: set[str] = set()
        self._unanswered = LastingProblem(logger, "what became of a paste cannot be asked now")
        self.typing = asyncio.Lock()
        """Held while keys go to the pane, so that no two key sequences mix."""
        self.inbox = Inbox(limits)
        self.hold = ""
        """Why no batch may be begun, in words; empty while one may."""
        self.batches = 0
        self.delivered = 0

    def recall(self) -> None:
        """Takes over what an earlier deliverer has left. The observer has taken in the spool before."""
        self._observer.witness()
        again = self._observer.alive and self._observer.conversation.is_open
        recalled = self._receipts.recall(again=again)
        self._unfinished = recalled.unfinished
        self._underway = recalled.unfinished.messages if recalled.unfinished else ()
        self.inbox.put_back(recalled.again)

    def offer(self, messages: Iterable[Message]) -> None:
        """What one call has brought, in its order."""
        new = [message for message in messages if self._is_to_be_delivered(message)]
        if new:
            self.inbox.offer(new, time.monotonic())
            self._changes.announce()

    def _is_to_be_delivered(self, message: Message) -> bool:
        """Of what is known or can come to nothing it only tells what became of it."""
        known = self._receipts.receipt(message.id)
        if known is not None:
            if known.final:
                self._receipts.tell_again(known)
            return False
        if self._observer.evidence.has(message.id):
            self._receipts.settle((message,), MessageStatus.SUBMITTED)
        elif self._observer.alive:
            self._receipts.accept(message)
            return True
        elif not self._observer.coming_back:  # otherwise it is offered again to the agent's next life
            self._receipts.settle((message,), MessageStatus.FAILED, self._why_not())
        return False

    def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        """What is not being typed yet never is."""
        self._receipts.settle(self.inbox.remove(message_ids), MessageStatus.FAILED, reason)

    def _is_ours(self, screen: Screen) -> bool:
        """Whether the draft is the batch that was typed last and nothing else, as it was pasted or as the agent gives
        it back: without the newline at its end. Of one that an earlier actor has typed the transcript tells."""
        typed = (compose(self._typed) if self._typed else "", self._observer.evidence.last_written)
        forms = {form for paste in typed if paste for form in (paste, paste.removesuffix("\n"))}
        matches = (compare_draft(screen.draft, parts_of(form), scrolled=screen.scrolled) for form in forms)
        return DraftMatch.WHOLE in matches

    def interrupted(self) -> None:
        """The agent's turn was stopped: what it had just taken is not delivered again, also if it is never written. An
        agent that had shown nothing of the turn puts the prompt back into its input box, in its own time."""
        if self._runner is not None:
            self._runner.interrupted()
        self._may_have_come_back, self._clears = True, 0

    def acknowledged(self, receipts: Iterable[Receipt]) -> None:
        """The supervisor has taken these in."""
        self._receipts.acknowledged(receipts)

    async def run(self) -> None:
        """Delivers until the agent has ended, then says of every message left what became of it."""
        while self._observer.alive:
            self._receipts.settle_late_proofs()
            self._receipts.hold(self.inbox, self._held_because())
            next_s = self._next_try_s()
            if next_s is not None and next_s <= 0:
                await self._work()
            else:
                await self._changes.next(next_s)
        self._receipts.settle_late_proofs()
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
            self._receipts.settle(failed, MessageStatus.UNCONFIRMED, reason)

    def _next_try_s(self) -> float | None:
        """Seconds until time alone gives the deliverer something to do; None: only a change can."""
        if self._unfinished is not None:
            return 0.0
        due_at = self.inbox.due_at()
        if due_at is None or self.hold or not self._observer.state.typable:
            return None
        limit, now = self._observer.state.limit, time.time()
        if limit is not None and limit.holds(now):
            return min(limit.resets_at - now, _CLOCK_LOOK_S)
        return max(due_at, self._gate.retry_at) - time.monotonic()

    def _held_because(self) -> str:
        """Why what is queued needs a decision of somebody; empty when it only waits for the end of a turn."""
        if not self._observer.state.typable:
            self._unsafe = ""
        limit = self._observer.state.limit
        limited = limit.in_words if limit is not None and limit.holds(time.time()) else ""
        return asks_for_permission(self._observer.state) or self.hold or limited or self._unsafe

    async def _deliver_if_safe(self) -> None:
        """Delivers the next batch, which is due, if typing is safe now; otherwise notes why it is not."""
        verdict = await self._gate.look(self._attach())
        if not verdict.open:
            if not (self._may_have_come_back and await self._clear_what_came_back(verdict)):
                self._unsafe = verdict.reason or self._unsafe
            return
        self._unsafe = ""
        if batch := self.inbox.take(time.monotonic(), self._alone):
            await self._deliver(batch, verdict.last_key)

    async def _clear_what_came_back(self, verdict: GateVerdict) -> bool:
        """What an interrupt has put back into the input box would hold up messages. Any other draft is a person's.

        Whether it was cleared just now, for the first time: a busy agent draws that seconds later.
        """
        if not self._is_ours(verdict.screen):
            return False
        if time.monotonic() >= self._clear_again_at and not self.typing.locked():
            if verdict.last_key is None or verdict.last_key.drawn_in_s(time.time()):
                return False
            async with self.typing:
                with suppress(TerminalError):  # the next look says what is wrong
                    if await self._pane.press("C-c", verdict.last_key):
                        self._clears += 1
                        self._clear_again_at = time.monotonic() + CLEAR_AGAIN_S
        return self._clears == 1

    def _attach(self) -> str:
        first = next(iter(self.inbox), None) or next(iter(self._underway), None)
        return f"run phalanx attach {first.instance_id}" if first else "attach"

    async def _deliver(self, batch: tuple[Message, ...], after: LastKey | None) -> None:
        self._underway = batch
        try:
            entry = self._receipts.begin(batch, paste_name())
        except OSError as error:
            self._put_back(batch)
            self._unsafe = f"what is typed cannot be noted in the instance's directory: {error.strerror}"
            self._gate.shut()
            return
        self._observer.evidence.begin(batch)
        self._runner = self._runner_of(entry)
        await self._carry_out(entry, self._runner.begin(after))

    def _runner_of(self, entry: JournalEntry) -> DeliveryRunner:
        return DeliveryRunner(
            self._pane,
            self._observer,
            self._changes,
            self._receipts,
            self.typing,
            self._lease,
            entry,
            self._attach(),
        )

    async def _resume(self, entry: JournalEntry) -> None:
        """Goes on with a batch that was being pasted when its deliverer was killed or tmux did not answer."""
        try:
            was_pasted = await self._pane.has_pasted(entry.paste)
        except TerminalError as error:
            self._unanswered.met(error)
            await self._changes.next(LONGEST_RETRY_S)
            return
        self._unanswered.over()
        self._unfinished = None
        if not was_pasted:
            self._put_back(entry.messages)
            return
        self._runner = self._runner_of(entry)
        await self._carry_out(entry, self._runner.resume())

    async def _carry_out(self, entry: JournalEntry, delivery: Awaitable[End]) -> None:
        self._typed, self._may_have_come_back = entry.messages, False
        try:
            end = await delivery
        except TerminalError as error:
            self._receipts.hold(
                entry.messages, f"tmux did not say whether it has pasted, which is looked into: {error}"
            )
            self._unfinished = entry
            await self._changes.next(LONGEST_RETRY_S)
            return
        if isinstance(end, Finish):  # before the receipts, which carry the counts
            self.batches += 1
            self.delivered += len(entry.messages)
        arrived = [message for message in entry.messages if self._observer.evidence.has(message.id)]
        self._receipts.settle(arrived, MessageStatus.SUBMITTED)
        left = tuple(message for message in entry.messages if message not in arrived)
        match end:
            case NotLanded(reason):
                self._put_back(left)
                if reason:
                    self._gate.shut()  # it says so itself as long as that lasts
                else:
                    self._in_vain += 1
                    self._unsafe = _in_vain(self._in_vain)
            case PromptRejected() if len(left) > 1:  # which of several was the reason shows when each goes alone
                self._in_vain = 0
                self._alone.update(message.id for message in left)
                self._put_back(left)
            case PromptRejected(reason):
                self._ended(entry)
                self._receipts.settle(left, MessageStatus.FAILED, reason)
            case Finish(status, reason):
                self._ended(entry)
                if status is MessageStatus.SUBMITTED or not self._observer.coming_back:
                    self._receipts.settle(left, status, reason)

    def _ended(self, entry: JournalEntry) -> None:
        self._in_vain = 0
        self._underway = ()
        self._alone.difference_update(message.id for message in entry.messages)

    def _put_back(self, batch: tuple[Message, ...]) -> None:
        self._underway = ()
        self._receipts.typed_in_vain(batch)
        self.inbox.put_back(batch)

    def _give_up(self) -> None:
        if self._observer.coming_back:
            return  # the supervisor hands what is pending to the agent's next life
        left, self._underway, self._unfinished = self._underway, (), None
        certain = self._observer.conversation.is_open
        self._receipts.settle(left, MessageStatus.FAILED if certain else MessageStatus.UNCONFIRMED, self._why_not())
        self._receipts.settle(self.inbox.drain(), MessageStatus.FAILED, self._why_not())

    def _why_not(self) -> str:
        return f"not delivered: {self._observer.state.reason or 'the instance was stopped'}"


def _in_vain(times: int) -> str:
    """Once may be a person's doing."""
    return "" if times < 2 else f"it was pasted {times} times, but did not stay in the agent's input box"


class LookClock:
    """Seconds, of which those do not count in which nothing could be seen: while the machine was suspended or stalled
    all stood still, and what was typed before is on its way."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._read_at = time.monotonic()

    def read(self) -> float:
        now = time.monotonic()
        self._seconds += min(now - self._read_at, _LONGEST_PAUSE_S)
        self._read_at = now
        return self._seconds


class DeliveryRunner:
    """Performs on a pane the acts of one delivery and feeds back their outcome, until the delivery ends.

    ``typing`` is held while keys go to the pane, so that no two key sequences mix. It is not held while a resumed
    delivery only looks, nor during the wait for a proof or for an obstacle to go: ``respond`` or ``interrupt`` may have
    to remove the obstacle. Before the next key comes a fresh look.
    """

    def __init__(
        self,
        pane: Pane,
        observer: Observer,
        changes: ChangeNotifier,
        receipts: ReceiptLog,
        typing: asyncio.Lock,
        lease: Lease,
        entry: JournalEntry,
        attach: str,
    ) -> None:
        """``attach`` is what a person does to see the pane."""
        paste = compose(entry.messages)
        self._pane = pane
        self._observer = observer
        self._changes = changes
        self._receipts = receipts
        self._typing = typing
        self._lease = lease
        self._entry = entry
        self._parts = parts_of(paste)
        self._ids = ids_in(paste)
        self._delivery = Delivery(PATIENCE_S, SETTLE_S + len(paste.encode()) / _SETTLE_BYTES_PER_S, attach)
        self._clock = LookClock()
        self._schedule: LookSchedule | None = None
        self._growth = GrowthWatch(self._read_transcript)
        self._interrupted = False
        self._last_key: LastKey | None = None
        """The last one of a person before the latest look; None when there was no look since the lock was taken."""
        self._drawn_in_s = 0.0
        """How long after that look the screen showed all keys of people."""
        self._unseen = LastingProblem(logger, "tmux did not do what a delivery needs, which looks again")

    def interrupted(self) -> None:
        """The turn that has just begun was stopped on purpose. What had not begun one is entered later."""
        if self._delivery.taken:
            self._interrupted = True
            self._changes.announce()

    async def begin(self, after: LastKey | None) -> End:
        """``after``: the last key of a person before the look in answer to which is pasted.

        Raises ``TerminalError`` when tmux does not say whether it has pasted.
        """
        return await self._perform(self._delivery.begin(), after)

    async def resume(self) -> End:
        """For a batch that was pasted before."""
        return await self._perform(self._delivery.resume(self._clock.read()), None)

    async def _perform(self, act: Act, after: LastKey | None) -> End:
        async with AsyncExitStack() as keys:
            drawing = keys.enter_context(ExitStack())
            with closing(self._growth):
                typing = False
                held = ""
                while not isinstance(act, End):
                    if not typing and not isinstance(act, Look):
                        await keys.enter_async_context(self._typing)
                        typing = True
                        self._last_key, self._drawn_in_s = after if isinstance(act, Paste) else None, 0.0
                    if isinstance(act, PressEnter | Clear) and (self._last_key is None or self._drawn_in_s):
                        act = Look(self._drawn_in_s, held)  # what was seen before may be gone by now
                    if isinstance(act, Paste):
                        drawing.enter_context(self._drawing())
                    elif isinstance(act, PressEnter):
                        drawing.close()
                    elif isinstance(act, Look):
                        held = act.held
                    stimulus = await self._do(act)
                    act = self._delivery.handle(stimulus, self._clock.read())
                    at_work = isinstance(stimulus, Saw) and stimulus.screen.busy
                    if typing and isinstance(act, Look) and (act.held or self._delivery.taken or at_work):
                        await keys.aclose()
                        typing = False
        return act

    def _read_transcript(self) -> None:
        self._observer.read_transcript()
        self._changes.announce()

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Inside, a look is due when the agent has drawn, which may be the draft."""

        def note() -> None:
            schedule.drawn(time.monotonic())
            self._changes.announce()

        schedule = LookSchedule(told=True)
        schedule.looked(time.monotonic(), time.monotonic())
        with self._pane.drawing(note) as told:
            self._schedule = schedule if told else None
            try:
                yield
            finally:
                self._schedule = None

    async def _do(self, act: Act) -> Stimulus:
        try:
            match act:
                case Paste() | PressEnter() | Clear() if barred := self._barred():
                    return barred
                case Paste():
                    return await self._paste()
                case PressEnter() | Clear():
                    return await self._press(act)
                case Look(after_s, held):
                    self._receipts.hold(self._entry.messages, held)
                    return await self._proof_or_look(after_s)
                case _:
                    raise AssertionError("a finished delivery has no act left")
        except TerminalError as error:
            if isinstance(error, PaneGoneError) and not isinstance(error, SocketGoneError):
                return await self._lost(str(error), typed=self._delivery.typed)
            if isinstance(act, Paste):
                raise
            self._unseen.met(error)
            return Saw(Screen(composer=Composer.ABSENT))

    async def _paste(self) -> Stimulus:
        try:
            self._last_key = await self._pane.paste(self._parts, self._entry.paste, self._last_key)
        except ValueError as error:
            return Lost(f"it cannot be typed: {error}", typed=False)
        return Barred(SOMEBODY_TYPES) if self._last_key is None else Done(Paste())

    def _barred(self) -> Barred | None:
        """Why no key may go to the pane now, by what is known without its screen; None when keys may."""
        self._observer.read_spool()
        if not self._lease.held:
            return Barred(CUT_OFF, may_pass=True)
        reason = asks_for_permission(self._observer.state)
        return Barred(reason) if reason else None

    async def _press(self, act: PressEnter | Clear) -> Stimulus:
        enters = isinstance(act, PressEnter)
        if enters and self._is_proved():
            return Proved()
        if await self._pane.press("Enter" if enters else "C-c", self._last_key):
            return Done(act)
        # Somebody has pressed a key since the last look, so ours was not.
        return await self._proof_or_look(0.0)

    async def _proof_or_look(self, after_s: float) -> Stimulus:
        await self._wait(lambda: self._told() is not None or not self._observer.alive, after_s)
        self._observer.read_transcript()
        if (stimulus := self._told()) is not None:
            self._interrupted = False
            return stimulus
        if not self._observer.alive:
            return await self._lost(f"the agent ended meanwhile: {self._observer.state.reason}", typed=True)
        began, began_at = time.monotonic(), time.time()
        try:
            screen, self._last_key = await self._observer.look_before_typing()
        finally:
            if self._schedule is not None:
                self._schedule.looked(began, time.monotonic())
        self._drawn_in_s = self._last_key.drawn_in_s(began_at)
        self._unseen.over()
        draft = compare_draft(screen.draft, self._parts, scrolled=screen.scrolled)
        return Saw(screen, draft, reported=self._observer.evidence.is_reported(self._ids))

    def _told(self) -> Stimulus | None:
        """The proof or refusal in the agent's own records, or an interruption."""
        if self._is_proved():
            return Proved()
        if (reason := self._observer.evidence.refusal(self._ids)) and not self._delivery.refused:
            return Refused(reason)
        return Interrupted() if self._interrupted else None

    async def _wait(self, settled: Callable[[], bool], after_s: float) -> None:
        if self._schedule is None:
            self._growth.follow(self._observer.conversation.path)
            await self._changes.until(settled, after_s)
            return
        while not settled() and (left_s := self._schedule.due_at - time.monotonic()) > 0:
            await self._changes.next(left_s)

    async def _lost(self, reason: str, *, typed: bool) -> Stimulus:
        """An agent that has ended writes no more: what its transcript does not show by now is not in it."""
        await self._changes.until(lambda: not self._observer.alive, _LAST_WORDS_S)
        self._observer.read_transcript()
        if self._is_proved():
            return Proved()
        certain = not self._observer.alive and self._observer.conversation.is_open
        return Lost(reason, typed=typed and not certain)

    def _is_proved(self) -> bool:
        return self._observer.evidence.has_all(message.id for message in self._entry.messages)


class TypingGate:
    """Says whether it is safe to begin typing into an agent's pane, and when to look again if it is not.

    The deliverer asks before each batch. The gate is open only between turns, when a fresh look shows an empty input
    box and no dialog, and when no person has pressed a key at the terminal for so long that it would show. ``retry_at``
    is when another look is worth while, in seconds of the monotonic clock.
    """

    def __init__(self, observer: Observer, lease: Lease) -> None:
        self._observer = observer
        self._lease = lease
        self._shut_since: float | None = None
        self._draft = ""
        self._drafted_since = 0.0
        self.retry_at = 0.0

    async def look(self, attach: str) -> GateVerdict:
        """``attach`` is what a person does to see the pane."""
        if not self._lease.held:
            # An actor that was just made has none before the supervisor has confirmed an answer of it.
            return GateVerdict(open=False, reason=CUT_OFF if self.shut() >= REDRAW_S else "")
        last_key, began_at = None, time.time()
        try:
            screen, last_key = await self._observer.look_before_typing()
            reason = self._unsafe(screen, attach)
            if not reason and last_key.drawn_in_s(began_at):
                reason = SOMEBODY_TYPES
        except TerminalError as error:
            screen, reason = Screen(composer=Composer.ABSENT), f"the screen cannot be read: {error}"
        if screen.busy:  # the end of a turn is drawn a moment after its event
            self.shut()
            return GateVerdict(open=False, screen=screen, last_key=last_key)
        if reason:
            lasting_s = _TYPING_S if reason == SOMEBODY_TYPES else REDRAW_S
            told = reason if self.shut() >= lasting_s else ""
            return GateVerdict(open=False, reason=told, screen=screen, last_key=last_key)
        self._shut_since = None
        return GateVerdict(open=True, screen=screen, last_key=last_key)

    def shut(self) -> float:
        """Typing cannot begin now. Returns for how many seconds that has been so."""
        now = time.monotonic()
        self._shut_since = now if self._shut_since is None else self._shut_since
        shut_s = now - self._shut_since
        self.retry_at = now + min(max(shut_s / 2, _SHORTEST_RETRY_S), LONGEST_RETRY_S)
        return shut_s

    def _unsafe(self, screen: Screen, attach: str) -> str:
        if screen.dialog:
            return f"a dialog is up in the agent's pane: {attach}, and answer it"
        if screen.composer is Composer.DRAFT:
            return self._about_draft(screen.draft, attach)
        if screen.composer is Composer.ABSENT:
            return f"the agent's input box is not visible: {attach} shows what is there"
        if not self._observer.state.typable:
            return "the agent has just begun a turn"
        return ""

    def _about_draft(self, draft: str, attach: str) -> str:
        """It is quoted when it stands still: while somebody types each look would give other words."""
        now = time.monotonic()
        if draft != self._draft:
            self._draft, self._drafted_since = draft, now
        if now - self._drafted_since < REDRAW_S:
            return "someone is typing in the agent's input box"
        return f"{quoted(draft)} stands in the agent's input box: {attach}, and send or delete it"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    open: bool
    reason: str = ""
    """Why it is shut; empty while that may only be the end of a turn being drawn."""
    screen: Screen = field(default_factory=lambda: Screen(composer=Composer.ABSENT))
    last_key: LastKey | None = None
    """The last one that a person had pressed before the look; None when it is not known."""


def asks_for_permission(state: InstanceState) -> str:
    """In words what the agent waits for a decision on, so that no key may go to its pane; empty when it does not."""
    if state.status is not Status.WAITING_PERMISSION:
        return ""
    tool = state.permissions[0].tool if state.permissions else "a tool"
    return f"the agent waits for permission to use {tool}: answer it with respond"


def _since_boot_s() -> float:
    """Of the clock that goes on while the machine is suspended, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """Says whether an instance on another host than the supervisor's may still type.

    When a host is cut off, its instances are started again elsewhere after a while. The copy there must not type a
    message that the other one gets as well. Each answer to the supervisor renews the lease, as soon as the supervisor
    says that it has the answer, and from when the answer was given: what the supervisor says may be on its way for
    long. So the supervisor knows when the lease has run out: it lasts from no later than when it heard of the instance
    last. Without a lease nothing is typed. It runs out also while its machine is suspended.
    """

    def __init__(self, lasts_s: float, clock: Callable[[], float] = _since_boot_s) -> None:
        """``lasts_s`` 0: for ever."""
        self._lasts_s = lasts_s
        self._clock = clock
        self._answers = 0
        self._answered_at: dict[int, float] = {}
        """By the number of each answer that was not confirmed yet."""
        self._renewed_at = -math.inf

    def answered(self) -> int:
        """Notes that an answer is given now; returns its number, which is above 0."""
        self._answers += 1
        self._answered_at[self._answers] = self._clock()
        return self._answers

    def confirm(self, number: int) -> None:
        """The supervisor has this answer. No-op when that, or that it has a later one, is known already."""
        if number in self._answered_at:
            self._renewed_at = self._answered_at[number]
            self._answered_at = {each: at for each, at in self._answered_at.items() if each > number}

    @property
    def held(self) -> bool:
        return not self._lasts_s or self._clock() - self._renewed_at < self._lasts_s
