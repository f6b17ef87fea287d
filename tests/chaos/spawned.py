"""The members of a round's team, by all the names that they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from actors.home import Home
from supervisor.api.results import SPARE_PREFIX
from tests.chaos.survey import Found


@dataclass(frozen=True, slots=True)
class Spawned:
    """The members of the team as they were when the load began."""

    contexts: dict[str, str] = field(default_factory=dict)
    """Each instance's first message."""
    sessions: dict[str, str] = field(default_factory=dict)
    """Instance by session."""
    agents: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Process id and start time by instance."""
    places: dict[str, str] = field(default_factory=dict)
    """Instance by the name of its private directory: one that was a spare agent keeps the spare's."""
    leads: dict[str, str] = field(default_factory=dict)
    """Who leads each instance that is led by another."""
    roles: dict[str, str] = field(default_factory=dict)
    spares: int = 0
    """Most spare agents that the team keeps ready."""

    @property
    def ids(self) -> list[str]:
        return list(self.contexts)

    def directories(self, home: Home) -> dict[str, Path]:
        """Each instance's private one."""
        return {instance_id: home.instance_directory(place) for place, instance_id in self.places.items()}

    def divide(self, found: Sequence[Found]) -> tuple[list[Found], list[Found]]:
        """The team's processes, by the names of its instances, and those of spare agents that nobody has got."""
        named = [replace(each, instance_id=self.places.get(each.instance_id, each.instance_id)) for each in found]
        team = [each for each in named if not each.instance_id.startswith(SPARE_PREFIX)]
        return team, [each for each in named if each.instance_id.startswith(SPARE_PREFIX)]
