"""The loop of alerts, and the history in the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.messages import MessageStatus, Receipt
from supervisor.api.results import TeamEvent
from supervisor.events.stream import EventStream
from supervisor.metrics.health import HealthFinding, Severity
from supervisor.metrics.metrics import COARSE_S, KEPT_S, Count, MetricsRecorder, TimeBucket
from supervisor.metrics.service import (
    EVERY_S,
    LISTENER_S,
    SAVE_AFTER_S,
    TOLD_AGAIN_S,
    AlertLoop,
    HistoryStore,
    new_alerts,
)
from supervisor.metrics.snapshot import TeamSnapshot
from supervisor.records import Unreadable, encode_bucket
from supervisor.store import keys
from supervisor.store.guards import FencedStore
from tests.fakes.clock import turns
from tests.fakes.metrics import snapshot
from tests.fakes.store import MemoryStore


def finding(code: str, severity: Severity) -> HealthFinding:
    return HealthFinding(code=code, category="machine", severity=severity, points=1, message=code)


def test_trouble_is_an_alert_when_it_begins_or_gets_worse_and_not_while_it_lasts() -> None:
    begins = new_alerts([finding("memory", "warning"), finding("no-spares", "info")], {})
    assert [one.code for one in begins] == ["memory"]
    assert new_alerts([finding("memory", "warning")], {"memory": 1}) == []
    assert new_alerts([finding("memory", "error")], {"memory": 1}) == [finding("memory", "error")]
    assert new_alerts([finding("memory", "warning")], {"memory": 2}) == []


class Monitor:
    now = 1000.0

    def __init__(self) -> None:
        self.looks = 0
        self.facts_now = snapshot()
        self.broken = False

    async def snapshot(self, window_s: float) -> TeamSnapshot:
        self.looks += 1
        if self.broken:
            raise RuntimeError("a fault")
        return self.facts_now


class Scene:
    def __init__(self) -> None:
        self.monitor = Monitor()
        self.events = EventStream(MemoryStore(), Unreadable())
        self.watch = AlertLoop(self.monitor, self.events)  # type: ignore[arg-type]
        self.cursor: str | None = None

    async def hears(self, timeout_s: float = 60.0) -> list[TeamEvent]:
        with self.watch.listening():
            heard = await self.events.after(self.cursor, lambda event: True, timeout_s, with_passing=True)
        self.cursor = heard.cursor
        return list(heard.events)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.watch.end()


async def test_the_team_is_looked_at_while_somebody_listens_and_no_longer(scene: Scene) -> None:
    for _ in range(4):
        assert [event.kind for event in await scene.hears()] == ["health-check"]
    assert scene.monitor.looks == 4
    await asyncio.sleep(100 * EVERY_S)
    assert scene.monitor.looks <= 4 + LISTENER_S / EVERY_S
    scene.cursor, before = None, scene.monitor.looks
    await scene.hears()
    assert scene.monitor.looks == before + 1


async def test_trouble_is_told_when_it_comes_and_again_to_who_listens_anew_later(scene: Scene) -> None:
    await scene.hears()
    scene.monitor.facts_now = snapshot(statuses={"failed": 1})
    kinds: list[Any] = [[event.kind for event in await scene.hears()] for _ in range(3)]
    assert kinds[0][0] == "alert"
    assert "alert" not in kinds[1] + kinds[2]
    await asyncio.sleep(2 * LISTENER_S)
    assert [event.kind for event in await scene.hears()] == ["health-check"]
    await asyncio.sleep(TOLD_AGAIN_S + 2 * LISTENER_S)
    scene.cursor = None
    assert (await scene.hears())[0].kind == "alert"


async def test_a_look_that_fails_ends_nothing(scene: Scene) -> None:
    scene.monitor.broken = True
    assert await scene.hears(5) == []
    scene.monitor.broken = False
    assert [event.kind for event in await scene.hears()] == ["health-check"]


NOON = 1_000_000.0 * COARSE_S


async def a_while() -> None:
    await asyncio.sleep(2 * SAVE_AFTER_S)


class Recording:
    """One supervisor's figures over a store that outlives it; its clock stands still until it is set."""

    def __init__(self, store: MemoryStore, now: float = NOON) -> None:
        self.now = now
        self.store = store
        self.recorder = MetricsRecorder(lambda: self.now)
        self.unreadable = Unreadable()
        self.keeper = HistoryStore(self.recorder, FencedStore(store, self.recorder), self.unreadable)

    def failures(self, seconds: float = 3600) -> int:
        return self.recorder.history.window(self.now, seconds).counted(Count.SPAWNS_FAILED)


async def recorded(store: MemoryStore, now: float = NOON) -> Recording:
    made = Recording(store, now)
    await made.keeper.begin()
    return made


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def recording(store: MemoryStore) -> AsyncIterator[Recording]:
    made = await recorded(store)
    yield made
    await made.keeper.end()


async def test_what_happened_is_stored_after_a_while_and_known_to_the_next_supervisor(
    store: MemoryStore, recording: Recording
) -> None:
    recording.recorder.count(Count.SPAWNS_FAILED, 2)
    recording.recorder.count(Count.SPAWNS_FAILED)
    await a_while()

    later = await recorded(store, NOON + 60)
    assert later.failures() == 3
    await later.keeper.end()


async def test_the_end_of_a_team_stores_what_is_not_stored_yet(store: MemoryStore, recording: Recording) -> None:
    recording.recorder.count(Count.SPAWNS_FAILED)
    await recording.keeper.end()
    assert list(await store.load(keys.PERFORMANCE_PREFIX)) == [keys.performance(NOON)]


async def test_a_team_that_rests_writes_nothing_not_even_because_of_its_own_writes(
    store: MemoryStore, recording: Recording
) -> None:
    await a_while()
    assert store.saves == 0
    recording.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    await a_while()
    await recording.keeper.end()
    assert store.saves == 1


async def test_what_happens_while_the_history_is_being_written_is_written_next_though_nothing_more_happens(
    store: MemoryStore, recording: Recording
) -> None:
    store.gate.clear()
    recording.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    recording.recorder.count(Count.SPAWNS_FAILED)
    store.gate.set()
    await a_while()
    later = await recorded(store)
    assert later.failures() == 2
    await a_while()
    assert store.saves == 2


async def test_a_save_returns_only_when_a_write_under_way_is_done(store: MemoryStore, recording: Recording) -> None:
    store.gate.clear()
    recording.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    saving = asyncio.create_task(recording.keeper.save())
    await turns()
    assert not saving.done()
    store.gate.set()
    await saving
    assert store.saves == 1


async def test_what_happens_during_the_last_write_before_the_end_is_stored(
    store: MemoryStore, recording: Recording
) -> None:
    store.gate.clear()
    recording.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    ending = asyncio.create_task(recording.keeper.end())
    await turns()
    recording.recorder.count(Count.SPAWNS_FAILED)
    store.gate.set()
    await ending
    later = await recorded(store)
    assert later.failures() == 2


async def test_figures_that_were_taken_before_and_after_a_boundary_go_into_a_record_each(store: MemoryStore) -> None:
    recording = await recorded(store, NOON - 1)
    recording.recorder.count(Count.SPAWNS_FAILED)
    recording.now = NOON + 1
    recording.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    assert list(await store.load(keys.PERFORMANCE_PREFIX)) == [
        keys.performance(NOON - COARSE_S),
        keys.performance(NOON),
    ]
    await recording.keeper.end()


async def test_records_of_yesterday_are_deleted_with_the_next_write(store: MemoryStore) -> None:
    old = TimeBucket(NOON - KEPT_S - COARSE_S, counts={"spawns_failed": 1})
    await store.save({keys.performance(old.start): encode_bucket(old)})
    recording = await recorded(store)
    assert recording.failures(2 * KEPT_S) == 0
    recording.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    assert list(await store.load(keys.PERFORMANCE_PREFIX)) == [keys.performance(NOON)]
    await recording.keeper.end()


async def test_a_store_in_trouble_loses_nothing_that_comes_before_the_next_write(
    store: MemoryStore, recording: Recording
) -> None:
    store.fails()
    recording.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    store.error = None
    recording.recorder.count(Count.SPAWNS_FAILED)
    await a_while()
    later = await recorded(store)
    assert later.failures() == 2


async def test_what_a_store_in_trouble_did_not_take_is_stored_later_though_nothing_more_happens(
    store: MemoryStore, recording: Recording
) -> None:
    store.fails()
    for _ in range(3):
        recording.recorder.count(Count.SPAWNS_FAILED)
        await a_while()
        recording.now += COARSE_S
    store.error = None
    await a_while()
    stored = sorted(await store.load(keys.PERFORMANCE_PREFIX))
    assert stored == [keys.performance(NOON + number * COARSE_S) for number in range(3)]


async def test_after_its_end_a_store_in_trouble_is_left_alone(store: MemoryStore, recording: Recording) -> None:
    recording.recorder.count(Count.SPAWNS_FAILED)
    store.fails()
    await a_while()
    await recording.keeper.end()
    store.error = None
    await a_while()
    assert store.saves == 0


async def test_who_was_replaced_by_another_supervisor_stores_nothing_more(
    store: MemoryStore, recording: Recording
) -> None:
    recording.recorder.count(Count.SPAWNS_FAILED)
    store.is_fenced()
    await a_while()
    store.error = None
    await a_while()
    await recording.keeper.end()
    assert store.saves == 0


async def test_a_damaged_record_is_reported_and_left_alone(store: MemoryStore) -> None:
    await store.save({keys.performance(NOON): b"\x01\xc0", keys.performance(NOON - 300): b"\x63"})
    recording = await recorded(store)
    assert recording.unreadable.keys == [keys.performance(NOON - 300), keys.performance(NOON)]
    await recording.keeper.end()


async def test_what_is_taken_back_of_an_earlier_record_is_stored_there(
    store: MemoryStore, recording: Recording
) -> None:
    recording.recorder.count(Count.MESSAGES_UNCONFIRMED)
    doubted = Receipt(message_id="m", instance_id="i", status=MessageStatus.UNCONFIRMED, at=NOON)
    await a_while()
    recording.now = NOON + 2 * COARSE_S
    recording.recorder.count(Count.SPAWNS_FAILED)
    recording.recorder.proved_late(doubted, doubted, None)
    await a_while()
    later = await recorded(store, recording.now)
    assert later.recorder.history.window(recording.now, 3600).counted(Count.MESSAGES_UNCONFIRMED) == 0
    assert later.failures() == 1
