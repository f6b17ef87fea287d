"""The commands for the team's own life: up, down, status."""

from __future__ import annotations

from typing import cast

import typer

from mcp_entry.cli import views
from mcp_entry.cli.session import HomeOption, JsonOption, session
from mcp_entry.cli.terminal_text import plain
from supervisor import results
from supervisor.settings import Settings


def up(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Bring the team up, so that instances can be started. Agents get the environment that you have now."""
    with session(context, home, as_json) as team:
        settings = Settings.load(team.home, team.world.environment)
        team.world.runtime(team.home, settings).up(team.world.environment, team.output.say)
        team.output.show(
            {"home": str(team.home.root), "running": True},
            plain(f"The team in {team.home.root} runs. `phalanx spawn` starts an instance, `phalanx down` ends all."),
        )


def down(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """End the team and every process that it started. Work stays where it is."""
    with session(context, home, as_json) as team:
        settings = Settings.load(team.home, team.world.environment)
        team.world.runtime(team.home, settings).down(team.output.say)
        team.output.show(
            {"home": str(team.home.root), "running": False}, plain(f"The team in {team.home.root} is down.")
        )


def status(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show how the team is. Exits with 1 when none runs."""
    with session(context, home, as_json) as team:
        result = cast("results.StatusResult", team.ask("status", {}, "looking"))
        team.output.show(result.model_dump(mode="json", by_alias=True), views.of_status(result))
