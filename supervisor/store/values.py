"""What the copies of a team's state say about themselves, so that it can be decided which one is newer.

A copy is at a ``Position``. Every write moves it by one and is a ``Change``. A copy that stayed behind is brought up to
date with the ``Changes`` after its own position. Made by ``SqliteStore``, read by whoever keeps a second copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    lineage: str = ""
    """Random, made with the first copy and handed on to every further one. Copies of two lineages are two teams."""
    epoch: int = 0
    """Which writer wrote last; each supervisor that opens the state takes a higher one. 0 is an empty copy."""
    sequence: int = 0
    """How many writes the lineage has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write, as it must be made in every other copy: whole, and only in a copy that is at ``previous``."""

    previous: int
    position: Position
    records: Mapping[str, bytes | None]
    """None is a deleted record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A part of what a copy that stayed behind lacks, oldest first."""

    upto: int
    """A copy that takes these records over, and had all before them, has everything through this sequence.

    A record that was written again later is left out here and comes with its last write, so the copy is consistent
    only when it has arrived at the position of the store.
    """
    records: Mapping[str, bytes | None]
    """None is a deleted record."""
