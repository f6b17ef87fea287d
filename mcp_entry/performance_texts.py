"""How the team performs, in a few words; see ``texts``."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.api import results
from supervisor.api import results as figures

_SPARES = {"instances": "spare agents", "worktrees": "spare worktrees", "actors": "spare actors"}
_UNITS = {"messageBatchDelay": " ms", "cacheTTL": " ms"}


def of_get_performance(result: results.GetPerformanceResult) -> str:
    return "\n".join(
        [
            f"Score {result.performance.score} of 100.",
            *(f"-{lost.points}: {lost.reason}" for lost in result.performance.lost),
            *(f"Recommended ({one.priority}): {one.suggestion} {one.impact}" for one in result.recommendations),
            *_figures(result.metrics),
            *(
                f"{step.at}: spawn cap {step.before} → {step.after}, because {step.reason}."
                for step in result.auto[-3:]
            ),
        ]
    )


def _figures(metrics: figures.Metrics) -> Iterator[str]:
    spawns, messages, queues = metrics.spawns, metrics.messages, metrics.queues
    yield f"In the last {metrics.window_seconds:.0f} s, of {metrics.instances.alive} living instances:"
    yield (
        f"- spawns: {spawns.total} ({spawns.failed} failed, {spawns.from_pool} from the pool), "
        f"{seconds(spawns.avg_time)} each; {queues.spawn.running} run, {queues.spawn.pending} wait "
        f"(cap {queues.spawn.limit})"
    )
    yield (
        f"- messages: {messages.delivered} delivered in {messages.turns} turns, {messages.failed} failed, "
        f"{messages.unconfirmed} unconfirmed; half within {seconds(messages.time.p50)}, {messages.pending} under way"
    )
    yield (
        f"- git: {metrics.git.total} operations, {seconds(metrics.git.avg_time)} each; {queues.git.pending} wait; "
        f"cache: {metrics.cache.hits} of {metrics.cache.hits + metrics.cache.misses} found"
    )
    yield f"- state: {metrics.store.mode}, a write takes {seconds(metrics.store.write.avg)}"
    yield from _waiting_spares(metrics.pools)
    yield from (of_host(host) for host in metrics.hosts)


def _waiting_spares(pools: figures.Pools) -> Iterator[str]:
    for name, stock in (("spare agents", pools.instances), ("spare worktrees", pools.worktrees)):
        if stock.waits_for:
            yield f"- {stock.ready} of {stock.wanted} {name} are ready; the others wait for {stock.waits_for}"


def of_host(host: figures.HostFigures) -> str:
    of_slots = "" if host.slots is None else f" of {host.slots}"
    return (
        f"- {host.host}: {host.instances}{of_slots} instances{_of_spares(host)}, {host.cpus} cores "
        f"{host.cpu_busy:.0%} busy, {host.memory_available_mb / 1000:.1f} of {host.memory_total_mb / 1000:.1f} GB of "
        "memory free"
    )


def _of_spares(host: figures.HostFigures) -> str:
    ready = [f"{count} {_SPARES[kind]}" for kind, count in (host.spares or {}).items() if count]
    return f" ({', '.join(ready)} ready)" if ready else ""


def of_optimize_settings(result: results.OptimizeSettingsResult) -> str:
    changes = list(changed(result))
    if not changes:
        return "Nothing has changed: these settings apply already."
    return "\n".join(["It applies now, and for the next team too:", *changes])


def changed(result: results.OptimizeSettingsResult) -> Iterator[str]:
    old, new = (each.model_dump(by_alias=True) for each in (result.old_settings, result.new_settings))
    for name, value in new.items():
        if value != old[name]:
            yield f"- {name}: {in_words(name, old[name])} → {in_words(name, value)}"


def in_words(name: str, value: float | bool) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}{_UNITS.get(name, '')}"


def seconds(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"
