"""Each line of the table in docs/score.md, and what must cost nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.metrics.health import HealthFinding, duration, judge, score, who
from supervisor.metrics.metrics import Count
from supervisor.metrics.snapshot import GitSnapshot, Queue, StalledItem
from supervisor.store.base import StoreHealth
from tests.fakes.metrics import GB, host, snapshot, window

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


def found(**changes: Any) -> HealthFinding:
    (finding,) = judge(snapshot(**changes))
    return finding


def test_who_waits_for_a_decision_is_named_with_the_tool_and_how_long() -> None:
    longer = StalledItem(instance_id="spec_0_0_9", for_s=300, why="Write")
    finding = found(asking=(*waiting(4), longer), alive=9)
    assert finding.message == (
        "5 of 9 living instances wait for a decision, the longest for 5 min: spec_0_0_9 (Write), spec_0_0_1 (Bash), "
        "spec_0_0_2 (Bash), and 2 more."
    )


def test_what_holds_messages_back_is_told_once_for_each_instance() -> None:
    finding = found(held=to_one(9, 30, "the permission request for Bash waits"))
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
