"""The commands that bring the whole team up, down or back.

As in ``instances``, parameters fill the fields of the request that have their names.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Group

from actors.errors import (
    InvalidRequestError,
    SettingsError,
    StoreError,
    WrongStateError,
    from_wire,
)
from mcp_entry import texts
from mcp_entry.cli.doctor import missing_agent
from mcp_entry.cli.output import plain
from mcp_entry.cli.session import CliSession
from supervisor.api.verbs import TeamVerbs
from supervisor.redis_url import without_secrets
from supervisor.runtime import TeamAddress
from supervisor.settings import Settings, kept_settings, waiting_settings
from supervisor.store.base import utc
from supervisor.team.file import wanted_team


def up(
    team: CliSession,
    *,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Then start again, with their conversations, those whose agents have ended."),
    ] = False,
) -> int:
    """Bring the team up. Agents get the environment that you have now.

    With --resume it exits with 1 when an instance did not start again.
    """
    settings, address = bring_up(team)
    resumed = team.ask(TeamVerbs.resume, "resuming") if resume else None
    resumable = team.ask(TeamVerbs.status, "looking", compared=True).resumable
    changed = settings.tuned.in_words
    # A team that runs already goes by the settings with which it was brought up.
    missing = missing_agent(kept_settings(team.home) or settings, team.context.environment)
    waiting = waiting_settings(team.home, settings) if address.already_running else []
    document: dict[str, Any] = {
        "home": str(address.home),
        "teamId": address.team_id,
        "alreadyRunning": address.already_running,
        "resumable": resumable,
        "changedSettings": changed or None,
        "waitingSettings": waiting,
        "missingAgent": missing or None,
    }
    runs = "is running already" if address.already_running else "runs"
    lines = [f"The team in {address.home} {runs}. `phalanx spawn` starts an instance, `phalanx down` ends all."]
    if resumed is not None:
        document["resumed"] = resumed.model_dump(mode="json", by_alias=True)["instances"]
        lines.append(
            texts.of_resume(team.named(resumed)) if resumed.instances else "There was no instance to start again."
        )
    elif resumable:
        lines.append(_how_to_resume(len(resumable), running=address.already_running))
    if waiting:
        names = ", ".join(waiting)
        lines.append(f"Changed, but not for this team before `phalanx down` and `phalanx up`: {names}.")
    if changed:
        lines.append(f"Settings were {changed}.")
    if missing:
        lines.append(missing)
    team.output.show(document, plain("\n".join(lines)))
    return 0 if resumed is None or resumed.success else 1


def bring_up(team: CliSession) -> tuple[Settings, TeamAddress]:
    """Brings the team up if it does not run. The settings are those of a team that is only now brought up."""
    settings = Settings.load(team.home, team.context.environment)
    goes_on = "" if wanted_team(team.home) is None else "; the team that was there before goes on"
    words = f"Stopped. What this command had started is ended again{goes_on}."
    with team.on_ctrl_c(words), team.output.telling_steps("bringing the team up") as on_step:
        return settings, team.context.runtime(team.home, settings).up(team.context.environment, on_step)


def _how_to_resume(count: int, *, running: bool) -> str:
    were, agents, them, conversations = (
        ("1 instance was", "its agent", "it", "its conversation")
        if count == 1
        else (f"{count} instances were", "their agents", "them", "their conversations")
    )
    when = f"until {agents} ended" if running else "when the team ended last"
    return f"{were} alive {when}: `phalanx up --resume` starts {them} again with {conversations}."


def down(team: CliSession) -> None:
    """End the team and all that it started. Work stays where it is."""
    words = "Stopped on the way: `phalanx down` ends what is left."
    with team.on_ctrl_c(words), team.output.telling_steps("bringing the team down") as on_step:
        report = team.context.runtime(team.home, None).down(on_step)
    document = {
        "home": str(team.home.root),
        "wasRunning": report.was_running,
        "ended": [asdict(process) for process in report.ended],
        "notes": report.notes,
    }
    processes = "1 process" if len(report.ended) == 1 else f"{len(report.ended)} processes"
    done = f"The team in {team.home.root} is down: {processes} ended."
    words = done if report.was_running else f"No team was running in {team.home.root}."
    team.output.show(document, Group(*(plain(note) for note in report.notes), plain(words)))


def restore(
    team: CliSession,
    *,
    from_redis: Annotated[bool, typer.Option("--from-redis", help="From the Redis that the settings name.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Bring a lost state of the team back. Says first what that would bring, and asks."""
    if not from_redis:
        raise InvalidRequestError("Say where the state is to come from: `phalanx restore --from-redis`.")
    address = Settings.load(team.home, team.context.environment).redis_address
    if address is None:
        raise SettingsError("The settings name no Redis: set REDIS_URL, or redis_url in config.toml.")
    team.home.create()
    if team.context.runtime(team.home, None).state().kind == "running":
        raise WrongStateError(f"The team in {team.home.root} runs and has its state. Nothing was restored.")
    stopped = "Stopped; nothing was restored."
    found = _restore(team, address, "reading what Redis has", stopped)
    words = f"{_restored_words(found)}, from {without_secrets(address)} into {team.home.root}"
    if not yes:
        if not team.context.is_terminal():
            raise InvalidRequestError(f"This would bring back {words}. Nothing was restored: --yes does it.")
        typer.confirm(f"Bring back {words}?", abort=True, err=True)
    stopped = "Stopped on the way: all is restored or nothing. `phalanx restore --from-redis` says which, and goes on."
    found = _restore(team, address, "restoring what Redis has", stopped, "--apply")
    document = {**found, "from": without_secrets(address), "into": str(team.home.root)}
    done = f"Restored: {_restored_words(found)}. What was written after that is not in it. `phalanx up` goes on."
    team.output.show(document, plain(done))


def _restore(team: CliSession, address: str, what: str, stopped: str, *arguments: str) -> dict[str, Any]:
    """The report of the program. The address goes in the environment, which other users cannot read.

    ``stopped``: what is said after Ctrl-C, which ends the program, too.
    """
    command = [sys.executable, "-P", "-m", "supervisor.store.restore", str(team.home.root), *arguments]
    try:
        with team.on_ctrl_c(stopped), team.output.telling_progress(what):
            ended = team.context.run(command, {**team.context.environment, "REDIS_URL": address})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(
            f"The program that restores did not end well: {error}. `phalanx restore` can be repeated."
        ) from error
    try:
        answer: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        last = ended.stderr.strip().rpartition("\n")[2]
        raise StoreError(
            f"The program that restores failed: {last}. `phalanx doctor` looks for what is missing."
        ) from None
    if not answer.pop("ok"):
        raise from_wire(answer["error"])
    return answer


def _restored_words(found: Mapping[str, Any]) -> str:
    return (
        f"{texts.counted(found['instances'], 'instance')} and {texts.counted(found['messages'], 'message')} on the "
        "way, as they were at "
        f"{utc(found['currentAt'])} on {found['host']} ({found['home']})"
    )
