"""A look at the team as callers see it; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from supervisor.api import results
from supervisor.metrics.health import Finding, score
from supervisor.metrics.metrics import Count, Histogram, Slot, Timing
from supervisor.metrics.snapshot import Facts, HostFacts, HostPool, Queue, Stock
from supervisor.settings.live import Tuning
from supervisor.team.views import iso

_MB = 1_000_000


def metrics(facts: Facts) -> results.Metrics:
    return results.Metrics(
        window_seconds=facts.window_s,
        instances=instances(facts),
        spawns=_spawns(facts.window),
        messages=_messages(facts),
        git=_git(facts.window),
        cache=_cache(facts),
        queues=queues(facts),
        pools=results.Pools(
            instances=_stock(facts.pools.instances),
            worktrees=_stock(facts.pools.worktrees),
            actors=_stock(facts.pools.actors),
        ),
        store=results.StoreFigures(
            mode=facts.store.description,
            warning=facts.store.warning or None,
            write=_latency(facts.window.timed(Timing.STORE)),
        ),
        calls=_latency(facts.window.timed(Timing.CALL)),
        hosts=[_host(host, facts.pools.hosts.get(host.load.host)) for host in facts.hosts],
    )


def performance(findings: Sequence[Finding]) -> results.Performance:
    return results.Performance(
        score=score(findings),
        lost=[results.LostPoints(points=one.points, reason=one.message) for one in findings if one.points],
        alerts=[alert(one) for one in findings if one.severity != "info"],
    )


def alert(finding: Finding) -> results.Alert:
    return results.Alert(
        severity=finding.severity, code=finding.code, category=finding.category, message=finding.message
    )


def recommendations(findings: Sequence[Finding]) -> list[results.Recommendation]:
    found = [(one, one.advice) for one in findings if one.advice is not None]
    return [results.Recommendation(category=one.category, **asdict(advice)) for one, advice in found]


def health(facts: Facts, findings: Sequence[Finding]) -> results.HealthReport:
    seen = performance(findings)
    return results.HealthReport(score=seen.score, alerts=seen.alerts, instances=instances(facts), queues=queues(facts))


def history_point(slot: Slot, seconds: float) -> results.HistoryPoint:
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


def tuned(tuning: Tuning) -> results.TunedSettings:
    return results.TunedSettings(**asdict(tuning))


def instances(facts: Facts) -> results.InstanceFigures:
    return results.InstanceFigures(
        total=sum(facts.statuses.values()), alive=facts.alive, by_status=dict(facts.statuses)
    )


def queues(facts: Facts) -> results.Queues:
    return results.Queues(spawn=_queue(facts.spawns), git=_queue(facts.git.queue))


def _queue(queue: Queue) -> results.QueueFigures:
    return results.QueueFigures(
        size=queue.running + queue.waiting, pending=queue.waiting, running=queue.running, limit=queue.limit
    )


def _spawns(window: Slot) -> results.SpawnFigures:
    started, failed = window.timed(Timing.SPAWN), window.counted(Count.SPAWNS_FAILED)
    return results.SpawnFigures(
        total=started.count + failed,
        failed=failed,
        from_pool=window.counted(Count.SPAWNS_FROM_POOL),
        avg_time=_ms(started.average_s),
        time=_latency(started),
        wait=_latency(window.timed(Timing.SPAWN_WAIT)),
    )


def _messages(facts: Facts) -> results.MessageFigures:
    window = facts.window
    delivered, pastes = window.timed(Timing.MESSAGE), window.counted(Count.PASTES)
    pasted = window.counted(Count.MESSAGES_PASTED)
    return results.MessageFigures(
        total=window.counted(Count.MESSAGES_ACCEPTED),
        delivered=delivered.count,
        failed=window.counted(Count.MESSAGES_FAILED),
        unconfirmed=window.counted(Count.MESSAGES_UNCONFIRMED),
        pending=facts.pending,
        turns=pastes,
        avg_batch_size=round(pasted / pastes, 2) if pastes else None,
        time=_latency(delivered),
    )


def _git(window: Slot) -> results.GitFigures:
    done = window.timed(Timing.GIT)
    return results.GitFigures(
        total=window.counted(Count.GIT_ANSWERED),
        failed=window.counted(Count.GIT_FAILED),
        retries=window.counted(Count.GIT_RETRIES),
        avg_time=_ms(done.average_s),
        time=_latency(done),
        wait=_latency(window.timed(Timing.GIT_WAIT)),
    )


def _cache(facts: Facts) -> results.CacheFigures:
    hits, misses = facts.window.counted(Count.CACHE_HITS), facts.window.counted(Count.CACHE_MISSES)
    return results.CacheFigures(
        size=facts.git.cached,
        limit=facts.tuning.cache_size,
        hits=hits,
        misses=misses,
        hit_rate=round(hits / (hits + misses), 3) if hits else 0.0,
    )


def _stock(stock: Stock) -> results.StockFigures:
    return results.StockFigures(ready=stock.ready, wanted=stock.wanted, waits_for=stock.waits_for or None)


def _host(host: HostFacts, pool: HostPool | None) -> results.HostFigures:
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
