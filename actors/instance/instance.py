"""One instance: an agent in its tmux pane, with its inbox, as the supervisor sees it.

``Instance`` is a plain class; ``actors.instance.actor`` puts each into a Ray actor of its own. That is started beside
the agent, so an ``Instance`` is empty when it is made, and ``adopt`` says which agent to follow. The host has started
the agent before, just now or days ago, so a restarted actor goes on where the last one stopped. Methods raise
``PhalanxError``; nothing here outlives the agent.

``AgentSession`` holds the parts that follow one agent from adoption to its end; an ``Instance`` has one at a time. A
loop of it that ends with an error ends the whole session: half of it would be deaf or mute without anybody noticing.
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
from actors.backoff import Backoff, LastingProblem
from actors.concurrency import ChangeNotifier
from actors.errors import PaneGoneError, SocketGoneError, TerminalError, UnavailableError, WrongStateError
from actors.files import FileLock
from actors.instance.deliverer import Deliverer, Lease
from actors.instance.inbox import BatchLimits
from actors.instance.journal import Journal, ReceiptLog
from actors.instance.observer import Observer
from actors.instance.reports import InstanceSnapshot, Report, ReportLog
from actors.instance.responding import AnsweredPrompt, Reply, Responder, typing_alone
from actors.instance.state import SETTLE_S, in_words, interrupted
from actors.instance.terminal import TerminalScreen, TerminalView
from actors.instance.transcript import PAGE_CHARACTERS, PageQuery, TranscriptPage, read_page
from actors.marks import INSTANCE_MARK
from actors.messages import Message, Receipt
from actors.remote import remote
from actors.status import IDLE, Status
from actors.tmux.client import TmuxClient
from actors.tmux.pane import NamedKey, Pane, TypedText
from actors.versions import ACTOR_PROTOCOL, check_protocol

logger = logging.getLogger(__name__)


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
    """How long it may type after an answer that the supervisor has; see ``deliverer.Lease``."""
    hold: str = ""
    """Why nothing may be typed for now, in words; see ``Instance.tune``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAgent:
    """The agent as it was found in its pane at adoption."""

    pane: Pane
    pane_id: str
    pid: int
    created_s: int = 0
    """When its session was made, in Unix seconds; 0 when that is not known."""
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
    found = FoundAgent(pane=pane, pane_id=pane_id, pid=pid)
    try:
        state = await pane.state()
    except PaneGoneError as error:
        if isinstance(error, SocketGoneError) and _is_an_agent(pid):
            raise
        return replace(found, gone=str(error))
    if state.pid not in {pid, 0}:
        return replace(found, gone=f"the agent (process {pid}) has ended: another program is in its pane")
    gone = "the agent has ended" if state.dead else ""
    return replace(found, created_s=state.created_s, gone=gone, has_last_words=state.dead)


def _is_an_agent(pid: int) -> bool:
    """Whether the process lives and was started as an agent: its number may be another one's by now."""
    try:
        return f"\0{INSTANCE_MARK}=".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


Fault = Callable[["AgentSession", BaseException], None]


class AgentSession:
    """``on_fault`` is called at most once, when one of the loops has ended with an error."""

    def __init__(
        self, config: InstanceConfig, agent: Agent, found: FoundAgent, log: ReportLog, lease: Lease, on_fault: Fault
    ) -> None:
        """Raises ``RecordVersionError`` for a journal that another version of Phalanx has left."""
        self.found = found
        self.pane = found.pane
        self.terminal = TerminalView(found.pane, agent)
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
            lease,
        )
        self.deliverer.hold = config.hold
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
        self.deliverer.recall()
        for work in (self.observer.run(), self.deliverer.run(), self._publish()):
            task = asyncio.create_task(work)
            task.add_done_callback(self._check)
            self._tasks.append(task)

    def tune(self, limits: BatchLimits, hold: str) -> None:
        """See ``Instance.tune``."""
        self.deliverer.inbox.limits = limits
        self.deliverer.hold = hold
        self.changes.announce()

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
        self._log.batches, self._log.delivered = self.deliverer.batches, self.deliverer.delivered
        self._log.receipt(receipt)

    async def _publish(self) -> None:
        while True:
            self._log.snapshot(self._snapshot())
            await self.changes.until(lambda: self._log.current != self._snapshot(), None)

    def _snapshot(self) -> InstanceSnapshot:
        state = self.observer.state
        conversation = self.observer.conversation
        activity = conversation.activity.now(idle=state.status in IDLE)
        asked = state.permissions[0] if state.status is Status.WAITING_PERMISSION and state.permissions else None
        return InstanceSnapshot(
            status=state.status,
            since=self.observer.since,
            reason=state.reason,
            permission=asked,
            dialog=state.dialog if state.status in {Status.WAITING_INPUT, Status.STARTING} else None,
            transcript_path=state.transcript_path,
            session_id=state.session_id,
            limit=state.limit,
            unread=conversation.unread,
            tokens=conversation.tokens,
            context_tokens=conversation.context_tokens,
            context_window=conversation.context_window,
            model=conversation.activity.model,
            task=conversation.activity.task,
            activity=activity.text,
            activity_at=activity.at,
            turn_at=state.turn_at,
            turn_failed=bool(state.failure),
            answer=state.answer,
            answer_characters=state.answer_characters,
        )


def _life_name(found: FoundAgent, journal: Journal) -> str:
    """A pane that is gone cannot say when it was made; the journal still knows by which name it typed to it."""
    begins = f"{found.pane_id}/{found.pid}/"
    known = [entry.life for entry in journal.entries if entry.life.startswith(begins)]
    return known[-1] if known and not found.created_s else found.name


_ASKED_IN_A_TURN = frozenset({"permission", "question", "plan"})
"""Kinds of dialogs in which the interrupt key stops the turn that asks."""
_INTERRUPT_LOOK_S = 0.1
_END_SHOWN_S = 3.0
"""How long after its screen is idle an agent may take to show how an interrupted turn has ended."""
_TYPING_PATIENCE_S = 5.0
_KEY_PATIENCE_S = 1.0
"""A key of a person that comes later may meet another screen."""
_WRITTEN_PATIENCE_S = 2.0
LOCK_NAME = "typist.lock"
"""Held by the one actor that types into the instance: one that lost its raylet may live on beside its successor. A
program of tmux that the holder starts inherits it, so it also keeps the successor out until that can no longer type."""
_LOCK_PATIENCE_S = 5.0
_FIND_S = 5.0
_RECOVERY = Backoff(first_s=1.0, longest_s=30.0)
_SOUND_LIFE_S = 60.0
"""A life that lasted so long was sound: its fault is the first one again."""


CALL_S = 15.0
ADOPT_S = 30.0
"""It may have to wait for an earlier actor's end and for tmux, and reads all that the agent has written so far."""
READ_S = 30.0
POLL_MARGIN_S = 10.0


class Instance:
    """All methods run in one event loop. ``reports`` tells the supervisor what changes.

    Serves one instance in its life, never another. Until it has adopted an agent, what needs one raises
    ``UnavailableError``.
    """

    _config: InstanceConfig
    _agent: Agent
    _lease: Lease
    _typing_lock: FileLock
    """These four are set by the first adoption."""

    def __init__(self, catalog: AgentCatalog) -> None:
        self._catalog = catalog
        self._vacant = True
        self._log = ReportLog(uuid.uuid4().hex)
        self._adopting = asyncio.Lock()
        self._current: AgentSession | None = None
        self._broken: AgentSession | None = None
        self._faults = 0
        self._recovery: asyncio.Task[None] | None = None
        self._not_taken_over = LastingProblem(logger, "the agent could not be taken over again")

    async def meet(self, protocol: int) -> None:
        """Raises ``VersionError`` for a supervisor of another protocol."""
        check_protocol(protocol, "this actor", "the supervisor", ACTOR_PROTOCOL)

    @remote(timeout_s=ADOPT_S, retry=True)
    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        """Takes over the agent with process ``pid`` in pane ``pane_id``; an earlier agent is let go.

        No-op when that agent is followed already. One that has ended gets its end at once. The same instance may come
        under another id, when a spare is given away, or in another conversation, which holds from the agent's next life
        on. Returns the incarnation. Raises ``UnavailableError`` while another actor of this instance lives or tmux does
        not answer, ``WrongStateError`` when this one serves another instance, ``InvalidRequestError`` for an unknown
        agent.
        """
        if self._vacant:
            self._agent = self._catalog.named(config.agent)
            self._lease = Lease(config.lease_s)
            self._typing_lock = FileLock(config.directory / LOCK_NAME)
            self._vacant = False
        elif self._config.directory != config.directory:
            raise WrongStateError(f"This actor follows {self._config.instance_id}, so not {config.instance_id} too.")
        self._config = config
        async with self._adopting:
            if self._current is None or not self._current.follows(pane_id, pid):
                await self._take_over(pane_id, pid)
            else:
                self._current.tune(config.limits, config.hold)
        return self._log.incarnation

    async def _take_over(self, pane_id: str, pid: int) -> None:
        if not await self._typing_lock.acquire_async(_LOCK_PATIENCE_S):
            raise UnavailableError("Another actor still holds this instance: try again.")
        tmux = TmuxClient(self._config.tmux_socket, inherited=(self._typing_lock.descriptor,))
        try:
            async with asyncio.timeout(_FIND_S):
                found = await find_agent(Pane(tmux, pane_id), pane_id, pid)
        except (TerminalError, TimeoutError) as error:
            raise UnavailableError(f"tmux does not say whether the agent still runs ({error}): try again.") from error
        await self._begin(found)

    async def _begin(self, found: FoundAgent) -> None:
        earlier, was_broken = self._current or self._broken, self._broken is not None
        if earlier is not None:
            await earlier.end()  # before the next one reads the journal
        session = AgentSession(self._config, self._agent, found, self._log, self._lease, self._on_fault)
        if earlier is not None:
            session.continue_from(earlier)
        if was_broken:
            # Its inbox is lost: a new incarnation makes the supervisor hand over again what is pending.
            self._log.renew(uuid.uuid4().hex)
        self._current = self._broken = None
        await session.begin()
        self._current = session

    async def leave(self) -> None:
        """Stops following the agent, which goes on by itself."""
        async with self._adopting:
            for session in (self._current, self._broken):
                if session is not None:
                    await session.end()
            self._current = self._broken = None
            if not self._vacant:
                self._typing_lock.release()

    def _on_fault(self, session: AgentSession, error: BaseException) -> None:
        """A loop has died. Its life is replaced as if this actor had been killed, for which all is prepared: journal,
        spool and the supervisor, but without the cost of a process and with words for whoever looks."""
        logger.error("a loop of the instance ended with an error", exc_info=error)
        self._faults = 1 if session.age_s > _SOUND_LIFE_S else self._faults + 1
        self._current, self._broken = None, session
        self._recovery = asyncio.create_task(self._recover(session, f"an error in Phalanx: {error!r}"))

    async def _recover(self, broken: AgentSession, reason: str) -> None:
        """Tries until the agent is followed again, by this or by another call."""
        await broken.end()
        self._log.snapshot(replace(self._log.current, reason=f"{reason}. It takes over its agent again"))
        while self._broken is broken:
            await asyncio.sleep(_RECOVERY.pause_s(self._faults))
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

    @remote(timeout_s=CALL_S)
    async def tune(self, limits: BatchLimits, hold: str = "") -> None:
        """From now on batches are formed by these limits, also of what is queued already.

        ``hold``: why none is begun for now, in words; empty: they are. A turn that is under way goes on.
        """
        self._check_adopted()
        self._config = replace(self._config, limits=limits, hold=hold)
        if self._current is not None:
            self._current.tune(limits, hold)

    @remote(timeout_s=CALL_S)
    async def deliver(self, messages: Sequence[Message]) -> None:
        """Queues messages; what becomes of each comes as a receipt in the reports. A known id is not queued twice."""
        self._now.deliverer.offer(messages)

    @remote(timeout_s=CALL_S)
    async def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        """Messages that are not being typed yet never are; their receipts say ``failed``, with this reason."""
        self._now.deliverer.withdraw(message_ids, reason)

    @remote(timeout_s=POLL_MARGIN_S, plus="timeout_s")
    async def reports(self, after: int, timeout_s: float, incarnation: str = "", answer: int = 0) -> Report:
        """Snapshot and receipts that came after sequence ``after``; waits up to ``timeout_s`` seconds for news.

        ``answer``: the number of the last report that the asker has of this incarnation, which renews the lease.
        Answers at once when the asker names another incarnation than this, so whoever follows an instance learns that
        its actor was made anew and has to adopt again.
        """
        if not self._vacant and incarnation == self._log.incarnation:
            self._lease.confirm(answer)
        taken_in = self._log.acknowledge(after, incarnation)
        session = self._current or self._broken
        if taken_in and session is not None:
            session.deliverer.acknowledged(taken_in)
        report = await self._log.after(after, timeout_s, incarnation)
        return report if self._vacant else replace(report, answer=self._lease.answered())

    @remote(timeout_s=READ_S)
    async def page(self, query: PageQuery) -> TranscriptPage:
        """A page of the conversation.

        What the agent has answered by now is among them, although its transcript is written a moment later.
        """
        session = self._now
        if session.observer.state.status in IDLE:
            await session.observer.written(_WRITTEN_PATIENCE_S)
        conversation = session.observer.conversation
        if conversation.path is None:
            return TranscriptPage(entries=(), cursor="", more=False)
        session.observer.witness()
        answers, path = conversation.answers, conversation.path
        page = await asyncio.to_thread(read_page, self._agent, path, query)
        if not page.more and not query.whole and not query.leaves_unread and conversation.path == path:
            # What came while the page was read may not be on it.
            conversation.read_to(answers)
            session.changes.announce()
        return page

    @remote(timeout_s=CALL_S)
    async def screen(self, lines: int) -> str:
        """The last ``lines`` lines of the pane's text, with what has scrolled off; not more than a page holds."""
        text = await self._now.pane.capture(history_lines=lines)
        return "\n".join(text.rstrip().splitlines()[-lines:])[-PAGE_CHARACTERS:]

    @remote(timeout_s=CALL_S, plus="timeout_s")
    async def watch_terminal(self, after: str, timeout_s: float) -> TerminalScreen:
        """See ``TerminalView.next``. Raises ``UnavailableError`` when there is no terminal any more."""
        try:
            return await self._now.terminal.next(after, timeout_s)
        except TerminalError as error:
            raise UnavailableError(f"The terminal of {self._config.instance_id} cannot be seen: {error}") from error

    @remote(timeout_s=READ_S)
    async def type_keys(self, keys: Sequence[TypedText | NamedKey], seen: str = "") -> None:
        """Types for a person at the agent's terminal.

        ``seen``: the version of the terminal that this person looks at. When a dialog is up that it does not show,
        nothing is typed: a letter, a digit, Enter or Escape would answer it. Raises ``WrongStateError`` then, and when
        the agent has ended; ``UnavailableError`` while a message is being typed, and when the terminal does not answer:
        then some of it may have been typed.
        """
        session = self._now
        if not session.observer.alive:
            raise WrongStateError(f"The agent of {self._config.instance_id} has ended: nothing was typed. Restart it.")
        try:
            async with typing_alone(session.deliverer.typing, _KEY_PATIENCE_S):
                if seen and (dialog := session.terminal.unseen(await session.observer.look(), seen)):
                    raise WrongStateError(f"Nothing was typed: meanwhile {in_words(dialog)}. Look at it first.")
                await session.pane.type_keys(keys)
        except TerminalError as error:
            raise UnavailableError(f"The terminal of {self._config.instance_id} does not answer: {error}") from error

    @remote(timeout_s=CALL_S)
    async def respond(self, reply: Reply) -> AnsweredPrompt:
        """Answers what the agent waits for; see ``Responder.respond``."""
        session, directory = self._now, self._config.directory
        responder = Responder(self._agent, session.pane, session.observer, directory, session.deliverer.typing)
        try:
            return await responder.respond(reply)
        except TerminalError as error:
            raise UnavailableError(f"The terminal of {self._config.instance_id} does not answer: {error}") from error

    @remote(timeout_s=CALL_S, plus="timeout_s")
    async def interrupt(self, timeout_s: float) -> bool:
        """Stops the turn under way; False if there is none.

        Raises ``UnavailableError`` if the agent does not stop, ``WrongStateError`` if a dialog of no turn is up: there
        the key may end the agent.
        """
        session = self._now
        async with typing_alone(session.deliverer.typing, _TYPING_PATIENCE_S):
            return await self._interrupt(session, timeout_s)

    async def _interrupt(self, session: AgentSession, timeout_s: float) -> bool:
        key = self._agent.interrupt_key
        if key is None and session.observer.state.status is Status.BUSY:
            raise WrongStateError(
                f"The program of {self._config.instance_id} has no key that stops a turn: wait for its end, or restart "
                "the instance."
            )
        if key is None or not await self._is_turn_in_sight(session):
            return False
        conversation = session.observer.conversation
        session.observer.read_transcript()
        interruptions = conversation.interruptions
        await session.pane.press(key)
        idle_since = None
        deadline = time.monotonic() + timeout_s
        while (now := time.monotonic()) < deadline:
            await asyncio.sleep(_INTERRUPT_LOOK_S)
            screen = await session.observer.look()
            if screen.composer is Composer.ABSENT or screen.busy:
                continue
            if idle_since is None:  # it may only be half drawn
                idle_since = now
                continue
            session.observer.read_transcript()
            # Either the transcript says that it was interrupted, or the prompt comes back into the input box. A message
            # that is pasted before that would be mixed with it.
            is_shown = screen.composer is Composer.DRAFT or conversation.interruptions > interruptions
            if not is_shown and now - idle_since < _END_SHOWN_S:
                continue
            session.observer.change(interrupted(session.observer.state, time.monotonic()))
            session.deliverer.interrupted()
            return True
        raise UnavailableError(
            f"{self._config.instance_id} did not stop its turn within {timeout_s:.0f} s. "
            "Read its screen, or terminate or restart it."
        )

    async def _is_turn_in_sight(self, session: AgentSession) -> bool:
        """Whether a turn is under way, which the screen shows a moment after the events."""
        deadline = time.monotonic() + SETTLE_S
        while session.observer.alive:
            screen = await session.observer.look()
            dialog = screen.dialog if screen.composer is Composer.ABSENT else None
            if screen.busy or (dialog is not None and dialog.kind in _ASKED_IN_A_TURN):
                return True
            if dialog is not None:
                raise WrongStateError(f"Nothing was interrupted: {in_words(dialog)}.")
            if session.observer.state.status is not Status.BUSY or time.monotonic() > deadline:
                return False
            await asyncio.sleep(_INTERRUPT_LOOK_S)
        return False

    @remote(timeout_s=CALL_S)
    async def expect_end(self, coming_back: bool = False) -> None:
        """The agent will be ended on purpose: its end is no failure. When it is ``coming_back`` its messages wait.

        Returns when the transcript holds what the agent was told, for Claude Code writes it a moment later and loses
        what it has not written when it is ended.
        """
        observer = self._now.observer
        observer.expect_end(coming_back=coming_back)
        await observer.written(_WRITTEN_PATIENCE_S)

    def _check_adopted(self) -> None:
        if self._vacant:
            raise UnavailableError("This actor has just been started and follows no agent yet: try again.")

    @property
    def _now(self) -> AgentSession:
        self._check_adopted()
        if self._broken is not None:
            raise UnavailableError(f"{self._config.instance_id} recovers from an error in Phalanx: try again.")
        if self._current is None:
            raise UnavailableError(f"{self._config.instance_id} has not taken over its agent yet: try again.")
        return self._current
