"""The status of an instance, derived from five sources of evidence; pure.

No source tells everything about an agent. Process, events and screen are needed; the requests that wait and the status
file are for programs that have them, and each may be missing in some version. The events come from the spool; of Claude
Code its hooks write them.

=================  ================================  ==============================  ===============================
source             proves                            only suggests                   is silent or wrong
=================  ================================  ==============================  ===============================
process            that the agent has ended          --                              --
request that       while it waits: that a tool call  that its dialog is up (one of   waits on when a person has
waits              waits for a decision              a subagent in the background    answered the dialog
                                                     is drawn after the wait ends)
events of turns    that a turn began, used a tool,   that the box is free; that a    when a person pressed Escape;
                   ended or failed                   prompt was taken (it may be     when the program writes none
                                                     blocked or taken back)
the program's own  ``waiting``: a dialog is up;      ``busy``: a turn, or only       while our wait holds back the
status file        ``idle``: no turn, no subagent    subagents in the background     dialog of a subagent
screen             that a dialog or the input box    that a turn is under way; that  while it is drawn; when a view
                   is drawn                          nothing waits                   or setting hides the signs
=================  ================================  ==============================  ===============================

The verdict is the first of these that holds: the process has ended; a permission request waits; the file or the screen
shows a dialog; events began a turn and nothing showed its end; file or screen show work; the input box cannot be seen.
Otherwise the agent is ready. Evidence against the events must last ``SETTLE_S``, because they come first. The screen
ends a request only after its dialog was seen and is gone, and never the request of a subagent.

The transcript is not used for status: it proves what arrived (see ``actors.instance.evidence``). Times are seconds of a
monotonic clock.

::

    starting ──box drawn──▶ ready ──prompt──▶ busy ──answer──▶ ready
                                              busy ──asks──▶ waiting_permission ──decided──▶ busy
                                              busy ──limit──▶ rate_limited ──prompt──▶ busy
    ready, busy ──something else asks a person──▶ waiting_input ──answered──▶ ready, busy
    any ──process ends──▶ stopped (asked for) or failed (not asked for)
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from actors.agents.base import AgentEvent, Composer, Dialog, EventKind, ReportedStatus, Screen
from actors.status import ALIVE, IDLE, TYPABLE, Status

SETTLE_S = 2.0
"""An event comes before the file and the screen show its news; for this long they do not count against it."""
UNSEEN_S = 5.0
"""After this long a missing input box is not only being redrawn."""
_EARLIER_S = 0.1
"""A change of the file so soon after an event may still be about what was before."""
_LOOKS = 2
"""How many looks in a row must agree."""
_LONGEST_QUOTE = 600
ANSWER_HEAD = 600
"""Characters of the last answer that are told with an instance's status."""
_UNSEEN = Screen(composer=Composer.ABSENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPermission:
    """A tool call that waits for a decision; ``request_id`` names who waits, see ``actors.agents.spool``."""

    request_id: str
    tool: str
    tool_input: Mapping[str, Any]
    subagent: str = ""
    """Id of the subagent that asks; empty for the agent itself."""
    subagent_type: str = ""
    shown: bool = False
    """A dialog appeared while it waited; once that is gone, a person may have answered it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """A limit of the account at which the last turn failed. In seconds since the epoch."""

    at: float
    """When the turn failed."""
    resets_at: float = 0.0
    """0: the agent did not say."""

    def holds(self, now: float) -> bool:
        """Whether a turn would only fail again."""
        return now < self.resets_at

    @property
    def in_words(self) -> str:
        until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.resets_at))
        return f"the limit of its account is reached, and resets at {until}: until then nothing is typed"


class TurnState(StrEnum):
    NONE = "none"
    UNDER_WAY = "under way"
    ENDED = "ended"


class ScreenVerdict(StrEnum):
    """The meaning of one look at the screen."""

    UNKNOWN = "unknown"
    FREE = "free"
    """The input box, no turn."""
    WORKING = "working"
    DIALOG = "dialog"
    NO_BOX = "no box"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenObservation:
    """What the screen shows since ``since``, in ``looks`` looks in a row."""

    view: ScreenVerdict = ScreenVerdict.UNKNOWN
    since: float = 0.0
    looks: int = 0
    screen: Screen = _UNSEEN


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceState:
    """What is known of one agent: first the verdict, then the evidence."""

    status: Status = Status.STARTING
    reason: str = ""
    """What a person should know; empty when nothing needs one."""

    turn: TurnState = TurnState.NONE
    prompt_is_ahead: bool = False
    """An event reported a prompt during a turn. Newer versions of Claude Code report a queued prompt then, and not
    again when its own turn begins; but the prompt may have joined that turn, or have been refused or taken back."""
    in_background: bool = False
    """Subagents went on working after the last turn; their end starts another turn."""
    turn_at: float = 0.0
    """When the last turn began or, if an event has told its end, ended; seconds since the epoch by the event's own
    clock, so that it names the turn also after the events are read anew. 0 before the first turn of this life."""
    answer: str = ""
    """Head of the answer that ended the last turn; empty while there is none."""
    answer_characters: int = 0
    """Of the whole answer."""
    failure: str = ""
    """Why the last turn failed."""
    limit: RateLimit | None = None
    """The last turn failed at it."""
    heard_at: float = 0.0
    """When the last event was processed."""
    has_events: bool = False
    permissions: tuple[PendingPermission, ...] = ()
    allowed: tuple[PendingPermission, ...] = ()
    """Requests that Phalanx allowed in this turn and whose tool has not run yet."""
    own: ReportedStatus | None = None
    """What the program's status file says; None when there is none."""
    own_since: float = 0.0
    sight: ScreenObservation = ScreenObservation()
    transcript_path: str = ""
    session_id: str = ""
    """The current conversation."""

    @property
    def dialog(self) -> Dialog | None:
        """The dialog on the screen, if there is one."""
        return self.sight.screen.dialog if self.sight.view is ScreenVerdict.DIALOG else None

    @property
    def typable(self) -> bool:
        """Between turns: a message may be typed as soon as a look shows a free input box."""
        if self.own is not None and self.own.waiting:
            return False
        only_in_background = self.status is Status.BUSY and self.turn is TurnState.ENDED and self.in_background
        return self.status in TYPABLE or only_in_background


def fold(state: InstanceState, event: AgentEvent, now: float) -> InstanceState:
    """The state after an event. An ended agent stays ended."""
    state = replace(
        state,
        heard_at=now,
        has_events=True,
        sight=replace(state.sight, looks=0),
        transcript_path=event.transcript_path or state.transcript_path,
    )
    if state.status not in ALIVE:
        return state
    match event.kind:
        case EventKind.PROMPT_SUBMITTED:
            ahead = state.prompt_is_ahead or (state.turn is TurnState.UNDER_WAY and state.status not in IDLE)
            state = replace(state, turn=TurnState.UNDER_WAY, prompt_is_ahead=ahead, failure="", limit=None)
            state = _without_answer(state, event.at)
        case EventKind.TOOL_USED:
            state = _after_tool(state, event)
        case EventKind.PERMISSION_REQUESTED:
            asked = PendingPermission(
                request_id=event.request_id,
                tool=event.tool,
                tool_input=event.tool_input,
                subagent=event.subagent,
                subagent_type=event.subagent_type,
            )
            state = replace(state, permissions=(*state.permissions, asked))
        case EventKind.TURN_ENDED | EventKind.TURN_FAILED:
            state = _after_turn(state, event)
        case EventKind.SESSION_STARTED:
            state = replace(state, session_id=event.session_id)
            if event.source != "compact":  # a compaction happens within a turn
                state = _between_turns(state, TurnState.NONE)
                state = replace(state, failure="", limit=None, in_background=False)
        case EventKind.ATTENTION | EventKind.SESSION_ENDED:
            pass
    return weighed(state, now)


def _after_turn(state: InstanceState, event: AgentEvent) -> InstanceState:
    """The agent's own requests end with its turn; those of background subagents go on.

    A queued prompt begins its turn at once; if none follows, file and screen soon show that. With background subagents
    the agent counts as busy anyway, and messages may still be typed.
    """
    failed = event.kind is EventKind.TURN_FAILED
    goes_on = state.prompt_is_ahead and not event.in_background
    answer = "" if failed else event.text
    return replace(
        _between_turns(state, TurnState.UNDER_WAY if goes_on else TurnState.ENDED),
        turn_at=event.at,
        answer=answer[:ANSWER_HEAD],
        answer_characters=len(answer),
        in_background=event.in_background,
        failure=f"the last turn failed: {event.text}" if failed else "",
        limit=RateLimit(at=event.at, resets_at=event.resets_at) if failed and event.rate_limited else None,
        permissions=tuple(asked for asked in state.permissions if asked.subagent),
    )


def _between_turns(state: InstanceState, turn: TurnState) -> InstanceState:
    return replace(state, turn=turn, prompt_is_ahead=False, allowed=())


def _without_answer(state: InstanceState, turn_at: float) -> InstanceState:
    return replace(state, turn_at=turn_at, answer="", answer_characters=0)


def _after_tool(state: InstanceState, event: AgentEvent) -> InstanceState:
    """Matches allowed requests first, so that an equal request that still waits is not taken for the call that ran."""
    if not event.subagent and state.turn is TurnState.NONE:
        state = _without_answer(replace(state, turn=TurnState.UNDER_WAY), event.at)
    ran = _asked_before((*state.allowed, *state.permissions), event)
    return replace(
        state,
        allowed=tuple(asked for asked in state.allowed if asked is not ran),
        permissions=tuple(asked for asked in state.permissions if asked is not ran),
    )


def _asked_before(asked: Collection[PendingPermission], event: AgentEvent) -> PendingPermission | None:
    """The request of the call that ran. An event without its input matches only a single request of its tool."""
    alike = [one for one in asked if (one.tool, one.subagent) == (event.tool, event.subagent)]
    if event.slimmed:
        return alike[0] if len(alike) == 1 else None
    return next((one for one in alike if one.tool_input == event.tool_input), None)


def decided(state: InstanceState, request_id: str, now: float, *, allowed: bool) -> InstanceState:
    """The state after Phalanx answered a permission request; a denied call causes no further event."""
    mine = tuple(asked for asked in state.permissions if asked.request_id == request_id and allowed)
    return without(replace(state, allowed=(*state.allowed, *mine)), {request_id}, now)


def without(state: InstanceState, request_ids: Collection[str], now: float) -> InstanceState:
    """The state after nobody waits for these requests any more. Their dialogs stay on the screen for another moment."""
    left = tuple(asked for asked in state.permissions if asked.request_id not in request_ids)
    return weighed(replace(state, permissions=left, heard_at=now), now)


def interrupted(state: InstanceState, now: float) -> InstanceState:
    """The state after an interrupt, which no event reports."""
    if state.status not in ALIVE:
        return state
    return weighed(replace(_between_turns(state, TurnState.ENDED), permissions=(), heard_at=now, own=None), now)


def on_own_status(state: InstanceState, own: ReportedStatus | None, now: float) -> InstanceState:
    """The state after a look at the program's status file."""
    if own != state.own:
        dialog_came_up = own is not None and own.waiting and not (state.own is not None and state.own.waiting)
        if dialog_came_up and now - state.heard_at >= _EARLIER_S:
            state = _with_dialog(state)
        state = replace(state, own=own, own_since=now)
    return weighed(state, now)


def _with_dialog(state: InstanceState) -> InstanceState:
    return replace(state, permissions=tuple(replace(asked, shown=True) for asked in state.permissions))


def on_screen(state: InstanceState, screen: Screen, now: float) -> InstanceState:
    """The state after a look at the screen."""
    view, before = _view_of(screen), state.sight
    same = view is before.view and now >= before.since
    sight = ScreenObservation(
        view=view, since=before.since if same else now, looks=before.looks + 1 if same else 1, screen=screen
    )
    state = replace(state, sight=sight)
    if view is ScreenVerdict.DIALOG:
        state = _with_dialog(state)
    return weighed(_without_answered(state, now), now)


def _view_of(screen: Screen) -> ScreenVerdict:
    if screen.composer is not Composer.ABSENT:
        return ScreenVerdict.WORKING if screen.busy else ScreenVerdict.FREE
    return ScreenVerdict.DIALOG if screen.dialog else ScreenVerdict.NO_BOX


def _without_answered(state: InstanceState, now: float) -> InstanceState:
    """Drops requests whose dialog was seen and is gone: a person answered. A subagent's ends only with its wait."""
    box = _stands(state, ScreenVerdict.FREE, now) or _stands(state, ScreenVerdict.WORKING, now)
    if not box or (state.own is not None and state.own.waiting):
        return state
    left = tuple(asked for asked in state.permissions if asked.subagent or not asked.shown)
    return replace(state, permissions=left)


def on_exit(state: InstanceState, *, asked: bool, reason: str) -> InstanceState:
    """The state after the agent's process has ended."""
    if state.status not in ALIVE:
        return state
    return replace(state, status=Status.STOPPED if asked else Status.FAILED, reason=reason, permissions=(), allowed=())


def _stands(state: InstanceState, view: ScreenVerdict, now: float) -> bool:
    """Whether enough looks agree on ``view`` and the screen had time to follow the last event."""
    sight = state.sight
    return sight.view is view and sight.looks >= _LOOKS and now - state.heard_at >= SETTLE_S


def _own_stands(state: InstanceState, now: float) -> ReportedStatus | None:
    """The program's status file, once it had time to follow the last event."""
    return state.own if now - max(state.heard_at, state.own_since) >= SETTLE_S else None


def weighed(state: InstanceState, now: float) -> InstanceState:
    """The state with a new verdict. An ended agent stays ended."""
    if state.status not in ALIVE:
        return state
    status, reason = _verdict(state, now)
    if (status, reason) == (state.status, state.reason):
        return state
    return replace(state, status=status, reason=reason)


def _verdict(state: InstanceState, now: float) -> tuple[Status, str]:
    untold = state.turn is TurnState.NONE and not state.permissions  # a turn or a request proves that it started
    if (
        state.status is Status.STARTING
        and untold
        and state.sight.view not in (ScreenVerdict.FREE, ScreenVerdict.WORKING)
    ):
        return Status.STARTING, _why_not_started(state, now)
    if state.permissions:
        return Status.WAITING_PERMISSION, ""
    if question := _question(state, now):
        return Status.WAITING_INPUT, question
    beside = state.sight.screen.trouble if state.sight.view in (ScreenVerdict.FREE, ScreenVerdict.WORKING) else ""
    if _is_at_work(state, now):
        return Status.BUSY, beside
    if state.sight.view is ScreenVerdict.NO_BOX and state.sight.looks >= _LOOKS and now - state.sight.since >= UNSEEN_S:
        return Status.WAITING_INPUT, _no_box(state.sight.screen)
    return Status.RATE_LIMITED if state.limit else Status.READY, state.failure or beside or _no_events(state, now)


def _is_at_work(state: InstanceState, now: float) -> bool:
    own = _own_stands(state, now)
    free, working = _stands(state, ScreenVerdict.FREE, now), _stands(state, ScreenVerdict.WORKING, now)
    if state.turn is TurnState.UNDER_WAY:
        return not (free and (state.own is None or (own is not None and own.idle)))
    if state.in_background:
        return own is None or not own.idle
    return working if own is None else own.busy


def _question(state: InstanceState, now: float) -> str:
    """What a person has to answer at the terminal because no request waits for it; empty for nothing."""
    shown = state.dialog
    if shown is not None and _stands(state, ScreenVerdict.DIALOG, now):
        return in_words(shown)
    own = _own_stands(state, now)
    if own is None or not own.waiting:
        return ""
    if shown is not None:
        return in_words(shown)
    waiting_for = f" ({own.waiting_for})" if own.waiting_for else ""
    return f"the agent says that it waits for a person at its terminal{waiting_for}: attach and look"


def _why_not_started(state: InstanceState, now: float) -> str:
    screen = state.sight.screen
    if screen.trouble:
        return screen.trouble
    if screen.dialog is not None and state.sight.looks >= _LOOKS:
        return in_words(screen.dialog)
    long = state.sight.view is ScreenVerdict.NO_BOX and now - state.sight.since >= UNSEEN_S and bool(screen.shown)
    return _no_box(screen) if long else ""


def in_words(dialog: Dialog) -> str:
    """A dialog in words for the lead."""
    if not dialog.question and not dialog.options:
        return "a dialog that asks for no permission is up at its terminal: attach and answer it"
    asks = " ".join(dialog.question.split())[:_LONGEST_QUOTE] or dialog.kind
    if not dialog.options:
        return f"a dialog is up at its terminal, attach and answer it: {asks}"
    options = "; ".join(f"{number}. {option}" for number, option in enumerate(dialog.options, 1))[:_LONGEST_QUOTE]
    return f"a dialog is up at its terminal: {asks} Options: {options}. Give respond one of them as option, or attach"


def _no_box(screen: Screen) -> str:
    shown = f" It shows: {screen.shown}" if screen.shown else ""
    return f"its screen shows no input box, so nothing can be typed: attach and look.{shown}"


def _no_events(state: InstanceState, now: float) -> str:
    silent = not state.has_events and state.sight.view is ScreenVerdict.FREE and now - state.sight.since >= UNSEEN_S
    if not silent:
        return ""
    return (
        "the agent reports no events (of Claude Code, managed settings may forbid the hooks that report them): "
        "permission requests have to be answered at its terminal"
    )
