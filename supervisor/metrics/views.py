"""Shows a snapshot of the team and its findings as the results that callers get; pure.

``MetricsService``, ``AlertLoop`` and ``SettingsService`` call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import get_args

from supervisor.api import results
from supervisor.api.results import iso
from supervisor.metrics.health import HealthFinding, Priority, score
from supervisor.metrics.metrics import Count, Histogram, TimeBucket, Timing
from supervisor.metrics.snapshot import HostPool, HostSnapshot, Queue, SpareCount, TeamSnapshot
from supervisor.settings.live import TunableValues

_MB = 1_000_000
_URGENCY = get_args(Priority)


def metrics(snapshot: TeamSnapshot) -> results.Metrics:
    return results.Metrics(
        window_seconds=snapshot.window_s,
        instances=instances(snapshot),
        spawns=_spawns(snapshot.window),
        messages=_messages(snapshot),
        git=_git(snapshot.window),
        cache=_cache(snapshot),
        queues=queues(snapshot),
        pools=results.Pools(
            instances=_stock(snapshot.pools.instances),
            worktrees=_stock(snapshot.pools.worktrees),
        ),
        store=results.StoreFigures(
            mode=snapshot.store.description,
            warning=snapshot.store.warning or None,
            write=_latency(snapshot.window.timed(Timing.STORE)),
        ),
        calls=_latency(snapshot.window.timed(Timing.CALL)),
        hosts=[_host(host, snapshot.pools.hosts.get(host.load.host)) for host in snapshot.hosts],
    )


def performance(findings: Sequence[HealthFinding]) -> results.Performance:
    return results.Performance(
        score=score(findings),
        lost=[results.LostPoints(points=one.points, reason=one.message) for one in findings if one.points],
        alerts=[alert(one) for one in findings if one.severity != "info"],
    )


def alert(finding: HealthFinding) -> results.Alert:
    return results.Alert(
        severity=finding.severity, code=finding.code, category=finding.category, message=finding.message
    )


def recommendations(findings: Sequence[HealthFinding]) -> list[results.Recommendation]:
    """The most urgent first."""
    found = [(one, one.advice) for one in findings if one.advice is not None]
    found.sort(key=lambda pair: _URGENCY.index(pair[1].priority))
    return [results.Recommendation(category=one.category, **asdict(advice)) for one, advice in found]


def health(snapshot: TeamSnapshot, findings: Sequence[HealthFinding]) -> results.HealthReport:
    seen = performance(findings)
    return results.HealthReport(
        score=seen.score, alerts=seen.alerts, instances=instances(snapshot), queues=queues(snapshot)
    )


def history_point(slot: TimeBucket, seconds: float) -> results.HistoryPoint:
    spawned, sent = slot.timed(Timing.SPAWN), slot.timed(Timing.MESSAGE)
    return results.HistoryPoint(
        at=iso(slot.start),
        seconds=seconds,
        spawns=spawned.count,
        spawns_failed=slot.counted(Count.SPAWNS_FAILED),
        avg_spawn_time=_ms(spawned.average_s),
        messages=sent.count,
        avg_message_time=_ms(sent.average_s),
        git_ops=slot.timed(Timing.GIT).count,
        cache_hits=slot.counted(Count.CACHE_HITS),
    )


def tuned(tuning: TunableValues) -> results.TunedSettings:
    return results.TunedSettings(**asdict(tuning))


def instances(snapshot: TeamSnapshot) -> results.InstanceFigures:
    return results.InstanceFigures(
        total=sum(snapshot.statuses.values()), alive=snapshot.alive, by_status=dict(snapshot.statuses)
    )


def queues(snapshot: TeamSnapshot) -> results.Queues:
    return results.Queues(spawn=_queue(snapshot.spawns), git=_queue(snapshot.git.queue))


def _queue(queue: Queue) -> results.QueueFigures:
    return results.QueueFigures(
        size=queue.running + queue.waiting, pending=queue.waiting, running=queue.running, limit=queue.limit
    )


def _spawns(window: TimeBucket) -> results.SpawnFigures:
    started, failed = window.timed(Timing.SPAWN), window.counted(Count.SPAWNS_FAILED)
    return results.SpawnFigures(
        total=started.count + failed,
        failed=failed,
        from_pool=window.counted(Count.SPAWNS_FROM_POOL),
        avg_time=_ms(started.average_s),
        time=_latency(started),
        wait=_latency(window.timed(Timing.SPAWN_WAIT)),
    )


def _messages(snapshot: TeamSnapshot) -> results.MessageFigures:
    window = snapshot.window
    delivered, pastes = window.timed(Timing.MESSAGE), window.counted(Count.PASTES)
    pasted = window.counted(Count.MESSAGES_PASTED)
    return results.MessageFigures(
        total=window.counted(Count.MESSAGES_ACCEPTED),
        delivered=delivered.count,
        failed=window.counted(Count.MESSAGES_FAILED),
        unconfirmed=window.counted(Count.MESSAGES_UNCONFIRMED),
        pending=snapshot.pending,
        turns=pastes,
        avg_batch_size=round(pasted / pastes, 2) if pastes else None,
        time=_latency(delivered),
    )


def _git(window: TimeBucket) -> results.GitFigures:
    done = window.timed(Timing.GIT)
    return results.GitFigures(
        total=window.counted(Count.GIT_ANSWERED),
        failed=window.counted(Count.GIT_FAILED),
        retries=window.counted(Count.GIT_RETRIES),
        avg_time=_ms(done.average_s),
        time=_latency(done),
        wait=_latency(window.timed(Timing.GIT_WAIT)),
    )


def _cache(snapshot: TeamSnapshot) -> results.CacheFigures:
    hits, misses = snapshot.window.counted(Count.CACHE_HITS), snapshot.window.counted(Count.CACHE_MISSES)
    return results.CacheFigures(
        size=snapshot.git.cached,
        limit=snapshot.tuning.cache_size,
        hits=hits,
        misses=misses,
        hit_rate=round(hits / (hits + misses), 3) if hits else 0.0,
    )


def _stock(stock: SpareCount) -> results.StockFigures:
    return results.StockFigures(ready=stock.ready, wanted=stock.wanted, waits_for=stock.waits_for or None)


def _host(host: HostSnapshot, pool: HostPool | None) -> results.HostFigures:
    load = host.load
    return results.HostFigures(
        host=load.host,
        instances=host.instances,
        slots=host.slots,
        spares=asdict(pool) if pool is not None else None,
        cpus=load.cpus,
        cpu_busy=round(host.busy, 3),
        load=load.load_1m,
        memory_total_mb=load.memory_total_bytes // _MB,
        memory_available_mb=load.memory_available_bytes // _MB,
        disk_available_mb=load.disk_available_bytes // _MB,
    )


def _latency(histogram: Histogram) -> results.Latency:
    return results.Latency(
        count=histogram.count,
        avg=_ms(histogram.average_s),
        p50=_ms(histogram.percentile_s(0.5)),
        p95=_ms(histogram.percentile_s(0.95)),
        p99=_ms(histogram.percentile_s(0.99)),
        max=_ms(histogram.longest_s),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
