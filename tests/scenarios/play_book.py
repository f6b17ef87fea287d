"""All scenarios there are; importing the modules is what makes them known."""

from __future__ import annotations

from tests.scenarios import asking, at_the_terminal, sessions, surroundings, tmux_habits, trouble
from tests.scenarios.scenario import SCENARIOS

MODULES = (at_the_terminal, tmux_habits, sessions, asking, surroundings, trouble)
ALL = tuple(SCENARIOS)
