"""``phalanx-mcp``: the stdio MCP server that a Claude starts.

Nothing but MCP reaches stdout: the SDK's transport keeps the descriptor for itself while it serves, and the log goes
to the home. It ends with its input, and at once at SIGINT and SIGTERM: it owns nothing that would have to be put away,
the team lives on without it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from importlib.metadata import version

from mcp.server.stdio import stdio_server

from actors.errors import PhalanxError
from actors.home import Home
from mcp_entry.bring_up import BringUpProcess
from mcp_entry.log import log_to
from mcp_entry.server import Entry
from mcp_entry.team import Team
from supervisor.client import SupervisorClient
from supervisor.settings import home_from

SENDER = "lead"
LOG_NAME = "mcp-entry.log"
PATIENCE_S = 120.0
logger = logging.getLogger("mcp_entry")


def team_in(home: Home, environment: Mapping[str, str]) -> Team:
    async def connect() -> SupervisorClient:
        return await SupervisorClient.connect(home, SENDER)

    return Team(connect, BringUpProcess(home=home, environment=environment), patience_s=PATIENCE_S)


async def serve(team: Team, home: Home) -> None:
    """Serves stdin and stdout until the input ends."""
    server = Entry(team, version=version("phalanx"), log=home.logs / LOG_NAME).server()
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())
    await team.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="phalanx-mcp",
        description="The MCP server of a Phalanx team, for a Claude to start: it speaks MCP on stdin and stdout. "
        "`phalanx mcp add` registers it with Claude Code. PHALANX_HOME names the team's directory.",
    )
    parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    home = home_from(os.environ)
    try:
        home.create()
        log_to(home.logs / LOG_NAME)
    except (PhalanxError, OSError) as error:
        print(f"phalanx-mcp has no log: {error}", file=sys.stderr)
    logger.info("started in %s", home.root)
    asyncio.run(serve(team_in(home, os.environ), home))
    logger.info("ended with its input")


if __name__ == "__main__":
    main()
