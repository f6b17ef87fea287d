"""What becomes of a message once it was accepted: receipts, the end with its instance, and later supervisors."""

from __future__ import annotations

import asyncio

import pytest

from actors.errors import StoreError
from actors.messages import MessageStatus
from supervisor.messaging import outbox
from supervisor.store import keys
from tests.fakes.clock import turns
from tests.fakes.team import FIRST, OneInstanceTeam, ids, receipt


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
    found = scene.outbox.receipt(message.id)
    assert found is not None
    assert found.status is MessageStatus.FAILED
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
    found = scene.outbox.receipt(message.id)
    assert found is not None
    assert found.status is MessageStatus.ACCEPTED
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
    found = scene.outbox.receipt(sent[0].id)
    assert found is not None
    assert found.status is MessageStatus.SUBMITTED
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
    found = scene.outbox.receipt(message.id)
    assert found is not None
    assert (found.status, scene.outbox.pending(FIRST)) == (MessageStatus.UNCONFIRMED, 0)
