"""What becomes of a message once it was accepted: receipts, the end with its instance, and later supervisors."""

from __future__ import annotations

import asyncio

import pytest

from actors.errors import StoreError
from supervisor.messaging import outbox
from supervisor.store import keys
from tests.unit.supervisor.messaging.outbox_rig import (
    ACCEPTED,
    BLOCKED,
    FAILED,
    ID,
    SUBMITTED,
    UNCONFIRMED,
    Office,
    ids,
)
from tests.unit.supervisor.stand_ins import receipt, turns


async def test_closing_gives_every_message_its_end_and_keeps_nothing(office: Office) -> None:
    office.instance.gate.clear()
    sent = await office.send("one", "two")
    await turns()
    sent += await office.send("never handed over")
    await office.outbox.close(ID)
    receipts = [office.outbox.receipt(message.id) for message in sent]
    assert [found.status for found in receipts if found] == [UNCONFIRMED, UNCONFIRMED, FAILED]
    assert "stopped" in (receipts[0].reason if receipts[0] else "")
    assert office.outbox.pending(ID) == 0
    assert await office.stored(keys.MESSAGE_PREFIX) == set()
    office.instance.gate.set()
    await turns()
    assert office.instance.given == []


async def test_a_message_that_is_just_being_stored_while_its_instance_is_closed_has_an_end_too(office: Office) -> None:
    office.store.gate.clear()
    sending = asyncio.create_task(office.send("too late"))
    await turns()
    lifecycle = asyncio.create_task(office.outbox.close(ID))
    await turns()
    office.store.gate.set()
    (message,) = await sending
    await lifecycle
    found = office.outbox.receipt(message.id)
    assert found is not None
    assert found.status is FAILED
    assert office.outbox.pending(ID) == 0
    assert await office.stored(keys.MESSAGE_PREFIX) == set()


async def test_closing_that_could_not_be_stored_changes_nothing_and_may_be_repeated(office: Office) -> None:
    (message,) = await office.send("one")
    office.store.fails()
    with pytest.raises(StoreError):
        await office.outbox.close(ID)
    assert office.outbox.pending(ID) == 1
    office.store.error = None
    await office.outbox.close(ID)
    found = office.outbox.receipt(message.id)
    assert found is not None
    assert found.final


async def test_an_instance_that_was_closed_and_came_back_takes_messages_again(office: Office) -> None:
    await office.outbox.close(ID)
    office.outbox.hand_over_again(ID)
    sent = await office.send("after")
    await turns()
    assert office.instance.given == ids(sent)
    assert office.outbox.pending(ID) == 1


async def test_a_receipt_is_known_only_once_it_is_stored(office: Office) -> None:
    (message,) = await office.send("one")
    office.store.fails()
    with pytest.raises(StoreError):
        await office.outbox.take_receipts([receipt(message)])
    found = office.outbox.receipt(message.id)
    assert found is not None
    assert found.status is ACCEPTED
    assert office.outbox.pending(ID) == 1


async def test_the_oldest_receipts_are_forgotten_but_never_those_of_messages_under_way(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RECEIPTS_KEPT", 4)
    sent = await office.send(*(f"{number}" for number in range(10)))
    blocked, done = sent[0], sent[1:]
    await office.outbox.take_receipts([receipt(blocked, BLOCKED, "a dialog")])
    for message in done:
        await office.outbox.take_receipts([receipt(message)])
    known = {message.id for message in sent if office.outbox.receipt(message.id)}
    assert known == {blocked.id, *ids(done[-3:])}
    assert await office.stored(keys.RECEIPT_PREFIX) == known


async def test_a_late_proof_of_the_oldest_receipt_is_kept_although_there_is_no_room(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RECEIPTS_KEPT", 2)
    sent = await office.send("one", "two")
    for message in sent:
        await office.outbox.take_receipts([receipt(message, UNCONFIRMED)])
    await office.outbox.take_receipts([receipt(sent[0])])
    found = office.outbox.receipt(sent[0].id)
    assert found is not None
    assert found.status is SUBMITTED
    assert sent[0].id in await office.stored(keys.RECEIPT_PREFIX)


async def test_a_later_supervisor_hands_over_in_the_old_order_and_knows_the_receipts(office: Office) -> None:
    sent = await office.send(*(f"{number}" for number in range(40)))
    await office.outbox.take_receipts([receipt(sent[3]), receipt(sent[7], BLOCKED, "a dialog")])
    later = await office.again()
    later.reach()
    await turns()
    assert later.instance.given == []
    later.outbox.hand_over_again(ID)
    more = await later.send("the newest")
    await turns()
    left = [message for message in sent if message is not sent[3]]
    assert later.instance.given == ids([*left, *more])
    statuses = [found.status for message in sent if (found := later.outbox.receipt(message.id))]
    assert statuses == [BLOCKED if n == 7 else SUBMITTED if n == 3 else ACCEPTED for n in range(40)]
    assert later.outbox.blocked_reason(ID) == "a dialog"
    await later.close()


async def test_numbers_go_on_where_they_were_so_the_next_restart_keeps_the_order_too(office: Office) -> None:
    first = await office.send("one", "two")
    later = await office.again()
    second = await later.send("three")
    last = await later.again()
    last.reach()
    last.outbox.hand_over_again(ID)
    await turns()
    assert last.instance.given == ids([*first, *second])
    await last.close()


async def test_whoever_waits_for_a_message_is_woken_by_its_end_or_by_what_holds_it_up(office: Office) -> None:
    sent = await office.send("one", "two")
    waiting = asyncio.create_task(office.outbox.settled(ids(sent), 60))
    await office.outbox.take_receipts([receipt(sent[0])])
    await turns()
    assert not waiting.done()
    await office.outbox.take_receipts([receipt(sent[1], BLOCKED, "a dialog")])
    assert await waiting


async def test_what_its_agent_has_lost_is_under_way_again_although_only_its_receipt_is_left(office: Office) -> None:
    (message,) = await office.send("one")
    await office.outbox.take_receipts([receipt(message)])
    await office.outbox.take_receipts([receipt(message, BLOCKED, "a draft")])
    assert (office.outbox.pending(ID), office.outbox.blocked_reason(ID)) == (1, "a draft")
    later = await office.again()
    assert (later.outbox.pending(ID), later.outbox.blocked_reason(ID)) == (1, "a draft")
    await later.outbox.take_receipts([receipt(message)])
    assert later.outbox.pending(ID) == 0
    await later.close()


async def test_what_was_being_delivered_again_has_an_end_when_its_instance_is_closed(office: Office) -> None:
    (message,) = await office.send("one")
    await office.outbox.take_receipts([receipt(message)])
    await office.outbox.take_receipts([receipt(message, ACCEPTED, "again")])
    await office.outbox.close(ID)
    found = office.outbox.receipt(message.id)
    assert found is not None
    assert (found.status, office.outbox.pending(ID)) == (UNCONFIRMED, 0)
