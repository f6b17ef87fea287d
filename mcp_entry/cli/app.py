"""The table of commands, in the order of ``phalanx --help``, and ``main``, the entry point of ``phalanx``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from mcp_entry.cli import doctor, instances, lead, registration, team, team_file
from mcp_entry.cli.dashboard import dashboard
from mcp_entry.cli.demo import demo
from mcp_entry.cli.metrics import metrics
from mcp_entry.cli.session import Commands, in_session, system_context
from mcp_entry.cli.top import top
from mcp_entry.cli.watch import watch
from supervisor.versions import VERSION

app = typer.Typer(
    name="phalanx",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
mcp = typer.Typer(help="Phalanx as an MCP server of Claude Code.", no_args_is_help=True, rich_markup_mode=None)
file_of_team = typer.Typer(help="A team by its file.", no_args_is_help=True, rich_markup_mode=None)

_COMMANDS: tuple[Callable[..., int | None], ...] = (
    team.up,
    team.down,
    team.status,
    lead.lead,
    dashboard,
    instances.spawn,
    instances.send,
    instances.read,
    instances.list_,
    instances.wait,
    watch,
    top,
    instances.respond,
    instances.interrupt,
    instances.restart,
    instances.recycle,
    instances.limit,
    instances.attach,
    instances.terminate,
    instances.merge,
    instances.sync,
    team.git,
    team.prewarm,
    team.perf,
    metrics,
    team.tune,
    team.hosts,
    team.drain,
    team.gc,
    team.restore,
)
for _command in _COMMANDS:
    app.command(_command.__name__.rstrip("_"))(in_session(_command))
mcp.command("add")(in_session(registration.add))
mcp.command("remove")(in_session(registration.remove))
app.add_typer(mcp, name="mcp")
for _command in (team_file.up, team_file.export, team_file.allow, team_file.schema):
    file_of_team.command(_command.__name__)(in_session(_command))
app.add_typer(file_of_team, name="team")
app.command("doctor")(in_session(doctor.doctor))
app.command("demo")(demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"phalanx {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Lead a team of Claude Code instances. `phalanx mcp add` lets a Claude lead it."""


def main() -> None:
    app(obj=system_context())
