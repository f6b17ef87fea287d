"""What Prometheus scrapes, read back by the parser of its own client library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from actors.agents.base import TokenUse
from actors.instance.reports import InstanceSnapshot, Report
from actors.messages import Message, MessageStatus
from supervisor.metrics.exposition import SupervisorInfo, exposition
from supervisor.metrics.health import HealthFinding
from supervisor.metrics.metrics import Count, MetricsRecorder, Timing
from supervisor.metrics.snapshot import PoolSnapshot, Queue, SpareCount, TeamSnapshot
from supervisor.metrics.token_meter import TokenMeter
from supervisor.metrics.totals import BOUNDS_S
from supervisor.team.team import Team
from tests.fakes.metrics import host, snapshot
from tests.fakes.store import MemoryStore
from tests.fakes.team import accept, add_member, receipt

ROOT = Path(__file__).resolve().parents[4]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(
    recorder: MetricsRecorder, now: TeamSnapshot | None = None, findings: Iterable[HealthFinding] = ()
) -> Samples:
    text = exposition(SupervisorInfo("1.2", 1000.0), recorder.totals, now or snapshot(), list(findings))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"phalanx_{name}", frozenset(labels.items())]


def names() -> set[str]:
    """Of all metrics, without the endings of their samples."""
    text = exposition(SupervisorInfo("1", 1.0), MetricsRecorder().totals, snapshot(), [])
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}


def a_message() -> Message:
    return Message(id="m", instance_id="spec_0_0_1", sender="lead", text="go", immediate=False, accepted_at=1.0)


def test_durations_are_counted_up_to_each_bound_and_beyond_all_of_them() -> None:
    recorder = MetricsRecorder()
    for seconds in (0.2, 0.25, 0.3, 1000.0):
        recorder.observe(Timing.SPAWN, seconds)
    samples = scraped(recorder)
    assert of(samples, "spawn_seconds_bucket", le="0.1") == 0
    assert of(samples, "spawn_seconds_bucket", le="0.25") == 2
    assert of(samples, "spawn_seconds_bucket", le="0.5") == 3
    assert of(samples, "spawn_seconds_bucket", le=str(BOUNDS_S[-1])) == 3
    assert of(samples, "spawn_seconds_bucket", le="+Inf") == 4
    assert (of(samples, "spawn_seconds_count"), of(samples, "spawn_seconds_sum")) == (4, 1000.75)


def test_a_sum_never_goes_down_when_what_counted_as_lost_arrives() -> None:
    recorder = MetricsRecorder()
    message = a_message()
    doubted = receipt(message, MessageStatus.UNCONFIRMED)
    recorder.receipt(message, doubted)
    before = scraped(recorder)
    recorder.proved_late(doubted, receipt(message), accepted_at=1.0)
    after = scraped(recorder)
    assert of(after, "messages_total", status="submitted") == 1
    assert of(after, "messages_total", status="unconfirmed") == 1
    assert all(value >= before[key] for key, value in after.items())


def test_a_message_to_an_instance_that_is_being_ended_is_withdrawn_and_not_failed() -> None:
    recorder = MetricsRecorder()
    message = a_message()
    recorder.receipt(message, receipt(message, MessageStatus.FAILED), meant=True)
    samples = scraped(recorder)
    assert of(samples, "messages_total", status="withdrawn") == 1
    assert of(samples, "messages_total", status="failed") == 0


def test_git_operations_are_counted_by_type_and_outcome_and_each_type_is_there_from_the_start() -> None:
    recorder = MetricsRecorder()
    recorder.git_answered("merge", failed=True)
    samples = scraped(recorder)
    assert of(samples, "git_operations_total", type="merge", outcome="failed") == 1
    assert of(samples, "git_operations_total", type="log", outcome="done") == 0


def test_what_is_now_is_shown_with_roles_hosts_pools_queues_and_alerts() -> None:
    now = snapshot(
        roles={("busy", "manager"): 2},
        needing=1,
        spawns=Queue(limit=5, running=2, waiting=7),
        pools=PoolSnapshot(worktrees=SpareCount(ready=3, wanted=4)),
        hosts=(replace(host(instances=9), slots=12),),
    )
    alert = HealthFinding(code="memory", category="machine", severity="error", points=30, message="It is full.")
    hint = HealthFinding(code="no-spares", category="spawning", severity="info", points=0, message="None.")
    samples = scraped(MetricsRecorder(), now, [alert, hint])
    name = now.hosts[0].load.host
    assert of(samples, "instances", status="busy", role="manager") == 2
    assert of(samples, "instances", status="busy", role="executive") == 0
    assert of(samples, "instances_needing_attention") == 1
    assert of(samples, "queue_waiting", queue="spawn") == 7
    assert of(samples, "pool_wanted", pool="worktrees") == 4
    assert (of(samples, "host_instances", host=name), of(samples, "host_slots", host=name)) == (9, 12)
    assert of(samples, "score") == 70
    assert [key for key in samples if key[0] == "phalanx_alert"] == [
        ("phalanx_alert", frozenset({("code", "memory"), ("category", "machine"), ("severity", "error")}))
    ]


def test_no_label_tells_an_instance_apart() -> None:
    labels = {label for _, labels in scraped(MetricsRecorder()) for label, _ in labels}
    assert labels <= {"version", "status", "outcome", "type", "result", "kind", "le", "role", "queue", "pool", "host"}


def used(tokens: int) -> InstanceSnapshot:
    return InstanceSnapshot(tokens=TokenUse(input_tokens=tokens, output_tokens=1))


async def test_tokens_count_from_the_first_report_of_an_older_instance_and_never_twice() -> None:
    team = Team(MemoryStore())
    TokenMeter(team)
    old = await add_member(team, 1, created_at=1.0)
    new = await add_member(team, 2, created_at=2e12)
    for member, tokens in ((old, 500), (old, 600), (new, 30), (new, 10), (new, 40)):
        report = Report(incarnation="a", sequence=1, snapshot=used(tokens), receipts=())
        await team.take_in(member.record.instance_id, report)
    samples = scraped(team.recorder)
    assert of(samples, "tokens_total", kind="input") == 100 + 40
    assert of(samples, "tokens_total", kind="output") == 1
    await team.outbox.stop()
    await team.events.stop()


async def test_messages_accepted_are_those_that_were_sent() -> None:
    recorder = MetricsRecorder()
    team = Team(MemoryStore(), recorder=recorder)
    await add_member(team, 1)
    await accept(team, "a", "b")
    assert of(scraped(recorder), "messages_accepted_total") == 2
    await team.outbox.stop()
    await team.events.stop()


def test_the_documentation_tells_every_metric_and_no_other() -> None:
    rows = re.findall(r"^\| (`phalanx_.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(names())


def queries() -> list[str]:
    """All of the dashboard."""
    dashboard = json.loads((ROOT / "docs/grafana.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_query_of_the_dashboard_asks_for_metrics_that_there_are() -> None:
    known = {name for name, _ in scraped(MetricsRecorder())} | names()
    for query in queries():
        asked = set(re.findall(r"phalanx_\w+", query))
        assert asked
        assert asked <= known


def test_everything_that_is_counted_can_be_scraped() -> None:
    assert {name for name in Count if recorded(name)} == set(Count)


def recorded(name: Count) -> bool:
    """Whether one more of this changes something that is scraped."""
    before, recorder = scraped(MetricsRecorder()), MetricsRecorder()
    if name in (Count.GIT_ANSWERED, Count.GIT_FAILED):
        recorder.git_answered("log", failed=name is Count.GIT_FAILED)
    elif name in (Count.MESSAGES_FAILED, Count.MESSAGES_UNCONFIRMED):
        recorder.totals.messages[name.removeprefix("messages_")] += 1
    else:
        recorder.count(name)
    return scraped(recorder) != before
