from __future__ import annotations

import asyncio

from actors.messages import MessageStatus, Receipt
from supervisor.metrics.metrics import COARSE_S, KEPT_S, Count, MetricsRecorder, TimeBucket
from supervisor.metrics.service import SAVE_AFTER_S, HistoryStore
from supervisor.records import Unreadable, encode_bucket
from supervisor.store import keys
from tests.fakes.store import MemoryStore

NOON = 1_000_000.0 * COARSE_S


async def a_while() -> None:
    await asyncio.sleep(2 * SAVE_AFTER_S)


class Life:
    """One supervisor's figures over a store that outlives it; its clock stands still until it is set."""

    def __init__(self, store: MemoryStore, now: float = NOON) -> None:
        self.now = now
        self.store = store
        self.recorder = MetricsRecorder(lambda: self.now)
        self.unreadable = Unreadable()
        self.keeper = HistoryStore(self.recorder, store, self.unreadable)

    async def begins(self) -> None:
        await self.keeper.begin()

    def failures(self, seconds: float = 3600) -> int:
        return self.recorder.history.window(self.now, seconds).counted(Count.SPAWNS_FAILED)


async def test_what_happened_is_stored_after_a_while_and_known_to_the_next_life() -> None:
    store = MemoryStore()
    life = Life(store)
    await life.begins()
    life.recorder.count(Count.SPAWNS_FAILED, 2)
    life.recorder.count(Count.SPAWNS_FAILED)
    await a_while()

    later = Life(store, NOON + 60)
    await later.begins()
    assert later.failures() == 3
    await later.keeper.end()


async def test_the_end_of_a_team_stores_what_is_not_stored_yet() -> None:
    store = MemoryStore()
    life = Life(store)
    await life.begins()
    life.recorder.count(Count.SPAWNS_FAILED)
    await life.keeper.end()
    assert list(await store.load(keys.PERFORMANCE_PREFIX)) == [keys.performance(NOON)]


async def test_a_team_that_rests_writes_nothing_not_even_because_of_its_own_writes() -> None:
    store = MemoryStore()
    life = Life(store)
    await life.begins()
    await a_while()
    assert store.saves == 0
    life.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    await a_while()
    await life.keeper.end()
    assert store.saves == 1


async def test_figures_that_were_taken_before_and_after_a_boundary_go_into_a_record_each() -> None:
    store = MemoryStore()
    life = Life(store, NOON - 1)
    await life.begins()
    life.recorder.count(Count.SPAWNS_FAILED)
    life.now = NOON + 1
    life.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    assert list(await store.load(keys.PERFORMANCE_PREFIX)) == [
        keys.performance(NOON - COARSE_S),
        keys.performance(NOON),
    ]
    await life.keeper.end()


async def test_records_of_yesterday_are_deleted_with_the_next_write() -> None:
    store = MemoryStore()
    old = TimeBucket(NOON - KEPT_S - COARSE_S, counts={"spawns_failed": 1})
    await store.save({keys.performance(old.start): encode_bucket(old)})
    life = Life(store)
    await life.begins()
    assert life.failures(2 * KEPT_S) == 0
    life.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    assert list(await store.load(keys.PERFORMANCE_PREFIX)) == [keys.performance(NOON)]
    await life.keeper.end()


async def test_a_store_in_trouble_loses_nothing_that_comes_before_the_next_write() -> None:
    store = MemoryStore()
    life = Life(store)
    await life.begins()
    store.fails()
    life.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    store.error = None
    life.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    later = Life(store)
    await later.begins()
    assert later.failures() == 2


async def test_what_a_store_in_trouble_did_not_take_is_stored_later_though_nothing_more_happens() -> None:
    store = MemoryStore()
    life = Life(store)
    await life.begins()
    store.fails()
    for _ in range(3):
        life.recorder.count(Count.SPAWNS_FAILED)
        await a_while()
        life.now += COARSE_S
    store.error = None
    await a_while()
    stored = sorted(await store.load(keys.PERFORMANCE_PREFIX))
    assert stored == [keys.performance(NOON + number * COARSE_S) for number in range(3)]
    await life.keeper.end()


async def test_after_its_end_a_store_in_trouble_is_left_alone() -> None:
    store = MemoryStore()
    life = Life(store)
    await life.begins()
    life.recorder.count(Count.SPAWNS_FAILED)
    store.fails()
    await a_while()
    await life.keeper.end()
    store.error = None
    await a_while()
    assert store.saves == 0


async def test_who_was_replaced_by_another_supervisor_stores_nothing_more() -> None:
    store = MemoryStore()
    life = Life(store)
    await life.begins()
    life.recorder.count(Count.SPAWNS_FAILED)
    store.is_fenced()
    await a_while()
    store.error = None
    await a_while()
    await life.keeper.end()
    assert store.saves == 0


async def test_a_damaged_record_is_reported_and_left_alone() -> None:
    store = MemoryStore()
    await store.save({keys.performance(NOON): b"\x01\xc0", keys.performance(NOON - 300): b"\x63"})
    life = Life(store)
    await life.begins()
    assert life.unreadable.keys == [keys.performance(NOON - 300), keys.performance(NOON)]
    await life.keeper.end()


async def test_what_is_taken_back_of_an_earlier_record_is_stored_there() -> None:
    store = MemoryStore()
    life = Life(store)
    await life.begins()
    life.recorder.count(Count.MESSAGES_UNCONFIRMED)
    doubted = Receipt(message_id="m", instance_id="i", status=MessageStatus.UNCONFIRMED, at=NOON)
    await a_while()
    life.now = NOON + 2 * COARSE_S
    life.recorder.count(Count.SPAWNS_FAILED)
    life.recorder.proved_late(doubted, doubted, None)
    await a_while()
    later = Life(store, life.now)
    await later.begins()
    assert later.recorder.history.window(life.now, 3600).counted(Count.MESSAGES_UNCONFIRMED) == 0
    assert later.failures() == 1
    await life.keeper.end()
