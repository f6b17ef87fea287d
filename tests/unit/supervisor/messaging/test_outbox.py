"""Mail: what is accepted is stored first and handed over in order, whatever fails in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import FencedError, PhalanxError, StoreError, UnavailableError, WrongStateError
from actors.instance.inbox import SanitizedText
from actors.messages import Message, MessageStatus
from supervisor.messaging import outbox
from supervisor.messaging.outgoing import check_text
from supervisor.store import keys
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.fakes.clock import turns
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, OneInstanceTeam, add_member, ids, outgoing, receipt


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


async def test_a_draft_that_is_refused_harms_no_other(scene: OneInstanceTeam) -> None:
    drafts = [outgoing("fits"), outgoing("\x1b\x07"), outgoing("x", "spec_0_0_9"), outgoing("fits too")]
    checked = scene.outbox.check(drafts, "lead", 1.0)
    assert [isinstance(one, PhalanxError) for one in checked] == [False, True, True, False]


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
