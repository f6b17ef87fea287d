"""Whether the machines have room for what the team does."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.performance.facts import Facts, HostFacts
from supervisor.performance.findings import Advice, Finding, Rule

BUSY = 0.95
CROWDED = 4.0
OVERRUN = 10.0
"""So many processes a core want to run, on average over a minute."""
_GB = 1e9
_LITTLE_MEMORY = (0.10, 1.0 * _GB)
_HARDLY_ANY_MEMORY = (0.05, 0.5 * _GB)
_LITTLE_DISK = 2.0 * _GB
_HARDLY_ANY_DISK = 1.0 * _GB


def is_short_of_memory(host: HostFacts) -> bool:
    return _has_less_than(host, _LITTLE_MEMORY)


def _has_less_than(host: HostFacts, bounds: tuple[float, float]) -> bool:
    part, least = bounds
    return host.load.memory_available_bytes < max(part * host.load.memory_total_bytes, least)


def _unanswered(facts: Facts) -> Iterator[Finding]:
    for reason in facts.unanswered:
        yield Finding(
            code="host-silent",
            category="machine",
            severity="error",
            points=30,
            message=f"A host cannot be asked how it is: {reason}",
        )


def _memory(facts: Facts) -> Iterator[Finding]:
    for host in filter(is_short_of_memory, facts.hosts):
        free, total = host.load.memory_available_bytes / _GB, host.load.memory_total_bytes / _GB
        hardly_any = _has_less_than(host, _HARDLY_ANY_MEMORY)
        yield Finding(
            code="memory",
            category="machine",
            severity="error" if hardly_any else "warning",
            points=30 if hardly_any else 15,
            message=f"{host.load.host} has {free:.1f} GB of {total:.1f} GB of memory left.",
            advice=_less_memory(facts),
        )


def _less_memory(facts: Facts) -> Advice:
    impact = "Below a reserve no further agent is started; without any memory the system ends programs."
    if facts.tuning.prewarm_instances:
        return Advice(
            suggestion="Set prewarmInstances to 0: spare agents hold memory.",
            impact=impact,
            priority="high",
            setting="prewarmInstances",
            value=0,
        )
    return Advice(suggestion="Terminate instances whose work is done.", impact=impact, priority="high")


def _cores(facts: Facts) -> Iterator[Finding]:
    for host in facts.hosts:
        each = host.load.load_1m / host.load.cpus
        if each <= CROWDED:
            continue
        overrun = each > OVERRUN
        yield Finding(
            code="cores",
            category="machine",
            severity="error" if overrun else "warning",
            points=20 if overrun else 5,
            message=f"{host.load.load_1m:.0f} processes want the {host.load.cpus} cores of {host.load.host} (over the "
            f"last minute, {each:.0f} a core).",
            advice=_less_work(facts),
        )


def _less_work(facts: Facts) -> Advice:
    starts = facts.spawns.running or facts.spawns.waiting
    cap = max(1, facts.spawns.limit // 2)
    if starts and cap < facts.spawns.limit and not facts.tuning.auto:
        return Advice(
            suggestion=f"Lower maxConcurrentSpawns to {cap}.",
            impact="Each start is done sooner, and those who work are not held up.",
            setting="maxConcurrentSpawns",
            value=cap,
        )
    return Advice(
        suggestion="Let fewer instances work at the same time, or see what else runs there.",
        impact="All that runs there takes as many times as long.",
    )


def _disk(facts: Facts) -> Iterator[Finding]:
    for host in facts.hosts:
        free = host.load.disk_available_bytes
        if free >= _LITTLE_DISK:
            continue
        hardly_any = free < _HARDLY_ANY_DISK
        yield Finding(
            code="disk",
            category="machine",
            severity="error" if hardly_any else "warning",
            points=20 if hardly_any else 10,
            message=f"{free / _GB:.1f} GB are free on the home's disk of {host.load.host}.",
            advice=Advice(
                suggestion="Free disk space; `phalanx gc` clears away what terminated instances left.",
                impact="Worktrees and the team's state need room.",
                priority="high",
            ),
        )


machine_rules: tuple[Rule, ...] = (_unanswered, _memory, _cores, _disk)
