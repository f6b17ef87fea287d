"""The table of commands, in the order of ``phalanx --help``, and ``main``, the entry point of ``phalanx``."""

from __future__ import annotations

from typing import Annotated

import typer

from mcp_entry.cli.lazy import LazyCommand, LazyGroup
from supervisor.versions import VERSION


class Commands(LazyGroup):
    declared = (
        *map(
            LazyCommand,
            (
                "team.up",
                "team.down",
                "running.status",
                "lead.lead",
                "dashboard.dashboard",
                "instances.spawn",
                "instances.send",
                "instances.read",
                "instances.list_",
                "instances.wait",
                "watch.watch",
                "top.top",
                "instances.respond",
                "instances.interrupt",
                "instances.restart",
                "instances.recycle",
                "instances.limit",
                "instances.attach",
                "instances.terminate",
                "instances.merge",
                "instances.sync",
                "running.git",
                "running.prewarm",
                "running.perf",
                "metrics.metrics",
                "running.tune",
                "running.hosts",
                "running.drain",
                "running.gc",
                "team.restore",
                "doctor.doctor",
            ),
        ),
        LazyCommand("demo.demo", in_session=False),
    )


class _McpCommands(LazyGroup):
    declared = (LazyCommand("registration.add"), LazyCommand("registration.remove"))


class _FileCommands(LazyGroup):
    declared = tuple(map(LazyCommand, ("team_file.up", "team_file.export", "team_file.allow", "team_file.schema")))


app = typer.Typer(
    name="phalanx",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
mcp = typer.Typer(
    cls=_McpCommands, help="Phalanx as an MCP server of Claude Code.", no_args_is_help=True, rich_markup_mode=None
)
file_of_team = typer.Typer(cls=_FileCommands, help="A team by its file.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(mcp, name="mcp")
app.add_typer(file_of_team, name="team")


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
    app(prog_name=app.info.name)
