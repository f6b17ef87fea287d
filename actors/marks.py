"""Environment variables by which the processes of a team are known wherever they have moved to."""

from __future__ import annotations

TEAM_MARK = "PHALANX_TEAM"
"""Random id of one bring-up; everything that the team starts carries it."""
INSTANCE_MARK = "PHALANX_INSTANCE"
"""The instance's private directory: unlike its id it is unique on the machine."""
