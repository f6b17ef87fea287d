"""``phalanx-mcp``: the stdio MCP server that a Claude starts.

Only MCP reaches stdout: ``stdio`` takes the descriptor, and the log goes to the home. The process ends when its input
ends, and at once on SIGINT and SIGTERM: it owns nothing that needs a cleanup, and the team goes on without it. No team
is started before a tool that acts is called.
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

from actors.errors import PhalanxError, TeamNotRunningError
from actors.home import Home, home_from
from actors.marks import TEAM_MARK
from mcp_entry.connection import BringUpProcess, OnStep, TeamConnection
from mcp_entry.log import log_to
from mcp_entry.notifications import AlertForwarder
from mcp_entry.server import EntryServer
from mcp_entry.stdio import claim_stdio
from supervisor.rpc.client import SupervisorClient

SENDER = "lead"
LOG_NAME = "mcp-entry.log"
PATIENCE_S = 120.0
"""Longest wait of a call for the team."""
logger = logging.getLogger("mcp_entry")


def team_in(home: Home, environment: Mapping[str, str], client: SupervisorClient) -> TeamConnection:
    """The connection to a home's team. A Claude that is itself an instance of a team brings no team up."""

    async def refuse(_on_step: OnStep) -> None:
        raise TeamNotRunningError(
            f"No team runs in {home.root}, and this Claude, which is an instance of a team itself, starts none. "
            "Set PHALANX_HOME to the home of its team."
        )

    if TEAM_MARK in environment:
        return TeamConnection(client, refuse, patience_s=PATIENCE_S)
    bring_up = BringUpProcess(home=home, environment=environment)
    return TeamConnection(client, bring_up, patience_s=PATIENCE_S, bring_back=bring_up.bring_back, reads_bring_up=False)


def run(team: TeamConnection, alerts: AlertForwarder, home: Home) -> None:
    """Serves stdin and stdout until the client closes stdin."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    logger.info("started in %s", home.root)
    asyncio.run(_serve(team, alerts, home))
    logger.info("ended with its input")


async def _serve(team: TeamConnection, alerts: AlertForwarder, home: Home) -> None:
    server = EntryServer(team, alerts, version=version("phalanx"), log=home.logs / LOG_NAME).server()
    reader, writer = claim_stdio()
    await server.run(reader, writer, server.create_initialization_options())
    await team.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="phalanx-mcp",
        description="The MCP server of a Phalanx team, for a Claude to start: it speaks MCP on stdin and stdout. "
        "`phalanx mcp add` registers it with Claude Code. PHALANX_HOME names the team's directory.",
    )
    parser.parse_args()
    home = home_from(os.environ)
    try:
        home.create()
        log_to(home.logs / LOG_NAME)
    except (PhalanxError, OSError) as error:
        print(f"phalanx-mcp has no log: {error}", file=sys.stderr)
    client = SupervisorClient(home, SENDER)
    run(team_in(home, os.environ, client), AlertForwarder(client), home)


if __name__ == "__main__":
    main()
