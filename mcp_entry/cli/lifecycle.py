"""The commands for the team's own life: up, down, status."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

import typer
from rich.console import Group

from actors.errors import TeamNotRunningError
from mcp_entry.cli import views
from mcp_entry.cli.session import HomeOption, JsonOption, Session, session
from mcp_entry.cli.terminal_text import plain
from supervisor import results
from supervisor.settings import Settings


def up(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Bring the team up. Agents get the environment that you have now."""
    with session(context, home, as_json) as team:
        settings = Settings.load(team.home, team.world.environment)
        address = team.world.runtime(team.home, settings).up(team.world.environment, team.output.say)
        document = {"home": str(address.home), "teamId": address.team_id, "alreadyRunning": address.already_running}
        runs = "is running already" if address.already_running else "runs"
        words = f"The team in {address.home} {runs}. `phalanx spawn` starts an instance, `phalanx down` ends all."
        team.output.show(document, plain(words))


def down(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """End the team and all that it started. Work stays where it is."""
    with session(context, home, as_json) as team:
        report = team.world.runtime(team.home, Settings()).down(team.output.say)
        document = {
            "home": str(team.home.root),
            "wasRunning": report.was_running,
            "ended": [asdict(process) for process in report.ended],
            "notes": report.notes,
        }
        done = f"The team in {team.home.root} is down: {len(report.ended)} processes ended."
        words = done if report.was_running else f"No team was running in {team.home.root}."
        team.output.show(document, Group(*(plain(note) for note in report.notes), plain(words)))


def status(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show how the team is. Exits with 1 when none runs."""
    with session(context, home, as_json) as team:
        result = _status(team)
        team.output.show(result.model_dump(mode="json", by_alias=True), views.of_status(result))


def _status(team: Session) -> results.StatusResult:
    try:
        return cast("results.StatusResult", team.ask("status", {}, "looking"))
    except TeamNotRunningError:
        state = team.world.runtime(team.home, Settings()).state()
        if state.kind == "stopped":
            raise
        missing = " and ".join(state.missing) or "the supervisor"
        raise TeamNotRunningError(
            f"The team in {team.home.root} is only partly there, {missing} does not answer. "
            "`phalanx up` brings it back, `phalanx down` ends the rest."
        ) from None
