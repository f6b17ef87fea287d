"""Brings the parts of a team up and down: tmux server, Ray, supervisor. Imports no Ray."""

from supervisor.runtime.lifecycle import Runtime
from supervisor.runtime.values import DownReport, Ended, OnStep, Step, TeamAddress, TeamState

__all__ = ["DownReport", "Ended", "OnStep", "Runtime", "Step", "TeamAddress", "TeamState"]
