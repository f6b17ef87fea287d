"""The commands for a team's file: ``phalanx team up``, ``export``, ``allow`` and ``schema``.

``up`` starts what is missing, parents first and each level in one batch, and changes nothing that runs. Members are
known by their names, which no two living instances share: so a call that is repeated, also after a kill in the middle
or beside another one, starts none twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from actors.errors import InvalidRequestError, TeamNotRunningError, WrongStateError
from actors.files import replace_file
from mcp_entry.cli.output import plain, table
from mcp_entry.cli.session import CliSession
from mcp_entry.cli.team import bring_up
from mcp_entry.team_file import consent
from mcp_entry.team_file.export import exported
from mcp_entry.team_file.model import TeamFile, json_schema, load
from mcp_entry.team_file.plan import PlannedMember, plan, request_of
from mcp_entry.texts import counted
from supervisor.api import results
from supervisor.api.verbs import TeamVerbs

TeamFileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The team's file; see docs/team-file.md.")]


def up(
    team: CliSession,
    file: TeamFileArgument,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be started, and what differs.")
    ] = False,
) -> int:
    """Start what is missing of a team, by its file.

    What runs stays as it is. Exits with 1 when a member was not started.
    """
    read = load(file)
    planned = plan(read, _described_if_running(team))
    if dry_run:
        _show(team, planned, {}, _to_allow(team, read, planned))
        return 0
    _ask(team, read, planned)
    bring_up(team)
    planned = plan(read, team.ask(TeamVerbs.describe, "looking").instances)
    _ask(team, read, planned)  # what ran at the first look may have ended by now
    failed = _start(team, read, planned)
    if any(each.state == "missing" for each in planned):
        planned = plan(read, team.ask(TeamVerbs.describe, "looking").instances)
    _show(team, planned, failed, [])
    return 1 if any(each.state in ("missing", "cannot start") for each in planned) else 0


def _described_if_running(team: CliSession) -> Sequence[results.InstanceDescription]:
    try:
        return team.ask(TeamVerbs.describe, "looking").instances
    except TeamNotRunningError:
        return ()


def _start(team: CliSession, file: TeamFile, planned: Sequence[PlannedMember]) -> dict[str, str]:
    """Starts the missing members level by level; why those failed that did, by name."""
    by_name = {each.member.name: each for each in planned}
    ids = {name: each.instance_id for name, each in by_name.items() if each.instance_id is not None}
    failed: dict[str, str] = {}
    for level in file.levels():
        missing = [by_name[member.name] for member in level if by_name[member.name].state == "missing"]
        ready = [each for each in missing if each.member.parent is None or each.member.parent in ids]
        failed |= {
            each.member.name: f"its parent {each.member.parent} was not started"
            for each in missing
            if each not in ready
        }
        if not ready:
            continue
        batch = team.ask(TeamVerbs.spawn_batch, "starting", instances=[request_of(each, ids) for each in ready])
        for each, outcome in zip(ready, batch.instances, strict=True):
            if outcome.instance_id is not None:
                ids[each.member.name] = outcome.instance_id
            elif outcome.error is not None:
                failed[each.member.name] = outcome.error.message
    return failed


def _to_allow(team: CliSession, file: TeamFile, planned: Sequence[PlannedMember]) -> list[str]:
    """What the person has not allowed yet of a file of which something is to be started."""
    missing = any(each.state == "missing" for each in planned)
    if not missing or consent.is_allowed(team.home, file):
        return []
    return consent.to_allow(file, team.context.environment)


def _ask(team: CliSession, file: TeamFile, planned: Sequence[PlannedMember]) -> None:
    """Lets the person at the terminal allow what must be. Raises ``InvalidRequestError`` where nobody can be asked."""
    asks = _to_allow(team, file, planned)
    if not asks:
        return
    if not team.context.is_terminal() or team.output.as_json:
        raise InvalidRequestError(
            f"{file.path} asks for what only you can allow. Nothing was started. Look at it with `phalanx team up "
            f"--dry-run`, then allow this content once: `phalanx team allow {file.path}`."
        )
    for line in _asks_lines(file, asks):
        team.output.say(line)
    typer.confirm("Allow exactly this content of the file?", abort=True, err=True)
    consent.allow(team.home, file)


def _asks_lines(file: TeamFile, asks: Sequence[str]) -> list[str]:
    return [f"{file.path} asks for this, which counts only when you allow it:", *(f"  {each}" for each in asks)]


def _show(team: CliSession, planned: Sequence[PlannedMember], failed: dict[str, str], asks: Sequence[str]) -> None:
    document: dict[str, Any] = {
        "members": [
            {
                "name": each.member.name,
                "state": each.state,
                "instanceId": each.instance_id,
                "differences": [
                    {"argument": one.argument, "file": one.file, "team": one.team} for one in each.differences
                ],
                "why": _why(each, failed) or None,
            }
            for each in planned
        ],
        "toAllow": list(asks),
    }
    team.output.show(document, _view(planned, failed, asks))


def _why(each: PlannedMember, failed: dict[str, str]) -> str:
    """A member that failed here may have been started by another call meanwhile."""
    return each.why or ("" if each.instance_id is not None else failed.get(each.member.name, ""))


def _view(planned: Sequence[PlannedMember], failed: dict[str, str], asks: Sequence[str]) -> RenderableType:
    members = table("MEMBER", "ROLE", "STATE", "ID", "")
    for each in planned:
        why = _why(each, failed)
        style = "" if each.state == "runs" else "yellow"
        row = (each.member.name, str(each.member.compared.role), each.state, each.instance_id or "", why)
        members.add_row(*map(plain, row), style=style)
    parts: list[RenderableType] = [members]
    if any(each.differences for each in planned):
        differing = table("DIFFERS", "ARGUMENT", "FILE", "TEAM")
        for each in planned:
            for one in each.differences:
                differing.add_row(*map(plain, (each.member.name, one.argument, one.file, one.team)))
        words = "What runs was not changed. `phalanx limit` changes limits; for all else terminate it to start it anew."
        parts += [plain(""), differing, plain(words)]
    if asks:
        parts += [plain(""), plain("Counts only when you allow it (`phalanx team allow`):")]
        parts += [plain(f"  {each}") for each in asks]
    return Group(*parts)


def allow(team: CliSession, file: TeamFileArgument) -> None:
    """Allow what a team's file asks for, in just this content.

    Commands, permission modes and models count only then.
    """
    read = load(file)
    asks = consent.to_allow(read, team.context.environment)
    if asks:
        consent.allow(team.home, read)
    words = [f"Allowed, for just this content of {read.path}:", *(f"  {each}" for each in asks)]
    nothing = f"{read.path} asks for nothing that must be allowed."
    team.output.show({"file": str(read.path), "allowed": asks}, plain("\n".join(words) if asks else nothing))


def export(
    team: CliSession,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to write it; default: stdout.")] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the team that runs as a file for `phalanx team up`.

    It holds no texts and no variables.
    """
    described = team.ask(TeamVerbs.describe, "looking").instances
    if not described:
        raise WrongStateError("The team has no instances: there is nothing to write.")
    target = file.absolute() if file is not None else None
    if target is not None and target.exists() and not force:
        raise InvalidRequestError(f"{target} is there already: give another name, or --force to replace it.")
    text = exported(described, target.parent.resolve() if target is not None else None)
    document = {"file": str(target) if target is not None else None, "members": len(described)}
    if target is None:
        team.output.show({**document, "content": text}, plain(text.rstrip("\n")))
        return
    try:
        replace_file(target, text, mode=0o644)
    except OSError as error:
        raise InvalidRequestError(f"{target} cannot be written: {error.strerror}.") from error
    team.output.show(document, plain(f"{target} holds {counted(len(described), 'member')}."))


def schema(team: CliSession) -> None:
    """Print the JSON schema of a team's file, for editors."""
    found = json_schema()
    team.output.show(found, plain(json.dumps(found, indent=2)))
