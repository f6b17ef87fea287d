"""The stored stream of events: order, numbers, bounds, cursors, and what survives a supervisor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import FencedError, InvalidRequestError, StoreError
from supervisor.api.results import TeamEvent, iso
from supervisor.events import stream as stream_module
from supervisor.events.stream import KEPT_S, MOST_AT_ONCE, EventStream
from supervisor.records import Unreadable, encode_plain
from supervisor.store import keys
from tests.fakes.clock import turns
from tests.fakes.store import MemoryStore


def idle(text: str = "done") -> TeamEvent:
    return TeamEvent(kind="became_idle", at=iso(time.time()), instance_id="spec_0_0_1", text=text)


def check() -> TeamEvent:
    return TeamEvent(kind="health-check", at=iso(time.time()))


def everything(event: TeamEvent) -> bool:
    return True


async def opened(store: MemoryStore) -> EventStream:
    stream = EventStream(store, Unreadable())
    await stream.load()
    return stream


async def texts(stream: EventStream, cursor: str | None, timeout_s: float = 1.0) -> list[str]:
    return [event.text for event in (await stream.after(cursor, everything, timeout_s)).events]


async def all_of(stream: EventStream) -> Sequence[TeamEvent]:
    return (await stream.after("0", everything, 0.001)).events


async def test_who_listens_hears_what_comes_after_its_cursor_and_each_event_once() -> None:
    stream = await opened(MemoryStore())
    await stream.publish(idle("before"))
    waiting = asyncio.create_task(stream.after(None, everything, 10))
    await turns()
    await stream.publish(idle("first"))
    first = await waiting
    await stream.publish(idle("second"))
    second = await stream.after(first.cursor, everything, 10)
    assert [event.text for event in first.events] == ["first"]
    assert [(event.number, event.text) for event in second.events] == [(3, "second")]
    assert await texts(stream, second.cursor) == []


async def test_only_wanted_events_are_told_and_the_cursor_goes_past_the_others() -> None:
    stream = await opened(MemoryStore())
    for number in range(3):
        await stream.publish(idle(str(number)))
    heard = await stream.after("0", lambda event: event.text == "1", 10)
    assert ([event.text for event in heard.events], heard.cursor) == (["1"], "3")


async def test_an_event_is_told_when_it_is_stored_and_not_before() -> None:
    store = MemoryStore()
    stream = await opened(store)
    store.gate.clear()
    publishing = asyncio.create_task(stream.publish(idle()))
    listening = asyncio.create_task(stream.after("0", everything, 60))
    await turns()
    assert (listening.done(), stream.cursor) == (False, "0")
    store.gate.set()
    await publishing
    assert [event.number for event in (await listening).events] == [1]
    assert list(await store.load(keys.EVENT_PREFIX)) == [keys.event(1)]


async def test_events_that_come_while_others_are_stored_go_into_one_transaction() -> None:
    store = MemoryStore()
    stream = await opened(store)
    await asyncio.gather(*(stream.publish(idle(str(number))) for number in range(50)))
    assert store.saves <= 2
    assert [(event.number, event.text) for event in await all_of(stream)] == [(n + 1, str(n)) for n in range(50)]


async def test_numbers_go_on_without_a_gap_over_a_restart_of_the_supervisor() -> None:
    store = MemoryStore()
    await (await opened(store)).publish(idle("one"), idle("two"))
    later = await opened(store)
    assert later.cursor == "2"
    await later.publish(idle("three"))
    assert [(event.number, event.text) for event in await all_of(later)] == [(1, "one"), (2, "two"), (3, "three")]


async def test_a_cursor_outlives_the_supervisor_that_gave_it() -> None:
    store = MemoryStore()
    stream = await opened(store)
    await stream.publish(idle("heard"))
    cursor = (await stream.after("0", everything, 1)).cursor
    await stream.publish(idle("not heard"))
    assert await texts(await opened(store), cursor) == ["not heard"]


async def test_who_was_away_for_long_learns_how_many_events_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "KEPT", 20)
    store = MemoryStore()
    stream = await opened(store)
    for number in range(1, 31):
        await stream.publish(idle(str(number)))
    heard = await stream.after("3", everything, 1)
    assert ([event.number for event in heard.events], heard.missed) == (list(range(11, 31)), 7)
    assert (await stream.after("10", everything, 1)).missed == 0
    assert len(await store.load(keys.EVENT_PREFIX)) == 20
    later = await opened(store)
    assert (await later.after("3", everything, 1)).missed == 7


async def test_old_events_go_but_the_newest_stays_for_its_number() -> None:
    store = MemoryStore()
    stream = await opened(store)
    await stream.publish(idle("old"), idle("old too"))
    await asyncio.sleep(KEPT_S + 60)
    await stream.publish(idle("new"))
    assert [event.text for event in await all_of(stream)] == ["new"]
    await asyncio.sleep(KEPT_S + 60)
    later = await opened(store)
    await later.publish(idle("newer"))
    assert [event.number for event in await all_of(later)] == [4]


async def test_an_answer_has_an_end_and_the_next_one_goes_on_there() -> None:
    stream = await opened(MemoryStore())
    await stream.publish(*(idle(str(number)) for number in range(MOST_AT_ONCE + 5)))
    first = await stream.after("0", everything, 1)
    assert len(first.events) == MOST_AT_ONCE
    assert await texts(stream, first.cursor) == [str(MOST_AT_ONCE + number) for number in range(5)]


@pytest.mark.parametrize("cursor", ["", "-1", "4be0:12", "one", "1+x", "9" * 16, "²"])
async def test_what_is_no_cursor_is_refused_with_words(cursor: str) -> None:
    stream = await opened(MemoryStore())
    with pytest.raises(InvalidRequestError, match="is no cursor"):
        await stream.after(cursor, everything, 1)


async def test_a_cursor_of_the_future_or_of_another_team_is_refused_with_words() -> None:
    stream = await opened(MemoryStore())
    await stream.publish(idle())
    with pytest.raises(InvalidRequestError, match="last event of this team is 1"):
        await stream.after("2", everything, 1)


async def test_an_event_that_the_store_refuses_is_told_once_when_it_takes_it() -> None:
    store = MemoryStore()
    stream = await opened(store)
    store.fails()
    with pytest.raises(StoreError, match="no space left"):
        await stream.publish(idle("first"))
    stream.publish_soon(idle("second"))
    store.error = None
    assert await texts(stream, "0", 60) == ["first", "second"]
    assert await texts(await opened(store), "0") == ["first", "second"]


async def test_a_fault_of_the_store_keeps_nobody_waiting_and_no_event_untold() -> None:
    store = MemoryStore()
    stream = await opened(store)
    store.error = ValueError("not what a store raises")
    with pytest.raises(StoreError, match="not what a store raises"):
        await stream.publish(idle("first"))
    store.error = None
    assert await texts(stream, "0", 60) == ["first"]


async def test_a_write_of_unknown_outcome_leaves_no_event_twice() -> None:
    store = MemoryStore()
    stream = await opened(store)
    store.writes_all_the_same = True
    store.fails("the disk has not answered")
    for number in range(3):
        stream.publish_soon(idle(str(number)))
    await turns()
    store.error = None
    assert await texts(stream, "0", 60) == ["0", "1", "2"]
    assert await texts(await opened(store), "0") == ["0", "1", "2"]


async def test_a_supervisor_that_was_replaced_tells_nothing_more() -> None:
    store = MemoryStore()
    stream = await opened(store)
    store.is_fenced()
    with pytest.raises(FencedError):
        await stream.publish(idle())
    store.error = None
    await asyncio.sleep(120)
    assert stream.cursor == "0"


async def test_a_caller_that_is_cancelled_has_published_all_the_same() -> None:
    store = MemoryStore()
    stream = await opened(store)
    store.gate.clear()
    publishing = asyncio.create_task(stream.publish(idle()))
    await turns()
    publishing.cancel()
    store.gate.set()
    assert await texts(stream, "0", 60) == ["done"]


async def test_what_else_changes_is_stored_with_the_event_and_the_later_of_two_changes_holds() -> None:
    store = MemoryStore()
    stream = await opened(store)
    stream.publish_soon(idle(), records={"told/a": b"1", "told/b": b"1"})
    stream.publish_soon(delete=["told/a", "told/b"])
    stream.publish_soon(idle(), records={"told/b": b"2"})
    await stream.publish()
    assert await store.load("told/") == {"told/b": b"2"}
    assert stream.cursor == "2"


async def test_the_end_of_a_supervisor_stores_what_waits() -> None:
    store = MemoryStore()
    stream = await opened(store)
    stream.publish_soon(idle())
    await stream.stop()
    assert await texts(await opened(store), "0") == ["done"]


async def test_nobody_waits_for_a_store_that_hangs_while_the_supervisor_ends() -> None:
    store = MemoryStore()
    stream = await opened(store)
    store.gate.clear()
    publishing = [asyncio.create_task(stream.publish(idle(text))) for text in ("one", "two")]
    await turns()
    await stream.stop()
    outcomes = await asyncio.gather(*publishing, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreError, StoreError]


async def test_a_due_event_is_published_by_the_next_supervisor_and_only_once() -> None:
    store = MemoryStore()
    await store.save(EventStream.due("msg_1", [idle("due")]).record)
    for _ in range(3):
        later = await opened(store)
        assert await texts(later, "0") == ["due"]
        await later.stop()
    assert await store.load(keys.DUE_EVENT_PREFIX) == {}


async def test_a_change_that_was_stored_twice_because_its_save_seemed_to_fail_is_told_once() -> None:
    """The save failed as far as that supervisor knew, and its record is there all the same."""
    store = MemoryStore()
    first, second, third = idle("first"), idle("second"), idle("third")
    await store.save(EventStream.due("msg_1", [first, second]).record)
    await store.save(EventStream.due("msg_0", [third, first]).record)
    later = await opened(store)
    assert sorted(await texts(later, "0")) == ["first", "second", "third"]
    await later.stop()
    await store.save(EventStream.due("msg_1", [first, second]).record)
    last = await opened(store)
    await last.publish(idle("fourth"))
    assert sorted(await texts(last, "0")) == ["first", "fourth", "second", "third"]
    assert await store.load(keys.DUE_EVENT_PREFIX) == {}


async def test_an_event_that_another_version_wrote_keeps_its_number() -> None:
    store = MemoryStore()
    stream = await opened(store)
    await stream.publish(idle("readable"), idle("last"))
    await store.save({keys.event(2): encode_plain({"kind": "of the future", "at": "then"})})
    later = await opened(store)
    await later.publish(idle("next"))
    assert [(event.number, event.text) for event in await all_of(later)] == [(1, "readable"), (3, "next")]


async def test_an_event_that_is_not_kept_is_heard_by_who_listens_for_it_and_has_no_number() -> None:
    store = MemoryStore()
    stream = await opened(store)
    stream.tell(check())
    start = await stream.after(None, everything, 0.001, with_passing=True)
    assert start.events == []
    stream.tell(check())
    heard = await stream.after(start.cursor, everything, 1, with_passing=True)
    assert [(event.kind, event.number) for event in heard.events] == [("health-check", 0)]
    assert (await stream.after(heard.cursor, everything, 0.001, with_passing=True)).events == []
    assert (await stream.after("0", everything, 0.001)).events == []
    assert await store.load("") == {}


async def test_who_asks_gets_all_that_was_published_before_even_without_patience() -> None:
    stream = await opened(MemoryStore())
    stream.publish_soon(idle())
    assert await texts(stream, "0", 0.001) == ["done"]


@given(
    lives=st.lists(
        st.lists(st.sampled_from(["one", "three", "refused", "unsure", "due"]), max_size=6), min_size=1, max_size=4
    )
)
async def test_whatever_fails_and_whoever_dies_numbers_have_no_gap_and_no_event_is_lost_or_doubled(
    lives: list[list[str]],
) -> None:
    store, published = MemoryStore(), 0

    def some(count: int) -> list[TeamEvent]:
        nonlocal published
        published += count
        return [idle(str(number)) for number in range(published - count, published)]

    for life in lives:
        stream = await opened(store)
        for step in life:
            store.writes_all_the_same = step == "unsure"
            match step:
                case "one" | "three":
                    await stream.publish(*some(1 if step == "one" else 3))
                case "refused" | "unsure":
                    store.fails()
                    stream.publish_soon(*some(2))
                    await turns()
                    store.error = None
                    await stream.after(stream.cursor, everything, 60)
                case _:
                    (event,) = some(1)
                    due = EventStream.due(event.text, [event])
                    await store.save(due.record)
                    stream = await opened(store)
        await stream.stop()
    last = await opened(store)
    await last.stop()
    told = await all_of(last)
    assert [event.number for event in told] == list(range(1, published + 1))
    assert sorted(int(event.text) for event in told) == list(range(published))
