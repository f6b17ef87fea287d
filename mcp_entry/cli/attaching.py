"""The command that goes into an instance's terminal."""

from __future__ import annotations

import subprocess
from typing import cast

import typer

from actors.errors import InvalidRequestError, PhalanxError, UnknownInstanceError, WrongStateError
from actors.status import Status
from mcp_entry.cli.instances import InstanceArgument
from mcp_entry.cli.session import HomeOption, JsonOption, Session, session
from supervisor.api import results


def attach(
    context: typer.Context, instance: InstanceArgument, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Go into an instance's terminal; Ctrl-b d comes back. With --json only say the command."""
    with session(context, home, as_json) as team:
        listed = cast("results.ListResult", team.ask("list", {"includeStopped": False}, "looking"))
        found = next((each for each in listed.instances if each.instance_id == instance), None)
        if found is None:
            raise _not_there(team, instance)
        if found.status is Status.STOPPED:
            raise WrongStateError(f"{instance} is stopped and has no terminal: `phalanx restart {instance}` starts it.")
        command = ["tmux", "-S", str(team.home.tmux_socket), "attach-session", "-t", f"={found.session_name}"]
        if as_json:
            team.output.show({"command": command}, "")
            return
        if not team.world.is_terminal():
            raise InvalidRequestError(f"attach needs a terminal. In one, run: {' '.join(command)}")
        if not _is_here(team, found.session_name):
            raise WrongStateError(
                f"The terminal of {instance} is not on this machine: it runs on {found.host}. "
                f"`phalanx attach {instance}` there goes into it."
            )
        outside = {name: value for name, value in team.world.environment.items() if name != "TMUX"}
        nested = len(outside) < len(team.world.environment)
        how = "Ctrl-b Ctrl-b d (you are inside tmux already)" if nested else "Ctrl-b d"
        team.output.say(f"To come back: {how}. What you type goes to the agent.")
        team.world.become([*command, ";", "display-message", "-d", "5000", f"To come back: {how}"], outside)


def _is_here(team: Session, session_name: str) -> bool:
    look = ["tmux", "-S", str(team.home.tmux_socket), "has-session", "-t", f"={session_name}"]
    try:
        return team.world.run(look, team.world.environment).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return True  # tmux itself says what is wrong


def _not_there(team: Session, instance: str) -> PhalanxError:
    """Why it has no terminal although it may have been in the team."""
    listed = cast("results.ListResult", team.ask("list", {"includeStopped": True}, "looking"))
    if instance in (each.instance_id for each in listed.instances):
        return WrongStateError(
            f"{instance} was terminated and has no terminal. `phalanx read {instance}` shows what it said, "
            "`phalanx spawn` starts a new instance."
        )
    return UnknownInstanceError(f"There is no instance {instance}. `phalanx list` shows who is there.")
