"""The state machine of one delivery; pure: stimuli in, the next act out.

One delivery brings one batch into the conversation. The deliverer performs the acts and feeds back what came of them.
A delivery whose paste was done by an actor that is gone is resumed: how far it came is not known, so looks decide.
Guarantees, whatever the order of stimuli, also while a person types:

- ``Paste`` is asked for at most once per delivery, and never by one that was resumed. ``NotLanded`` ends a delivery of
  which surely nothing is left, neither in the conversation nor on its way there; only then may another one paste.
- ``PressEnter`` is asked for only in answer to a look that showed our draft, whole and nothing else, and no dialog.
  Once an event has reported the draft, one that stands there again was taken back by somebody and is theirs to send.
- ``Clear`` is asked for only in answer to such a look, of a prompt that the agent's own record shows as refused.
- ``Finish`` with SUBMITTED only after proof from the agent's own record.
- A dialog, a draft that is not ours, or whatever bars the keys (``Barred``) stops everything but looking; the patience
  does not run meanwhile.

::

    PASTE ──pasted──▶ BOX ──our draft seen: Enter──▶ ENTERED ──proof──▶ submitted
    resumed ─────────▶ │                                │ our draft still there: Enter again
                       │                                │ taken back, then deleted ─▶ not landed
                       │                                └ gone, and no proof for the patience ─▶ unconfirmed
                       └ empty, idle and without proof for the settle time ─▶ not landed

    PASTE ──barred──▶ not landed

    any ──refused by the agent──▶ REFUSED ──our draft seen: clear it; box empty──▶ refused
    any ──interrupted──▶ proof, or failed
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from actors.agents.base import Composer, Dialog, Screen
from actors.instance.evidence import DraftMatch, quoted
from actors.messages import MessageStatus

FIRST_LOOK_S = 0.02
"""A paste is on the screen within 10 to 30 ms."""
PROOF_LOOK_S = 0.3
"""The agent's hook follows Enter within 20 to 190 ms; an Enter pressed again before is only a surplus one."""
ENTER_AGAIN_S = 2.0
"""An agent that has much to do may still take the first Enter; what stands in its box then, perhaps a draft that a
person had stashed, a second one would submit."""
LONGEST_LOOK_S = 1.0
REDRAW_S = 1.0
"""For so long what stands in the way may only be a screen that is being drawn anew."""
DIALOG_S = 0.3
"""So long a half-drawn screen may look like a dialog, as after a person has resized the terminal."""
TAKEN_S = 5.0
"""For so long what an event has reported may still stand in the box: Claude clears it when all hooks have ended."""
INTERRUPTED_S = 2.0
"""What was taken before an interrupt is written by then."""
_CLEARS = 3
CLEAR_AGAIN_S = 5.0
"""The key that clears the input box ends the agent when it comes again within a second; a screen may be that late."""
_ENTERS = 8
"""So many Enters in a row; after that one each time the patience has passed."""
_DIALOG_CHARS = 80


@dataclass(frozen=True, slots=True)
class Paste:
    """Paste the batch, then feed ``Done``."""


@dataclass(frozen=True, slots=True)
class PressEnter:
    """Press Enter, then feed ``Done``."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Clear the input box, then feed ``Done``."""


@dataclass(frozen=True, slots=True)
class Look:
    """Wait ``after_s`` seconds for proof, then capture the screen and feed ``Saw``."""

    after_s: float
    held: str = ""
    """Why the message is held back meanwhile; empty when it is not."""


@dataclass(frozen=True, slots=True)
class Finish:
    status: MessageStatus
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NotLanded:
    """Nothing of the batch reached the conversation or stands before it: it may be pasted again."""

    reason: str = ""
    """Why it was not pasted at all; empty when it was."""


@dataclass(frozen=True, slots=True)
class PromptRejected:
    """The agent has refused the prompt, and nothing is left of it: a message alone failed, several go one by one."""

    reason: str


Act = Paste | PressEnter | Clear | Look | Finish | NotLanded | PromptRejected
End = Finish | NotLanded | PromptRejected


@dataclass(frozen=True, slots=True)
class Done:
    act: Paste | PressEnter | Clear


@dataclass(frozen=True, slots=True)
class Barred:
    """The act was not done: no key may go to the pane now, for a reason that the screen does not show."""

    reason: str
    may_pass: bool = False
    """It may be over in a moment by itself, so it is told only when it lasts."""


@dataclass(frozen=True, slots=True)
class Saw:
    screen: Screen
    draft: DraftMatch = DraftMatch.OTHER
    """What stands in the input box of the batch."""
    reported: bool = False
    """An event has told that the agent is about to take the batch as a prompt."""


@dataclass(frozen=True, slots=True)
class Proved:
    """The agent's own record shows the whole batch."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The agent's own record says that the prompt was refused."""

    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The agent's turn was stopped on purpose, and what it took back was cleared."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The agent or its pane is gone, or the paste itself failed."""

    reason: str
    typed: bool
    """Part of the text may have reached the agent."""


Stimulus = Done | Barred | Saw | Proved | Refused | Interrupted | Lost


class _Phase(Enum):
    PASTE = auto()
    BOX = auto()
    ENTERED = auto()
    REFUSED = auto()
    DONE = auto()


class Delivery:
    """``begin`` gives the first act; each later act answers a stimulus. Times are seconds of any monotonic clock.

    ``settle_s``: what becomes of a paste shows within that time. ``attach`` is what a person does to see the pane.
    """

    def __init__(self, patience_s: float, settle_s: float, attach: str) -> None:
        self._patience_s = patience_s
        self._settle_s = settle_s
        self._attach = attach
        self._phase = _Phase.PASTE
        self._waited_since = 0.0
        self._look_s = FIRST_LOOK_S
        self._in_the_way_since: float | None = None
        self._reported_since: float | None = None
        self._enters = 0
        self._entered_at = 0.0
        self._emptied = False
        self._taken_back = False
        self._interrupted = False
        self._refusal = ""
        self._clears = 0
        self._clear_again_at = 0.0

    def begin(self) -> Act:
        return Paste()

    def resume(self, now: float) -> Act:
        """Instead of ``begin``, for a paste that was done before."""
        return self._enter(_Phase.BOX, now, 0.0)

    @property
    def typed(self) -> bool:
        """The text may be in the agent's composer or beyond."""
        return self._phase in (_Phase.BOX, _Phase.ENTERED, _Phase.REFUSED)

    @property
    def taken(self) -> bool:
        """The agent has taken the draft as a prompt: no key of ours is needed as things stand."""
        return self._reported_since is not None or self._emptied

    @property
    def refused(self) -> bool:
        return bool(self._refusal)

    def handle(self, stimulus: Stimulus, now: float) -> Act:
        match stimulus:
            case Proved():
                return self._finish(MessageStatus.SUBMITTED)
            case Lost(reason, typed):
                return self._finish(MessageStatus.UNCONFIRMED if typed else MessageStatus.FAILED, reason)
            case Done(act):
                return self._after_act(act, now)
            case Barred(reason) if self._phase is _Phase.PASTE:
                self._phase = _Phase.DONE
                return NotLanded(reason)
            case Barred(reason, may_pass):
                return self._hold(reason, now, after_s=REDRAW_S if may_pass else 0.0)
            case Refused(reason):
                self._refusal = reason
                return self._enter(_Phase.REFUSED, now, 0.0)
            case Interrupted():
                self._interrupted, self._waited_since = True, now
                return self._look_again()
            case Saw():
                return self._after_look(stimulus, now)

    def _after_act(self, act: Paste | PressEnter | Clear, now: float) -> Act:
        match act:
            case Paste():
                return self._enter(_Phase.BOX, now, FIRST_LOOK_S)
            case PressEnter():
                self._enters, self._entered_at, self._in_the_way_since = self._enters + 1, now, None
                again = self._phase is _Phase.ENTERED
                return self._look_again() if again else self._enter(_Phase.ENTERED, now, PROOF_LOOK_S)
            case Clear():
                self._clears, self._clear_again_at, self._waited_since = self._clears + 1, now + CLEAR_AGAIN_S, now
                return Look(FIRST_LOOK_S)

    def _after_look(self, saw: Saw, now: float) -> Act:
        screen = saw.screen
        if saw.reported and self._reported_since is None:
            self._reported_since = self._waited_since = now
        if self._interrupted:
            return self._after_interrupt(now)
        if screen.dialog or screen.composer is Composer.ABSENT:
            return self._hold(_in_the_way(screen.dialog), now, after_s=DIALOG_S if screen.dialog else REDRAW_S)
        if self._phase is _Phase.REFUSED:
            return self._after_refusal(saw, now)
        if screen.composer is Composer.EMPTY:
            return self._after_empty_box(screen, now)
        return self._after_our_draft(screen, now) if saw.draft is DraftMatch.WHOLE else self._after_a_draft(saw, now)

    def _after_our_draft(self, screen: Screen, now: float) -> Act:
        if self._reported_since is not None:
            return self._after_it_came_back(screen, now)
        self._emptied = self._taken_back = False  # it was only queued behind what a person had begun, or drawn anew
        if 0 < self._enters < _ENTERS and now - self._entered_at < ENTER_AGAIN_S:
            return self._look_again()
        if self._enters < _ENTERS or now - self._entered_at >= self._patience_s:
            return PressEnter()
        return self._hold(f"it stands in the agent's input box, which takes no Enter: {self._free()}", now)

    def _after_it_came_back(self, screen: Screen, now: float) -> Act:
        still_drawn = self._reported_since is not None and (screen.busy or now - self._reported_since < TAKEN_S)
        if still_drawn and not self._emptied and not self._taken_back:
            return self._look_again()
        self._taken_back = True
        return self._hold(f"the agent has given it back into its input box: {self._free()}", now)

    def _after_a_draft(self, saw: Saw, now: float) -> Act:
        if self.taken and saw.draft is DraftMatch.WITH_MORE:
            return self._after_it_came_back(saw.screen, now)
        if self.taken and not self._taken_back:  # the next prompt of a person: it is in nobody's way
            return self._await_proof(saw.screen, now)
        return self._hold(f"{quoted(saw.screen.draft)} stands in the agent's input box: {self._free()}", now)

    def _free(self) -> str:
        return f"{self._attach}, and send or delete it"

    def _after_empty_box(self, screen: Screen, now: float) -> Act:
        self._in_the_way_since = None
        if not self._emptied and (self._phase is _Phase.ENTERED or self._reported_since is not None):
            self._emptied, self._waited_since = True, now
        if self.taken and not self._taken_back:
            return self._await_proof(screen, now)
        if screen.busy:
            self._waited_since = now
        if now - self._waited_since >= self._settle_s:
            self._phase = _Phase.DONE
            return NotLanded()
        return self._look_again()

    def _await_proof(self, screen: Screen, now: float) -> Act:
        if screen.busy:
            self._waited_since = now
        if now - self._waited_since >= self._patience_s:
            doubt = f"it was entered, but the agent's record has not shown it for {self._patience_s:.0f} s"
            return self._finish(MessageStatus.UNCONFIRMED, doubt)
        return self._look_again()

    def _after_refusal(self, saw: Saw, now: float) -> Act:
        ours = saw.draft is DraftMatch.WHOLE and saw.screen.composer is Composer.DRAFT
        if ours and self._clears < _CLEARS:
            return Clear() if now >= self._clear_again_at else self._look_again()
        if now - self._waited_since < REDRAW_S:  # newer versions put it back into the box
            return self._look_again()
        self._phase = _Phase.DONE
        return PromptRejected(self._refusal)

    def _after_interrupt(self, now: float) -> Act:
        if now - self._waited_since < INTERRUPTED_S:
            return self._look_again()
        return self._finish(MessageStatus.FAILED, "the turn was stopped before the agent had written it down")

    def _hold(self, words: str, now: float, *, after_s: float = REDRAW_S) -> Act:
        self._waited_since = now
        self._in_the_way_since = now if self._in_the_way_since is None else self._in_the_way_since
        lasting = now - self._in_the_way_since >= after_s
        return self._look_again(held=words if lasting else "")

    def _enter(self, phase: _Phase, now: float, look_s: float) -> Act:
        self._phase = phase
        self._waited_since = now
        self._look_s = look_s
        return Look(look_s)

    def _look_again(self, held: str = "") -> Act:
        self._look_s = min(max(self._look_s, FIRST_LOOK_S) * 1.5, LONGEST_LOOK_S)
        return Look(self._look_s, held)

    def _finish(self, status: MessageStatus, reason: str = "") -> Act:
        self._phase = _Phase.DONE
        return Finish(status, reason)


def _in_the_way(dialog: Dialog | None) -> str:
    if dialog is None:
        return "the agent's input box is not visible"
    which = dialog.kind or dialog.question.partition("\n")[0][:_DIALOG_CHARS]
    return f"a dialog is up: {which}" if which else "a dialog is up"
