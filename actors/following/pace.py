"""When the screen of an agent that starts is worth a look; pure.

Used by the observer. A look is due when the agent has drawn, and soon after that again, more and more seldom: tmux may
not have taken in all of it yet. Where nobody tells what is drawn, a look is due again and again. Where many agents
start at once and a look takes long, all looks together take a part of the time only: they would keep them from it.
"""

from __future__ import annotations

SHORTEST_S = 0.01
LONGEST_S = 0.5
"""Between two looks although nothing was drawn: nothing relies on being told alone."""
UNTOLD_S = 0.05
_SHARE = 0.1
_LONGEST_REST_S = 1.0


class Pace:
    """Times are seconds of any monotonic clock. ``told``: ``drawn`` is called for what the agent draws."""

    def __init__(self, *, told: bool) -> None:
        self._longest_s = LONGEST_S if told else UNTOLD_S
        self._pause_s = self._longest_s
        self._rested_at = 0.0
        self.due_at = 0.0

    def drawn(self, now: float) -> None:
        self._pause_s = SHORTEST_S
        self.due_at = min(self.due_at, max(now, self._rested_at))

    def looked(self, began: float, now: float) -> None:
        self._rested_at = now + min((now - began) / _SHARE, _LONGEST_REST_S)
        self.due_at = max(now + self._pause_s, self._rested_at)
        self._pause_s = min(2 * self._pause_s, self._longest_s)
