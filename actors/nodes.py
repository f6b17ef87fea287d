"""The hosts of a cluster and their resources, as values. ``actors.host.cluster`` gets them from Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SLOT = "claude_slot"
"""Ray's custom resource: each instance takes one."""
HOST_LABEL = "phalanx/host"
ELASTIC_LABEL = "phalanx/elastic"
"""``true`` on a host that Ray's autoscaler may remove when nothing runs on it."""
SLOT_BYTES = 512 << 20
"""An idle Claude Code with its actor takes 180 MB. At work, with the programs that it runs, it needs more."""
RESERVED_BYTES = 1 << 30
"""For the system, Ray and the supervisor."""
_OF_RAY = "ray.io/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One host on which Ray runs."""

    name: str
    address: str
    slots: int | None
    """How many instances it has room for; None when it does not offer ``SLOT``."""
    memory_bytes: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def elastic(self) -> bool:
        return self.labels.get(ELASTIC_LABEL) == "true"


def slots_for(memory_bytes: int) -> int:
    """How many instances a host of this memory has room for, at least one."""
    return max(1, (memory_bytes - RESERVED_BYTES) // SLOT_BYTES)


def named(listed: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """The nodes that Ray lists, sorted by name. Hosts of the same name get their address as suffix."""
    names = Counter(map(_name, listed))
    return tuple(sorted((_node(each, unique=names[_name(each)] == 1) for each in listed), key=lambda node: node.name))


def _node(listed: Mapping[str, Any], *, unique: bool) -> Node:
    resources, address = listed["Resources"], str(listed["NodeManagerAddress"])
    return Node(
        name=_name(listed) if unique else f"{_name(listed)}-{address}",
        address=address,
        slots=int(resources[SLOT]) if SLOT in resources else None,
        memory_bytes=int(resources.get("memory", 0)),
        labels={key: value for key, value in listed.get("Labels", {}).items() if not key.startswith(_OF_RAY)},
    )


def _name(listed: Mapping[str, Any]) -> str:
    return str(listed.get("Labels", {}).get(HOST_LABEL) or listed["NodeManagerHostname"])
