"""Each line of the table in docs/score.md, what must cost nothing, and what is advised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.api.requests import OptimizeSettingsRequest
from supervisor.api.validation import parse
from supervisor.metrics import views
from supervisor.metrics.health import Advice, HealthFinding, duration, judge, score, who
from supervisor.metrics.metrics import Count
from supervisor.metrics.snapshot import GitSnapshot, Queue, SpareCount, StalledItem
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


def test_many_cold_starts_ask_for_spares_without_costing_a_point() -> None:
    finding = only(window=window(spawn=[1.0] * 10), alive=60)
    assert (finding.severity, finding.points) == ("info", 0)
    assert (advised(finding).setting, advised(finding).value) == ("prewarmInstances", 20)


def test_messages_that_were_lost_are_told_by_what_became_of_them() -> None:
    finding = only(window=window({Count.MESSAGES_FAILED: 1, Count.MESSAGES_UNCONFIRMED: 1}, message=[1.0] * 8))
    assert "Of 10 messages 1 failed and 1 is unconfirmed." in finding.message


def test_many_small_batches_ask_for_a_longer_delay() -> None:
    small = window({Count.PASTES: 60, Count.MESSAGES_PASTED: 70})
    assert (advised(only(window=small)).setting, advised(only(window=small)).value) == ("messageBatchDelay", 200)
    assert judge(snapshot(window=small, tuning=tuning(message_batch_delay=200))) == []


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


def test_a_few_slow_writes_and_calls_cost_nothing() -> None:
    assert judge(snapshot(window=window(store=[2.0] * 19, call=[2.0] * 19))) == []


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
    advised = views.recommendations(findings)
    assert [one.priority for one in advised] == sorted((one.priority for one in advised), key=_URGENCY.index)
    for one in advised:
        assert one.suggestion
        if one.setting is not None:
            parse(OptimizeSettingsRequest, {one.setting: one.value})


def test_stocks_and_queues_are_shown_as_the_guide_reads_them() -> None:
    seen = snapshot(spawns=Queue(limit=5, running=5, waiting=12))
    assert views.queues(seen).spawn.pending == 12
    assert views.queues(seen).spawn.size == 17
    assert views.metrics(seen).pools.instances.ready == SpareCount().ready


_URGENCY = ("high", "medium", "low")
TABLE = (Path(__file__).resolve().parents[4] / "docs" / "score.md").read_text()
CODES = [line.split("`")[1] for line in TABLE.splitlines() if line.startswith("| `")]


def waiting(number: int, for_s: float = 10.0, why: str = "Bash") -> tuple[StalledItem, ...]:
    return tuple(StalledItem(instance_id=f"spec_0_0_{n}", for_s=for_s, why=why) for n in range(1, number + 1))


def to_one(number: int, for_s: float = 10.0, why: str = "") -> tuple[StalledItem, ...]:
    return (StalledItem(instance_id="spec_0_0_1", for_s=for_s, why=why),) * number


Case = tuple[str, dict[str, Any], int, str]
CASES: list[Case] = [
    ("decisions", {"asking": waiting(1)}, 5, "warning"),
    ("decisions", {"asking": waiting(2)}, 10, "warning"),
    ("decisions", {"asking": waiting(40), "alive": 50}, 20, "warning"),
    ("decisions", {"asking": waiting(1, 601)}, 5, "error"),
    ("decisions", {"asking": waiting(3)}, 30, "error"),
    ("rate-limits", {"limited": waiting(1)}, 5, "warning"),
    ("rate-limits", {"limited": waiting(40), "alive": 50}, 20, "warning"),
    ("rate-limits", {"limited": waiting(3)}, 30, "error"),
    ("instances-in-trouble", {"troubled": waiting(1, why="the last turn failed: API error")}, 5, "warning"),
    ("instances-in-trouble", {"troubled": waiting(40), "alive": 50}, 20, "warning"),
    ("instances-failed", {"statuses": {"failed": 1, "ready": 2}}, 5, "warning"),
    ("instances-failed", {"statuses": {"failed": 50}}, 20, "warning"),
    ("instances-silent", {"silent": 1}, 10, "warning"),
    ("instances-silent", {"silent": 3}, 20, "warning"),
    ("messages-held", {"held": to_one(9)}, 7, "warning"),
    ("messages-held", {"held": waiting(40), "alive": 50}, 20, "warning"),
    ("messages-held", {"held": to_one(1, 301)}, 7, "error"),
    ("messages-old", {"queued": to_one(1, 301)}, 5, "warning"),
    ("messages-old", {"queued": to_one(1, 901)}, 10, "warning"),
    ("messages-pile-up", {"queued": waiting(31)}, 5, "warning"),
    ("slow-messages", {"window": window(message=[1.0] * 9 + [900.0])}, 5, "warning"),
    ("slow-messages", {"window": window(message=[900.0] * 5)}, 10, "warning"),
    ("messages-lost", {"window": window({Count.MESSAGES_UNCONFIRMED: 1}, message=[1.0] * 9)}, 8, "warning"),
    ("messages-lost", {"window": window({Count.MESSAGES_FAILED: 9}, message=[1.0])}, 20, "error"),
    ("spawns-fail", {"window": window({Count.SPAWNS_FAILED: 1}, spawn=[1.0] * 9)}, 14, "warning"),
    ("spawns-fail", {"window": window({Count.SPAWNS_FAILED: 9}, spawn=[1.0])}, 30, "error"),
    ("spawns-queue", {"spawns": Queue(limit=5, running=5, waiting=11)}, 5, "warning"),
    ("spawns-queue", {"spawns": Queue(limit=5, running=5, waiting=40)}, 10, "warning"),
    ("starts-wait-for-memory", {"no_memory": "3 agents wait to be started until there is memory."}, 20, "error"),
    ("memory", {"hosts": (host(memory_available_bytes=2 * GB),)}, 15, "warning"),
    ("memory", {"hosts": (host(memory_available_bytes=GB // 2),)}, 30, "error"),
    ("cores", {"hosts": (host(load_1m=9.0),)}, 5, "warning"),
    ("cores", {"hosts": (host(load_1m=80.0),)}, 20, "error"),
    ("disk", {"hosts": (host(disk_available_bytes=2 * GB - 1),)}, 10, "warning"),
    ("disk", {"hosts": (host(disk_available_bytes=GB - 1),)}, 20, "error"),
    ("host-silent", {"unanswered": ("It does not answer.",)}, 30, "error"),
    ("store", {"store": StoreHealth(description="SQLite", warning="Redis is away.")}, 10, "warning"),
    ("records", {"unreadable": "2 records are damaged."}, 5, "warning"),
    ("slow-writes", {"window": window(store=[2.0] * 20)}, 5, "warning"),
    ("slow-calls", {"window": window(call=[2.0] * 20)}, 5, "warning"),
    ("git-queue", {"git": GitSnapshot(queue=Queue(limit=3, running=3, waiting=11))}, 5, "warning"),
    ("git-fails", {"window": window({Count.GIT_ANSWERED: 20, Count.GIT_FAILED: 6})}, 10, "warning"),
    (
        "small-cache",
        {"window": window({Count.CACHE_HITS: 5, Count.CACHE_MISSES: 50, Count.CACHE_EVICTIONS: 30})},
        2,
        "info",
    ),
    ("no-spares", {"window": window(spawn=[1.0] * 10)}, 0, "info"),
    ("small-batches", {"window": window({Count.PASTES: 60, Count.MESSAGES_PASTED: 70})}, 0, "info"),
]


@pytest.mark.parametrize(("code", "changes", "points", "severity"), CASES)
def test_a_line_of_the_table_costs_what_it_says(code: str, changes: dict[str, Any], points: int, severity: str) -> None:
    findings = judge(snapshot(**changes))
    assert [(one.code, one.points, one.severity) for one in findings] == [(code, points, severity)]
    assert score(findings) == 100 - points


def test_the_table_has_a_line_for_all_that_is_judged_and_no_other() -> None:
    assert sorted(CODES) == sorted({code for code, *_ in CASES})


def test_who_waits_for_a_decision_is_named_with_the_tool_and_how_long() -> None:
    longer = StalledItem(instance_id="spec_0_0_9", for_s=300, why="Write")
    finding = only(asking=(*waiting(4), longer), alive=9)
    assert finding.message == (
        "5 of 9 living instances wait for a decision, the longest for 5 min: spec_0_0_9 (Write), spec_0_0_1 (Bash), "
        "spec_0_0_2 (Bash), and 2 more."
    )


def test_what_holds_messages_back_is_told_once_for_each_instance() -> None:
    finding = only(held=to_one(9, 30, "the permission request for Bash waits"))
    assert finding.message == (
        "9 messages for 1 instance are held back, the longest for 30 s: "
        "spec_0_0_1 (the permission request for Bash waits)."
    )


def test_messages_that_a_busy_instance_takes_within_minutes_cost_nothing() -> None:
    assert judge(snapshot(queued=waiting(3, 299), pending=3, window=window(message=[200.0] * 20))) == []


def test_terminated_instances_and_a_load_that_the_cores_can_bear_cost_nothing() -> None:
    assert judge(snapshot(statuses={"ready": 3, "stopped": 20}, hosts=(host(busy=1.0, load_1m=8.0),))) == []


def test_a_team_in_which_everything_goes_wrong_has_no_points_and_every_reason() -> None:
    findings = judge(
        snapshot(
            asking=waiting(2),
            limited=waiting(1),
            held=to_one(9, 400),
            queued=to_one(500, 900),
            no_memory="1 agents wait.",
            statuses={"failed": 9},
            hosts=(host(load_1m=80, memory_available_bytes=0),),
        )
    )
    assert score(findings) == 0
    assert all(one.message and one.severity != "info" for one in findings)
    assert findings == sorted(findings, key=lambda one: -one.points)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (3600, "60 min"), (7200, "2 h")]
)
def test_durations_are_told_in_a_unit_that_shows_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_long_reason_is_told_on_one_line_and_cut() -> None:
    assert who(to_one(1, why="the last turn failed:\n" + "x" * 500)).count("x") < 120
