"""One instance: an agent in its tmux pane with its inbox, as the supervisor sees it.

``InstanceServer`` is the process: ``actors.instance.actor`` puts it into a Ray actor. ``Instance`` holds the verbs and
survives lives of the agent; ``AgentSession`` follows one agent from its adoption to its end. Verbs raise
``PhalanxError``; nothing here outlives the agent.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actors.agents.base import Agent, Composer
from actors.agents.catalog import AgentCatalog
from actors.concurrency import ChangeNotifier
from actors.errors import PaneGoneError, SocketGoneError, TerminalError, UnavailableError, WrongStateError
from actors.files import TypingLock
from actors.instance.deliverer import Deliverer, Lease
from actors.instance.inbox import BatchLimits
from actors.instance.journal import Journal, ReceiptLog
from actors.instance.observer import Observer
from actors.instance.reports import InstanceSnapshot, Report, ReportLog
from actors.instance.responding import AnsweredPrompt, Reply, Responder
from actors.instance.transcript import PAGE_CHARACTERS, PageQuery, TranscriptPage, read_page
from actors.marks import INSTANCE_MARK
from actors.messages import Message, Receipt
from actors.status import IDLE, SETTLE_S, Status, in_words, interrupted
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane, PaneState
from actors.troubles import Trouble
from actors.versions import ACTOR_PROTOCOL, check_protocol

logger = logging.getLogger(__name__)

Fault = Callable[["AgentSession", BaseException], None]

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


class InstanceServer:
    """A process for one instance, empty when it is made. All methods run in one event loop; see ``Instance``.

    Starting the process is what costs, so actors are made before it is known which instance they will serve. ``adopt``
    then names the agent to follow. An actor serves one instance in its life and never another.
    """

    def __init__(self, catalog: AgentCatalog) -> None:
        self._catalog = catalog
        self._instance: Instance | None = None

    async def meet(self, protocol: int) -> None:
        """Raises ``VersionError`` for a supervisor of another protocol."""
        check_protocol(protocol, "this actor", "the supervisor", ACTOR_PROTOCOL)

    async def vacant(self) -> bool:
        """Whether it follows nobody so far."""
        return self._instance is None

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        """As ``Instance.adopt``; the same instance may come under another id, or in another conversation.

        Raises ``WrongStateError`` when it serves another instance, ``InvalidRequestError`` for an unknown agent.
        """
        if self._instance is None:
            self._instance = Instance(config, self._catalog.named(config.agent))
        elif self._instance.config.directory != config.directory:
            raise WrongStateError(
                f"This actor follows {self._instance.config.instance_id}, so not {config.instance_id} too."
            )
        self._instance.configure(config)
        return await self._instance.adopt(pane_id, pid)

    async def leave(self) -> None:
        """Stops following the agent, which goes on by itself."""
        if self._instance is not None:
            await self._instance.leave()

    async def deliver(self, messages: Sequence[Message]) -> None:
        await self._seated.deliver(messages)

    async def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        await self._seated.withdraw(message_ids, reason)

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report:
        """An empty actor answers at once, as an incarnation that nobody knows: whoever follows it has it adopt
        again."""
        if self._instance is None:
            return Report(incarnation="", sequence=0, snapshot=InstanceSnapshot(), receipts=())
        return await self._instance.reports(after, timeout_s, incarnation)

    async def tune(self, limits: BatchLimits) -> None:
        await self._seated.tune(limits)

    async def page(self, query: PageQuery) -> TranscriptPage:
        return await self._seated.page(query)

    async def screen(self, lines: int) -> str:
        return await self._seated.screen(lines)

    async def respond(self, reply: Reply) -> AnsweredPrompt:
        return await self._seated.respond(reply)

    async def interrupt(self, timeout_s: float) -> bool:
        return await self._seated.interrupt(timeout_s)

    async def expect_end(self, coming_back: bool = False) -> None:
        await self._seated.expect_end(coming_back)

    @property
    def _seated(self) -> Instance:
        if self._instance is None:
            raise UnavailableError("This actor has just been started and follows no agent yet: try again.")
        return self._instance


class Instance:
    """The verbs of one instance. All methods run in one event loop; ``reports`` tells the supervisor what changes.

    The host has started the agent before. ``adopt`` takes over its pane, whether the agent has just begun or has worked
    for days, so a restarted actor goes on where the last one stopped.
    """

    def __init__(self, config: InstanceConfig, agent: Agent) -> None:
        self._config = config
        self._agent = agent
        self._log = ReportLog(uuid.uuid4().hex)
        self._lease = Lease(config.lease_s)
        self._typist = TypingLock(config.directory)
        self._adopting = asyncio.Lock()
        self._life: AgentSession | None = None
        self._broken: AgentSession | None = None
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
        tmux = TmuxClient(self._config.tmux_socket, inherited=(self._typist.descriptor,))
        try:
            async with asyncio.timeout(_FIND_S):
                found = await find_agent(Pane(tmux, pane_id), pane_id, pid)
        except (TerminalError, TimeoutError) as error:
            raise UnavailableError(f"tmux does not say whether the agent still runs ({error}): try again.") from error
        await self._begin(found)

    async def _begin(self, found: FoundAgent) -> None:
        earlier, was_broken = self._life or self._broken, self._broken is not None
        if earlier is not None:
            await earlier.end()  # before the next one reads the journal
        life = AgentSession(self._config, self._agent, found, self._log, self._on_fault)
        life.deliverer.set_lease(self._lease)
        if earlier is not None:
            life.continue_from(earlier)
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

    def _on_fault(self, life: AgentSession, error: BaseException) -> None:
        """A loop has died. Its life is replaced as if this actor had been killed, for which all is prepared: journal,
        spool and the supervisor, but without the cost of a process and with a text for a person who looks."""
        logger.error("a loop of the instance ended with an error", exc_info=error)
        self._faults = 1 if life.age_s > _SOUND_LIFE_S else self._faults + 1
        self._life, self._broken = None, life
        self._recovery = asyncio.create_task(self._recover(life, f"an error in Phalanx: {error!r}"))

    async def _recover(self, broken: AgentSession, reason: str) -> None:
        """Tries until the agent is followed again, by this or by another call."""
        await broken.end()
        self._log.snapshot(replace(self._log.current, reason=f"{reason}. It takes over its agent again"))
        while self._broken is broken:
            await asyncio.sleep(min(_RECOVERY_S * 2 ** min(self._faults, 10), _LONGEST_RECOVERY_S))
            async with self._adopting:
                if self._broken is broken:
                    await self._try_again(broken)

    async def _try_again(self, broken: AgentSession) -> None:
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
            self._life.deliverer.inbox.limits = limits
            self._life.changes.announce()

    async def deliver(self, messages: Sequence[Message]) -> None:
        """Queues messages; what becomes of each comes as a receipt in the reports. A known id is not queued twice."""
        self._now.deliverer.offer(messages)

    async def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        """Messages that are not being typed yet never are; their receipts say ``failed``, with this reason."""
        self._now.deliverer.withdraw(message_ids, reason)

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report:
        """Snapshot and receipts that came after sequence ``after``; waits up to ``timeout_s`` seconds for news.

        Answers at once when the caller names another incarnation than this.
        """
        self._lease.renew()
        return await self._log.after(after, timeout_s, incarnation)

    async def page(self, query: PageQuery) -> TranscriptPage:
        """A page of the conversation.

        What the agent has answered by now is among them, although its transcript is written a moment later.
        """
        life = self._now
        if life.observer.state.status in IDLE:
            await life.observer.written(_WRITTEN_PATIENCE_S)
        conversation = life.observer.conversation
        if conversation.path is None:
            return TranscriptPage(entries=(), cursor="", more=False)
        life.observer.witness()
        answers, path = conversation.answers, conversation.path
        page = await asyncio.to_thread(read_page, self._agent, path, query)
        if not page.more and not query.whole and not query.leaves_unread and conversation.path == path:
            # What came while the page was read may not be on it.
            conversation.read_to(answers)
            life.changes.announce()
        return page

    async def screen(self, lines: int) -> str:
        """The last ``lines`` lines of the pane's text, with what has scrolled off; not more than a page holds."""
        text = await self._now.pane.capture(history_lines=lines)
        return "\n".join(text.rstrip().splitlines()[-lines:])[-PAGE_CHARACTERS:]

    async def respond(self, reply: Reply) -> AnsweredPrompt:
        """Answers what the agent waits for; see ``Responder.respond``."""
        life = self._now
        typing = life.deliverer.typing
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
                await life.deliverer.typing.acquire()
        except TimeoutError:
            raise UnavailableError("A message is being typed into this instance just now: try again.") from None
        try:
            return await self._interrupt(life, timeout_s)
        finally:
            life.deliverer.typing.release()

    async def _interrupt(self, life: AgentSession, timeout_s: float) -> bool:
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
            life.deliverer.interrupted()
            return True
        raise UnavailableError(
            f"{self._config.instance_id} did not stop its turn within {timeout_s:.0f} s. "
            "Read its screen, or terminate or restart it."
        )

    async def _is_turn_in_sight(self, life: AgentSession) -> bool:
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
    def _now(self) -> AgentSession:
        if self._broken is not None:
            raise UnavailableError(f"{self._config.instance_id} recovers from an error in Phalanx: try again.")
        if self._life is None:
            raise UnavailableError(f"{self._config.instance_id} has not taken over its agent yet: try again.")
        return self._life


class AgentSession:
    """The parts that follow one agent, from adoption to its end; an ``Instance`` has one at a time.

    A loop in here that ends with an error ends the whole session, because half of it would miss events or deliver
    nothing without notice. ``on_fault`` is called then, once; the instance decides what follows.
    """

    def __init__(
        self, config: InstanceConfig, agent: Agent, found: FoundAgent, log: ReportLog, on_fault: Fault
    ) -> None:
        """Raises ``RecordVersionError`` for a journal that another version of Phalanx has left."""
        self.found = found
        self.pane = found.pane
        self.changes = ChangeNotifier()
        self.observer = Observer(agent, found.pane, config.directory, config.session_id, found.pid, self.changes)
        self.observer.coming_back = config.comes_back
        journal = Journal(config.directory)
        self.observer.evidence.expect(
            message for entry in journal.entries for message in entry.messages if message.text
        )
        self.deliverer = Deliverer(
            found.pane,
            self.observer,
            config.limits,
            self.changes,
            ReceiptLog(journal, _life_name(found, journal), self._receipt, self.observer.evidence),
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

    def continue_from(self, earlier: AgentSession) -> None:
        """Keeps what only memory knows of the life before: of the same agent, that its end was asked for."""
        same = (self.found.pane_id, self.found.pid) == (earlier.found.pane_id, earlier.found.pid)
        if same and earlier.observer.ending:
            self.observer.expect_end(coming_back=earlier.observer.coming_back)

    async def begin(self) -> None:
        """Takes in what is there already, then follows the agent; one that has ended is only given its end."""
        if self.found.gone:
            await self.observer.note_end("" if self.found.has_last_words else self.found.gone)
        else:
            self.observer.read_spool()
        self._log.on_acknowledged = self.deliverer.acknowledged
        self.deliverer.recall()
        for work in (self.observer.run(), self.deliverer.run(), self._publish()):
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
        # The snapshot first: a reader who sees that a message has arrived must not see an older status beside it.
        self._log.snapshot(self._snapshot())
        self._log.batches, self._log.delivered = self.deliverer.batches, self.deliverer.delivered
        self._log.receipt(receipt)

    async def _publish(self) -> None:
        while True:
            self._log.snapshot(self._snapshot())
            await self.changes.until(lambda: self._log.current != self._snapshot(), None)

    def _snapshot(self) -> InstanceSnapshot:
        state = self.observer.state
        asked = state.permissions[0] if state.status is Status.WAITING_PERMISSION and state.permissions else None
        return InstanceSnapshot(
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


def _life_name(found: FoundAgent, journal: Journal) -> str:
    """A pane that is gone cannot say when it was made; the journal still knows by which name it typed to it."""
    begins = f"{found.pane_id}/{found.pid}/"
    known = [entry.life for entry in journal.entries if entry.life.startswith(begins)]
    return known[-1] if known and not found.created_s else found.name


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
    """How long it may type without having been asked by the supervisor; see ``deliverer.Lease``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAgent:
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


async def find_agent(pane: Pane, pane_id: str, pid: int) -> FoundAgent:
    """Looks whether the process ``pid`` is still the one in the pane. Raises ``TerminalError`` when tmux cannot say."""
    try:
        state = await pane.state()
    except SocketGoneError as error:
        if _is_an_agent(pid):
            raise
        return FoundAgent(pane=pane, pane_id=pane_id, pid=pid, created_s=0, gone=str(error))
    except PaneGoneError as error:
        return FoundAgent(pane=pane, pane_id=pane_id, pid=pid, created_s=0, gone=str(error))
    if state.pid not in {pid, 0}:
        gone = f"the agent (process {pid}) has ended: another program is in its pane"
        return FoundAgent(pane=pane, pane_id=pane_id, pid=pid, created_s=0, gone=gone)
    return _found(pane, pane_id, pid, state)


def _is_an_agent(pid: int) -> bool:
    """Whether the process lives and was started as an agent: its number may be another one's by now."""
    try:
        return f"\0{INSTANCE_MARK}=".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _found(pane: Pane, pane_id: str, pid: int, state: PaneState) -> FoundAgent:
    return FoundAgent(
        pane=pane,
        pane_id=pane_id,
        pid=pid,
        created_s=state.created_s,
        gone="the agent has ended" if state.dead else "",
        has_last_words=state.dead,
    )
