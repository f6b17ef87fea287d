"""The parts that follow one agent, from adoption to its end.

Owned by the ``Instance``, one at a time. A loop in here that ends with an error ends the whole life: half of it would
be deaf or mute without anybody noticing. What goes on then is the instance's decision.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actors.agents.base import Agent
from actors.concurrency import News
from actors.errors import PaneGoneError, SocketGoneError
from actors.following.observer import Observer
from actors.following.reports import ReportLog, Snapshot
from actors.marks import INSTANCE_MARK
from actors.messages import Receipt
from actors.messaging.courier import Courier
from actors.messaging.inbox import BatchLimits
from actors.messaging.journal import Journal
from actors.messaging.ledger import Ledger
from actors.status import Status
from actors.tmux.pane import Pane, PaneState


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConfig:
    """What an instance is told once. ``directory`` is its private directory below the home."""

    instance_id: str
    agent: str
    """Name of the kind of agent."""
    session_id: str
    directory: Path
    tmux_socket: Path
    limits: BatchLimits
    comes_back: bool = False
    """When its agent fails it is started again: messages that wait then are kept for that."""
    lease_s: float = 0.0
    """How long it may type without having been asked by the supervisor; see ``lease``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The agent as it was found in its pane at adoption."""

    pane: Pane
    pane_id: str
    pid: int
    created_s: int
    gone: str = ""
    """Why there is no agent any more; empty while it lives."""
    has_last_words: bool = False
    """Its pane still shows what it said last."""

    @property
    def name(self) -> str:
        """Names this one process, also after other panes and processes were given the same numbers."""
        return f"{self.pane_id}/{self.pid}/{self.created_s}"


async def find_agent(pane: Pane, pane_id: str, pid: int) -> Found:
    """Looks whether the process ``pid`` is still the one in the pane. Raises ``TerminalError`` when tmux cannot say."""
    try:
        state = await pane.state()
    except SocketGoneError as error:
        if _is_an_agent(pid):
            raise
        return Found(pane=pane, pane_id=pane_id, pid=pid, created_s=0, gone=str(error))
    except PaneGoneError as error:
        return Found(pane=pane, pane_id=pane_id, pid=pid, created_s=0, gone=str(error))
    if state.pid not in {pid, 0}:
        gone = f"the agent (process {pid}) has ended: another program is in its pane"
        return Found(pane=pane, pane_id=pane_id, pid=pid, created_s=0, gone=gone)
    return _found(pane, pane_id, pid, state)


def _is_an_agent(pid: int) -> bool:
    """Whether the process lives and was started as an agent: its number may be another one's by now."""
    try:
        return f"\0{INSTANCE_MARK}=".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _found(pane: Pane, pane_id: str, pid: int, state: PaneState) -> Found:
    return Found(
        pane=pane,
        pane_id=pane_id,
        pid=pid,
        created_s=state.created_s,
        gone="the agent has ended" if state.dead else "",
        has_last_words=state.dead,
    )


Fault = Callable[["Life", BaseException], None]


class Life:
    """``on_fault`` is called at most once, when one of the loops has ended with an error."""

    def __init__(self, config: InstanceConfig, agent: Agent, found: Found, log: ReportLog, on_fault: Fault) -> None:
        """Raises ``RecordVersionError`` for a journal that another version of Phalanx has left."""
        self.found = found
        self.pane = found.pane
        self.news = News()
        self.observer = Observer(agent, found.pane, config.directory, config.session_id, found.pid, self.news)
        self.observer.coming_back = config.comes_back
        journal = Journal(config.directory)
        self.observer.proofs.expect(message for entry in journal.entries for message in entry.messages if message.text)
        self.courier = Courier(
            found.pane,
            self.observer,
            config.limits,
            self.news,
            Ledger(journal, _life_name(found, journal), self._receipt, self.observer.proofs),
        )
        self._log = log
        self._began_at = time.monotonic()
        self._on_fault: Fault | None = on_fault
        self._tasks: list[asyncio.Task[None]] = []

    def follows(self, pane_id: str, pid: int) -> bool:
        """Whether it follows this agent, which lives."""
        return (self.found.pane_id, self.found.pid) == (pane_id, pid) and self.observer.alive

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._began_at

    def go_on_from(self, earlier: Life) -> None:
        """Keeps what only memory knows of the life before: of the same agent, that its end was asked for."""
        same = (self.found.pane_id, self.found.pid) == (earlier.found.pane_id, earlier.found.pid)
        if same and earlier.observer.ending:
            self.observer.expect_end(coming_back=earlier.observer.coming_back)

    async def begin(self) -> None:
        """Takes in what is there already, then follows the agent; one that has ended is only given its end."""
        if self.found.gone:
            await self.observer.note_end("" if self.found.has_last_words else self.found.gone)
        else:
            self.observer.absorb()
        self._log.on_acknowledged = self.courier.acknowledged
        self.courier.recall()
        for work in (self.observer.run(), self.courier.run(), self._publish()):
            task = asyncio.create_task(work)
            task.add_done_callback(self._check)
            self._tasks.append(task)

    async def end(self) -> None:
        self._on_fault = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _check(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self._on_fault is not None:
            on_fault, self._on_fault = self._on_fault, None
            on_fault(self, error)

    def _receipt(self, receipt: Receipt) -> None:
        # The snapshot first: whoever reads that a message has arrived must not read an older status beside it.
        self._log.snapshot(self._snapshot())
        self._log.batches, self._log.delivered = self.courier.batches, self.courier.delivered
        self._log.receipt(receipt)

    async def _publish(self) -> None:
        while True:
            self._log.snapshot(self._snapshot())
            await self.news.until(lambda: self._log.current != self._snapshot(), None)

    def _snapshot(self) -> Snapshot:
        state = self.observer.state
        asked = state.permissions[0] if state.status is Status.WAITING_PERMISSION and state.permissions else None
        return Snapshot(
            status=state.status,
            since=self.observer.since,
            reason=state.reason,
            permission=asked,
            dialog=state.dialog if state.status in {Status.WAITING_INPUT, Status.STARTING} else None,
            transcript_path=state.transcript_path,
            session_id=state.session_id,
            unread=self.observer.conversation.unread,
            tokens=self.observer.conversation.tokens,
            context_tokens=self.observer.conversation.context_tokens,
        )


def _life_name(found: Found, journal: Journal) -> str:
    """A pane that is gone cannot say when it was made; the journal still knows by which name it typed to it."""
    begins = f"{found.pane_id}/{found.pid}/"
    known = [entry.life for entry in journal.entries if entry.life.startswith(begins)]
    return known[-1] if known and not found.created_s else found.name
