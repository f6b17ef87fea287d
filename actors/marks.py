"""Environment variables that the processes of a team hand on, to be known by or to know by."""

from __future__ import annotations

TEAM_MARK = "PHALANX_TEAM"
"""Random id of one bring-up; everything that the team starts carries it."""
INSTANCE_MARK = "PHALANX_INSTANCE"
"""The instance's private directory: unlike its id it is unique on the machine."""
UMASK_MARK = "PHALANX_UMASK"
"""The file mode creation mask (octal) of who brought the team up. Ray has a private one; worktrees and what a host
starts for agents have the user's own."""
NODE_MARK = "PHALANX_RAY_NODE"
"""The home on this host; every Ray process that was started for it carries the mark."""
MARKS = frozenset({TEAM_MARK, INSTANCE_MARK, UMASK_MARK, NODE_MARK})
