"""Environment variables that mark the processes of a team."""

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
MARKS = frozenset({TEAM_MARK, INSTANCE_MARK, UMASK_MARK, NODE_MARK, ENDPOINT_MARK})
