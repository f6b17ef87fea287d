"""The hosts of a cluster and what they offer, as values. ``actors.host.cluster`` asks Ray for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SLOT = "claude_slot"
"""The custom resource of which each instance takes one."""
HOST_LABEL = "phalanx/host"
ELASTIC_LABEL = "phalanx/elastic"
"""``true`` at a host that Ray's autoscaler may take away as soon as nothing runs on it."""
_OF_RAY = "ray.io/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One host on which Ray runs."""

    name: str
    address: str
    slots: int | None
    """Instances that it offers room for; None when it offers none of our resource."""
    memory_bytes: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def elastic(self) -> bool:
        return self.labels.get(ELASTIC_LABEL) == "true"


def named(listed: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """What Ray lists, by name. Hosts of one name are told apart by their addresses."""
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
