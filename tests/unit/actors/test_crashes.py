"""Actors and agents killed at random, and a person at the terminal: each message is once in the conversation, or its
receipt says why not, and nothing is ever done to what the person types."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.concurrency import ChangeNotifier
from actors.instance.deliverer import Deliverer
from actors.instance.inbox import BatchLimits
from actors.instance.journal import Journal, ReceiptLog
from actors.messages import Message, MessageStatus, Receipt
from tests.fakes.agent import Death, ModelAgent, ModelObserver, Quirks

SUBMITTED = MessageStatus.SUBMITTED


class Supervisor:
    """Holds what is pending, offers it again to every new actor, and takes in receipts now and then."""

    def __init__(self, directory: Path, quirks: Sequence[Quirks]) -> None:
        self._directory = directory
        self.agent = ModelAgent(quirks, self.kill_actor)
        self.pending: dict[str, Message] = {}
        self.lot: dict[str, MessageStatus] = {}
        self._untold: list[Receipt] = []
        self._killed = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.deliverer: Deliverer | None = None

    def start_actor(self) -> None:
        self._killed.clear()
        changes = ChangeNotifier()
        observer: Any = ModelObserver(self.agent, changes)
        pane: Any = self.agent
        observer.witness()
        journal = Journal(self._directory)
        observer.evidence.expect(message for entry in journal.entries for message in entry.messages)
        receipts = ReceiptLog(journal, f"life {self.agent.life}", self._untold.append, observer.evidence)
        self.deliverer = Deliverer(pane, observer, BatchLimits(size=3, delay_s=0.0), changes, receipts)
        self.deliverer.recall()
        self.deliverer.offer(self.pending.values())
        self._running = asyncio.create_task(self.deliverer.run())

    def kill_actor(self) -> None:
        """What it has not told is lost."""
        self._untold.clear()
        self._killed.set()
        if self._running is not None:
            self._running.cancel()

    async def bury(self) -> None:
        if self._running is not None:
            with suppress(asyncio.CancelledError):
                await self._running
        self._untold.clear()

    def accept(self, message: Message) -> None:
        self.pending[message.id] = message
        if self.deliverer is not None and not self._killed.is_set():
            self.deliverer.offer((message,))

    def poll(self) -> None:
        for receipt in self._untold:
            self.lot[receipt.message_id] = receipt.status
            if receipt.final:
                self.pending.pop(receipt.message_id, None)
        if self.deliverer is not None and not self._killed.is_set():
            self.deliverer.acknowledged(tuple(self._untold))
        self._untold.clear()

    async def pass_s(self, seconds: float) -> None:
        """Time goes by; a killed actor is started again half a second later."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (left_s := deadline - asyncio.get_running_loop().time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._killed.wait()
                    await self.bury()
                    await asyncio.sleep(0.5)
                    self.start_actor()

    async def restart_agent(self) -> None:
        """It is killed, which its actor notices, and resumed; a new actor adopts it."""
        self.agent.kill()
        await self.pass_s(0.01)
        self.poll()
        self.kill_actor()
        self.agent.resume()

    async def close(self) -> None:
        self.kill_actor()
        await self.bury()
        self.agent.kill()


DEATHS = st.sampled_from(Death)
QUIRKS = st.builds(
    Quirks,
    draft_after_s=st.sampled_from([0.0, 0.05, 0.3]),
    drawing_is_told=st.booleans(),
    swallows_enters=st.sampled_from([0, 0, 1, 2]),
    hook_after_s=st.sampled_from([0.01, 0.1, 0.4, 15.0]),
    written_after_s=st.sampled_from([0.0, 1.0, 3.0, 15.0]),
    turn_s=st.sampled_from([0.1, 2.0, 30.0]),
    refused_is_given_back=st.booleans(),
    death_at_paste=DEATHS,
    death_at_enter=DEATHS,
)
PAUSE_S = st.sampled_from([0.0, 0.05, 0.2, 0.6, 3.0])
STEP = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 5), PAUSE_S, st.booleans()),
    st.tuples(st.just("kill actor"), st.just(0), PAUSE_S, st.booleans()),
    st.tuples(st.just("kill agent"), st.just(0), PAUSE_S, st.booleans()),
)
DEED = st.sampled_from(
    ["types", "types", "deletes a character", "deletes all", "enters", "escapes", "dialog comes", "dialog goes"]
)
WITH_A_PERSON = st.one_of(STEP, st.tuples(DEED, st.just(0), PAUSE_S, st.booleans()))
"""What is done, how many are sent, how long to wait then, and whether the supervisor asks for reports after it."""

Step = tuple[str, int, float, bool]
LOSS: list[Step] = [("send", 1, 0.2, True), ("kill agent", 0, 0.0, False)]
"""The agent reports a message and is killed before it has written it down."""
UNTOLD_END: list[Step] = [
    ("send", 1, 0.2, True),
    ("kill agent", 0, 0.6, True),
    ("kill actor", 0, 3.0, False),
    ("kill actor", 0, 0.0, False),
    ("kill agent", 0, 0.6, False),
    ("kill actor", 0, 0.0, False),
]
"""A lost message is delivered again; the supervisor hears that, and every actor that could tell how it ended dies."""


async def play(supervisor: Supervisor, steps: Sequence[Step]) -> list[str]:
    sent: list[str] = []
    supervisor.start_actor()
    for what, number, pause_s, asks in steps:
        for _ in range(number):
            sent.append(f"msg_{len(sent):03}")
            supervisor.accept(_message(sent[-1]))
        if what == "kill actor":
            supervisor.kill_actor()
        elif what == "kill agent":
            await supervisor.restart_agent()
        elif what not in {"send", "kill actor"}:
            supervisor.agent.person(what)
        await supervisor.pass_s(pause_s)
        if asks:
            supervisor.poll()
    for _ in range(10):  # the person leaves, after a look at what stands there
        supervisor.agent.person("dialog goes")
        supervisor.agent.person("deletes all")
        await supervisor.pass_s(200.0)
        supervisor.poll()
    await supervisor.close()
    return sent


def _message(name: str) -> Message:
    return Message(id=name, instance_id="i", sender="lead", text=name, immediate=True, accepted_at=0.0)


async def outcome(steps: list[Step], quirks: list[Quirks]) -> tuple[Supervisor, list[str]]:
    with tempfile.TemporaryDirectory(prefix="phx") as directory:
        supervisor = Supervisor(Path(directory), quirks)
        sent = await play(supervisor, steps)
    assert supervisor.agent.wrongs == []
    assert not supervisor.pending, "every message is at its end"
    arrived = supervisor.agent.conversation
    for name in sent:
        assert (name in arrived) == (supervisor.lot[name] is SUBMITTED), (name, supervisor.lot[name], arrived)
        if name.endswith("7"):
            assert name not in arrived
    return supervisor, sent


@settings(max_examples=500, deadline=None)
@given(st.lists(STEP, max_size=20), st.lists(QUIRKS, max_size=10))
@example(LOSS, [Quirks(written_after_s=3.0)])
@example([*LOSS, ("kill actor", 0, 0.0, False)], [Quirks(written_after_s=3.0)])
@example(UNTOLD_END, [Quirks(written_after_s=3.0)])
@example([("send", 1, 0.0, False)], [Quirks(death_at_enter=Death.AFTER, hook_after_s=15.0)])
async def test_each_message_is_in_the_conversation_once_or_its_receipt_says_why_not(
    steps: list[Step], quirks: list[Quirks]
) -> None:
    supervisor, _ = await outcome(steps, quirks)
    arrived = supervisor.agent.conversation
    assert sorted(set(arrived)) == arrived, "once and in the order in which they were sent"


@settings(max_examples=500, deadline=None)
@given(st.lists(WITH_A_PERSON, max_size=20), st.lists(QUIRKS, max_size=10))
async def test_a_person_at_the_terminal_loses_nothing_and_no_message_is_lost(
    steps: list[Step], quirks: list[Quirks]
) -> None:
    supervisor, _ = await outcome(steps, quirks)
    arrived = supervisor.agent.conversation
    assert len(set(arrived)) == len(arrived), "nothing is there twice"


async def test_a_prompt_that_a_hook_refuses_fails_alone_and_the_others_of_its_batch_arrive() -> None:
    for given_back in (False, True):
        steps: list[Step] = [("send", 6, 5.0, True), ("send", 3, 60.0, True)]
        supervisor, sent = await outcome(steps, [Quirks(refused_is_given_back=given_back)] * 6)
        assert supervisor.agent.conversation == [name for name in sent if name != "msg_007"]
        assert supervisor.lot["msg_007"] is MessageStatus.FAILED
