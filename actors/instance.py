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
from collections.abc import Collection, Sequence
from dataclasses import replace

from actors.agents.base import Agent, Composer
from actors.errors import TerminalError, UnavailableError, WrongStateError
from actors.files import Typist
from actors.following.life import Found, InstanceConfig, Life, find_agent
from actors.following.pages import PAGE_CHARACTERS, Page, PageQuery, read_page
from actors.following.reports import Report, ReportLog
from actors.messages import Message
from actors.messaging.inbox import BatchLimits
from actors.messaging.lease import Lease
from actors.responding import Answered, Reply, Responder
from actors.status import IDLE, SETTLE_S, Status, in_words, interrupted
from actors.tmux.client import Tmux
from actors.tmux.pane import Pane
from actors.troubles import Trouble

__all__ = ["Instance", "InstanceConfig"]

logger = logging.getLogger(__name__)

_ASKED_IN_A_TURN = frozenset({"permission", "question", "plan"})
"""Kinds of dialogs in which Escape stops the turn that asks."""
_INTERRUPT_LOOK_S = 0.1
_TYPING_PATIENCE_S = 5.0
_WRITTEN_PATIENCE_S = 2.0
_TYPIST_PATIENCE_S = 5.0
_FIND_S = 5.0
_RECOVERY_S = 0.5
_LONGEST_RECOVERY_S = 30.0
_SOUND_LIFE_S = 60.0
"""A life that lasted so long was sound: its fault is the first one again."""


class Instance:
    """All methods run in one event loop. ``reports`` tells the supervisor what changes."""

    def __init__(self, config: InstanceConfig, agent: Agent) -> None:
        self._config = config
        self._agent = agent
        self._log = ReportLog(uuid.uuid4().hex)
        self._lease = Lease(config.lease_s)
        self._typist = Typist(config.directory)
        self._adopting = asyncio.Lock()
        self._life: Life | None = None
        self._broken: Life | None = None
        self._faults = 0
        self._recovery: asyncio.Task[None] | None = None
        self._not_taken_over = Trouble(logger, "the agent could not be taken over again")

    @property
    def config(self) -> InstanceConfig:
        return self._config

    def configure(self, config: InstanceConfig) -> None:
        """The same instance under another id, when a spare is given away, or in another conversation, which holds from
        the agent's next life on."""
        self._config = config

    async def adopt(self, pane_id: str, pid: int) -> str:
        """Takes over the agent with process ``pid`` in pane ``pane_id``; an earlier agent is let go.

        No-op when that agent is followed already. One that has ended gets its end at once. Returns the incarnation.
        Raises ``UnavailableError`` while another actor of this instance lives or tmux does not answer.
        """
        async with self._adopting:
            if self._life is None or not self._life.follows(pane_id, pid):
                await self._take_over(pane_id, pid)
        return self._log.incarnation

    async def _take_over(self, pane_id: str, pid: int) -> None:
        await self._typist.acquire(_TYPIST_PATIENCE_S)
        tmux = Tmux(self._config.tmux_socket, inherited=(self._typist.descriptor,))
        try:
            async with asyncio.timeout(_FIND_S):
                found = await find_agent(Pane(tmux, pane_id), pane_id, pid)
        except (TerminalError, TimeoutError) as error:
            raise UnavailableError(f"tmux does not say whether the agent still runs ({error}): try again.") from error
        await self._begin(found)

    async def _begin(self, found: Found) -> None:
        earlier, was_broken = self._life or self._broken, self._broken is not None
        if earlier is not None:
            await earlier.end()  # before the next one reads the journal
        life = Life(self._config, self._agent, found, self._log, self._on_fault)
        life.courier.heed(self._lease)
        if earlier is not None:
            life.go_on_from(earlier)
        if was_broken:
            # Its inbox is lost: a new incarnation makes the supervisor hand over again what is pending.
            self._log.renew(uuid.uuid4().hex)
        self._life = self._broken = None
        await life.begin()
        self._life = life

    async def leave(self) -> None:
        """Stops following the agent, which goes on by itself."""
        async with self._adopting:
            for life in (self._life, self._broken):
                if life is not None:
                    await life.end()
            self._life = self._broken = None
            self._typist.release()

    def _on_fault(self, life: Life, error: BaseException) -> None:
        """A loop has died. Its life is replaced as if this actor had been killed, for which all is prepared: journal,
        spool and the supervisor, but without the cost of a process and with words for whoever looks."""
        logger.error("a loop of the instance ended with an error", exc_info=error)
        self._faults = 1 if life.age_s > _SOUND_LIFE_S else self._faults + 1
        self._life, self._broken = None, life
        self._recovery = asyncio.create_task(self._recover(life, f"an error in Phalanx: {error!r}"))

    async def _recover(self, broken: Life, reason: str) -> None:
        """Tries until the agent is followed again, by this or by another call."""
        await broken.end()
        self._log.snapshot(replace(self._log.current, reason=f"{reason}. It takes over its agent again"))
        while self._broken is broken:
            await asyncio.sleep(min(_RECOVERY_S * 2 ** min(self._faults, 10), _LONGEST_RECOVERY_S))
            async with self._adopting:
                if self._broken is broken:
                    await self._try_again(broken)

    async def _try_again(self, broken: Life) -> None:
        try:
            await self._take_over(broken.found.pane_id, broken.found.pid)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            self._faults += 1
            self._broken = broken
            self._not_taken_over.met(error)
        else:
            self._not_taken_over.over()

    async def tune(self, limits: BatchLimits) -> None:
        """From now on batches are formed by these; what is queued already, too."""
        self._config = replace(self._config, limits=limits)
        if self._life is not None:
            self._life.courier.inbox.limits = limits
            self._life.news.announce()

    async def deliver(self, messages: Sequence[Message]) -> None:
        """Queues messages; what becomes of each comes as a receipt in the reports. A known id is not queued twice."""
        self._now.courier.offer(messages)

    async def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        """Messages that are not being typed yet never are; their receipts say ``failed``, with this reason."""
        self._now.courier.withdraw(message_ids, reason)

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report:
        """Snapshot and receipts that came after sequence ``after``; waits up to ``timeout_s`` seconds for news.

        Answers at once to who names another incarnation than this.
        """
        self._lease.renew()
        return await self._log.after(after, timeout_s, incarnation)

    async def page(self, query: PageQuery) -> Page:
        """A page of the conversation.

        What the agent has answered by now is among them, although its transcript is written a moment later.
        """
        life = self._now
        if life.observer.state.status in IDLE:
            await life.observer.written(_WRITTEN_PATIENCE_S)
        conversation = life.observer.conversation
        if conversation.path is None:
            return Page(entries=(), cursor="", more=False)
        life.observer.witness()
        answers, path = conversation.answers, conversation.path
        page = await asyncio.to_thread(read_page, self._agent, path, query)
        if not page.more and not query.whole and not query.leaves_unread and conversation.path == path:
            # What came while the page was read may not be on it.
            conversation.read_to(answers)
            life.news.announce()
        return page

    async def screen(self, lines: int) -> str:
        """The last ``lines`` lines of the pane's text, with what has scrolled off; not more than a page holds."""
        text = await self._now.pane.capture(history_lines=lines)
        return "\n".join(text.rstrip().splitlines()[-lines:])[-PAGE_CHARACTERS:]

    async def respond(self, reply: Reply) -> Answered:
        """Answers what the agent waits for; see ``Responder.respond``."""
        life = self._now
        typing = life.courier.typing
        responder = Responder(self._agent, life.pane, life.observer, self._config.directory, typing)
        try:
            return await responder.respond(reply)
        except TimeoutError:
            raise UnavailableError("A message is being typed into this instance just now: try again.") from None
        except TerminalError as error:
            raise UnavailableError(f"The terminal of {self._config.instance_id} does not answer: {error}") from error

    async def interrupt(self, timeout_s: float) -> bool:
        """Stops the turn under way; False if there is none.

        Raises ``UnavailableError`` if the agent does not stop, ``WrongStateError`` if a dialog of no turn is up: there
        the key may end the agent.
        """
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

    async def _interrupt(self, life: Life, timeout_s: float) -> bool:
        if not await self._is_turn_in_sight(life):
            return False
        await life.pane.press("Escape")
        seen = False
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            await asyncio.sleep(_INTERRUPT_LOOK_S)
            screen = await life.observer.look()
            if screen.composer is Composer.ABSENT or screen.busy:
                continue
            if not seen:  # it may only be half drawn
                seen = True
                continue
            life.observer.change(interrupted(life.observer.state, time.monotonic()))
            life.courier.interrupted()
            return True
        raise UnavailableError(
            f"{self._config.instance_id} did not stop its turn within {timeout_s:.0f} s. "
            "Read its screen, or terminate or restart it."
        )

    async def _is_turn_in_sight(self, life: Life) -> bool:
        """Whether a turn is under way, which the screen shows a moment after the hooks."""
        deadline = time.monotonic() + SETTLE_S
        while life.observer.alive:
            screen = await life.observer.look()
            dialog = screen.dialog if screen.composer is Composer.ABSENT else None
            if screen.busy or (dialog is not None and dialog.kind in _ASKED_IN_A_TURN):
                return True
            if dialog is not None:
                raise WrongStateError(f"Nothing was interrupted: {in_words(dialog)}.")
            if life.observer.state.status is not Status.BUSY or time.monotonic() > deadline:
                return False
            await asyncio.sleep(_INTERRUPT_LOOK_S)
        return False

    async def expect_end(self, coming_back: bool = False) -> None:
        """The agent will be ended on purpose: its end is no failure. When it is ``coming_back`` its messages wait.

        Returns when the transcript holds what the agent was told, for Claude Code writes it a moment later and loses
        what it has not written when it is ended.
        """
        observer = self._now.observer
        observer.expect_end(coming_back=coming_back)
        await observer.written(_WRITTEN_PATIENCE_S)

    @property
    def _now(self) -> Life:
        if self._broken is not None:
            raise UnavailableError(f"{self._config.instance_id} recovers from an error in Phalanx: try again.")
        if self._life is None:
            raise UnavailableError(f"{self._config.instance_id} has not taken over its agent yet: try again.")
        return self._life
