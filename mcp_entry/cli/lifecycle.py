"""The commands for the team's own life: up, down, status, gc."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, cast

import typer
from rich.console import Group

from actors.errors import TeamNotRunningError
from actors.home import leader_of
from mcp_entry import texts
from mcp_entry.cli import views
from mcp_entry.cli.session import HomeOption, JsonOption, Session, session
from mcp_entry.cli.terminal_text import plain
from supervisor.api import results
from supervisor.runtime import TeamAddress
from supervisor.settings import Settings, waiting_settings


def up(
    context: typer.Context,
    *,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Then start again, with their conversations, those whose agents have ended."),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the team up. Agents get the environment that you have now.

    With --resume it exits with 1 when an instance did not start again.
    """
    with session(context, home, as_json) as team:
        settings = Settings.load(team.home, team.world.environment)
        with team.if_stopped("Stopped. What this command had started is ended again."):
            address = team.world.runtime(team.home, settings).up(team.world.environment, team.output.say)
        resumed = cast("results.ResumeResult", team.ask("resume", {}, "resuming")) if resume else None
        resumable = cast("results.StatusResult", team.ask("status", {"compared": True}, "looking")).resumable
        changed = settings.tuned.in_words
        waiting = waiting_settings(team.home, settings) if address.already_running else []
        document: dict[str, Any] = {
            "home": str(address.home),
            "teamId": address.team_id,
            "alreadyRunning": address.already_running,
            "resumable": resumable,
            "changedSettings": changed or None,
            "waitingSettings": waiting,
        }
        if resumed is not None:
            document["resumed"] = resumed.model_dump(mode="json", by_alias=True)["instances"]
        words = [*_up_words(address, resumed, resumable), *_waiting_words(waiting), *_changed_words(changed)]
        team.output.show(document, plain("\n".join(words)))
    if resumed is not None and not resumed.success:
        raise typer.Exit(1)


def _waiting_words(waiting: list[str]) -> list[str]:
    if not waiting:
        return []
    return [f"Changed, but not for this team before `phalanx down` and `phalanx up`: {', '.join(waiting)}."]


def _changed_words(changed: str) -> list[str]:
    return [f"Settings were {changed}."] if changed else []


def _up_words(address: TeamAddress, resumed: results.ResumeResult | None, resumable: list[str]) -> Iterator[str]:
    runs = "is running already" if address.already_running else "runs"
    yield f"The team in {address.home} {runs}. `phalanx spawn` starts an instance, `phalanx down` ends all."
    if resumed is not None:
        yield texts.of_resume(resumed) if resumed.instances else "There was nobody to start again."
    elif resumable:
        one = len(resumable) == 1
        were = "1 instance was" if one else f"{len(resumable)} instances were"
        ended = "its agent ended" if one else "their agents ended"
        when = f"until {ended}" if address.already_running else "when the team ended last"
        again = "starts it again with its conversation" if one else "starts them again with their conversations"
        yield f"{were} alive {when}: `phalanx up --resume` {again}."


def down(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """End the team and all that it started. Work stays where it is."""
    with session(context, home, as_json) as team:
        with team.if_stopped("Stopped on the way: `phalanx down` ends what is left."):
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
        if state.kind == "stopped" or leader_of(team.home):
            raise
        missing = " and ".join(state.missing) or "the supervisor"
        raise TeamNotRunningError(
            f"The team in {team.home.root} is only partly there, {missing} does not answer. "
            "`phalanx up` brings it back, `phalanx down` ends the rest."
        ) from None


def gc(
    context: typer.Context,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Clear away what terminated instances have left behind. Work that is nowhere else is saved first."""
    with session(context, home, as_json) as team:
        result = cast("results.GcResult", team.ask("gc", {"dryRun": dry_run}, "looking" if dry_run else "clearing"))
        team.output.show(result.model_dump(mode="json", by_alias=True), views.of_gc(result))
