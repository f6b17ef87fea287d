"""The courier against a pane and an agent that do what the test says; no process, no sleep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.agents.base import Composer, Screen
from actors.errors import PaneGoneError, TerminalError
from actors.messages import Message, MessageStatus, Receipt
from actors.messaging.courier import Courier
from actors.messaging.inbox import BatchLimits
from actors.messaging.journal import JOURNAL_NAME, Journal
from actors.messaging.ledger import Ledger
from actors.messaging.proofs import Proofs
from actors.messaging.recent import RecentIds
from actors.news import News
from actors.states import InstanceState, Status

EMPTY = Screen(composer=Composer.EMPTY)
DRAFT = Screen(composer=Composer.DRAFT)
ACCEPTED, SUBMITTED = MessageStatus.ACCEPTED, MessageStatus.SUBMITTED


class Pane:
    """Shows a draft once it was pasted into; Enter makes the agent take it."""

    def __init__(self, news: News) -> None:
        self.news = news
        self.pasted: list[str] = []
        self.pressed: list[str] = []
        self.last = ""
        self.deaf = False
        """Takes no Enter."""
        self.observer: Any = None
        self.fault: Exception | None = None

    async def paste(self, data: tuple[str, ...], name: str) -> None:
        if self.fault:
            raise self.fault
        self.pasted.append("".join(data))
        self.last = name
        self.observer.screen = Screen(composer=Composer.DRAFT, draft=self.pasted[-1])

    async def has_pasted(self, name: str) -> bool:
        return name == self.last

    async def press(self, key: str) -> None:
        self.pressed.append(key)
        if self.deaf:
            return
        self.observer.screen = EMPTY
        self.observer.proofs.add({word for word in self.pasted[-1].split() if word.startswith("msg_")})
        self.news.announce()


class Observer:
    def __init__(self, news: News) -> None:
        self.news = news
        self.state = InstanceState(status=Status.READY)
        self.screen = EMPTY
        self.conversation = SimpleNamespace(is_open=True)
        self.proofs = Proofs(RecentIds())
        self.coming_back = False

    @property
    def alive(self) -> bool:
        return self.state.status is not Status.FAILED

    def become(self, status: Status, reason: str = "") -> None:
        self.state = InstanceState(status=status, reason=reason)
        self.news.announce()

    def absorb(self) -> None: ...
    def witness(self) -> None: ...

    async def look(self) -> Screen:
        return self.screen


class Rig:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.news = News()
        self.pane, self.observer = Pane(self.news), Observer(self.news)
        self.pane.observer = self.observer
        self.receipts: list[Receipt] = []
        self.begin()

    def begin(self, life: str = "life 1") -> None:
        """A courier as a new actor makes it."""
        pane: Any = self.pane
        observer: Any = self.observer
        ledger = Ledger(Journal(self.directory), life, self._take)
        self.courier = Courier(pane, observer, BatchLimits(size=3, delay_s=0.0), self.news, ledger)
        self.courier.recall()
        self.running = asyncio.create_task(self.courier.run())

    async def kill(self) -> None:
        """What a kill leaves of the courier: nothing but its journal."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.receipts.clear()

    def _take(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)
        self.news.announce()

    def offer(self, *names: str) -> None:
        self.courier.offer(
            Message(id=f"msg_{name}", instance_id="i", sender="lead", text=name, immediate=True, accepted_at=0.0)
            for name in names
        )

    async def receipt(self, name: str, status: MessageStatus) -> Receipt:
        def found() -> list[Receipt]:
            return [r for r in self.receipts if (r.message_id, r.status) == (f"msg_{name}", status)]

        assert await self.news.until(lambda: bool(found()), 5.0), f"{name} never became {status}: {self.receipts}"
        return found()[0]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.running.cancel()
    await asyncio.gather(made.running, return_exceptions=True)


async def test_a_message_is_pasted_once_entered_and_proved(rig: Rig) -> None:
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    assert (len(rig.pane.pasted), rig.pane.pressed) == (1, ["Enter"])


async def test_a_message_that_is_offered_twice_arrives_once(rig: Rig) -> None:
    rig.offer("a", "a")
    await rig.receipt("a", SUBMITTED)
    rig.offer("a")
    rig.offer("b")
    await rig.receipt("b", SUBMITTED)
    assert [paste.count("msg_a") for paste in rig.pane.pasted] == [1, 0]


async def test_what_came_during_a_turn_goes_in_one_paste_when_the_turn_ends(rig: Rig) -> None:
    rig.observer.become(Status.BUSY)
    rig.offer("a", "b", "c", "d")
    rig.observer.become(Status.READY)
    await rig.receipt("d", SUBMITTED)
    assert [paste.count("[phalanx") for paste in rig.pane.pasted] == [3, 1]


async def test_nothing_is_typed_while_a_permission_is_asked_and_the_lot_changes_with_the_answer(rig: Rig) -> None:
    rig.observer.become(Status.WAITING_PERMISSION)
    rig.offer("a")
    held = await rig.receipt("a", MessageStatus.BLOCKED)
    assert "respond" in held.reason
    assert rig.pane.pasted == []
    rig.observer.become(Status.BUSY)
    await rig.receipt("a", ACCEPTED)
    rig.observer.become(Status.READY)
    await rig.receipt("a", SUBMITTED)


async def test_nothing_is_typed_into_what_somebody_else_is_typing(rig: Rig) -> None:
    rig.observer.screen = DRAFT
    rig.offer("a")
    held = await rig.receipt("a", MessageStatus.BLOCKED)
    assert "typing" in held.reason
    rig.observer.screen = EMPTY
    await rig.receipt("a", SUBMITTED)
    assert len(rig.pane.pasted) == 1


async def test_the_end_of_the_agent_ends_every_message_with_the_reason(rig: Rig) -> None:
    rig.observer.become(Status.BUSY)
    rig.offer("a")
    rig.observer.become(Status.FAILED, "exit status 3")
    assert "exit status 3" in (await rig.receipt("a", MessageStatus.FAILED)).reason
    rig.offer("late")
    assert "exit status 3" in (await rig.receipt("late", MessageStatus.FAILED)).reason


async def test_messages_for_an_agent_that_is_started_again_are_not_ended(rig: Rig) -> None:
    rig.observer.become(Status.BUSY)
    rig.offer("a")
    rig.observer.coming_back = True
    rig.observer.become(Status.FAILED)
    await rig.running
    assert rig.receipts == []


async def test_a_pane_that_is_gone_fails_the_message_and_one_that_hangs_leaves_doubt(rig: Rig) -> None:
    rig.pane.fault = PaneGoneError("the pane is gone")
    rig.offer("a")
    await rig.receipt("a", MessageStatus.FAILED)
    rig.pane.fault = RuntimeError("a fault of ours")
    rig.offer("b")
    await rig.receipt("b", MessageStatus.UNCONFIRMED)
    rig.pane.fault = None
    rig.offer("c")
    await rig.receipt("c", SUBMITTED)


async def test_a_late_proof_makes_an_unconfirmed_message_submitted(rig: Rig) -> None:
    rig.pane.fault = RuntimeError("after the paste")
    rig.offer("a")
    await rig.receipt("a", MessageStatus.UNCONFIRMED)
    rig.observer.proofs.add({"msg_a"})
    rig.news.announce()
    await rig.receipt("a", SUBMITTED)


async def test_an_unconfirmed_message_is_not_typed_again_by_a_successor_which_still_knows_its_lot(rig: Rig) -> None:
    rig.pane.fault = RuntimeError("after the paste")
    rig.offer("a")
    await rig.receipt("a", MessageStatus.UNCONFIRMED)
    await rig.kill()
    rig.pane.fault = None
    rig.begin()
    rig.offer("a", "b")
    await rig.receipt("b", SUBMITTED)
    await rig.receipt("a", MessageStatus.UNCONFIRMED)
    assert [paste.count("msg_a") for paste in rig.pane.pasted] == [0]
    rig.observer.proofs.add({"msg_a"})
    rig.news.announce()
    await rig.receipt("a", SUBMITTED)


async def test_an_end_is_told_again_until_the_supervisor_has_taken_it_in(rig: Rig) -> None:
    rig.pane.fault = RuntimeError("after the paste")
    rig.offer("a")
    await rig.receipt("a", MessageStatus.UNCONFIRMED)
    await rig.kill()
    rig.begin("life 2")
    await rig.receipt("a", MessageStatus.UNCONFIRMED)
    rig.courier.acknowledged(rig.receipts)
    await rig.kill()
    rig.begin("life 2")
    assert rig.receipts == []
    assert list(rig.directory.iterdir()) == []


async def test_the_end_of_what_was_delivered_again_is_told_until_it_is_taken_in(rig: Rig) -> None:
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    rig.courier.acknowledged(rig.receipts)
    await rig.kill()
    rig.observer.proofs.begin_life()
    rig.begin("life 2")
    await rig.receipt("a", ACCEPTED)
    rig.observer.proofs.written.add({"msg_a"})
    for _ in range(2):
        await rig.kill()
        rig.begin("life 3")
        await rig.receipt("a", SUBMITTED)
    rig.courier.acknowledged(rig.receipts)
    assert list(rig.directory.iterdir()) == []


async def test_the_journal_is_empty_when_all_is_written_and_taken_in(rig: Rig) -> None:
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    rig.observer.proofs.written.add({"msg_a"})
    rig.courier.acknowledged(rig.receipts)
    assert list(rig.directory.iterdir()) == []


async def test_a_submitted_message_that_is_offered_again_is_told_again(rig: Rig) -> None:
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    await rig.kill()
    rig.begin()
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    rig.receipts.clear()
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    assert len(rig.pane.pasted) == 1


async def test_a_paste_that_tmux_does_not_confirm_is_looked_into_and_done_once(rig: Rig) -> None:
    rig.pane.fault = TerminalError("no answer")
    rig.offer("a")
    await rig.receipt("a", MessageStatus.BLOCKED)
    rig.pane.fault = None
    await rig.receipt("a", SUBMITTED)
    assert len(rig.pane.pasted) == 1


async def test_what_cannot_be_noted_is_not_typed_until_it_can(rig: Rig, tmp_path: Path) -> None:
    obstacle = tmp_path / f"{JOURNAL_NAME}.new"
    obstacle.mkdir()
    rig.offer("a")
    assert "cannot be noted" in (await rig.receipt("a", MessageStatus.BLOCKED)).reason
    assert rig.pane.pasted == []
    obstacle.rmdir()
    await rig.receipt("a", SUBMITTED)


async def test_what_an_interrupt_took_back_is_not_delivered_to_the_next_life(rig: Rig) -> None:
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    rig.courier.acknowledged(rig.receipts)
    rig.courier.interrupted()
    await rig.kill()
    rig.observer.proofs.begin_life()
    rig.begin("life 2")
    rig.offer("b")
    await rig.receipt("b", SUBMITTED)
    assert [paste.count("msg_a") for paste in rig.pane.pasted] == [1, 0]


async def test_a_draft_of_somebody_else_is_not_entered_by_a_successor(rig: Rig) -> None:
    rig.pane.deaf = True
    rig.offer("a")
    await rig.news.until(lambda: bool(rig.pane.pressed), 5.0)
    await rig.kill()
    rig.pane.deaf, rig.pane.pressed = False, []
    rig.observer.screen = Screen(composer=Composer.DRAFT, draft="a person's words")
    rig.begin()
    assert "typing" in (await rig.receipt("a", MessageStatus.BLOCKED)).reason
    assert rig.pane.pressed == []


async def test_the_end_of_a_restarting_agent_is_no_end_for_what_is_offered_then(rig: Rig) -> None:
    rig.observer.coming_back = True
    rig.observer.become(Status.FAILED)
    rig.offer("a")
    await rig.running
    assert rig.receipts == []
