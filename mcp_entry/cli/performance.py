"""The commands that measure the team and tune it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, cast

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcp_entry import performance_texts as texts
from mcp_entry.cli.session import HomeOption, JsonOption, session
from mcp_entry.cli.terminal_text import plain
from supervisor.api import results
from supervisor.api import results as figures

_ENOUGH = 80
"""A score from which on all is well, as the guide has it."""


class Profile(StrEnum):
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"
    VERY_LARGE = "very-large"


def perf(
    context: typer.Context,
    *,
    window: Annotated[float, typer.Option(metavar="SECONDS", help="How far back.")] = 300.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how the team performs and what would help."""
    with session(context, home, as_json) as team:
        result = cast("results.GetPerformanceResult", team.ask("get_performance", {"windowSeconds": window}, "looking"))
        team.output.show(result.model_dump(mode="json", by_alias=True), Group(*_of_performance(result)))


def tune(
    context: typer.Context,
    *,
    profile: Annotated[Profile | None, typer.Option(help="For up to 10, 50, 100, and for more instances.")] = None,
    spawns: Annotated[int | None, typer.Option(help="Most instances that start at the same time.")] = None,
    git_ops: Annotated[int | None, typer.Option(help="Most git operations at the same time.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Most messages in one turn.")] = None,
    batch_delay: Annotated[float | None, typer.Option(metavar="MS", help="Wait of a message for others.")] = None,
    cache_size: Annotated[int | None, typer.Option(help="Most answers of git that are kept.")] = None,
    cache_ttl: Annotated[float | None, typer.Option(metavar="MS", help="How long one is kept at most.")] = None,
    worktrees: Annotated[int | None, typer.Option(help="Spare worktrees for each repository.")] = None,
    prewarm: Annotated[int | None, typer.Option(help="Spare agents at their prompt.")] = None,
    auto: Annotated[bool | None, typer.Option("--auto/--no-auto", help="Let the spawn cap tune itself.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take back all that was changed; then the rest.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change settings of the running team; they are kept. Without options show them."""
    with session(context, home, as_json) as team:
        arguments = {
            "profile": profile,
            "maxConcurrentSpawns": spawns,
            "maxConcurrentGitOps": git_ops,
            "messageBatchSize": batch_size,
            "messageBatchDelay": batch_delay,
            "cacheSize": cache_size,
            "cacheTTL": cache_ttl,
            "worktreePoolSize": worktrees,
            "prewarmInstances": prewarm,
            "auto": auto,
            "reset": reset,
        }
        result = cast("results.OptimizeSettingsResult", team.ask("optimize_settings", arguments, "tuning"))
        team.output.show(result.model_dump(mode="json", by_alias=True), _of_settings(result))


def _of_performance(result: results.GetPerformanceResult) -> Iterator[RenderableType]:
    score, metrics = result.performance.score, result.metrics
    yield Text(f"Score {score} of 100", "bold green" if score >= _ENOUGH else "bold yellow")
    for lost in result.performance.lost:
        yield plain(f"  -{lost.points}: {lost.reason}", "yellow")
    for one in result.recommendations:
        yield plain(f"  {one.suggestion} {one.impact}")
    yield Text("")
    yield _times(metrics)
    yield Text("")
    yield _queues(metrics)
    yield Text("")
    yield plain(f"instances: {metrics.instances.alive} alive of {metrics.instances.total}")
    yield plain(f"state: {metrics.store.mode}")
    for host in metrics.hosts:
        yield plain(f"host {texts.of_host(host).removeprefix('- ')}")
    for step in result.auto:
        yield plain(f"{step.at} spawn cap {step.before} → {step.after}: {step.reason}", "dim")


def _times(metrics: figures.Metrics) -> Table:
    table = _table(f"LAST {metrics.window_seconds:.0f} S", "DONE", "FAILED", "HALF WITHIN", "95 % WITHIN", "LONGEST")
    failures = {"spawns": metrics.spawns.failed, "messages": metrics.messages.failed + metrics.messages.unconfirmed}
    rows = {
        "spawns": metrics.spawns.time,
        "messages": metrics.messages.time,
        "git operations": metrics.git.time,
        "calls": metrics.calls,
        "writes of the state": metrics.store.write,
    }
    failures["git operations"] = metrics.git.failed
    for name, time in rows.items():
        shown = [texts.seconds(ms) if time.count else "" for ms in (time.p50, time.p95, time.max)]
        table.add_row(name, str(time.count), str(failures.get(name, "")), *shown)
    return table


def _queues(metrics: figures.Metrics) -> Group:
    table = _table("QUEUE OR POOL", "RUNNING OR READY", "WAITING", "LIMIT OR WANTED")
    for name, queue in (("spawns", metrics.queues.spawn), ("git operations", metrics.queues.git)):
        table.add_row(name, str(queue.running), str(queue.pending), str(queue.limit))
    pools = metrics.pools
    stocks = (("spare agents", pools.instances), ("spare worktrees", pools.worktrees), ("spare actors", pools.actors))
    for name, stock in stocks:
        table.add_row(name, str(stock.ready), "", str(stock.wanted))
    waits = [plain(f"{name} wait for {stock.waits_for}", "dim") for name, stock in stocks if stock.waits_for]
    return Group(table, *waits)


def _of_settings(result: results.OptimizeSettingsResult) -> RenderableType:
    old, new = (each.model_dump(by_alias=True) for each in (result.old_settings, result.new_settings))
    if old == new:
        table = _table("SETTING", "NOW")
        for name, value in new.items():
            table.add_row(name, texts.in_words(name, value))
        return table
    table = _table("SETTING", "BEFORE", "NOW")
    for name, value in new.items():
        style = "bold" if value != old[name] else ""
        table.add_row(name, texts.in_words(name, old[name]), texts.in_words(name, value), style=style)
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
