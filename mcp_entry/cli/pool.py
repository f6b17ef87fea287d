"""The command that has spares ready."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from mcp_entry import texts
from mcp_entry.cli.instances import Agent, Permissions
from mcp_entry.cli.session import HomeOption, JsonOption, session
from mcp_entry.cli.terminal_text import plain
from supervisor.api import results


def prewarm(
    context: typer.Context,
    instances: Annotated[
        int | None, typer.Argument(help="Spare agents at their prompt; 0 lets them go, without it they stay.")
    ] = None,
    *,
    worktrees: Annotated[
        int | None, typer.Option(help="Spare worktrees for further instances; 0 lets them go, without it they stay.")
    ] = None,
    directory: Annotated[Path, typer.Option("--dir", help="Where they will work.")] = Path(),
    agent: Annotated[Agent | None, typer.Option(help="The program to run.")] = None,
    model: Annotated[str | None, typer.Option(help="The model to use.")] = None,
    permissions: Annotated[Permissions | None, typer.Option(help="Which tool calls need no asking.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have spare agents and worktrees ready. Exits with 1 when some could not be made."""
    with session(context, home, as_json) as team:
        arguments = {
            "instances": instances,
            "worktrees": worktrees,
            "workDir": str(directory.expanduser().absolute()),
            "agent": agent,
            "model": model,
            "permissionMode": permissions,
        }
        result = cast("results.PrewarmResult", team.ask("prewarm_resources", arguments, "preparing"))
        team.output.show(result.model_dump(mode="json", by_alias=True), plain(texts.of_prewarm(result)))
    if not result.success:
        raise typer.Exit(1)
