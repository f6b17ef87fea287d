"""Whether it is safe to begin typing into an agent's pane, and when to look again if it is not.

Asked by the courier before each batch. The gate is open only between turns, when a fresh look shows an empty input box
and no dialog, and when nobody has pressed a key at the agent's terminal for so long that it would show.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from actors.agents.base import Composer, Screen
from actors.errors import TerminalError
from actors.following.observer import Observer
from actors.messaging.delivery import REDRAW_S
from actors.messaging.draft import quoted
from actors.messaging.lease import CUT_OFF, Lease
from actors.status import InstanceState, Status
from actors.tmux.pane import LastKey, Pane

LONGEST_RETRY_S = 0.5
_SHORTEST_RETRY_S = 0.03
SOMEBODY_TYPES = "someone is typing at the agent's terminal"
_TYPING_S = 5.0
"""Attaching counts as a key, and a pause in which the message goes comes soon for most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
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


class Gate:
    """``retry_at`` is when a look is worth while again; seconds of the monotonic clock."""

    def __init__(self, pane: Pane, observer: Observer) -> None:
        self._pane = pane
        self._observer = observer
        self.lease = Lease(0)
        self._shut_since: float | None = None
        self._draft = ""
        self._drafted_since = 0.0
        self.retry_at = 0.0

    async def look(self, attach: str) -> Verdict:
        """``attach`` is what a person does to see the pane."""
        if not self.lease.held:
            self._shut(time.monotonic())
            return Verdict(open=False, reason=CUT_OFF)
        last_key = None
        try:
            last_key = await self._pane.last_key()
            screen = await self._observer.look()
            reason = self._unsafe(screen, attach)
            if not reason and last_key.drawn_in_s(time.time()):
                reason = SOMEBODY_TYPES
        except TerminalError as error:
            screen, reason = Screen(composer=Composer.ABSENT), f"the screen cannot be read: {error}"
        now = time.monotonic()
        if screen.busy:  # the end of a turn is drawn a moment after its hook
            self._shut(now)
            return Verdict(open=False, screen=screen, last_key=last_key)
        if reason:
            lasting_s = _TYPING_S if reason == SOMEBODY_TYPES else REDRAW_S
            told = reason if self._shut(now) >= lasting_s else ""
            return Verdict(open=False, reason=told, screen=screen, last_key=last_key)
        self._shut_since = None
        return Verdict(open=True, screen=screen, last_key=last_key)

    def shut(self) -> None:
        """Typing cannot begin for a reason that the screen does not show."""
        self._shut(time.monotonic())

    def _shut(self, now: float) -> float:
        """For how many seconds it has been shut by now."""
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
