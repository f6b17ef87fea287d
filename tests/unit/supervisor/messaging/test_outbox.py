"""What is accepted is stored first, handed over in order, and ends with a receipt, whatever fails in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import FencedError, PhalanxError, StoreError, UnavailableError, WrongStateError
from actors.instance.inbox import SanitizedText
from actors.instance.reports import Report
from actors.messages import Message, MessageStatus
from actors.worktrees.model import Workspace
from supervisor.api.requests import BatchMessage, Malformed
from supervisor.messaging import outbox
from supervisor.messaging.outbox import check_text
from supervisor.metrics.metrics import Count, TimeBucket, Timing
from supervisor.store import keys
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.fakes.clock import turns
from tests.fakes.instances import READY, FakeInstance
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, OneInstanceTeam, add_member, ids, outgoing, receipt

CARRIED = Workspace(mode="isolated", directory=Path("/w") / FIRST, home=Path("/repository/.git"))


@pytest.fixture
async def scene() -> OneInstanceTeam:
    made = OneInstanceTeam(MemoryStore())
    await made.open()
    return made


def status_of(scene: OneInstanceTeam, message: Message) -> MessageStatus | None:
    found = scene.outbox.receipt(message.id)
    return found.status if found else None


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
        scene = OneInstanceTeam(MemoryStore(), FailsNowAndThen(failures))
        await scene.open()
        sent: list[Message] = []
        settled = 0
        for number, step in enumerate(steps):
            match step:
                case "send":
                    sent += await scene.send(f"{number}")
                case "send two":
                    sent += await scene.send(f"{number} a", f"{number} b")
                case "reachable":
                    scene.outbox.reachable(FIRST)
                case "again":
                    scene.outbox.hand_over_again(FIRST)
                case "pause":
                    await turns()
                case "settle" if settled < len(scene.instance.given):
                    await scene.outbox.take_receipts([receipt(sent[settled])])
                    settled += 1
        for _ in range(len(failures) + 1):
            scene.outbox.reachable(FIRST)
            await turns()
        assert scene.instance.given == ids(sent)
        assert scene.instance.most_at_once <= 1
        assert scene.outbox.pending(FIRST) == len(sent) - settled
        await scene.close()

    asyncio.run(scene())


async def test_an_actor_that_came_back_in_the_middle_of_a_hand_over_gets_everything(scene: OneInstanceTeam) -> None:
    scene.instance.gate.clear()
    first = await scene.send("one")
    await turns()
    scene.outbox.hand_over_again(FIRST)
    second = await scene.send("two")
    scene.instance.gate.set()
    await turns()
    assert scene.instance.handed[-1] == ids([*first, *second])
    assert scene.instance.most_at_once == 1


async def test_who_becomes_reachable_while_a_hand_over_is_failing_is_tried_once_more() -> None:
    scene = OneInstanceTeam(MemoryStore(), FailsNowAndThen([True]))
    await scene.open()
    scene.instance.gate.clear()
    sent = await scene.send("one")
    await turns()
    scene.outbox.hand_over_again(FIRST)
    scene.instance.gate.set()
    await turns()
    assert scene.instance.given == ids(sent)


async def test_a_port_that_fails_for_good_is_not_tried_for_ever() -> None:
    tried = 0

    def always() -> None:
        nonlocal tried
        tried += 1
        raise UnavailableError("gone")

    scene = OneInstanceTeam(MemoryStore(), always)
    await scene.open()
    await scene.send("one")
    await turns(100)
    assert tried == 1
    assert scene.outbox.pending(FIRST) == 1


async def test_what_the_store_refuses_was_not_accepted_and_the_next_message_is(scene: OneInstanceTeam) -> None:
    scene.store.fails()
    with pytest.raises(StoreError):
        await scene.send("refused")
    await turns()
    assert (scene.outbox.pending(FIRST), scene.instance.given) == (0, [])
    scene.store.error = None
    sent = await scene.send("taken")
    await turns()
    assert scene.instance.given == ids(sent)
    assert await scene.stored(keys.MESSAGE_PREFIX) == set(ids(sent))


async def test_what_a_hanging_disk_writes_after_it_was_refused_is_taken_back(scene: OneInstanceTeam) -> None:
    scene.store.fails("whether this was written is not known")
    scene.store.writes_all_the_same = True
    with pytest.raises(StoreError):
        await scene.send("the caller was told that it was not accepted")
    assert await scene.stored(keys.MESSAGE_PREFIX)
    scene.store.error = None
    sent = await scene.send("accepted")
    assert await scene.stored(keys.MESSAGE_PREFIX) == set(ids(sent))
    later = await scene.again()
    assert later.outbox.pending(FIRST) == 1


async def test_a_caller_who_goes_away_while_it_is_stored_has_sent_it(scene: OneInstanceTeam) -> None:
    scene.store.gate.clear()
    sending = asyncio.create_task(scene.send("one"))
    await turns()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    scene.store.gate.set()
    await turns()
    assert await scene.stored(keys.MESSAGE_PREFIX) == set(scene.instance.given)
    assert scene.outbox.pending(FIRST) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stage": InstanceStage.STARTING}, "just being started"),
        ({"wanted": False}, "takes no messages"),
        ({"wanted": False, "stage": InstanceStage.STOPPED}, "was terminated: spawn a new instance"),
    ],
)
async def test_who_cannot_take_messages_refuses_them_in_words(changes: dict[str, object], words: str) -> None:
    team = Team(MemoryStore())
    await add_member(team, 1, **changes)
    (answer,) = team.outbox.check([outgoing()], "lead", 1.0)
    assert isinstance(answer, WrongStateError)
    assert words in str(answer)


async def test_a_supervisor_that_was_replaced_accepts_nothing(scene: OneInstanceTeam) -> None:
    scene.store.is_fenced()
    with pytest.raises(FencedError):
        await scene.send("one")
    await turns()
    assert scene.instance.given == []


async def test_a_member_that_is_refused_harms_no_other(scene: OneInstanceTeam) -> None:
    refused: list[BatchMessage | Malformed] = [
        outgoing("\x1b\x07"),
        outgoing("x", "spec_0_0_9"),
        Malformed({}, "message is missing."),
    ]
    checked = scene.outbox.check([outgoing("fits"), *refused, outgoing("fits too")], "lead", 1.0)
    assert [isinstance(one, PhalanxError) for one in checked] == [False, True, True, True, False]


async def test_what_is_withheld_waits_whoever_takes_the_agent_over_and_then_comes_in_order(
    scene: OneInstanceTeam,
) -> None:
    (through,) = [one for one in scene.outbox.check([outgoing("now")], "phalanx", 1.0) if isinstance(one, Message)]
    with scene.outbox.withheld(FIRST, but=through.id):
        first = await scene.send("one")
        await scene.outbox.accept([through])
        scene.outbox.hand_over_again(FIRST)
        scene.outbox.reachable(FIRST)
        await turns()
        second = await scene.send("two")
        await turns()
        assert scene.instance.given == [through.id]
        assert scene.outbox.pending(FIRST) == 3
    await turns()
    assert scene.instance.given == ids([through, *first, *second])


async def test_of_two_that_withhold_messages_neither_frees_nor_keeps_them_for_the_other(scene: OneInstanceTeam) -> None:
    first, second = scene.outbox.withheld(FIRST, but=""), scene.outbox.withheld(FIRST, but="")
    first.__enter__()
    second.__enter__()
    sent = await scene.send("one")
    first.__exit__(None, None, None)
    await turns()
    assert (scene.outbox.is_withheld(FIRST), scene.instance.given) == (True, [])
    second.__exit__(None, None, None)
    await turns()
    assert (scene.outbox.is_withheld(FIRST), scene.instance.given) == (False, ids(sent))


async def test_what_held_a_message_back_does_not_hold_it_back_from_the_agents_next_life(
    scene: OneInstanceTeam,
) -> None:
    sent = await scene.send("one", "two")
    await scene.outbox.take_receipts([receipt(message, MessageStatus.BLOCKED, "a dialog is up") for message in sent])
    assert scene.outbox.blocked_reason(FIRST)
    scene.outbox.begin_life(FIRST)
    assert scene.outbox.blocked_reason(FIRST) == ""
    assert not await scene.outbox.settled(ids(sent), 0.0)


async def test_an_unexpected_failure_of_a_hand_over_keeps_nothing_back_for_ever() -> None:
    errors: list[Exception] = [RuntimeError("a fault of ours")]

    def once() -> None:
        if errors:
            raise errors.pop()

    scene = OneInstanceTeam(MemoryStore(), once)
    await scene.open()
    sent = await scene.send("one")
    await turns()
    scene.outbox.reachable(FIRST)
    await turns()
    assert scene.instance.given == ids(sent)
    await scene.close()


async def test_an_unexpected_error_with_one_draft_harms_no_other(
    scene: OneInstanceTeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(text: str) -> SanitizedText:
        if text == "two":
            raise RuntimeError("a fault of ours")
        return check_text(text)

    monkeypatch.setattr(outbox, "check_text", breaks)
    checked = scene.outbox.check([outgoing("one"), outgoing("two"), outgoing("three")], "lead", 1.0)
    assert [isinstance(one, PhalanxError) for one in checked] == [False, True, False]
    assert "its log says why" in str(checked[1])


# Receipts, the end with the instance, and later supervisors.


async def test_closing_gives_every_message_its_end_and_keeps_nothing(scene: OneInstanceTeam) -> None:
    scene.instance.gate.clear()
    sent = await scene.send("one", "two")
    await turns()
    sent += await scene.send("never handed over")
    await scene.outbox.close(FIRST)
    receipts = [scene.outbox.receipt(message.id) for message in sent]
    assert [found.status for found in receipts if found] == [
        MessageStatus.UNCONFIRMED,
        MessageStatus.UNCONFIRMED,
        MessageStatus.FAILED,
    ]
    assert "stopped" in (receipts[0].reason if receipts[0] else "")
    assert scene.outbox.pending(FIRST) == 0
    assert await scene.stored(keys.MESSAGE_PREFIX) == set()
    scene.instance.gate.set()
    await turns()
    assert scene.instance.given == []


async def test_a_message_that_is_just_being_stored_while_its_instance_is_closed_has_an_end_too(
    scene: OneInstanceTeam,
) -> None:
    scene.store.gate.clear()
    sending = asyncio.create_task(scene.send("too late"))
    await turns()
    lifecycle = asyncio.create_task(scene.outbox.close(FIRST))
    await turns()
    scene.store.gate.set()
    (message,) = await sending
    await lifecycle
    assert status_of(scene, message) is MessageStatus.FAILED
    assert scene.outbox.pending(FIRST) == 0
    assert await scene.stored(keys.MESSAGE_PREFIX) == set()


async def test_closing_that_could_not_be_stored_changes_nothing_and_may_be_repeated(scene: OneInstanceTeam) -> None:
    (message,) = await scene.send("one")
    scene.store.fails()
    with pytest.raises(StoreError):
        await scene.outbox.close(FIRST)
    assert scene.outbox.pending(FIRST) == 1
    scene.store.error = None
    await scene.outbox.close(FIRST)
    found = scene.outbox.receipt(message.id)
    assert found is not None
    assert found.final


async def test_an_instance_that_was_closed_and_came_back_takes_messages_again(scene: OneInstanceTeam) -> None:
    await scene.outbox.close(FIRST)
    scene.outbox.hand_over_again(FIRST)
    sent = await scene.send("after")
    await turns()
    assert scene.instance.given == ids(sent)
    assert scene.outbox.pending(FIRST) == 1


async def test_a_receipt_is_known_only_once_it_is_stored(scene: OneInstanceTeam) -> None:
    (message,) = await scene.send("one")
    scene.store.fails()
    with pytest.raises(StoreError):
        await scene.outbox.take_receipts([receipt(message)])
    assert status_of(scene, message) is MessageStatus.ACCEPTED
    assert scene.outbox.pending(FIRST) == 1


async def test_the_oldest_receipts_are_forgotten_but_never_those_of_messages_under_way(
    scene: OneInstanceTeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RECEIPTS_KEPT", 4)
    sent = await scene.send(*(f"{number}" for number in range(10)))
    blocked, done = sent[0], sent[1:]
    await scene.outbox.take_receipts([receipt(blocked, MessageStatus.BLOCKED, "a dialog")])
    for message in done:
        await scene.outbox.take_receipts([receipt(message)])
    known = {message.id for message in sent if scene.outbox.receipt(message.id)}
    assert known == {blocked.id, *ids(done[-3:])}
    assert await scene.stored(keys.RECEIPT_PREFIX) == known


async def test_a_late_proof_of_the_oldest_receipt_is_kept_although_there_is_no_room(
    scene: OneInstanceTeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RECEIPTS_KEPT", 2)
    sent = await scene.send("one", "two")
    for message in sent:
        await scene.outbox.take_receipts([receipt(message, MessageStatus.UNCONFIRMED)])
    await scene.outbox.take_receipts([receipt(sent[0])])
    assert status_of(scene, sent[0]) is MessageStatus.SUBMITTED
    assert sent[0].id in await scene.stored(keys.RECEIPT_PREFIX)


async def test_a_later_supervisor_hands_over_in_the_old_order_and_knows_the_receipts(scene: OneInstanceTeam) -> None:
    sent = await scene.send(*(f"{number}" for number in range(40)))
    await scene.outbox.take_receipts([receipt(sent[3]), receipt(sent[7], MessageStatus.BLOCKED, "a dialog")])
    later = await scene.again()
    later.reach()
    await turns()
    assert later.instance.given == []
    later.outbox.hand_over_again(FIRST)
    more = await later.send("the newest")
    await turns()
    left = [message for message in sent if message is not sent[3]]
    assert later.instance.given == ids([*left, *more])
    statuses = [found.status for message in sent if (found := later.outbox.receipt(message.id))]
    assert statuses == [
        MessageStatus.BLOCKED if n == 7 else MessageStatus.SUBMITTED if n == 3 else MessageStatus.ACCEPTED
        for n in range(40)
    ]
    assert later.outbox.blocked_reason(FIRST) == "a dialog"
    await later.close()


async def test_numbers_go_on_where_they_were_so_the_next_restart_keeps_the_order_too(scene: OneInstanceTeam) -> None:
    first = await scene.send("one", "two")
    later = await scene.again()
    second = await later.send("three")
    last = await later.again()
    last.reach()
    last.outbox.hand_over_again(FIRST)
    await turns()
    assert last.instance.given == ids([*first, *second])
    await last.close()


async def test_whoever_waits_for_a_message_is_woken_by_its_end_or_by_what_holds_it_up(scene: OneInstanceTeam) -> None:
    sent = await scene.send("one", "two")
    waiting = asyncio.create_task(scene.outbox.settled(ids(sent), 60))
    await scene.outbox.take_receipts([receipt(sent[0])])
    await turns()
    assert not waiting.done()
    await scene.outbox.take_receipts([receipt(sent[1], MessageStatus.BLOCKED, "a dialog")])
    assert await waiting


async def test_what_its_agent_has_lost_is_under_way_again_although_only_its_receipt_is_left(
    scene: OneInstanceTeam,
) -> None:
    (message,) = await scene.send("one")
    await scene.outbox.take_receipts([receipt(message)])
    await scene.outbox.take_receipts([receipt(message, MessageStatus.BLOCKED, "a draft")])
    assert (scene.outbox.pending(FIRST), scene.outbox.blocked_reason(FIRST)) == (1, "a draft")
    later = await scene.again()
    assert (later.outbox.pending(FIRST), later.outbox.blocked_reason(FIRST)) == (1, "a draft")
    await later.outbox.take_receipts([receipt(message)])
    assert later.outbox.pending(FIRST) == 0
    await later.close()


async def test_what_was_being_delivered_again_has_an_end_when_its_instance_is_closed(scene: OneInstanceTeam) -> None:
    (message,) = await scene.send("one")
    await scene.outbox.take_receipts([receipt(message)])
    await scene.outbox.take_receipts([receipt(message, MessageStatus.ACCEPTED, "again")])
    await scene.outbox.close(FIRST)
    assert (status_of(scene, message), scene.outbox.pending(FIRST)) == (MessageStatus.UNCONFIRMED, 0)


async def test_who_sent_it_is_known_also_of_what_was_delivered_again(scene: OneInstanceTeam) -> None:
    (message,) = await scene.send("one")
    await scene.outbox.take_receipts([receipt(message)])
    later = await scene.again()
    await later.outbox.take_receipts([receipt(message, MessageStatus.ACCEPTED, "again")])
    await later.outbox.leave_behind(FIRST)
    heard = await later.team.events.after("0", lambda event: event.kind == "message_final", 1.0)
    assert [(event.status, event.sender) for event in heard.events] == [
        (MessageStatus.SUBMITTED, "lead"),
        (MessageStatus.UNCONFIRMED, "lead"),
    ]
    await later.close()


# What counts as a lost message.


def seen(scene: OneInstanceTeam) -> TimeBucket:
    recorder = scene.team.recorder
    return recorder.history.window(recorder.clock(), 300)


def lost(scene: OneInstanceTeam) -> tuple[int, int]:
    return seen(scene).counted(Count.MESSAGES_FAILED), seen(scene).counted(Count.MESSAGES_UNCONFIRMED)


async def told(scene: OneInstanceTeam, message: Message, status: MessageStatus) -> None:
    """With the time at which it is heard of."""
    said = replace(receipt(message, status), at=scene.team.recorder.clock())
    await scene.outbox.take_receipts([said])


@pytest.mark.parametrize(("ending", "losses"), [(True, 0), (False, 3)])
async def test_what_waits_for_an_instance_is_lost_with_it_unless_it_is_terminated(
    scene: OneInstanceTeam, *, ending: bool, losses: int
) -> None:
    await scene.send("one", "two", "three")
    scene.team.registry.get(FIRST).ending = ending
    await scene.outbox.close(FIRST)
    assert sum(lost(scene)) == losses


async def test_a_message_that_is_proved_late_is_no_loss_any_more_and_its_time_counts(scene: OneInstanceTeam) -> None:
    doubted, never_proved = await scene.send("one", "two")
    await told(scene, doubted, MessageStatus.UNCONFIRMED)
    await told(scene, never_proved, MessageStatus.UNCONFIRMED)
    assert lost(scene) == (0, 2)
    await told(scene, doubted, MessageStatus.SUBMITTED)
    assert lost(scene) == (0, 1)
    assert seen(scene).timed(Timing.MESSAGE).count == 1
    await told(scene, doubted, MessageStatus.SUBMITTED)
    assert lost(scene) == (0, 1)


async def test_a_late_proof_counts_also_for_the_next_supervisor(scene: OneInstanceTeam) -> None:
    (doubted,) = await scene.send("one")
    await told(scene, doubted, MessageStatus.UNCONFIRMED)
    recorder = scene.team.recorder
    later = await scene.again()
    record = recorder.history.record(recorder.clock())
    later.team.recorder.history.restore(record, later.team.recorder.clock())
    assert lost(later) == (0, 1)
    await told(later, doubted, MessageStatus.SUBMITTED)
    assert lost(later) == (0, 0)
    await later.close()


@pytest.mark.parametrize("status", [MessageStatus.FAILED, MessageStatus.UNCONFIRMED])
async def test_what_an_instance_says_of_its_messages_while_it_is_terminated_is_no_loss(
    scene: OneInstanceTeam, status: MessageStatus
) -> None:
    (message,) = await scene.send("one")
    scene.team.registry.get(FIRST).ending = True
    await told(scene, message, status)
    assert lost(scene) == (0, 0)


async def test_what_is_sent_to_one_that_was_terminated_and_is_just_being_restarted_waits_for_it(
    scene: OneInstanceTeam,
) -> None:
    await scene.outbox.close(FIRST)
    scene.outbox.begin_life(FIRST)
    await scene.send("one")
    assert scene.outbox.pending(FIRST) == 1


# Conversations on another host, and what becomes of them when that host is lost.


async def unsynced(scene: OneInstanceTeam) -> None:
    """The instance is on another host."""
    await scene.team.save(FIRST, host="worker", actor=f"{FIRST}@10.0.0.2", workspace=CARRIED)


async def submitted(scene: OneInstanceTeam, *texts: str) -> list[Message]:
    messages = await scene.send(*texts)
    await scene.outbox.take_receipts([receipt(message) for message in messages])
    return messages


async def test_what_arrived_on_another_host_stays_stored_until_its_conversation_came_home(
    scene: OneInstanceTeam,
) -> None:
    await unsynced(scene)
    first, second, third = await submitted(scene, "one", "two", "three")
    assert scene.outbox.pending(FIRST) == 0
    assert await scene.stored(keys.MESSAGE_PREFIX) == {first.id, second.id, third.id}

    await scene.outbox.unsynced.came_home(FIRST, {second.id})

    assert await scene.stored(keys.MESSAGE_PREFIX) == {third.id}


async def test_what_a_lost_conversation_alone_had_is_delivered_again_before_what_came_later(
    scene: OneInstanceTeam,
) -> None:
    await unsynced(scene)
    first, second = await submitted(scene, "one", "two")
    await scene.team.links.leave(FIRST)
    (later,) = await scene.send("later")
    await scene.outbox.unsynced.came_home(FIRST, {first.id})

    await scene.outbox.deliver_again(FIRST)
    told = scene.outbox.receipt(second.id)
    scene.instance = FakeInstance()
    scene.reach()
    scene.outbox.hand_over_again(FIRST)
    await turns()

    assert scene.instance.given == [second.id, later.id]
    assert told is not None
    assert (told.status, "its host was lost" in told.reason) == (MessageStatus.ACCEPTED, True)
    await scene.outbox.deliver_again(FIRST)
    assert scene.outbox.pending(FIRST) == 2


async def test_the_next_supervisor_knows_what_is_on_another_host_alone_and_does_not_hand_it_over(
    scene: OneInstanceTeam,
) -> None:
    await unsynced(scene)
    (arrived,) = await submitted(scene, "one")
    (waiting,) = await scene.send("two")

    later = await scene.again()
    later.reach()
    later.outbox.hand_over_again(FIRST)
    await turns()

    assert later.instance.given == [waiting.id]
    await later.outbox.deliver_again(FIRST)
    await turns()
    assert later.outbox.pending(FIRST) == 2
    assert (await later.stored(keys.MESSAGE_PREFIX)) == {arrived.id, waiting.id}
    await later.close()


async def test_a_receipt_that_is_told_twice_takes_nothing_from_what_is_kept(scene: OneInstanceTeam) -> None:
    await unsynced(scene)
    (message,) = await submitted(scene, "one")
    await scene.outbox.take_receipts([receipt(message)])
    assert await scene.stored(keys.MESSAGE_PREFIX) == {message.id}


async def test_what_its_agent_has_lost_is_under_way_again_and_not_handed_over_a_second_time(
    scene: OneInstanceTeam,
) -> None:
    await unsynced(scene)
    first, second = await submitted(scene, "one", "two")
    await turns()

    await scene.outbox.take_receipts(
        [receipt(first, MessageStatus.ACCEPTED, "again"), receipt(second, MessageStatus.BLOCKED, "a draft")]
    )
    scene.outbox.reachable(FIRST)
    await turns()

    assert (scene.outbox.pending(FIRST), scene.outbox.blocked_reason(FIRST)) == (2, "a draft")
    assert scene.instance.given == [first.id, second.id]
    (later,) = await submitted(scene, "three")
    await scene.outbox.unsynced.came_home(FIRST, {later.id})
    assert await scene.stored(keys.MESSAGE_PREFIX) == {first.id, second.id}
    await scene.outbox.take_receipts([receipt(first), receipt(second)])
    assert (scene.outbox.pending(FIRST), set(scene.outbox.unsynced.of(FIRST))) == (0, {first.id, second.id})


async def test_a_message_that_arrives_and_is_lost_in_one_report_is_under_way(scene: OneInstanceTeam) -> None:
    await unsynced(scene)
    (message,) = await scene.send("one")
    await scene.outbox.take_receipts([receipt(message), receipt(message, MessageStatus.ACCEPTED, "again")])
    assert scene.outbox.pending(FIRST) == 1
    assert not scene.outbox.unsynced.of(FIRST)


async def test_of_one_that_is_terminated_nothing_is_kept(scene: OneInstanceTeam) -> None:
    await unsynced(scene)
    await submitted(scene, "one")
    await scene.outbox.close(FIRST)
    assert await scene.stored(keys.MESSAGE_PREFIX) == set()


async def test_who_begins_another_conversation_misses_nothing_of_the_one_before(scene: OneInstanceTeam) -> None:
    await unsynced(scene)
    await scene.team.save(FIRST, transcript_path="/t/old.jsonl")
    await submitted(scene, "one")
    (later,) = await scene.send("two")
    snapshot = replace(READY, transcript_path="/t/new.jsonl")
    report = Report(incarnation="first", sequence=1, snapshot=snapshot, receipts=(receipt(later),))
    await scene.team.take_in(FIRST, report)
    assert await scene.stored(keys.MESSAGE_PREFIX) == {later.id}


async def test_on_this_machine_a_message_that_arrived_is_kept_no_longer(scene: OneInstanceTeam) -> None:
    await submitted(scene, "one")
    assert await scene.stored(keys.MESSAGE_PREFIX) == set()
