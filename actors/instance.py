"""One instance: an agent in its tmux pane, with its inbox, as the supervisor sees it.

A plain class; ``actors.actor`` puts it into a Ray actor of its own. The host has started the agent before; ``adopt``
takes over the pane, whether the agent has just begun or has been at work for days, so a restarted actor goes on where
the last one stopped. Verbs raise ``PhalanxError``; nothing here outlives the agent.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.agents.base import Agent, Composer, Decision, Screen
from actors.agents.permissions import answer
from actors.courier import Courier
from actors.errors import UnavailableError, WrongStateError
from actors.inbox import BatchLimits
from actors.messages import Message, Receipt
from actors.news import News
from actors.observer import Observer
from actors.reports import Report, ReportLog, Snapshot
from actors.states import IDLE, SETTLE_S, PendingPermission, Status, decided, interrupted
from actors.terminal.pane import Pane, Tmux
from actors.transcript import Page

logger = logging.getLogger(__name__)

_INTERRUPT_LOOK_S = 0.1
_TYPING_PATIENCE_S = 5.0
_WRITTEN_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConfig:
    """What an instance is told once. ``directory`` is its private directory below the home."""

    instance_id: str
    session_id: str
    directory: Path
    tmux_socket: Path
    limits: BatchLimits


class Instance:
    """All methods run in one event loop. ``reports`` tells the supervisor what changes."""

    def __init__(self, config: InstanceConfig, agent: Agent) -> None:
        self._config = config
        self._agent = agent
        self._news = News()
        self._log = ReportLog(uuid.uuid4().hex)
        self._life: _Life | None = None

    async def adopt(self, pane_id: str, pid: int) -> None:
        """Takes over the agent with process ``pid`` in pane ``pane_id``; an earlier agent is let go."""
        answers_read = self._life.observer.conversation.answers_read if self._life else 0
        await self.leave()
        pane = Pane(Tmux(self._config.tmux_socket), pane_id)
        self._life = _Life(self._config, self._agent, pane, self._news, self._log)
        self._life.observer.conversation.answers_read = answers_read
        self._life.begin(pid)

    async def leave(self) -> None:
        """Stops following the agent, which goes on by itself."""
        if self._life is not None:
            await self._life.end()
            self._life = None

    async def deliver(self, messages: Sequence[Message]) -> None:
        """Queues messages; what becomes of each comes as a receipt in the reports. A known id is not queued twice."""
        courier = self._now.courier
        for message in messages:
            courier.offer(message)

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report:
        """Snapshot and receipts that came after sequence ``after``; waits up to ``timeout_s`` seconds for news.

        Answers at once to who names another incarnation than this.
        """
        return await self._log.after(after, timeout_s, incarnation)

    async def page(self, cursor: str | None, limit: int) -> Page:
        """Conversation entries after ``cursor``, or the latest ``limit`` without one.

        What the agent has answered by now is among them, although its transcript is written a moment later.
        """
        observer = self._now.observer
        if observer.state.status in IDLE:
            await observer.written(_WRITTEN_PATIENCE_S)
        conversation = observer.conversation
        page = await asyncio.to_thread(conversation.page, cursor, limit)
        if not page.more:
            conversation.all_read()
            self._news.announce()
        return page

    async def screen(self, lines: int) -> str:
        """The last ``lines`` lines of the pane's text, with what has scrolled off."""
        text = await self._now.pane.capture(history_lines=lines)
        return "\n".join(text.rstrip().splitlines()[-lines:])

    async def respond(self, allow: bool, message: str) -> PendingPermission:
        """Decides the oldest waiting permission request through the hook that waits for it; no key is pressed."""
        observer = self._now.observer
        if not observer.state.permissions:
            raise WrongStateError(
                f"{self._config.instance_id} waits for no permission (it is {observer.state.status}). "
                "Call list to see who does."
            )
        asked = observer.state.permissions[0]
        decision = Decision(allow=allow, message=message, tool=asked.tool, tool_input=asked.tool_input)
        words = self._agent.permission_answer(decision)
        taken = answer(self._config.directory, asked.request_id, words)
        observer.change(decided(observer.state, asked.request_id, time.time()))
        if not taken:
            raise WrongStateError(
                f"The request of {self._config.instance_id} to use {asked.tool} was answered at its terminal meanwhile."
            )
        return asked

    async def interrupt(self, timeout_s: float) -> bool:
        """Stops the turn under way; False if there is none. Raises ``UnavailableError`` if the agent does not stop."""
        life = self._now
        try:
            async with asyncio.timeout(_TYPING_PATIENCE_S):
                await life.courier.typing.acquire()
        except TimeoutError:
            raise UnavailableError("A message is being typed into this instance just now: try again.") from None
        try:
            return await self._interrupt(life, timeout_s)
        finally:
            life.courier.typing.release()

    async def _interrupt(self, life: _Life, timeout_s: float) -> bool:
        before = await self._turn_in_sight(life)
        if before is None:
            return False
        await life.pane.press("Escape")
        cleared = before.composer is Composer.DRAFT
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            await asyncio.sleep(_INTERRUPT_LOOK_S)
            screen = await life.observer.look()
            if screen.composer is Composer.ABSENT or screen.busy:
                continue
            if screen.composer is Composer.DRAFT and not cleared:
                # An interrupt before any output puts the prompt back into the input box; it would hold up messages.
                await life.pane.press("C-c")
                cleared = True
                continue
            life.observer.change(interrupted(life.observer.state, time.time()))
            return True
        raise UnavailableError(
            f"{self._config.instance_id} did not stop its turn within {timeout_s:.0f} s. "
            "Read its screen, or terminate or restart it."
        )

    async def _turn_in_sight(self, life: _Life) -> Screen | None:
        """The screen once it shows the turn under way, which it does a moment after the hooks; None without a turn."""
        deadline = time.monotonic() + SETTLE_S
        while life.observer.alive:
            screen = await life.observer.look()
            if screen.busy or screen.dialog:
                return screen
            if life.observer.state.status is not Status.BUSY or time.monotonic() > deadline:
                return None
            await asyncio.sleep(_INTERRUPT_LOOK_S)
        return None

    async def expect_end(self, coming_back: bool = False) -> None:
        """The agent will be ended on purpose: its end is no failure. When it is ``coming_back`` its messages wait.

        Returns when the transcript holds what the agent was told, for Claude Code writes it a moment later and loses
        what it has not written when it is ended.
        """
        observer = self._now.observer
        observer.expect_end(coming_back=coming_back)
        await observer.written(_WRITTEN_PATIENCE_S)

    @property
    def _now(self) -> _Life:
        if self._life is None:
            raise UnavailableError(f"{self._config.instance_id} has not taken over its agent yet: try again.")
        return self._life


class _Life:
    """The parts that follow one agent from adoption to its end."""

    def __init__(self, config: InstanceConfig, agent: Agent, pane: Pane, news: News, log: ReportLog) -> None:
        self.pane = pane
        self.observer = Observer(agent, pane, config.directory, config.session_id, news)
        self.courier = Courier(pane, self.observer, config.limits, news, self._receipt)
        self._news = news
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, pid: int) -> None:
        self.observer.absorb()
        for work in (self.observer.run(pid), self.courier.run(), self._publish()):
            task = asyncio.create_task(work)
            task.add_done_callback(_log_failure)
            self._tasks.append(task)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _receipt(self, receipt: Receipt) -> None:
        # The snapshot first: whoever reads that a message has arrived must not read an older status beside it.
        self._log.snapshot(self._snapshot())
        self._log.batches, self._log.delivered = self.courier.batches, self.courier.delivered
        self._log.receipt(receipt)

    async def _publish(self) -> None:
        while True:
            self._log.snapshot(self._snapshot())
            await self._news.until(lambda: self._log.current != self._snapshot(), None)

    def _snapshot(self) -> Snapshot:
        state = self.observer.state
        asked = state.permissions[0] if state.status is Status.WAITING_PERMISSION and state.permissions else None
        return Snapshot(
            status=state.status,
            since=state.since,
            reason=state.reason,
            tool=asked.tool if asked else "",
            tool_input=asked.tool_input if asked else {},
            transcript_path=state.transcript_path,
            queued=self.courier.waiting,
            unread=self.observer.conversation.unread,
            tokens=self.observer.conversation.tokens,
        )


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("a loop of the instance ended with an error", exc_info=task.exception())
