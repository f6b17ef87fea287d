"""Which operations of a batch must wait for which: pure.

The results are to be those of running the operations one after another in the order given, as far as one can see
another's doing: two operations may only overlap when they touch nothing in common, or both only look at it. What a
``status`` tells about the distance to an upstream branch is left out of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from actors.git import values
from actors.git.values import Operation, Place
from supervisor.git.names import base_of

Mode = Literal["look", "add", "change"]
"""``look`` goes with ``look`` and ``add`` with ``add``: two new branches do not disturb each other, but a list of all
branches must know which of them were there."""
Thing = tuple[object, ...]


@dataclass(slots=True)
class _Group:
    """Operations that touch a thing at the same time, after all those of the group before."""

    mode: Mode
    members: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)


def predecessors(batch: Sequence[tuple[Operation, Place] | None]) -> list[frozenset[int]]:
    """For each operation the earlier ones that must be done first; None stands for one that is not run."""
    groups: dict[Thing, _Group] = {}
    found = []
    for number, member in enumerate(batch):
        waits_for: set[int] = set()
        for thing, mode in _touched(*member) if member else ():
            group = groups.get(thing)
            if group is None or group.mode != mode or mode == "change":
                group = groups[thing] = _Group(mode, before=group.members if group else [])
            group.members.append(number)
            waits_for.update(group.before)
        found.append(frozenset(waits_for - {number}))
    return found


def _touched(operation: Operation, place: Place) -> Iterator[tuple[Thing, Mode]]:
    if isinstance(operation, values.READS):
        return ((thing, "look") for thing in _looked_at(operation, place))
    return _written(operation, place)


def _looked_at(read: values.Read, place: Place) -> tuple[Thing, ...]:
    head, tree, moves, names = _things(place)
    match read:
        case values.ReadStatus() | values.ReadDiff(base=None):
            return head, tree
        case values.ReadLog(revision=None):
            return (head,)
        case values.ReadDiff():
            return head, tree, moves, names
        case _:
            return head, moves, names


def _written(write: values.Write, place: Place) -> Iterator[tuple[Thing, Mode]]:
    head, tree, moves, names = _things(place)
    match write:
        case values.CreateRef():
            yield from _of_new(write.name, write.start, place)
            yield from ((head, "look"), (names, "add"))
        case values.Checkout():
            yield from _of_new(write.branch, write.start, place)
            yield from ((head, "change"), (tree, "change"), (moves, "change"), (names, "add"))
        case values.Commit():
            yield from ((head, "change"), (tree, "change"), (moves, "add"))
        case values.DeleteBranch():
            yield from ((moves, "look"), (names, "change"))
        case values.Merge():
            yield from ((head, "change"), (tree, "change"), (moves, "change"), (names, "look"))


def _things(place: Place) -> tuple[Thing, Thing, Thing, Thing]:
    """What is checked out and the files of a working tree; where branches are and which there are in a repository."""
    tree, repository = place.git_directory, place.common_directory
    return ("head", tree), ("tree", tree), ("moves", repository), ("names", repository)


def _of_new(name: str, start: str | None, place: Place) -> Iterator[tuple[Thing, Mode]]:
    own: Thing = ("name", place.common_directory, name)
    yield own, "change"
    if start is not None:
        other: Thing = ("name", place.common_directory, base_of(start))
        if other != own:
            yield other, "look"
        yield ("moves", place.common_directory), "look"
