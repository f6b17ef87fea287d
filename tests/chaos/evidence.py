"""What a team that leads itself did by its tools and was told: the records that speak of it, and the verdict on them.

A round asks for the problems while it waits for the team to come to rest, and at its end. Of a team in which nobody
leads, it says that nobody was told anything and nobody called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import copies, tool_calls, tree_checks
from tests.chaos.arrivals import Arrival
from tests.chaos.crews import Crew
from tests.chaos.spawned import Spawned
from tests.chaos.tool_calls import ToolCall
from tests.chaos.tree import Errands
from tests.chaos.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """``spawned``: the members of the tree; ``errands``: what they were told to do."""

    world: World
    crew: Crew
    spawned: Spawned
    errands: Errands

    def problems(self, seen: Sequence[Arrival]) -> list[str]:
        """``seen``: what arrived at the members. Blocks."""
        records = copies.in_file(self.world.home)
        words = [each for each in seen if self._is_word(each)]
        told = [each for each in seen if self._is_told(each)]
        leads = set(self.spawned.leads.values())
        calls = self._calls()
        begun = self.crew.read(self._other_directories())
        return [
            *tree_checks.every_call_was_made_once_and_answered(self.errands, calls),
            *tree_checks.every_word_stands_once(self.errands, words),
            *tree_checks.every_receipt_says_submitted([*words, *told], copies.statuses(records)),
            *tree_checks.every_start_made_one(
                self.errands, calls, copies.names(records), [each.text for each in begun]
            ),
            *tree_checks.every_end_of_a_turn_is_told_once(leads, copies.events(records), told),
        ]

    def calling(self) -> int:
        """How many members wait for an answer of their tools just now. Blocks."""
        return sum(tool_calls.is_under_way(path) for paths in self._transcripts().values() for path in paths)

    def of_clients(self, seen: Sequence[Arrival]) -> list[Arrival]:
        """What neither members sent to each other nor the team to leads."""
        return [each for each in seen if not self._is_word(each) and not self._is_told(each)]

    def _is_word(self, arrival: Arrival) -> bool:
        return arrival.sender in self.spawned.contexts

    def _is_told(self, arrival: Arrival) -> bool:
        return arrival.sender == tree_checks.TEAM and arrival.instance_id in self.spawned.leads.values()

    def _calls(self) -> list[ToolCall]:
        found: list[ToolCall] = []
        for instance_id, paths in self._transcripts().items():
            found += tool_calls.of_demo(instance_id, [path.read_bytes() for path in paths])
        return found

    def _transcripts(self) -> Mapping[str, Sequence[Path]]:
        directories = self.spawned.directories(self.world.home)
        return {one: sorted(directory.glob("transcripts/*.jsonl")) for one, directory in directories.items()}

    def _other_directories(self) -> Mapping[str, Path]:
        """Of instances that are not members: hands, also those that have ended, and spares."""
        there = self.world.home.instances.iterdir()
        return {path.name: path for path in there if path.is_dir() and path.name not in self.spawned.places}
