"""What the team tells of itself to those who listen: the latest events, numbered, in bounded memory.

Listeners pull: each asks for what came after its cursor and waits when there is nothing. One that is slow misses the
oldest and learns how many. A cursor of an earlier supervisor begins anew.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from actors.concurrency import News
from supervisor.api.results import TeamEvent

KEPT = 256
LISTENER_S = 90.0
"""Who has asked lately listens, also between two asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    events: tuple[TeamEvent, ...]
    cursor: str
    missed: int


class Events:
    """All in the supervisor's event loop."""

    def __init__(self) -> None:
        self._life = secrets.token_hex(4)
        self._events: deque[tuple[int, TeamEvent]] = deque(maxlen=KEPT)
        self._last = 0
        self._news = News()
        self._asking = 0
        self._asked_at = float("-inf")

    @property
    def heard(self) -> bool:
        """Somebody listens."""
        return self._asking > 0 or time.monotonic() - self._asked_at < LISTENER_S

    def publish(self, event: TeamEvent) -> None:
        self._last += 1
        self._events.append((self._last, event))
        self._news.announce()

    async def after(self, cursor: str | None, kinds: Collection[str], timeout_s: float) -> Heard:
        """Events of these kinds after the cursor; waits up to ``timeout_s`` seconds for the first one."""
        since = self._number(cursor)
        self._asking += 1
        try:
            await self._news.until(lambda: any(True for _ in self._of(since, kinds)), timeout_s)
        finally:
            self._asking -= 1
            self._asked_at = time.monotonic()
        found = tuple(self._of(since, kinds))
        oldest = self._events[0][0] if self._events else self._last + 1
        return Heard(events=found, cursor=f"{self._life}:{self._last}", missed=max(0, oldest - since - 1))

    def _of(self, since: int, kinds: Collection[str]) -> list[TeamEvent]:
        return [event for number, event in self._events if number > since and event.kind in kinds]

    def _number(self, cursor: str | None) -> int:
        life, _, number = (cursor or "").partition(":")
        if life == self._life and number.isdecimal():
            return min(int(number), self._last)
        return self._last if cursor is None else 0
