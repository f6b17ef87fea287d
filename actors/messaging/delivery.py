"""The state machine of one delivery; pure: stimuli in, the next act out.

One delivery brings one batch into the conversation. The courier performs the acts and feeds back what came of them.
A delivery whose paste was done by an actor that is gone is resumed: how far it came is not known, so looks decide.
Guarantees, whatever the order of stimuli:

- ``Paste`` is asked for at most once per delivery, and never by one that was resumed. That one ends with ``NotLanded``
  when the evidence says that nothing landed; only then may another delivery paste the batch again.
- ``PressEnter`` is asked for only in answer to a look that showed our draft in the composer and no dialog; once the
  composer was empty after an Enter, what stands in it is somebody else's.
- ``Finish`` with SUBMITTED only after proof from the agent's own record.
- A dialog stops everything but looking; the patience does not run meanwhile.

::

    PASTE ──pasted──▶ DRAFT ──draft seen: Enter──▶ PROOF ──proof──▶ submitted
                        │ never seen                │ draft still there: Enter again
                        └─▶ unconfirmed             └ gone, or patience ends ─▶ unconfirmed

    resumed ─────▶ SEARCH ──our draft seen: Enter──▶ PROOF (as above)
                      │ empty, idle and without proof for the settle time
                      └─▶ not landed
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from actors.agents.base import Composer, Screen
from actors.messages import MessageStatus

FIRST_LOOK_S = 0.02
"""A paste is on the screen within 10 to 30 ms."""
PROOF_LOOK_S = 0.3
"""The agent's hook follows Enter within 60 to 190 ms; an Enter pressed again before is only a surplus one."""
LONGEST_LOOK_S = 1.0
REDRAW_S = 1.0
"""For so long an input box that cannot be made out is only being drawn anew."""


@dataclass(frozen=True, slots=True)
class Paste:
    """Paste the batch, then feed ``Pasted``."""


@dataclass(frozen=True, slots=True)
class PressEnter:
    """Press Enter, then feed ``Pressed``."""


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


Act = Paste | PressEnter | Look | Finish | NotLanded


@dataclass(frozen=True, slots=True)
class Pasted:
    pass


@dataclass(frozen=True, slots=True)
class Pressed:
    pass


@dataclass(frozen=True, slots=True)
class Saw:
    screen: Screen
    foreign: bool = False
    """The draft shows nothing of the batch. Asked of a resumed delivery only."""


@dataclass(frozen=True, slots=True)
class Proved:
    """The agent's own record shows the whole batch."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The agent or its pane is gone, or the paste itself failed."""

    reason: str
    typed: bool
    """Part of the text may have reached the agent."""


Stimulus = Pasted | Pressed | Saw | Proved | Lost


class _Phase(Enum):
    PASTE = auto()
    DRAFT = auto()
    SEARCH = auto()
    PROOF = auto()
    DONE = auto()


class Delivery:
    """``begin`` gives the first act; each later act answers a stimulus. Times are seconds of any monotonic clock."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._phase = _Phase.PASTE
        self._waited_since = 0.0
        self._look_s = FIRST_LOOK_S
        self._unsafe_since: float | None = None
        self._taken = False
        self._settle_s = 0.0

    def begin(self) -> Act:
        return Paste()

    def resume(self, settle_s: float, now: float) -> Act:
        """Instead of ``begin``, for a paste that was done before: what became of it shows within ``settle_s``."""
        self._settle_s = settle_s
        return self._enter(_Phase.SEARCH, now, 0.0)

    @property
    def typed(self) -> bool:
        """The text may be in the agent's composer or beyond."""
        return self._phase in (_Phase.DRAFT, _Phase.SEARCH, _Phase.PROOF)

    def handle(self, stimulus: Stimulus, now: float) -> Act:
        match stimulus:
            case Proved():
                return self._finish(MessageStatus.SUBMITTED)
            case Lost(reason, typed):
                return self._finish(MessageStatus.UNCONFIRMED if typed else MessageStatus.FAILED, reason)
            case Pasted():
                return self._enter(_Phase.DRAFT, now, FIRST_LOOK_S)
            case Pressed():
                again = self._phase is _Phase.PROOF
                return self._look_again() if again else self._enter(_Phase.PROOF, now, PROOF_LOOK_S)
            case Saw(screen, foreign):
                return self._after_look(screen, foreign, now)

    def _after_look(self, screen: Screen, foreign: bool, now: float) -> Act:
        if screen.dialog or screen.composer is Composer.ABSENT:
            return self._hold(screen, now)
        self._unsafe_since = None
        if self._phase is _Phase.SEARCH:
            return self._search(screen, foreign, now)
        self._taken = self._taken or (self._phase is _Phase.PROOF and screen.composer is Composer.EMPTY)
        if screen.composer is Composer.DRAFT and not self._taken and now - self._waited_since < self._patience_s:
            return PressEnter()
        if screen.busy:
            self._waited_since = now
        if now - self._waited_since >= self._patience_s:
            return self._finish(MessageStatus.UNCONFIRMED, self._doubt(screen))
        return self._look_again()

    def _search(self, screen: Screen, foreign: bool, now: float) -> Act:
        if screen.composer is Composer.DRAFT and not foreign:
            return PressEnter()
        if screen.composer is Composer.DRAFT or screen.busy:
            self._waited_since = now
            return self._look_again(held="someone is typing in the agent's input box" if foreign else "")
        if now - self._waited_since >= self._settle_s:
            self._phase = _Phase.DONE
            return NotLanded()
        return self._look_again()

    def _hold(self, screen: Screen, now: float) -> Act:
        self._waited_since = now
        self._unsafe_since = now if self._unsafe_since is None else self._unsafe_since
        if screen.dialog:
            return self._look_again(held="a dialog is up")
        redrawing = now - self._unsafe_since < REDRAW_S
        return self._look_again(held="" if redrawing else "the agent's input box is not visible")

    def _doubt(self, screen: Screen) -> str:
        if screen.composer is Composer.DRAFT and not self._taken:
            return f"it stands in the agent's input box, but Enter was not taken for {self._patience_s:.0f} s"
        if self._phase is _Phase.DRAFT:
            return "it was pasted, but never appeared in the agent's input box"
        return f"it was entered, but the agent's record has not shown it for {self._patience_s:.0f} s"

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
