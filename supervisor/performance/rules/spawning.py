"""Whether instances start as fast as they could, and whether they start at all."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.performance.facts import Facts
from supervisor.performance.findings import Advice, Finding, Rule
from supervisor.performance.names import Count, Timing
from supervisor.performance.rules.machine import BUSY, is_short_of_memory

LONG_QUEUE = 10
"""As the guide has it."""
HIGHEST_CAP = 100
_MANY = 10
_LARGE_TEAM = 50


def _failures(facts: Facts) -> Iterator[Finding]:
    failed = facts.window.counted(Count.SPAWNS_FAILED)
    if not failed:
        return
    started = facts.window.timed(Timing.SPAWN).count
    part = failed / (failed + started)
    yield Finding(
        code="spawns-fail",
        category="spawning",
        severity="error" if part > 0.5 else "warning",
        points=min(30, 10 + round(40 * part)),
        message=f"{failed} of {failed + started} spawns failed.",
        advice=Advice(
            suggestion="Read the errors of the failed spawns; `phalanx doctor` says what is missing.",
            impact="Instances that do not start do no work.",
            priority="high",
        ),
    )


def _queue(facts: Facts) -> Iterator[Finding]:
    queue = facts.spawns
    if queue.waiting <= LONG_QUEUE:
        return
    room = not any(map(is_short_of_memory, facts.hosts)) and any(host.busy < BUSY for host in facts.hosts)
    yield Finding(
        code="spawns-queue",
        category="spawning",
        severity="warning",
        points=5 if queue.waiting <= 2 * queue.limit + LONG_QUEUE else 10,
        message=f"{queue.waiting} spawns wait while {queue.running} run (cap {queue.limit}).",
        advice=_more_spawns(facts) if room and not facts.tuning.auto else None,
    )


def _more_spawns(facts: Facts) -> Advice | None:
    cap = min(HIGHEST_CAP, 2 * facts.spawns.limit)
    if cap == facts.spawns.limit:
        return None
    return Advice(
        suggestion=f"Raise maxConcurrentSpawns to {cap}: cores and memory are free.",
        impact="More instances start at the same time.",
        priority="high",
        setting="maxConcurrentSpawns",
        value=cap,
    )


def _no_spares(facts: Facts) -> Iterator[Finding]:
    started = facts.window.timed(Timing.SPAWN).count
    from_pool = facts.window.counted(Count.SPAWNS_FROM_POOL)
    if started < _MANY or from_pool or facts.pools.instances.wanted or any(map(is_short_of_memory, facts.hosts)):
        return
    spares = 20 if facts.alive >= _LARGE_TEAM else 5
    yield Finding(
        code="no-spares",
        category="spawning",
        severity="info",
        points=0,
        message=f"{started} instances were started and none of them came from the pool.",
        advice=Advice(
            suggestion=f"Set prewarmInstances to {spares}, if more of them are going to be started.",
            impact="Agents that wait at their prompt are taken at once.",
            priority="low",
            setting="prewarmInstances",
            value=spares,
        ),
    )


def _no_memory(facts: Facts) -> Iterator[Finding]:
    if not facts.no_memory:
        return
    yield Finding(
        code="starts-wait-for-memory",
        category="spawning",
        severity="error",
        points=20,
        message=facts.no_memory,
        advice=Advice(
            suggestion="Terminate instances whose work is done.",
            impact="A start that finds no memory for long fails.",
            priority="high",
        ),
    )


spawning_rules: tuple[Rule, ...] = (_failures, _queue, _no_memory, _no_spares)
