"""All scenarios there are; importing the modules is what makes them known."""

from __future__ import annotations

from tests.scenarios import at_the_terminal
from tests.scenarios.scenario import SCENARIOS

MODULES = (at_the_terminal,)
ALL = tuple(SCENARIOS)
