"""``phalanx read --follow``: the conversation of one instance, entry by entry as it goes on.

It reads when the instance's row of the team has changed, so nothing is asked while nothing happens. It goes on over
restarts of the supervisor, each entry once, and ends with Ctrl-C, when the instance is terminated, and when the team is
brought down. What is read stays unread for the lead.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress

from actors.errors import TeamNotRunningError, UnavailableError, UnknownInstanceError
from mcp_entry.cli import views
from mcp_entry.cli.session import BROUGHT_DOWN, CliSession
from mcp_entry.launch import STOPPED
from mcp_entry.top.following import Away, changes
from supervisor.api.requests import ReadRequest
from supervisor.api.results import ReadResult
from supervisor.rpc.client import SupervisorClient


def follow(team: CliSession, instance_id: str, lines: int) -> int:
    """``lines``: of those that are there already, the latest. Returns the exit code. Raises ``PhalanxError``."""
    try:
        return asyncio.run(_follow(team, instance_id, lines))
    except KeyboardInterrupt:
        return STOPPED


async def _follow(team: CliSession, named: str, lines: int) -> int:
    client = await team.context.connect(team.home)
    try:
        page = await client.read(ReadRequest(instance_id=named, lines=lines, leaves_unread=True))
        instance_id, cursor = page.instance_id, page.cursor
        _show(team, page)
        trouble = ""
        async with aclosing(changes(client)) as news:
            async for each in news:
                if isinstance(each, Away):
                    if team.is_brought_down():
                        team.say_brought_down()
                        return BROUGHT_DOWN
                    if each.words != trouble:
                        trouble = each.words
                        team.output.say(trouble, "yellow")
                    continue
                trouble = ""
                shown = {one.instance_id for one in each.instances}
                if instance_id in each.gone or (each.complete and instance_id not in shown):
                    with suppress(UnknownInstanceError):  # it was cleared away too
                        await _read_on(team, client, instance_id, cursor)
                    team.output.say(f"{instance_id} was terminated.")
                    return 0
                if instance_id in shown:
                    cursor = await _read_on(team, client, instance_id, cursor)
        raise AssertionError  # the news have no end
    finally:
        await client.close()


async def _read_on(team: CliSession, client: SupervisorClient, instance_id: str, cursor: str | None) -> str | None:
    """Shows what is new after the cursor; returns the new one. The same one when the team does not answer."""
    while True:
        try:
            page = await client.read(ReadRequest(instance_id=instance_id, cursor=cursor, leaves_unread=True))
        except (TeamNotRunningError, UnavailableError):
            return cursor  # its row is told again when the team is back
        cursor = page.cursor or cursor
        _show(team, page)
        if not page.more:
            return cursor


def _show(team: CliSession, page: ReadResult) -> None:
    if team.output.as_json:
        for entry in page.entries:
            document = entry.model_dump(mode="json", by_alias=True, exclude_none=True)
            team.output.results.file.write(json.dumps({"instanceId": page.instance_id, **document}) + "\n")
    elif page.entries:
        team.output.show(None, views.of_read(page.model_copy(update={"cursor": None})))
    team.output.results.file.flush()
