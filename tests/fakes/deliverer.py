"""A deliverer between a pane and an agent that do what the test says; no process, no sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from actors.agents.base import Composer, Screen
from actors.concurrency import ChangeNotifier
from actors.instance.deliverer import Deliverer, Lease
from actors.instance.evidence import DeliveryEvidence
from actors.instance.inbox import BatchLimits, compose
from actors.instance.journal import Journal, ReceiptLog
from actors.instance.state import InstanceState
from actors.messages import Message, MessageStatus, Receipt
from actors.status import Status
from actors.tmux.pane import LastKey

EMPTY = Screen(composer=Composer.EMPTY)
DRAFT = Screen(composer=Composer.DRAFT)


def message(name: str) -> Message:
    return Message(id=f"msg_{name}", instance_id="i", sender="lead", text=name, immediate=True, accepted_at=0.0)


NOBODY = LastKey(attached=False, at=0)


class Pane:
    """Shows a draft once it was pasted into; Enter makes the agent take it."""

    def __init__(self, changes: ChangeNotifier) -> None:
        self.changes = changes
        self.pasted: list[str] = []
        self.pressed: list[str] = []
        self.last = ""
        self.drawn_for = 0
        """So many wait to be told what is drawn."""
        self.deaf = False
        self.clears_after_s = 0.0
        """Takes no Enter."""
        self.refuses = ""
        """A prompt with this text in it is refused."""
        self.observer: Any = None
        self.fault: Exception | None = None
        self.last_pressed = NOBODY
        """By a person."""
        self.before_paste: Callable[[], None] = lambda: None
        self.after_paste: Callable[[], None] = lambda: None

    @contextmanager
    def drawing(self, _tell: Callable[[], None]) -> Iterator[bool]:
        self.drawn_for += 1
        try:
            yield False
        finally:
            self.drawn_for -= 1

    async def paste(self, data: tuple[str, ...], name: str, after: LastKey | None = None) -> LastKey | None:
        if self.fault:
            raise self.fault
        self.before_paste()
        if after != self.last_pressed:
            return None
        self.pasted.append("".join(data))
        self.last = name
        self.observer.screen = Screen(composer=Composer.DRAFT, draft=self.pasted[-1])
        self.after_paste()
        return NOBODY

    async def has_pasted(self, name: str) -> bool:
        return name == self.last

    async def press(self, key: str, _after: LastKey | None = None) -> bool:
        self.pressed.append(key)
        if self.deaf:
            return True
        if key == "C-c" and self.clears_after_s:
            asyncio.get_running_loop().call_later(self.clears_after_s, self._clear)
            return True
        self._clear()
        if key == "Enter":
            self.taken(self.pasted[-1])
        self.changes.announce()
        return True

    def _clear(self) -> None:
        self.observer.screen = EMPTY

    def taken(self, prompt: str) -> None:
        if self.refuses and self.refuses in prompt:
            self.observer.evidence.refuse(prompt, "a hook says no")
        else:
            self.observer.evidence.write(prompt.replace("\t", "    "))


class Observer:
    def __init__(self, pane: Pane, changes: ChangeNotifier) -> None:
        self.pane = pane
        self.changes = changes
        self.state = InstanceState(status=Status.READY)
        self.screen = EMPTY
        self.conversation = SimpleNamespace(is_open=True, path=None)
        self.evidence = DeliveryEvidence()
        self.coming_back = False

    @property
    def alive(self) -> bool:
        return self.state.status is not Status.FAILED

    def become(self, status: Status, reason: str = "") -> None:
        self.state = InstanceState(status=status, reason=reason)
        self.changes.announce()

    def read_spool(self) -> None: ...
    def witness(self) -> None: ...
    def read_transcript(self) -> None: ...

    async def look_before_typing(self) -> tuple[Screen, LastKey]:
        return self.screen, self.pane.last_pressed


class DelivererScene:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.changes = ChangeNotifier()
        self.pane = Pane(self.changes)
        self.observer = self.pane.observer = Observer(self.pane, self.changes)
        self.boot_s = 0.0
        self.lease = Lease(40.0, lambda: self.boot_s)
        self.renew_lease()
        self.receipts: list[Receipt] = []
        self.begin()

    def renew_lease(self) -> None:
        self.lease.confirm(self.lease.answered())

    def begin(self, life: str = "life 1") -> None:
        """A deliverer as a new actor makes it."""
        pane: Any = self.pane
        observer: Any = self.observer
        journal = Journal(self.directory)
        self.observer.evidence.expect(m for entry in journal.entries for m in entry.messages if m.text)
        receipts = ReceiptLog(journal, life, self._take, self.observer.evidence)
        limits = BatchLimits(size=3, delay_s=0.0)
        self.deliverer = Deliverer(pane, observer, limits, self.changes, receipts, self.lease)
        self.deliverer.recall()
        self.running = asyncio.create_task(self.deliverer.run())

    async def kill(self) -> None:
        """What a kill leaves of the deliverer: nothing but its journal."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.receipts.clear()

    def _take(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)
        self.changes.announce()

    def offer(self, *names: str) -> None:
        self.deliverer.offer(map(message, names))

    def show(self, draft: str) -> None:
        """It stands in the input box."""
        self.observer.screen = Screen(composer=Composer.DRAFT, draft=draft)

    def write(self, name: str) -> None:
        """The transcript shows it."""
        self.observer.evidence.write(compose([message(name)]))
        self.changes.announce()

    async def receipt(self, name: str, status: MessageStatus) -> Receipt:
        def found() -> list[Receipt]:
            return [r for r in self.receipts if (r.message_id, r.status) == (f"msg_{name}", status)]

        assert await self.changes.until(lambda: bool(found()), 5.0), f"{name} never became {status}: {self.receipts}"
        return found()[0]
