from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import FencedError, PhalanxError, StoreError, UnavailableError, WrongStateError
from actors.messages import Message, MessageStatus
from actors.reports import Report
from supervisor import mail
from supervisor.ports import InstancePort
from supervisor.registry import Stage
from supervisor.roll import Roll
from supervisor.store import keys
from tests.unit.supervisor.stand_ins import StandInInstance, TroubledStore, draft, receipt, recruit, turns

ID = "spec_0_0_1"
ACCEPTED, BLOCKED, SUBMITTED = MessageStatus.ACCEPTED, MessageStatus.BLOCKED, MessageStatus.SUBMITTED
FAILED, UNCONFIRMED = MessageStatus.FAILED, MessageStatus.UNCONFIRMED


class Ear:
    """Follows nobody's reports: these tests give the receipts themselves."""

    async def on_report(self, instance_id: str, report: Report) -> None:
        raise AssertionError

    async def on_silence(self, instance_id: str, reason: str) -> None:
        raise AssertionError

    async def find_again(self, instance_id: str) -> tuple[InstancePort, str]:
        raise AssertionError


class Office:
    """A roll over a store, with one instance that can be reached."""

    def __init__(self, store: TroubledStore, trouble: Callable[[], None] = lambda: None) -> None:
        self.store = store
        self.roll = Roll(store)
        self.mail = self.roll.mail
        self.instance = StandInInstance(trouble)

    async def open(self) -> None:
        await recruit(self.roll)
        self.reach()

    def reach(self) -> None:
        self.roll.members.follow(ID, self.instance, "first", Ear())

    async def send(self, *texts: str) -> list[Message]:
        checked = self.mail.check([draft(text) for text in texts], "lead", 1.0)
        messages = [message for message in checked if isinstance(message, Message)]
        await self.mail.accept(messages)
        return messages

    async def stored(self, prefix: str) -> set[str]:
        return {key.removeprefix(prefix) for key in await self.store.load(prefix)}

    async def again(self) -> Office:
        """The next supervisor over the same store."""
        await self.close()
        later = Office(self.store)
        await later.roll.load()
        return later

    async def close(self) -> None:
        await self.mail.stop()
        await self.roll.members.leave_all()


@pytest.fixture
async def office() -> Office:
    made = Office(TroubledStore())
    await made.open()
    return made


def ids(messages: Sequence[Message]) -> list[str]:
    return [message.id for message in messages]


class FailsNowAndThen:
    def __init__(self, failures: Sequence[bool]) -> None:
        self._failures = list(failures)

    def __call__(self) -> None:
        if self._failures and self._failures.pop():
            raise UnavailableError("the actor is just coming back")


STEPS = st.lists(st.sampled_from(["send", "send two", "reachable", "again", "pause", "settle"]), max_size=25)


@given(STEPS, st.lists(st.booleans(), max_size=12))
@settings(max_examples=200, deadline=None)
def test_messages_arrive_in_order_whatever_fails_in_between_and_one_hand_over_runs_at_a_time(
    steps: list[str], failures: list[bool]
) -> None:
    async def scene() -> None:
        office = Office(TroubledStore(), FailsNowAndThen(failures))
        await office.open()
        sent: list[Message] = []
        settled = 0
        for number, step in enumerate(steps):
            match step:
                case "send":
                    sent += await office.send(f"{number}")
                case "send two":
                    sent += await office.send(f"{number} a", f"{number} b")
                case "reachable":
                    office.mail.reachable(ID)
                case "again":
                    office.mail.hand_over_again(ID)
                case "pause":
                    await turns()
                case "settle" if settled < len(office.instance.given):
                    await office.mail.take_receipts([receipt(sent[settled])])
                    settled += 1
        for _ in range(len(failures) + 1):
            office.mail.reachable(ID)
            await turns()
        assert office.instance.given == ids(sent)
        assert office.instance.most_at_once <= 1
        assert office.mail.pending(ID) == len(sent) - settled
        await office.close()

    asyncio.run(scene())


async def test_an_actor_that_came_back_in_the_middle_of_a_hand_over_gets_everything(office: Office) -> None:
    office.instance.gate.clear()
    first = await office.send("one")
    await turns()
    office.mail.hand_over_again(ID)
    second = await office.send("two")
    office.instance.gate.set()
    await turns()
    assert office.instance.handed[-1] == ids([*first, *second])
    assert office.instance.most_at_once == 1


async def test_who_becomes_reachable_while_a_hand_over_is_failing_is_tried_once_more() -> None:
    office = Office(TroubledStore(), FailsNowAndThen([True]))
    await office.open()
    office.instance.gate.clear()
    sent = await office.send("one")
    await turns()
    office.mail.hand_over_again(ID)
    office.instance.gate.set()
    await turns()
    assert office.instance.given == ids(sent)


async def test_a_port_that_fails_for_good_is_not_tried_for_ever() -> None:
    tried = 0

    def always() -> None:
        nonlocal tried
        tried += 1
        raise UnavailableError("gone")

    office = Office(TroubledStore(), always)
    await office.open()
    await office.send("one")
    await turns(100)
    assert tried == 1
    assert office.mail.pending(ID) == 1


async def test_what_the_store_refuses_was_not_accepted_and_the_next_message_is(office: Office) -> None:
    office.store.fails()
    with pytest.raises(StoreError):
        await office.send("refused")
    await turns()
    assert (office.mail.pending(ID), office.instance.given) == (0, [])
    office.store.error = None
    sent = await office.send("taken")
    await turns()
    assert office.instance.given == ids(sent)
    assert await office.stored(keys.MESSAGE_PREFIX) == set(ids(sent))


async def test_what_a_hanging_disk_writes_after_it_was_refused_is_taken_back(office: Office) -> None:
    office.store.fails("whether this was written is not known")
    office.store.writes_all_the_same = True
    with pytest.raises(StoreError):
        await office.send("the caller was told that it was not accepted")
    assert await office.stored(keys.MESSAGE_PREFIX)
    office.store.error = None
    sent = await office.send("accepted")
    assert await office.stored(keys.MESSAGE_PREFIX) == set(ids(sent))
    later = await office.again()
    assert later.mail.pending(ID) == 1


async def test_a_caller_who_goes_away_while_it_is_stored_has_sent_it(office: Office) -> None:
    office.store.gate.clear()
    sending = asyncio.create_task(office.send("one"))
    await turns()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    office.store.gate.set()
    await turns()
    assert await office.stored(keys.MESSAGE_PREFIX) == set(office.instance.given)
    assert office.mail.pending(ID) == 1


async def test_closing_gives_every_message_its_end_and_keeps_nothing(office: Office) -> None:
    office.instance.gate.clear()
    sent = await office.send("one", "two")
    await turns()
    sent += await office.send("never handed over")
    await office.mail.close(ID)
    receipts = [office.mail.receipt(message.id) for message in sent]
    assert [found.status for found in receipts if found] == [UNCONFIRMED, UNCONFIRMED, FAILED]
    assert "stopped" in (receipts[0].reason if receipts[0] else "")
    assert office.mail.pending(ID) == 0
    assert await office.stored(keys.MESSAGE_PREFIX) == set()
    office.instance.gate.set()
    await turns()
    assert office.instance.given == []


async def test_a_message_that_is_just_being_stored_while_its_instance_is_closed_has_an_end_too(office: Office) -> None:
    office.store.gate.clear()
    sending = asyncio.create_task(office.send("too late"))
    await turns()
    closing = asyncio.create_task(office.mail.close(ID))
    await turns()
    office.store.gate.set()
    (message,) = await sending
    await closing
    found = office.mail.receipt(message.id)
    assert found is not None
    assert found.status is FAILED
    assert office.mail.pending(ID) == 0
    assert await office.stored(keys.MESSAGE_PREFIX) == set()


async def test_closing_that_could_not_be_stored_changes_nothing_and_may_be_repeated(office: Office) -> None:
    (message,) = await office.send("one")
    office.store.fails()
    with pytest.raises(StoreError):
        await office.mail.close(ID)
    assert office.mail.pending(ID) == 1
    office.store.error = None
    await office.mail.close(ID)
    found = office.mail.receipt(message.id)
    assert found is not None
    assert found.final


async def test_an_instance_that_was_closed_and_came_back_takes_messages_again(office: Office) -> None:
    await office.mail.close(ID)
    office.mail.hand_over_again(ID)
    sent = await office.send("after")
    await turns()
    assert office.instance.given == ids(sent)
    assert office.mail.pending(ID) == 1


async def test_a_receipt_is_known_only_once_it_is_stored(office: Office) -> None:
    (message,) = await office.send("one")
    office.store.fails()
    with pytest.raises(StoreError):
        await office.mail.take_receipts([receipt(message)])
    found = office.mail.receipt(message.id)
    assert found is not None
    assert found.status is ACCEPTED
    assert office.mail.pending(ID) == 1


async def test_the_oldest_receipts_are_forgotten_but_never_those_of_messages_under_way(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "RECEIPTS_KEPT", 4)
    sent = await office.send(*(f"{number}" for number in range(10)))
    blocked, done = sent[0], sent[1:]
    await office.mail.take_receipts([receipt(blocked, BLOCKED, "a dialog")])
    for message in done:
        await office.mail.take_receipts([receipt(message)])
    known = {message.id for message in sent if office.mail.receipt(message.id)}
    assert known == {blocked.id, *ids(done[-3:])}
    assert await office.stored(keys.RECEIPT_PREFIX) == known


async def test_a_late_proof_of_the_oldest_receipt_is_kept_although_there_is_no_room(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "RECEIPTS_KEPT", 2)
    sent = await office.send("one", "two")
    for message in sent:
        await office.mail.take_receipts([receipt(message, UNCONFIRMED)])
    await office.mail.take_receipts([receipt(sent[0])])
    found = office.mail.receipt(sent[0].id)
    assert found is not None
    assert found.status is SUBMITTED
    assert sent[0].id in await office.stored(keys.RECEIPT_PREFIX)


async def test_a_later_supervisor_hands_over_in_the_old_order_and_knows_the_receipts(office: Office) -> None:
    sent = await office.send(*(f"{number}" for number in range(40)))
    await office.mail.take_receipts([receipt(sent[3]), receipt(sent[7], BLOCKED, "a dialog")])
    later = await office.again()
    later.reach()
    await turns()
    assert later.instance.given == []
    later.mail.hand_over_again(ID)
    more = await later.send("the newest")
    await turns()
    left = [message for message in sent if message is not sent[3]]
    assert later.instance.given == ids([*left, *more])
    statuses = [found.status for message in sent if (found := later.mail.receipt(message.id))]
    assert statuses == [BLOCKED if n == 7 else SUBMITTED if n == 3 else ACCEPTED for n in range(40)]
    assert later.mail.blocked_reason(ID) == "a dialog"
    await later.close()


async def test_numbers_go_on_where_they_were_so_the_next_restart_keeps_the_order_too(office: Office) -> None:
    first = await office.send("one", "two")
    later = await office.again()
    second = await later.send("three")
    last = await later.again()
    last.reach()
    last.mail.hand_over_again(ID)
    await turns()
    assert last.instance.given == ids([*first, *second])
    await last.close()


async def test_whoever_waits_for_a_message_is_woken_by_its_end_or_by_what_holds_it_up(office: Office) -> None:
    sent = await office.send("one", "two")
    waiting = asyncio.create_task(office.mail.settled(ids(sent), 60))
    await office.mail.take_receipts([receipt(sent[0])])
    await turns()
    assert not waiting.done()
    await office.mail.take_receipts([receipt(sent[1], BLOCKED, "a dialog")])
    assert await waiting


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stage": Stage.STARTING}, "just being started"),
        ({"wanted": False}, "takes no messages"),
        ({"wanted": False, "stage": Stage.STOPPED}, "was terminated: spawn a new instance"),
    ],
)
async def test_who_cannot_take_messages_refuses_them_in_words(changes: dict[str, object], words: str) -> None:
    roll = Roll(TroubledStore())
    await recruit(roll, 1, **changes)
    (answer,) = roll.mail.check([draft()], "lead", 1.0)
    assert isinstance(answer, WrongStateError)
    assert words in str(answer)


async def test_a_supervisor_that_was_replaced_accepts_nothing(office: Office) -> None:
    office.store.is_fenced()
    with pytest.raises(FencedError):
        await office.send("one")
    await turns()
    assert office.instance.given == []


async def test_a_draft_that_is_refused_harms_no_other(office: Office) -> None:
    drafts = [draft("fits"), draft("\x1b\x07"), draft("x", "spec_0_0_9"), draft("fits too")]
    checked = office.mail.check(drafts, "lead", 1.0)
    assert [isinstance(one, PhalanxError) for one in checked] == [False, True, True, False]
