"""The command ``phalanx top``. Its program, with Textual, is loaded only when it runs."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from actors.errors import InvalidRequestError, WrongStateError
from actors.status import Status
from mcp_entry.cli.instances import way_into
from mcp_entry.cli.session import CliSession
from supervisor.api.results import InstanceInfo

if TYPE_CHECKING:
    from mcp_entry.top.terminal import WayInto


def top(team: CliSession) -> int:
    """Watch and lead the team, live.

    Those that need you come first; `?` shows the keys.
    """
    if team.output.as_json:
        raise InvalidRequestError(
            "top shows a live screen: `phalanx list --json` and `phalanx watch --json` give JSON."
        )
    if not team.context.is_terminal():
        raise InvalidRequestError("top needs a terminal: run it in one. `phalanx list` shows the team once.")
    return asyncio.run(_run(team))


async def _run(team: CliSession) -> int:
    client = await team.context.connect(team.home)
    try:
        from mcp_entry.top.app import TopApp  # noqa: PLC0415 - Textual takes longer to load than most commands to run
        from mcp_entry.top.terminal import end_with_terminal, on_end_signals  # noqa: PLC0415

        app = TopApp(client, lambda each: _way_into(team, each))
        end_with_terminal(sys.stdin.fileno())
        on_end_signals(app.exit)
        await app.run_async()
        if app.failure is not None:
            raise app.failure
        return app.return_code or 0
    finally:
        await client.close()


def _way_into(team: CliSession, each: InstanceInfo) -> WayInto:
    """Raises ``WrongStateError`` when the instance has no terminal, or has it elsewhere."""
    from mcp_entry.top.terminal import WayInto  # noqa: PLC0415 - see above

    if each.status is Status.STOPPED:
        raise WrongStateError(f"{each.instance_id} is stopped and has no terminal: `phalanx restart` starts it.")
    command, environment = way_into(team, each)
    return WayInto(command=command, environment=environment)
