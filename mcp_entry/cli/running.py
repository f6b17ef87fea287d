"""The commands for the whole of a team that runs: state, hosts, git, spares, performance and settings.

As in ``instances``, parameters fill the fields of the request that have their names.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actors.agents.names import AgentName
from actors.errors import (
    InvalidRequestError,
    TeamNotRunningError,
)
from actors.home import leader_of
from mcp_entry import texts
from mcp_entry.cli import views
from mcp_entry.cli.instances import McpServersOption, named_servers
from mcp_entry.cli.output import plain, table
from mcp_entry.cli.session import CliSession
from supervisor.api import results
from supervisor.api.requests import PermissionMode, Profile, Role
from supervisor.api.verbs import TeamVerbs

_LONGEST_INPUT_BYTES = 64_000_000
_GOOD_SCORE = 80
"""The guide calls a score from here on good."""


def status(team: CliSession) -> None:
    """Show how the team is. Exits with 1 when none runs."""
    result = _status(team)
    team.show(result, views.of_status(result))


def _status(team: CliSession) -> results.StatusResult:
    try:
        return team.ask(TeamVerbs.status, "looking")
    except TeamNotRunningError:
        state = team.context.runtime(team.home, None).state()
        if state.kind == "stopped" and team.home.state_file.exists():
            raise TeamNotRunningError(
                f"No team runs in {team.home.root}. What it knew is kept there in {team.home.state_file.name}, its "
                f"worktrees in {team.home.worktrees}. `phalanx up` begins again with its instances as they were; "
                "`phalanx up --resume` also starts those again, with their conversations, whose agents have ended."
            ) from None
        if state.kind == "stopped" or leader_of(team.home):
            raise
        missing = " and ".join(state.missing) or "the supervisor"
        raise TeamNotRunningError(
            f"The team in {team.home.root} is only partly there, {missing} does not answer. "
            "`phalanx up` brings it back, `phalanx down` ends the rest."
        ) from None


def gc(
    team: CliSession,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Clear away what terminated instances have left behind. Work that is nowhere else is saved first."""
    team.ask_and_show(TeamVerbs.gc, "looking" if dry_run else "clearing", views.of_gc)


def hosts(team: CliSession) -> None:
    """Show the machines of the team."""
    team.ask_and_show(TeamVerbs.hosts, "asking Ray for its hosts", _hosts_table)


def _hosts_table(result: results.HostsResult) -> RenderableType:
    shown = Table("host", "address", "status", "instances", "slots", "labels", box=None, header_style="bold")
    for each in result.hosts:
        name = f"{each.host} (supervisor)" if each.supervisor else each.host
        labels = ", ".join(f"{key}={value}" for key, value in sorted(each.labels.items()))
        style = {"up": "", "drained": "yellow", "away": "red"}[each.status]
        words = (name, each.address, each.status, str(each.instances), str(each.slots), labels)
        shown.add_row(*map(plain, words), style=style)
    return shown


def drain(
    team: CliSession,
    host: Annotated[str, typer.Argument(metavar="HOST", help="As `phalanx hosts` lists it.")],
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Place instances there again.")] = False,
    wait: Annotated[bool, typer.Option(help="Return when all are handed over. They are in any case.")] = True,
    timeout_seconds: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Wait no longer; default: 600.")
    ] = None,
) -> None:
    """Place nothing new on a machine and empty it.

    Those that are there are handed over to others, each when its turn is done.
    """
    team.ask_and_show(TeamVerbs.drain, "handing over", _drain_words)


def _drain_words(result: results.DrainResult) -> RenderableType:
    if not result.drained:
        return Text(f"{result.host} takes instances again.")
    left = [plain(f"  {each.instance_id} {each.why}") for each in result.remaining]
    end = "Still there; who can be handed over will be:" if left else "Nothing of the team is there any more."
    return Group(Text(f"{result.host} takes no new instances. {end}"), *left)


def git(
    team: CliSession,
    file: Annotated[
        Path | None, typer.Option("--file", help="Read the operations from this file instead of stdin.")
    ] = None,
) -> int:
    """Run many git operations, given as JSON.

    The list comes from stdin, as the tool git_batch takes it, such as [{"type": "status", "workspaceDir": "/shop"}].
    Exits with 1 when one failed.
    """
    result = team.ask_and_show(TeamVerbs.git_batch, "running git", views.of_git_batch, operations=_operations(file))
    return 0 if result.success else 1


def _operations(file: Path | None) -> Any:
    """A list, or the object that the tool takes. Raises ``InvalidRequestError``."""
    try:
        text = file.read_bytes() if file is not None else sys.stdin.buffer.read(_LONGEST_INPUT_BYTES)
        given = json.loads(text)
    except OSError as error:
        raise InvalidRequestError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidRequestError(
            f'That is no JSON ({error}). Give a list such as [{{"type": "status", "workspaceDir": "/home/me/shop"}}].'
        ) from error
    return given.get("operations") if isinstance(given, dict) else given


def prewarm(
    team: CliSession,
    instances: Annotated[
        int | None,
        typer.Argument(help="Spare agents at their prompt; 0 lets go who was asked for, without it they stay."),
    ] = None,
    *,
    worktrees: Annotated[
        int | None, typer.Option(help="Spare worktrees for further instances; 0 lets them go, without it they stay.")
    ] = None,
    work_dir: Annotated[Path, typer.Option("--dir", help="Where they will work.")] = Path(),
    role: Annotated[Role, typer.Option(help="What they will be in the team.")] = Role.SPECIALIST,
    agent: Annotated[AgentName | None, typer.Option(help="The program to run.")] = None,
    model: Annotated[str | None, typer.Option(help="The model to use.")] = None,
    permission_mode: Annotated[
        PermissionMode | None, typer.Option("--permissions", help="Which tool calls need no asking.")
    ] = None,
    mcp_servers: McpServersOption = "all",
) -> int:
    """Have spare agents and worktrees ready. Exits with 1 when some could not be made."""
    directory = str(work_dir.expanduser().absolute())
    servers = named_servers(mcp_servers)
    result = team.ask_and_show(
        TeamVerbs.prewarm_resources, "preparing", texts.of_prewarm, work_dir=directory, mcp_servers=servers
    )
    return 0 if result.success else 1


def perf(
    team: CliSession,
    *,
    window_seconds: Annotated[float, typer.Option("--window", metavar="SECONDS", help="How far back.")] = 300.0,
) -> None:
    """Show how the team performs and what would help."""
    team.ask_and_show(TeamVerbs.get_performance, "looking", _of_performance)


def _of_performance(result: results.GetPerformanceResult) -> RenderableType:
    score, metrics = result.performance.score, result.metrics
    return Group(
        Text(f"Score {score} of 100", "bold green" if score >= _GOOD_SCORE else "bold yellow"),
        *(plain(f"  -{lost.points}: {lost.reason}", "yellow") for lost in result.performance.lost),
        *(plain(f"  {one.suggestion} {one.impact}") for one in result.recommendations),
        Text(""),
        _times(metrics),
        Text(""),
        _queues(metrics),
        Text(""),
        plain(f"instances: {metrics.instances.alive} alive of {metrics.instances.total}"),
        plain(f"state: {metrics.store.mode}"),
        *(plain(f"host {texts.of_host(host).removeprefix('- ')}") for host in metrics.hosts),
        *(plain(f"{step.at} spawn cap {step.before} → {step.after}: {step.reason}", "dim") for step in result.auto),
    )


def _times(metrics: results.Metrics) -> Table:
    within = ("DONE", "FAILED", "HALF WITHIN", "95 % WITHIN", "LONGEST")
    shown = table(f"LAST {metrics.window_seconds:.0f} S", *within, right=within)
    messages = metrics.messages
    for name, time, failed in (
        ("spawns", metrics.spawns.time, str(metrics.spawns.failed)),
        ("messages", messages.time, str(messages.failed + messages.unconfirmed)),
        ("git operations", metrics.git.time, str(metrics.git.failed)),
        ("calls", metrics.calls, ""),
        ("writes of the state", metrics.store.write, ""),
    ):
        times = [texts.seconds(ms) if time.count else "" for ms in (time.p50, time.p95, time.max)]
        shown.add_row(name, str(time.count), failed, *times)
    return shown


def _queues(metrics: results.Metrics) -> Group:
    numbers = ("RUNNING OR READY", "WAITING", "LIMIT OR WANTED")
    shown = table("QUEUE OR POOL", *numbers, right=numbers)
    for name, queue in (("spawns", metrics.queues.spawn), ("git operations", metrics.queues.git)):
        shown.add_row(name, str(queue.running), str(queue.pending), str(queue.limit))
    pools = metrics.pools
    stocks = (("spare agents", pools.instances), ("spare worktrees", pools.worktrees))
    for name, stock in stocks:
        shown.add_row(name, str(stock.ready), "", str(stock.wanted))
    waits = [plain(f"{name} wait for {stock.waits_for}", "dim") for name, stock in stocks if stock.waits_for]
    return Group(shown, *waits)


def tune(
    team: CliSession,
    *,
    profile: Annotated[Profile | None, typer.Option(help="For up to 10, 50, 100, and for more instances.")] = None,
    max_concurrent_spawns: Annotated[
        int | None, typer.Option("--spawns", help="Most instances that start at the same time.")
    ] = None,
    max_concurrent_git_ops: Annotated[
        int | None, typer.Option("--git-ops", help="Most git operations at the same time.")
    ] = None,
    message_batch_size: Annotated[int | None, typer.Option("--batch-size", help="Most messages in one turn.")] = None,
    message_batch_delay: Annotated[
        float | None, typer.Option("--batch-delay", metavar="MS", help="Wait of a message for others.")
    ] = None,
    cache_size: Annotated[int | None, typer.Option(help="Most answers of git that are kept.")] = None,
    cache_ttl: Annotated[float | None, typer.Option(metavar="MS", help="How long one is kept at most.")] = None,
    worktree_pool_size: Annotated[
        int | None, typer.Option("--worktrees", help="Spare worktrees for each repository.")
    ] = None,
    prewarm_instances: Annotated[int | None, typer.Option("--prewarm", help="Spare agents at their prompt.")] = None,
    auto: Annotated[bool | None, typer.Option("--auto/--no-auto", help="Let the spawn cap tune itself.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take back all that was changed; then the rest.")] = False,
) -> None:
    """Change settings of the running team; they are kept. Without options show them."""
    team.ask_and_show(TeamVerbs.optimize_settings, "tuning", _of_settings)


def _of_settings(result: results.OptimizeSettingsResult) -> RenderableType:
    old, new = (each.model_dump(by_alias=True) for each in (result.old_settings, result.new_settings))
    numbers = ("NOW",) if old == new else ("BEFORE", "NOW")
    shown = table("SETTING", *numbers, right=numbers)
    for name, value in new.items():
        before = [] if old == new else [texts.in_words(name, old[name])]
        shown.add_row(name, *before, texts.in_words(name, value), style="bold" if value != old[name] else "")
    return shown
