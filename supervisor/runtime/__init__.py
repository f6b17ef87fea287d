"""Brings the parts of a team up and down: tmux server, Ray, supervisor. Imports no Ray."""

from supervisor.runtime.model import DownReport, EndedProcess, OnStep, StepTime, TeamAddress, TeamState
from supervisor.runtime.runtime import Runtime

__all__ = ["DownReport", "EndedProcess", "OnStep", "Runtime", "StepTime", "TeamAddress", "TeamState"]
