"""Names that many parts must agree on: environment variables that mark the processes of a team, and its tools."""

from __future__ import annotations

TEAM_MARK = "PHALANX_TEAM"
"""Random id of one `phalanx up`; every process of the team carries it."""
INSTANCE_MARK = "PHALANX_INSTANCE"
"""The instance's private directory: unlike its id it is unique on the machine."""
UMASK_MARK = "PHALANX_UMASK"
"""The umask (octal) of `phalanx up`. Ray runs with a private one; worktrees and agents get the user's."""
NODE_MARK = "PHALANX_RAY_NODE"
"""The home on this host; every Ray process that was started for it carries this."""
ENDPOINT_MARK = "PHALANX_ENDPOINT"
"""The home on this host; the process that serves the instances' tools carries it. It may outlive one `phalanx up`."""
NOTICE_MARK = "PHALANX_NOTICE"
"""The home and a random name of one run of the user's `notify_command`; all that it has started carries it."""
TEAM_SERVER = "phalanx-team"
"""The MCP server under which agents know the tools of the team: ``mcp__phalanx-team__send``."""
MARKS = frozenset({TEAM_MARK, INSTANCE_MARK, UMASK_MARK, NODE_MARK, ENDPOINT_MARK, NOTICE_MARK})
