"""How many spares of each kind are ordered and just being made, and whether making is worth a try; does nothing itself.

An order holds until it was taken from. After a failure nothing is made for a while, and the one that could not be made
is no longer ordered, so that nobody waits for it. Used by ``SpareAgents`` and ``SpareWorktrees``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

PAUSE_S = 30.0

Kind = TypeVar("Kind", bound=Hashable)


class Demand(Generic[Kind]):
    def __init__(self) -> None:
        self._ordered: Counter[Kind] = Counter()
        self._making: Counter[Kind] = Counter()
        self._paused_until = 0.0
        self.errors: dict[Kind, list[str]] = {}
        """Why spares could not be made since the last order."""

    def ordered(self, kind: Kind) -> int:
        return self._ordered[kind]

    def order(self, kind: Kind, count: int) -> None:
        """From now on there shall be ``count``; they are tried at once, whatever failed before."""
        self._ordered[kind] = count
        self._paused_until = 0.0
        self.errors[kind] = []

    def fill(self, kind: Kind) -> None:
        """One was taken, or is not waited for any more."""
        self._ordered[kind] = max(self._ordered[kind] - 1, 0)

    def forget(self, kind: Kind | None = None) -> None:
        """What is ordered of this kind, or of all."""
        if kind is None:
            self._ordered.clear()
        else:
            self._ordered.pop(kind, None)

    def pause(self) -> None:
        self._paused_until = time.monotonic() + PAUSE_S

    def missing(self, kind: Kind, wanted: int, there: int) -> int:
        """How many more are to be made now; not above 0 when there are enough."""
        return 0 if time.monotonic() < self._paused_until else wanted - there - self._making[kind]

    def begin(self, kind: Kind) -> None:
        """One is being made from now on, until ``made`` is left."""
        self._making[kind] += 1

    @contextmanager
    def made(self, kind: Kind) -> Iterator[None]:
        """Around the making of one that was begun."""
        try:
            yield
        except Exception as error:
            if self._ordered[kind]:
                self.errors.setdefault(kind, []).append(str(error))
            self.fill(kind)
            self.pause()
            raise
        finally:
            self._making[kind] -= 1
