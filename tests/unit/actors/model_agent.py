"""A model of an agent in its pane, as little as a courier can tell from the real one, with every fault it may show.

Time is that of the event loop. ``Faults`` come from the test and are used up one after the other.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from types import SimpleNamespace

from actors.agents.base import Composer, Screen
from actors.errors import PaneGoneError
from actors.messaging.proofs import Proofs
from actors.messaging.recent import RecentIds
from actors.news import News
from actors.states import InstanceState, Status

IDS = re.compile(r"^\[phalanx (msg_\w+) from", re.MULTILINE)


class Death(Enum):
    """When the actor dies, counted by what it does to the pane."""

    NEVER = auto()
    BEFORE = auto()
    AFTER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """How the agent takes one paste and what follows. Times in seconds."""

    draft_after_s: float = 0.05
    drawing_is_told: bool = False
    swallows_enters: int = 0
    hook_after_s: float = 0.1
    written_after_s: float = 0.5
    turn_s: float = 1.0
    death_at_paste: Death = Death.NEVER
    death_at_enter: Death = Death.NEVER


class ModelAgent:
    def __init__(self, quirks: Iterable[Quirks], die: Callable[[], None]) -> None:
        self._quirks = deque(quirks)
        self._now = Quirks()
        self._die = die
        self._timers: list[asyncio.TimerHandle] = []
        self.conversation: list[str] = []
        self.spool: list[frozenset[str] | None] = [None]
        """What the hooks have reported; None is a launch mark."""
        self.life = 1
        self.draft = ""
        self.busy = False
        self.alive = True
        self.last_paste = ""
        self.pastes = 0
        self.changed: Callable[[], None] = lambda: None
        self._tell: Callable[[], None] = lambda: None

    def _later(self, after_s: float, act: Callable[[], None]) -> None:
        def unless_dead() -> None:
            act()
            self.changed()
            self._tell()

        self._timers.append(asyncio.get_running_loop().call_later(after_s, unless_dead))

    def kill(self) -> None:
        """What was neither reported nor written is gone."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.alive, self.busy, self.draft = False, False, ""
        self.changed()

    def resume(self) -> None:
        self.life += 1
        self.alive, self.last_paste = True, ""
        self.spool.append(None)

    @contextmanager
    def drawing(self, tell: Callable[[], None]) -> Iterator[bool]:
        told = self._quirks[0].drawing_is_told if self._quirks else False
        self._tell = tell if told else self._tell
        yield told
        self._tell = lambda: None

    async def paste(self, data: tuple[str, ...], name: str) -> None:
        if not self.alive:
            raise PaneGoneError("gone")
        self._now = self._quirks.popleft() if self._quirks else Quirks()
        if self._now.death_at_paste is Death.BEFORE:
            self._die()
            await asyncio.sleep(0)
        self.last_paste = name
        self.pastes += 1
        self._later(self._now.draft_after_s, lambda: setattr(self, "draft", self.draft + "".join(data)))
        if self._now.death_at_paste is Death.AFTER:
            self._die()
        await asyncio.sleep(0)

    async def has_pasted(self, name: str) -> bool:
        if not self.alive:
            raise PaneGoneError("gone")
        return self.last_paste == name

    async def press(self, key: str) -> None:
        assert key == "Enter"
        if not self.alive:
            raise PaneGoneError("gone")
        quirks = self._now
        if quirks.death_at_enter is Death.BEFORE:
            self._now = Quirks()
            self._die()
            await asyncio.sleep(0)
        if quirks.swallows_enters > 0:
            self._now = Quirks(swallows_enters=quirks.swallows_enters - 1)
        elif self.draft:
            self._submit(quirks)
        if quirks.death_at_enter is Death.AFTER:
            self._die()
        await asyncio.sleep(0)

    def _submit(self, quirks: Quirks) -> None:
        ids = IDS.findall(self.draft)
        self.draft, self.busy = "", True
        self._later(quirks.hook_after_s, lambda: self.spool.append(frozenset(ids)))
        self._later(quirks.hook_after_s + quirks.written_after_s, lambda: self.conversation.extend(ids))
        turn_s = quirks.hook_after_s + max(quirks.turn_s, quirks.written_after_s)
        self._later(turn_s, lambda: setattr(self, "busy", False))


class ModelObserver:
    """What one actor has learnt of the agent; a new one reads everything again."""

    def __init__(self, agent: ModelAgent, news: News) -> None:
        self._agent = agent
        self._read = 0
        self.coming_back = False
        self.conversation = SimpleNamespace(is_open=True)
        self.proofs = Proofs(RecentIds())
        self.state = InstanceState(status=Status.READY)
        agent.changed = self._changed
        self._news = news
        self.absorb()

    def _changed(self) -> None:
        self.absorb()
        self._news.announce()

    @property
    def alive(self) -> bool:
        return self.state.status is not Status.FAILED

    def absorb(self) -> None:
        for reported in self._agent.spool[self._read :]:
            if reported is None:
                self.proofs.begin_life()
            else:
                self.proofs.add(reported)
        self._read = len(self._agent.spool)
        status = Status.BUSY if self._agent.busy else Status.READY
        self.state = InstanceState(status=status if self._agent.alive else Status.FAILED)
        if not self._agent.alive:
            self.witness()

    def witness(self) -> None:
        self.proofs.written.add(self._agent.conversation)

    async def look(self) -> Screen:
        if not self._agent.alive:
            raise PaneGoneError("gone")
        self.absorb()
        draft = self._agent.draft
        return Screen(composer=Composer.DRAFT if draft else Composer.EMPTY, draft=draft, busy=self._agent.busy)
