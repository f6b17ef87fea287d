"""What the shell offers where an instance is to be named, when somebody presses the tabulator."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import typer

from actors.errors import PhalanxError
from mcp_entry.cli.session import home_meant, system_context
from supervisor.api.verbs import TeamVerbs

_PATIENCE_S = 0.3
"""A shell does nothing else meanwhile."""


def instances(context: typer.Context, incomplete: str) -> list[str]:
    """The living ones that begin so: by their names, or by their ids where they have none or an id was begun."""
    try:
        team = asyncio.run(_team(context))
    except (PhalanxError, TimeoutError):  # nobody is there to whom it could be said
        return []
    named = [name or instance_id for instance_id, name in team]
    ids = [instance_id for instance_id, _ in team if incomplete]
    return [each for each in dict.fromkeys([*named, *ids]) if each.startswith(incomplete)]


async def _team(context: typer.Context) -> Sequence[tuple[str, str]]:
    """Id and name of each. Raises ``TimeoutError`` when the team does not answer at once."""
    outside = context.obj or system_context()
    home = home_meant(outside, context.params.get("home"))
    async with asyncio.timeout(_PATIENCE_S):
        client = await outside.connect(home)
        try:
            listed = await client.call_json(TeamVerbs.list, {})
        finally:
            await client.close()
    return [(each["instanceId"], each.get("name") or "") for each in listed["instances"]]
