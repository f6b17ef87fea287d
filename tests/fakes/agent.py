"""A model of an agent in its pane, as little as a deliverer can tell from the real one, with every fault it may show.

Beside the deliverer a person sits at the terminal: what they type holds ``TYPED``, which no text of ours does. Time is
that of the event loop. ``Quirks`` come from the test and are used up one after the other.
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

from actors.agents.base import Composer, Dialog, Screen
from actors.concurrency import ChangeNotifier
from actors.errors import PaneGoneError
from actors.instance.evidence import DeliveryEvidence
from actors.instance.state import InstanceState
from actors.status import Status
from actors.tmux.pane import LastKey

IDS = re.compile(r"\[phalanx (msg_\w+) from lead\]$", re.MULTILINE)
TYPED = "Q"
FORBIDDEN = re.compile(r"from lead\]\nmsg_\d*7$", re.MULTILINE)
"""The user's own hook refuses a prompt that holds such a text."""


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
    refused_is_given_back: bool = False
    """A prompt that a hook refuses comes back into the input box."""
    death_at_paste: Death = Death.NEVER
    death_at_enter: Death = Death.NEVER


class ModelAgent:
    def __init__(self, quirks: Iterable[Quirks], die: Callable[[], None]) -> None:
        self._quirks = deque(quirks)
        self._now = Quirks()
        self._die = die
        self._timers: list[asyncio.TimerHandle] = []
        self.conversation: list[str] = []
        self.written: list[tuple[str, bool]] = []
        """Prompts that the transcript shows, and whether they were refused."""
        self.spool: list[str | None] = [None]
        """The prompts that the hooks have reported; None is a launch mark."""
        self.wrongs: list[str] = []
        """What was done to a person."""
        self.dialog = False
        self._cleared_at = 0.0
        self._prompt = ""
        """Taken, but not yet in the transcript."""
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
        self.alive, self.busy, self.dialog, self.draft, self._prompt = False, False, False, "", ""
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

    async def paste(self, data: tuple[str, ...], name: str, _after: LastKey | None = None) -> LastKey:
        if not self.alive:
            raise PaneGoneError("gone")
        self._now = self._quirks.popleft() if self._quirks else Quirks()
        if self._now.death_at_paste is Death.BEFORE:
            self._die()
            await asyncio.sleep(0)
        self.last_paste = name
        self.pastes += 1
        if not self.dialog:  # which swallows it
            self._later(self._now.draft_after_s, lambda: self._land("".join(data)))
        if self._now.death_at_paste is Death.AFTER:
            self._die()
        await asyncio.sleep(0)
        return LastKey(attached=False, at=0)

    async def has_pasted(self, name: str) -> bool:
        if not self.alive:
            raise PaneGoneError("gone")
        return self.last_paste == name

    def _land(self, text: str) -> None:
        if not self.dialog:
            self.draft += text

    async def press(self, key: str, _after: LastKey | None = None) -> bool:
        if not self.alive:
            raise PaneGoneError("gone")
        if self.dialog:
            self.wrongs.append(f"{key} into a dialog")
        if TYPED in self.draft:
            self.wrongs.append(f"{key} on what a person has typed: {self.draft!r}")
        if key == "C-c":
            now = asyncio.get_running_loop().time()
            if now - self._cleared_at < 1.0:
                self.wrongs.append("ended the agent")
            self._cleared_at = now
            self._later(0.2, lambda: setattr(self, "draft", ""))
            await asyncio.sleep(0)
            return True
        quirks = self._now
        if quirks.death_at_enter is Death.BEFORE:
            self._now = Quirks()
            self._die()
            await asyncio.sleep(0)
        if quirks.swallows_enters > 0:
            self._now = Quirks(swallows_enters=quirks.swallows_enters - 1)
        elif self.draft.strip():
            self._submit(quirks)
        if quirks.death_at_enter is Death.AFTER:
            self._die()
        await asyncio.sleep(0)
        return True

    def _submit(self, quirks: Quirks) -> None:
        if self.busy:
            return  # the model has no queue of its own
        prompt = self.draft.strip()
        self.draft, self.busy, self._prompt = "", True, prompt
        refused = FORBIDDEN.search(prompt) is not None
        self._later(quirks.hook_after_s, lambda: self.spool.append(prompt))
        self._later(quirks.hook_after_s + quirks.written_after_s, lambda: self._write(prompt, refused, quirks))
        turn_s = quirks.hook_after_s + (0.0 if refused else quirks.turn_s)
        self._later(turn_s, lambda: setattr(self, "busy", False))

    def _write(self, prompt: str, refused: bool, quirks: Quirks) -> None:
        if self._prompt != prompt:
            return  # a person took it back
        self._prompt = ""
        self.written.append((prompt, refused))
        if not refused:
            self.conversation.extend(IDS.findall(prompt))
        elif quirks.refused_is_given_back and not self.draft:
            self.draft = prompt

    def person(self, what: str) -> None:
        """Somebody at the terminal does one thing."""
        if not self.alive:
            return
        if what == "dialog comes":
            self.dialog = not self.busy
        elif what == "dialog goes":
            self.dialog = False
        elif self.dialog:
            return
        elif what == "types":
            self.draft += TYPED
        elif what == "deletes a character":
            self.draft = self.draft[:-1]
        elif what == "deletes all":
            self.draft = ""
        elif what == "enters" and self.draft.strip():
            self._submit(Quirks())
        elif what == "escapes" and self._prompt and not self.draft:
            self.draft, self._prompt, self.busy = self._prompt, "", False
        self.changed()
        self._tell()


class ModelObserver:
    """What one actor has learnt of the agent; a new one reads everything again."""

    def __init__(self, agent: ModelAgent, changes: ChangeNotifier) -> None:
        self._agent = agent
        self._read = self._witnessed = 0
        self.coming_back = False
        self.conversation = SimpleNamespace(is_open=True, path=None)
        self.evidence = DeliveryEvidence()
        self.state = InstanceState(status=Status.READY)
        agent.changed = self._changed
        self._changes = changes
        self.read_spool()

    def _changed(self) -> None:
        self.read_spool()
        self._changes.announce()

    @property
    def alive(self) -> bool:
        return self.state.status is not Status.FAILED

    def read_spool(self) -> None:
        for reported in self._agent.spool[self._read :]:
            if reported is None:
                self.evidence.begin_life()
            else:
                self.evidence.report(reported)
        self._read = len(self._agent.spool)
        status = Status.BUSY if self._agent.busy else Status.READY
        self.state = InstanceState(status=status if self._agent.alive else Status.FAILED)
        if not self._agent.alive:
            self.read_transcript()

    def witness(self) -> None:
        self.read_transcript()

    def read_transcript(self) -> None:
        for prompt, refused in self._agent.written[self._witnessed :]:
            if refused:
                self.evidence.refuse(prompt, "a hook has refused it")
            else:
                self.evidence.write(prompt)
        self._witnessed = len(self._agent.written)

    async def look_before_typing(self) -> tuple[Screen, LastKey]:
        if not self._agent.alive:
            raise PaneGoneError("gone")
        self.read_spool()
        return self._screen(), LastKey(attached=False, at=0)

    def _screen(self) -> Screen:
        if self._agent.dialog:
            return Screen(composer=Composer.ABSENT, dialog=Dialog())
        draft = self._agent.draft
        composer = Composer.DRAFT if draft else Composer.EMPTY
        return Screen(composer=composer, draft=draft.rstrip("\n"), busy=self._agent.busy)
