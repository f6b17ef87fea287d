"""A team of two instances on one machine, as get_performance and optimize_settings show it."""

from __future__ import annotations

from dataclasses import replace

from actors.host.load import HostLoad
from supervisor.api import results
from supervisor.api import results as figures
from supervisor.metrics import views
from supervisor.metrics.health import HealthFinding
from supervisor.metrics.metrics import TimeBucket, Timing
from supervisor.metrics.snapshot import GitSnapshot, HostSnapshot, PoolSnapshot, Queue, TeamSnapshot
from supervisor.settings import Settings
from supervisor.settings.live import TunableValues
from supervisor.store.base import StoreHealth


def tuned(spawns: int = 5) -> figures.TunedSettings:
    return views.tuned(replace(TunableValues.of(Settings()), max_concurrent_spawns=spawns))


def performing(*findings: HealthFinding) -> results.GetPerformanceResult:
    """A team of two instances on one machine, with these findings."""
    load = HostLoad(
        host="desk",
        cpus=2,
        load_1m=0.5,
        cpu_busy_s=50,
        cpu_total_s=200,
        memory_total_bytes=24_000_000_000,
        memory_available_bytes=20_000_000_000,
        disk_available_bytes=90_000_000_000,
    )
    window = TimeBucket(0.0)
    window.observe(Timing.SPAWN, 1.5)
    facts = TeamSnapshot(
        window=window,
        window_s=300,
        statuses={"ready": 2},
        alive=2,
        silent=0,
        pending=0,
        spawns=Queue(limit=5),
        git=GitSnapshot(),
        pools=PoolSnapshot(),
        hosts=(HostSnapshot(load=load, busy=0.25, instances=2),),
        store=StoreHealth(description="SQLite"),
        unreadable="",
        tuning=TunableValues.of(Settings()),
    )
    metrics = views.metrics(facts)
    return results.GetPerformanceResult(
        metrics=metrics,
        performance=views.performance(findings),
        recommendations=views.recommendations(findings),
        queues=metrics.queues,
        messages=metrics.messages,
        settings=tuned(),
        auto=[results.AutoStep(at="2026-11-01T10:00:00.000+00:00", before=5, after=6, reason="12 spawns wait")],
        history=[views.history_point(window, 10)],
    )
