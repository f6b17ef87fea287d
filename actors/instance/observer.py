"""What one instance knows of its agent, from its witnesses: events, transcript, status file, process and screen.

``AgentSession`` runs the ``Observer``; the deliverer and the responder read from it. ``actors.instance.state`` weighs
the witnesses. ``LookSchedule`` says when a look at the screen is worth while; ``process_end`` waits for a process that
is not our child, as the agents in tmux are not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from actors.agents.base import Agent, AgentEvent, Composer, EventKind, Screen
from actors.agents.permissions import release, waits
from actors.agents.spool import KNOCK_NAME, LAUNCH_MARK, SPOOL_NAME
from actors.backoff import LastingProblem
from actors.concurrency import ChangeNotifier
from actors.errors import SettingsError, TerminalError
from actors.files import write_private
from actors.instance.evidence import DeliveryEvidence
from actors.instance.state import (
    SETTLE_S,
    InstanceState,
    ScreenVerdict,
    fold,
    on_exit,
    on_own_status,
    on_screen,
    without,
)
from actors.instance.transcript import Conversation, FileTail
from actors.status import ALIVE, Status
from actors.tmux.pane import LastKey, Pane

logger = logging.getLogger(__name__)

SHORTEST_S = 0.01
LONGEST_S = 0.5
"""Between two looks although nothing was drawn: nothing relies on being told alone."""
UNTOLD_S = 0.05
_SHARE = 0.1
_LONGEST_REST_S = 1.0

_POLL_S = 1.0

_ASK_EVERY_S = 2.0
"""How often the process and its status file are asked: two system calls."""
_CONFIRM_S = 0.5
"""A look that contradicts the events is confirmed so soon."""
_WAITING_LOOK_S = 1.0
_DRAWN_LOOK_S = 0.2
"""A dialog is drawn so soon after its event, and a person before it may answer within a second."""
_SHORTEST_WAIT_S = 0.01
_BUSY_LOOK_S = 5.0
_BLIND_LOOK_S = 10.0
"""Where the program writes no status file, a dialog that no event announces shows on the screen alone."""
_BROKEN_S = 2.0
"""A screen that cannot be made out for so long is not only being drawn."""
_MOST_CAPTURES = 5
_LAST_LINES = 12
_LAST_WORDS_WIDTH = 160
_WRITTEN_LOOK_S = 0.05
_WRITE_LAG_S = 3.0
_UNREAD_RETRY_S = 0.5


class Observer:
    """Follows one agent in one pane. ``run`` is its loop; everything happens in one event loop.

    It follows the spool that the agent appends events to (a knock on a FIFO wakes it, so an idle agent costs next to
    nothing), the agent's own status file, the end of its process, and the screen where these leave a doubt. A new
    observer reads the spool from its start and comes to the same state.

    The agent's own events are those of the process whose session began first after the launch. That process may change
    its conversation (``/clear``, ``/resume``, ``/branch``); a Claude that the agent starts itself is another process,
    in another conversation.
    """

    def __init__(
        self, agent: Agent, pane: Pane, directory: Path, session_id: str, pid: int, changes: ChangeNotifier
    ) -> None:
        """``session_id`` is the conversation that the agent was started with, ``pid`` the pane's process."""
        self._agent = agent
        self._pane = pane
        self._directory = directory
        self._changes = changes
        self._spool = FileTail(directory / SPOOL_NAME)
        self._knocked = False
        self._stirred = ChangeNotifier()
        self._unread = LastingProblem(logger, "the events of the agent cannot be read, which is tried again")
        self._unseen = LastingProblem(logger, "the screen cannot be read")
        self.ending = False
        self.coming_back = False
        self.evidence = DeliveryEvidence()
        self.conversation = Conversation(agent, directory, self.evidence)
        self.state = InstanceState(session_id=session_id)
        self.since = time.time()
        """Since when it has had its status; seconds since the epoch."""
        self._first_session_id = session_id
        self._pane_pid = pid
        self._agent_pid = 0
        self._own = agent.status_file(pid)
        self._broken_since: float | None = None
        self._looked_at = 0.0
        self._shown: tuple[str, Screen] | None = None
        self._kept: set[str] = set()
        self._schedule: LookSchedule | None = None
        self._last_answer = ""

    @property
    def alive(self) -> bool:
        return self.state.status in ALIVE

    def expect_end(self, *, coming_back: bool) -> None:
        """From now on the end of the agent is what was asked for; perhaps it is started again at once."""
        self.ending = True
        self.coming_back = coming_back

    def change(self, state: InstanceState) -> None:
        """Takes over a state that came of a verb or of a look."""
        if state != self.state:
            self._replace(state, time.time())
            self._changes.announce()

    def _replace(self, state: InstanceState, at: float) -> None:
        """Who waits for a request that was decided at the terminal is let go."""
        waiting = {asked.request_id for asked in state.permissions}
        for asked in self.state.permissions:
            if asked.request_id not in waiting:
                release(self._directory, asked.request_id)
        if state.status is not self.state.status:
            self.since = at
        self.state = state

    async def look(self) -> Screen:
        """One capture of the pane, taken into account. Raises ``TerminalError``."""
        return (await self.look_before_typing())[0]

    async def look_before_typing(self) -> tuple[Screen, LastKey]:
        """``look`` with the last key that a person had pressed by then."""
        began = time.monotonic()
        try:
            text, last_key = await self._pane.look()
            screen = self._read(text)
        finally:
            self._looked_at = time.monotonic()
            if self._schedule is not None:
                self._schedule.looked(began, self._looked_at)
        self.read_spool()
        self.change(on_own_status(self.state, self._own.read(), self._looked_at))
        self.change(on_screen(self.state, screen, self._looked_at))
        await self._mend(screen)
        stuck = self.state.status in {Status.STARTING, Status.WAITING_INPUT} and bool(self.state.reason)
        if stuck and self.state.sight.view is ScreenVerdict.NO_BOX:
            self._keep_capture()
        return screen, last_key

    def _keep_capture(self) -> None:
        """A screen that is not understood is kept without what was said, so that the reading can learn of it."""
        if self._shown is None or self._shown[1].shown in self._kept or len(self._kept) >= _MOST_CAPTURES:
            return
        text, screen = self._shown
        self._kept.add(screen.shown)
        kept = self._agent.scrub_screen(text).encode("utf-8", "replace").decode()
        path = self._directory / f"screen-{len(self._kept)}.txt"
        try:
            write_private(path, kept)
        except SettingsError as error:
            logger.warning("a screen that is not understood could not be kept: %s", error)

    async def _mend(self, screen: Screen) -> None:
        """A screen without an input box or dialog may be one that the agent has not drawn whole: it is drawn anew."""
        if screen.composer is not Composer.ABSENT or screen.dialog or self.state.status is Status.STARTING:
            self._broken_since = None
        elif self._broken_since is None:
            self._broken_since = self._looked_at
        elif self._looked_at - self._broken_since > _BROKEN_S:
            self._broken_since = None
            await self._pane.redraw()

    def _read(self, text: str) -> Screen:
        """A screen that stands still is read once: that takes longer than to capture it."""
        if self._shown is None or self._shown[0] != text:
            self._shown = text, self._agent.read_screen(text)
        return self._shown[1]

    async def run(self) -> None:
        """Follows the agent until its process has ended. Returns at once when its end is known already."""
        if not self.alive:
            return
        end = asyncio.create_task(process_end(self._pane_pid))
        end.add_done_callback(lambda _: self._stirred.announce())
        with self._knocks():
            try:
                while not end.done():
                    self.read_spool()
                    if self.state.status is Status.STARTING:
                        await self._follow_start(end)
                    else:
                        await self._wait(end, self._next_wake_s())
                        self.read_spool()
                        self._ask_witnesses()
                        await self._look_if_due()
            finally:
                end.cancel()
        end.result()  # the wait for the end may have failed
        await self.note_end()

    async def _follow_start(self, end: asyncio.Task[None]) -> None:
        """Until the input box can be used: the agent's drawing tells when to look."""
        with self._pane.drawing(self._note_drawing) as told:
            self._schedule = LookSchedule(told=told)
            while self.state.status is Status.STARTING and not end.done():
                left_s = self._schedule.due_at - time.monotonic()
                if left_s > 0:
                    await self._wait(end, left_s)
                    self.read_spool()
                else:
                    self._ask_witnesses()
                    await self._look()
        self._schedule = None

    def _note_drawing(self) -> None:
        if self._schedule is not None:
            self._schedule.drawn(time.monotonic())
        self._knocked = True
        self._stirred.announce()

    @contextlib.contextmanager
    def _knocks(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        fifo = os.open(self._directory / KNOCK_NAME, os.O_RDWR | os.O_NONBLOCK)

        def answer() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(fifo, 4096)
            self._knocked = True
            self._stirred.announce()

        loop.add_reader(fifo, answer)
        try:
            yield
        finally:
            loop.remove_reader(fifo)
            os.close(fifo)

    async def _wait(self, end: asyncio.Task[None], timeout_s: float | None) -> None:
        await self._stirred.until(lambda: self._knocked or end.done(), timeout_s)
        self._knocked = False

    def _next_wake_s(self) -> float:
        if self._unread.lasts or self.conversation.unreadable:
            return _UNREAD_RETRY_S
        now = time.monotonic()
        if now - self.state.heard_at < _WRITE_LAG_S and not self.is_written():
            return _WRITTEN_LOOK_S
        due_at = self._look_due_at()
        return _ASK_EVERY_S if due_at is None else min(_ASK_EVERY_S, max(due_at - now, _SHORTEST_WAIT_S))

    def _look_due_at(self) -> float | None:
        """What contradicts an event counts only after a while: a look before would be in vain."""
        every_s = self._look_every_s()
        if every_s is None:
            return None
        return max(self._looked_at + every_s, self.state.heard_at + min(SETTLE_S, every_s))

    def _look_every_s(self) -> float | None:
        """How often the screen is worth a look now; None: the other witnesses leave no doubt."""
        state = self.state
        just_asked = any(not asked.shown for asked in state.permissions)
        if just_asked and self._looked_at - state.heard_at < _WAITING_LOOK_S:
            return _DRAWN_LOOK_S
        if state.status in {Status.WAITING_PERMISSION, Status.WAITING_INPUT}:
            return _WAITING_LOOK_S
        if state.own is None:
            return _BUSY_LOOK_S if state.status is Status.BUSY or not state.has_events else _BLIND_LOOK_S
        if state.own.waiting or (state.own.idle and state.status is Status.BUSY):
            return _CONFIRM_S
        # What goes wrong beside an input box, as an API that does not answer, shows on the screen alone.
        return _BUSY_LOOK_S if state.status is Status.BUSY or state.sight.screen.trouble else None

    async def _look_if_due(self) -> None:
        due_at = self._look_due_at()
        if due_at is not None and due_at <= time.monotonic():
            await self._look()

    def _ask_witnesses(self) -> None:
        """What the program's status file and the waiting requests say now."""
        now = time.monotonic()
        self.change(on_own_status(self.state, self._own.read(), now))
        gone = [p.request_id for p in self.state.permissions if not waits(self._directory, p.request_id)]
        if gone:
            self.change(without(self.state, gone, now))
        self._follow_unannounced(now)
        # A tool call stands in the transcript when it begins, and no event tells of it before it has ended.
        if self.state.status is Status.BUSY and self.conversation.follow():
            self._changes.announce()

    def _follow_unannounced(self, now: float) -> None:
        """A conversation that no event has told of is found by the status file; where events come they come first."""
        own = self.state.own
        if own is None or not own.session_id:
            return
        same = own.session_id == self.state.session_id
        may_be_told = self.state.has_events and now - self.state.own_since < SETTLE_S
        if (same and self.state.transcript_path) or (not same and may_be_told):
            return
        path = self._own.transcript_of(own.session_id)
        if path and path != self.state.transcript_path:
            self.change(replace(self.state, transcript_path=path, session_id=own.session_id))
            self.conversation.open(path)
            self.conversation.follow()

    async def _look(self) -> None:
        try:
            await self.look()
        except TerminalError as error:
            self._unseen.met(error)
        else:
            self._unseen.over()

    def read_spool(self) -> None:
        """Takes in the events that are in the spool now."""
        found = False
        try:
            for lines in self._spool.pieces():
                found = True
                for line in lines:
                    self._absorb_line(line)
        except OSError as error:  # as without free file descriptors
            self._unread.met(error)
        else:
            self._unread.over()
        if found:
            self.conversation.follow()
            self.conversation.follow_subagents()
            self._changes.announce()

    def _absorb_line(self, line: bytes) -> None:
        if line == LAUNCH_MARK:
            self._begin_life()
            return
        try:
            event = self._agent.read_event(line)
        except ValueError:
            logger.warning("a torn event in the spool was left out")
            return
        if event is not None and self._is_ours(event):
            self._take_in(event)

    def _begin_life(self) -> None:
        """The conversation goes on where it was: what of it is written decides what of it was lost."""
        self.state = InstanceState(session_id=self._first_session_id, transcript_path=self.state.transcript_path)
        self.since = time.time()
        self._agent_pid = 0
        self._own = self._agent.status_file(self._pane_pid)
        self.evidence.begin_life()
        self._last_answer = ""

    def _is_ours(self, event: AgentEvent) -> bool:
        if event.agent_pid and not self._agent_pid and event.kind is EventKind.SESSION_STARTED:
            self._agent_pid = event.agent_pid
            if event.agent_pid != self._pane_pid:  # the agent's command is a program that starts it
                self._own = self._agent.status_file(event.agent_pid)
        by_its_process = event.agent_pid == (self._agent_pid or self._pane_pid)
        return by_its_process or event.session_id == self.state.session_id

    def _take_in(self, event: AgentEvent) -> None:
        self._replace(fold(self.state, event, time.monotonic()), event.at)
        self.conversation.open(self.state.transcript_path)
        if event.kind is EventKind.PROMPT_SUBMITTED:
            self.evidence.report(event.text)
        if event.kind is EventKind.TURN_ENDED:
            self._last_answer = event.text

    def witness(self) -> None:
        """Asks the other witnesses for what the events did not tell: above all the transcript."""
        self._ask_witnesses()
        self.conversation.follow()

    def read_transcript(self) -> None:
        """Takes in what the transcript shows by now, above all the proof of a delivery.

        The events first: they tell of the turn that the proof began, so no message counts as arrived while its turn
        is not known.
        """
        self.read_spool()
        self.conversation.follow()

    def is_written(self) -> bool:
        """Whether the transcript shows every message and the last answer that the events have reported."""
        if self.conversation.follow():
            self._changes.announce()
        answered = not self._last_answer or self._last_answer == self.conversation.last_answer
        return answered and self.evidence.all_written

    async def written(self, timeout_s: float) -> None:
        """Waits until the transcript has caught up with the events: Claude Code writes it a moment later."""
        deadline = time.monotonic() + timeout_s
        while self.alive and not self.is_written() and time.monotonic() < deadline:
            await self._changes.next(_WRITTEN_LOOK_S)
        self.evidence.await_no_more()
        self._last_answer = self.conversation.last_answer

    async def note_end(self, reason: str = "") -> None:
        """The agent has ended; ``reason`` says why where its pane cannot. Takes in what it told before."""
        self.read_spool()
        self.conversation.follow()  # the file of a program that has ended tells nothing
        self.conversation.follow_subagents()
        if not self.ending and not reason:
            reason = await self._last_words()
        self.change(on_exit(self.state, asked=self.ending, reason="" if self.ending else reason))

    async def _last_words(self) -> str:
        try:
            pane = await self._pane.state()
            lines = [line.strip()[:_LAST_WORDS_WIDTH] for line in (await self._pane.capture()).splitlines()]
        except TerminalError as error:
            return f"the agent and its tmux session are gone ({error})"
        status = "" if pane.exit_status is None else f" with exit status {pane.exit_status}"
        # A rule or frame says nothing, and the lead pays for every character.
        shown = "\n".join([line for line in lines if any(map(str.isalnum, line))][-_LAST_LINES:])
        return f"the agent ended{status}. Its last lines:\n{shown}"


class LookSchedule:
    """When the screen of an agent that starts is worth a look; pure. Times are seconds of any monotonic clock.

    ``told``: ``drawn`` is called for what the agent draws. A look is due when the agent has drawn, and again soon
    after, more and more seldom: tmux may not have taken in all of it yet. Without ``told`` a look is due again and
    again. Where many agents start at once and a look takes long, all looks together take only a part of the time, so
    that they do not delay the starts.
    """

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


async def process_end(pid: int) -> None:
    """Returns when no process ``pid`` is there any more; at once if there is none."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:  # forbidden in this container, or there is no free file descriptor
        await _poll(pid)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(watched, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)


async def _poll(pid: int) -> None:
    while _exists(pid):  # noqa: ASYNC110 - nothing signals the end of a foreign process here
        await asyncio.sleep(_POLL_S)


def _exists(pid: int) -> bool:
    """tmux now and then leaves an agent that has ended uncollected: such a process is none any more."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:  # as without free file descriptors: it cannot be told now
        return True
    return state not in {b"Z", b"X"}
