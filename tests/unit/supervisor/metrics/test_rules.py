from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.api.requests import OptimizeSettingsRequest
from supervisor.api.validation import parse
from supervisor.metrics import views
from supervisor.metrics.health import Advice, HealthFinding, judge, score
from supervisor.metrics.metrics import Count
from supervisor.metrics.snapshot import GitSnapshot, Queue, SpareCount
from supervisor.store.base import StoreHealth
from tests.fakes.metrics import GB, host, snapshot, tuning, window


def only(**changes: Any) -> HealthFinding:
    (finding,) = judge(snapshot(**changes))
    return finding


def advised(finding: HealthFinding) -> Advice:
    assert finding.advice is not None
    return finding.advice


def test_an_idle_team_that_is_well_has_a_hundred_points_and_nothing_to_say() -> None:
    findings = judge(snapshot())
    assert (findings, score(findings)) == ([], 100)


def test_a_team_that_has_worked_well_has_a_hundred_points() -> None:
    worked = window(
        {Count.MESSAGES_ACCEPTED: 500, Count.PASTES: 50, Count.MESSAGES_PASTED: 500},
        spawn=[1.5] * 9,
        message=[2.0] * 500,
        store=[0.002] * 600,
        call=[0.001] * 600,
    )
    assert score(judge(snapshot(window=worked))) == 100


def test_a_long_queue_of_spawns_on_a_free_machine_asks_for_a_higher_cap() -> None:
    finding = only(spawns=Queue(limit=5, running=5, waiting=12))
    assert (finding.severity, finding.points) == ("warning", 5)
    assert (advised(finding).setting, advised(finding).value) == ("maxConcurrentSpawns", 10)
    assert "12 spawns wait while 5 run (cap 5)" in finding.message


@pytest.mark.parametrize("changes", [{"hosts": (host(busy=0.99),)}, {"tuning": tuning(auto=True)}])
def test_where_a_higher_cap_would_not_help_or_is_found_by_itself_none_is_asked_for(changes: dict[str, Any]) -> None:
    assert only(spawns=Queue(limit=5, running=5, waiting=12), **changes).advice is None


def test_spawns_that_failed_are_told_with_why_the_last_one_did() -> None:
    finding = only(window=window({Count.SPAWNS_FAILED: 1}), spawn_failure="It ended\nat once.")
    assert finding.message == "1 of 1 spawns failed. The last one: It ended at once."


def test_failed_spawns_cost_by_their_part() -> None:
    few = only(window=window({Count.SPAWNS_FAILED: 1}, spawn=[1.0] * 9))
    most = only(window=window({Count.SPAWNS_FAILED: 9}, spawn=[1.0]))
    assert (few.severity, most.severity) == ("warning", "error")
    assert few.points < most.points == 30


def test_many_cold_starts_ask_for_spares_without_costing_a_point() -> None:
    finding = only(window=window(spawn=[1.0] * 10), alive=60)
    assert (finding.severity, finding.points) == ("info", 0)
    assert (advised(finding).setting, advised(finding).value) == ("prewarmInstances", 20)


def test_messages_that_were_lost_cost_points() -> None:
    finding = only(window=window({Count.MESSAGES_FAILED: 1, Count.MESSAGES_UNCONFIRMED: 1}, message=[1.0] * 8))
    assert (finding.code, finding.severity, finding.points) == ("messages-lost", "warning", 11)
    assert "Of 10 messages 1 failed and 1 is unconfirmed." in finding.message


def test_many_small_batches_ask_for_a_longer_delay() -> None:
    small = window({Count.PASTES: 60, Count.MESSAGES_PASTED: 70})
    assert (advised(only(window=small)).setting, advised(only(window=small)).value) == ("messageBatchDelay", 200)
    assert judge(snapshot(window=small, tuning=tuning(message_batch_delay=200))) == []


@pytest.mark.parametrize(("free", "severity", "points"), [(2 * GB, "warning", 15), (GB // 2, "error", 30)])
def test_little_memory_is_told_by_how_little_it_is(free: int, severity: str, points: int) -> None:
    finding = only(hosts=(host(memory_available_bytes=free),))
    assert (finding.code, finding.severity, finding.points) == ("memory", severity, points)


def test_where_spares_hold_memory_that_is_short_they_are_to_go() -> None:
    finding = only(hosts=(host(memory_available_bytes=GB),), tuning=tuning(prewarm_instances=20))
    assert (advised(finding).setting, advised(finding).value) == ("prewarmInstances", 0)


def test_crowded_cores_ask_for_fewer_starts_only_while_instances_start() -> None:
    crowded = (host(busy=1.0, load_1m=12.0),)
    assert advised(only(hosts=crowded)).setting is None
    finding = only(hosts=crowded, spawns=Queue(limit=5, running=5))
    assert (advised(finding).setting, advised(finding).value) == ("maxConcurrentSpawns", 2)


def test_little_disk_a_silent_host_and_a_store_in_trouble_each_have_their_reason() -> None:
    assert only(hosts=(host(disk_available_bytes=GB // 2),)).code == "disk"
    assert only(unanswered=("The host does not answer.",)).message.endswith("The host does not answer.")
    assert only(store=StoreHealth(description="SQLite", warning="Redis is away.")).message == "Redis is away."
    assert only(unreadable="2 records are damaged.").message == "2 records are damaged."


def test_failed_and_silent_instances_cost_points_but_not_without_end() -> None:
    assert only(statuses={"failed": 1, "ready": 2}).points == 5
    assert only(statuses={"failed": 50}).points == 20
    assert only(silent=1).points == 10


def test_a_git_queue_that_backs_up_and_a_cache_that_is_too_small_are_told() -> None:
    queue = only(git=GitSnapshot(queue=Queue(limit=3, running=3, waiting=20)))
    assert (advised(queue).setting, advised(queue).value) == ("maxConcurrentGitOps", 6)
    full = window({Count.CACHE_HITS: 5, Count.CACHE_MISSES: 50, Count.CACHE_EVICTIONS: 30})
    cache = only(window=full)
    assert (advised(cache).setting, advised(cache).value) == ("cacheSize", 2000)


def test_git_operations_that_fail_are_told_of_all_that_were_answered_also_from_the_cache() -> None:
    counts = {Count.CACHE_HITS: 200, Count.GIT_ANSWERED: 220, Count.GIT_FAILED: 15}
    assert judge(snapshot(window=window(counts, git=[0.1] * 5))) == []
    assert only(window=window({**counts, Count.GIT_FAILED: 60})).message == "60 of 220 git operations failed."


def test_slow_writes_and_slow_calls_cost_points_once_there_are_enough_to_tell() -> None:
    assert judge(snapshot(window=window(store=[2.0] * 19, call=[2.0] * 19))) == []
    assert {one.code for one in judge(snapshot(window=window(store=[2.0] * 20, call=[2.0] * 20)))} == {
        "slow-writes",
        "slow-calls",
    }


NUMBERS = st.integers(0, 300)


@given(
    st.dictionaries(st.sampled_from(Count), NUMBERS),
    st.lists(st.floats(0, 100), max_size=30),
    st.builds(Queue, limit=st.integers(1, 100), running=NUMBERS, waiting=NUMBERS),
    st.tuples(st.floats(0, 1), st.integers(0, 24 * GB)),
    st.booleans(),
)
def test_every_lost_point_has_a_reason_and_every_recommended_value_is_one_that_can_be_set(
    counts: dict[Count, int], durations: list[float], queue: Queue, machine: tuple[float, int], auto: bool
) -> None:
    busy, free = machine
    seen = snapshot(
        window=window(counts, spawn=durations, message=durations, git=durations, store=durations, call=durations),
        spawns=queue,
        git=GitSnapshot(queue=queue),
        hosts=(host(busy=busy, load_1m=20 * busy, memory_available_bytes=free),),
        tuning=tuning(auto=auto, max_concurrent_spawns=queue.limit),
        statuses={"failed": queue.waiting},
    )
    findings = judge(seen)
    told = views.performance(findings)
    assert told.score == max(0, 100 - sum(lost.points for lost in told.lost))
    assert all(lost.reason and lost.points > 0 for lost in told.lost)
    for one in views.recommendations(findings):
        assert one.suggestion
        if one.setting is not None:
            parse(OptimizeSettingsRequest, {one.setting: one.value})


def test_stocks_and_queues_are_shown_as_the_guide_reads_them() -> None:
    seen = snapshot(spawns=Queue(limit=5, running=5, waiting=12))
    assert views.queues(seen).spawn.pending == 12
    assert views.queues(seen).spawn.size == 17
    assert views.metrics(seen).pools.instances.ready == SpareCount().ready
