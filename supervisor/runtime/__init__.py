"""Brings the parts of a team up and down: tmux server, Ray, supervisor. Imports no Ray."""

from supervisor.runtime.bring_up import OnStep
from supervisor.runtime.parts import EndedProcess
from supervisor.runtime.runtime import DownReport, Runtime, TeamAddress, TeamState

__all__ = ["DownReport", "EndedProcess", "OnStep", "Runtime", "TeamAddress", "TeamState"]
