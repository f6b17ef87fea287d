"""The command that operates git for people and scripts: operations as JSON in, results out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from actors.errors import InvalidRequestError
from mcp_entry.cli import views
from mcp_entry.cli.session import HomeOption, JsonOption, session
from supervisor.api import results

_LONGEST = 64_000_000


def git(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Option("--file", help="Read the operations from this file instead of stdin.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run many git operations, given as JSON.

    The list comes from stdin, as the tool git_batch takes it, such as [{"type": "status", "workspaceDir": "/shop"}].
    Exits with 1 when one failed.
    """
    with session(context, home, as_json) as team:
        arguments = {"operations": _operations(file)}
        result = cast("results.GitBatchResult", team.ask("git_batch", arguments, "running git"))
        team.output.show(result.model_dump(mode="json", by_alias=True), views.IN_WORDS["git_batch"](result))
    if not result.success:
        raise typer.Exit(1)


def _operations(file: Path | None) -> Any:
    """A list, or the object that the tool takes. Raises ``InvalidRequestError``."""
    try:
        text = file.read_bytes() if file is not None else sys.stdin.buffer.read(_LONGEST)
        given = json.loads(text)
    except OSError as error:
        raise InvalidRequestError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidRequestError(
            f'That is no JSON ({error}). Give a list such as [{{"type": "status", "workspaceDir": "/home/me/shop"}}].'
        ) from error
    return given.get("operations") if isinstance(given, dict) else given
