"""Where a new instance is placed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from actors.errors import InvalidRequestError
from actors.nodes import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a spawn says about its host. Empty: any will do."""

    host: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        parts = [self.host, *(f"{key}={value}" for key, value in self.labels.items())]
        return ", ".join(part for part in parts if part)

    @property
    def on_another(self) -> str:
        """For who waits for one, in words."""
        return f"another host that is {self.words}" if self.words else "another host"


def choose(wanted: Wanted, nodes: Sequence[Node], used: Mapping[str, int], drained: Collection[str]) -> Node | None:
    """The fitting host with the greatest share of free slots; None while all that fit are full.

    ``used``: instances by host. Raises ``InvalidRequestError`` when none of the hosts fits, full or not.
    """
    fitting = [node for node in nodes if _fits(node, wanted)]
    if not fitting:
        known = ", ".join(node.name for node in nodes) or "none"
        raise InvalidRequestError(f"No host of the team is {wanted.words}. There are: {known}. See phalanx hosts.")
    open_ones = [node for node in fitting if node.name not in drained]
    if not open_ones:
        who = f"Every host that is {wanted.words}" if wanted.labels else fitting[0].name
        raise InvalidRequestError(f"{who} is drained: it takes no new instances. Choose another host.")
    return roomiest(open_ones, used)


def roomiest(nodes: Iterable[Node], used: Mapping[str, int]) -> Node | None:
    """The one with the greatest share of free slots; None when all are full."""
    free = [node for node in nodes if used.get(node.name, 0) < _slots(node)]
    return max(free, key=lambda node: _order(node, used), default=None)


def nearly_as_good(
    wanted: Wanted, nodes: Sequence[Node], used: Mapping[str, int], drained: Collection[str]
) -> list[Node]:
    """The fitting hosts with room, best first, of which each would be the best with one instance less on it.

    So whoever is placed on one of them for another reason leaves the spread of instances uneven by one at most.
    """
    free = [
        node
        for node in nodes
        if _fits(node, wanted) and node.name not in drained and used.get(node.name, 0) < _slots(node)
    ]
    best = max((_share(node, used, 0) for node in free), default=0.0)
    near = [node for node in free if _share(node, used, 1) >= best]
    return sorted(near, key=lambda node: _order(node, used), reverse=True)


def _share(node: Node, used: Mapping[str, int], without: int) -> float:
    return (_slots(node) - used.get(node.name, 0) + without) / _slots(node)


def _order(node: Node, used: Mapping[str, int]) -> tuple[float, int, str]:
    left = _slots(node) - used.get(node.name, 0)
    return left / _slots(node), left, node.name


def _slots(node: Node) -> int:
    return node.slots or 0


def _fits(node: Node, wanted: Wanted) -> bool:
    named = not wanted.host or wanted.host in (node.name, node.address)
    return named and all(node.labels.get(key) == value for key, value in wanted.labels.items())
