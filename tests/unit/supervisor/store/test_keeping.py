from __future__ import annotations

from dataclasses import replace

from actors.messages import MessageStatus
from supervisor.records import Unreadable, decode_plain
from supervisor.store import keys
from supervisor.store.guards import PreservingStore
from supervisor.team.team import Team
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member, outgoing, receipt

LATER = b"\x09written by a later version"


async def test_what_cannot_be_read_is_neither_overwritten_nor_deleted_and_the_rest_is_saved() -> None:
    store, unreadable = MemoryStore(), Unreadable()
    await store.save({"a": LATER, "b": LATER, "c": b"1"})
    assert list(unreadable.readable({"a": LATER, "b": LATER}, decode_plain)) == []
    await PreservingStore(store, unreadable).save({"a": b"2", "c": b"2"}, ["b", "c"])
    assert await store.load("") == {"a": LATER, "b": LATER}


async def test_a_receipt_and_a_message_of_a_later_version_stay_whatever_is_reported_of_them() -> None:
    store = MemoryStore()
    team = Team(store)
    await add_member(team, 1)
    (readable,) = team.outbox.check([outgoing()], "lead", 1.0)
    assert not isinstance(readable, Exception)
    await team.outbox.accept([readable])
    strange = keys.receipt(readable.id), keys.message("msg_later"), keys.request("r-later")
    await store.save(dict.fromkeys(strange, LATER))

    later = Team(store)
    await later.load()
    assert later.outbox.pending("spec_0_0_1") == 1
    assert "3 stored records" in later.warnings[0]
    await later.outbox.take_receipts([receipt(readable)])
    await later.outbox.take_receipts([receipt(replace(readable, id="msg_later"))])
    await later.outbox.close("spec_0_0_1")

    assert {key: value for key, value in (await store.load("")).items() if value == LATER} == dict.fromkeys(
        strange, LATER
    )
    assert later.outbox.pending("spec_0_0_1") == 0
    found = later.outbox.receipt(readable.id)
    assert found is not None
    assert found.status is MessageStatus.SUBMITTED
