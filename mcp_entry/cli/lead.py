"""``phalanx lead``: a Claude that leads a team, in a pane of the team, and the way into its terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from actors.errors import InvalidRequestError, WrongStateError
from actors.files import FileLock
from actors.status import ALIVE, Status
from mcp_entry.cli.doctor import missing_agent
from mcp_entry.cli.instances import go_into
from mcp_entry.cli.session import CliSession
from mcp_entry.cli.team import bring_up
from supervisor.api.requests import NAME_FORM, PermissionMode, Role
from supervisor.api.results import InstanceDescription, called
from supervisor.api.verbs import TeamVerbs
from supervisor.settings import Settings, kept_settings

STARTED_S = 60.0
_OTHER_STARTS_S = 120.0
"""Longer than a start may take."""


def lead(
    team: CliSession,
    work_dir: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where it works, itself and on no branch of its own.")
    ] = Path(),
    *,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the conversation of the last lead there that has ended.")
    ] = False,
    name: Annotated[str | None, typer.Option(help=NAME_FORM)] = None,
    model: Annotated[str | None, typer.Option(help="The model to use.")] = None,
    permission_mode: Annotated[
        PermissionMode | None, typer.Option("--permissions", help="Which tool calls need no asking.")
    ] = None,
) -> None:
    """Start a Claude that leads, and go into its terminal.

    Where one runs in DIR already, go into that one. Brings the team up if need be. Ctrl-b d comes back. With --json
    only say the command.
    """
    directory = _directory(work_dir)
    if not team.output.as_json and not team.context.is_terminal():
        raise InvalidRequestError("lead needs a terminal: run it in one. `phalanx spawn` starts an instance without.")
    settings = Settings.load(team.home, team.context.environment)
    kept = kept_settings(team.home)
    unheard = _unheard(kept, settings)
    if missing := missing_agent(kept or settings, team.context.environment):
        raise WrongStateError(unheard or missing)
    bring_up(team)
    with _alone_in(team, directory):
        instance_id, notes = _found_or_started(team, directory, resume=resume)
    go_into(team, instance_id, leaves_with_agent=True, notes=[*filter(None, [unheard]), *notes])


@contextmanager
def _alone_in(team: CliSession, directory: Path) -> Iterator[None]:
    """While another `phalanx lead` starts one in the directory, this one waits, and finds that one then."""
    lock = FileLock(directory, is_directory=True)
    try:
        is_free = lock.try_acquire()
    except OSError as error:
        raise InvalidRequestError(f"DIR {directory} cannot be read: {error.strerror}.") from error
    if not is_free:
        team.output.say(f"Another `phalanx lead` is just starting in {directory}: waiting for it.")
        if not lock.acquire(_OTHER_STARTS_S):
            raise WrongStateError(
                f"Another program has kept {directory} locked for {_OTHER_STARTS_S:.0f} s: end it, then try again."
            )
    try:
        yield
    finally:
        lock.release()


def _found_or_started(team: CliSession, directory: Path, *, resume: bool) -> tuple[str, list[str]]:
    """The id of the lead in the directory, and what the person should know of it."""
    leads = _leads(team, directory)
    runs = [each for each in leads if each.status in ALIVE]
    if runs:
        instance_id = runs[-1].instance_id
        if runs[-1].status is Status.STARTING:
            team.ask(TeamVerbs.wait, "starting", instance_ids=[instance_id], timeout_seconds=STARTED_S)
        return instance_id, [f"{called(instance_id, runs[-1].name)} leads in {directory} already."]
    if resume:
        if not leads:
            raise WrongStateError(f"No lead has ended in {directory}: `phalanx lead` starts one.")
        team.ask(TeamVerbs.restart, "starting it again", instance_id=leads[-1].instance_id)
        return leads[-1].instance_id, []
    instance_id = _start(team, directory)
    if not leads:
        return instance_id, []
    earlier = leads[-1].instance_id
    return instance_id, [
        f"The lead before, {called(earlier, leads[-1].name)}, has ended: `phalanx restart {earlier}` and "
        f"`phalanx attach {earlier}` go on with its conversation, `phalanx terminate {earlier}` ends it for good."
    ]


def _unheard(kept: Settings | None, settings: Settings) -> str:
    """What to say when the team runs another agent than the settings of now name; else empty."""
    if kept is None or kept.agent == settings.agent:
        return ""
    return (
        f"The team runs already, with {kept.agent} as its agent. Your settings name {settings.agent}: to change to it, "
        "run `phalanx down` and then `phalanx up`."
    )


def _start(team: CliSession, directory: Path) -> str:
    """A lead begins at an empty prompt: the person at its terminal says the first words."""
    started = team.ask(
        TeamVerbs.spawn,
        "starting",
        role=Role.EXECUTIVE,
        work_dir=str(directory),
        context="",
        workspace_mode="shared",
    )
    return started.instance_id


def _leads(team: CliSession, directory: Path) -> Sequence[InstanceDescription]:
    """Those that a person has begun a conversation with in this directory, oldest first."""
    described = team.ask(TeamVerbs.describe, "looking").instances
    return [each for each in described if each.attended and each.work_dir == str(directory)]


def _directory(given: Path) -> Path:
    try:
        directory = given.expanduser().resolve()
        is_directory = directory.is_dir()
    except (OSError, RuntimeError) as error:
        raise InvalidRequestError(f"DIR {given} cannot be used: {error}.") from error
    if not is_directory:
        raise InvalidRequestError(f"DIR {directory} is no directory: create it first or correct the path.")
    return directory
