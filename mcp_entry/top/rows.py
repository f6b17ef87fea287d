"""The team as ``phalanx top`` holds it, and the order in which it is listed. Pure.

``TeamRows.apply`` takes in each answer of the verb ``changes``. ``TeamRows.listed`` gives the lines of the list: first
those that need somebody, then the others, as a tree or by state, each with a key that stays the same while lines come
and go. Who leads others stands at the head of them in the tree in any case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from actors.status import Status
from supervisor.api.results import ChangesResult, InstanceInfo

NEEDING = "needs you"
"""The section of those that need somebody."""
TEAM = "team"
"""The section of the tree."""


class Order(StrEnum):
    TREE = "tree"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class ListLine:
    """An instance in a section, or the heading of one."""

    section: str
    instance_id: str = ""
    """Empty: the heading."""
    depth: int = 0
    """In the tree, below how many of those that are shown."""
    count: int = 0
    """Of a heading: how many stand below it."""

    @property
    def key(self) -> tuple[str, str]:
        return (self.section, self.instance_id)


_STATES = (
    Status.FAILED,
    Status.WAITING_PERMISSION,
    Status.WAITING_INPUT,
    Status.RATE_LIMITED,
    Status.STARTING,
    Status.BUSY,
    Status.READY,
    Status.STOPPED,
)
"""In the order of a list by state, and of the head."""


class TeamRows:
    def __init__(self) -> None:
        self.instances: Mapping[str, InstanceInfo] = {}
        """By id, oldest first."""
        self.needing: Sequence[str] = ()
        """Ids of those that need somebody, in the order of ``list``."""
        self.warnings: Sequence[str] = ()

    def apply(self, changes: ChangesResult) -> None:
        held = {} if changes.complete else dict(self.instances)
        held.update((each.instance_id, each) for each in changes.instances)
        for instance_id in changes.gone:
            held.pop(instance_id, None)
        self.instances = held
        self.needing = [each for each in changes.needs_attention if each in held]
        self.warnings = changes.warnings

    @property
    def counts(self) -> Mapping[Status, int]:
        """Those that need somebody first."""
        counted = Counter(each.status for each in self.instances.values())
        return {status: counted[status] for status in _STATES if counted[status]}

    def listed(self, order: Order, words: str = "") -> Sequence[ListLine]:
        """``words``: only those in which each of these words is found, in any case."""
        matching = {each.instance_id for each in self.instances.values() if _matches(each, words.casefold().split())}
        needing = [ListLine(NEEDING, each) for each in self.needing if each in matching]
        parts = [_under_heading(NEEDING, needing)] if needing else []
        if order is Order.TREE:
            team = [*self._tree(matching)]
            if team or not needing:
                parts.append(_under_heading(TEAM, team))
        else:
            others = matching.difference(self.needing)
            for status in _STATES:
                found = [ListLine(status, each) for each in matching_in(self.instances, others, status)]
                if found:
                    parts.append(_under_heading(status, found))
        return [line for part in parts for line in part]

    def _tree(self, matching: set[str]) -> Iterator[ListLine]:
        needing = set(self.needing)
        below: dict[str, list[str]] = {}
        for each in self.instances.values():
            parent = each.parent_id if each.parent_id in self.instances else None
            below.setdefault(parent or "", []).append(each.instance_id)
        waiting = [(each, 0) for each in reversed(below.get("", []))]
        while waiting:
            instance_id, depth = waiting.pop()
            shown = instance_id in matching
            if shown and (instance_id in below or instance_id not in needing):
                yield ListLine(TEAM, instance_id, depth)
            waiting += [(each, depth + shown) for each in reversed(below.get(instance_id, []))]


def matching_in(instances: Mapping[str, InstanceInfo], matching: set[str], status: Status) -> Iterator[str]:
    return (one for one, info in instances.items() if info.status is status and one in matching)


def _under_heading(section: str, lines: Sequence[ListLine]) -> Sequence[ListLine]:
    return [ListLine(section, count=len(lines)), *lines]


def _matches(each: InstanceInfo, words: Sequence[str]) -> bool:
    if not words:
        return True
    shown = (each.instance_id, each.name, each.role, each.status, each.branch, each.host, each.model, each.task)
    text = " ".join(part for part in (*shown, each.activity, each.reason) if part).casefold()
    return all(word in text for word in words)
