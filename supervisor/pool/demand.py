"""How many spares of each kind are ordered and just being made, and whether making is worth a try; does nothing itself.

An order holds until it was taken from. After a failure nothing is made for a while, and the one that could not be made
is no longer ordered, so that nobody waits for it. Used by ``SpareAgents`` and ``SpareWorktrees``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

from supervisor.permits import Permits

PAUSE_S = 30.0

Kind = TypeVar("Kind", bound=Hashable)


class Demand(Generic[Kind]):
    def __init__(self) -> None:
        self._ordered: Counter[Kind] = Counter()
        self._making: Counter[Kind] = Counter()
        self._paused_until = 0.0
        self._last_error = ""
        self.errors: dict[Kind, list[str]] = {}
        """Why some of the last order could not be made or kept."""
        self.taken: Counter[Kind] = Counter()
        """Of the last order, by spawns."""

    def ordered(self, kind: Kind) -> int:
        """What is still to be there: neither taken yet nor given up."""
        return self._ordered[kind]

    @property
    def orders(self) -> Mapping[Kind, int]:
        return {kind: count for kind, count in self._ordered.items() if count}

    def order(self, kind: Kind, count: int) -> None:
        """From now on there shall be ``count``; they are tried at once, whatever failed before."""
        self._ordered[kind] = count
        self._paused_until = 0.0
        self.errors[kind] = []
        self.taken[kind] = 0

    def take(self, kind: Kind) -> None:
        """Somebody has taken one."""
        self.taken[kind] += bool(self._ordered[kind])
        self._fill(kind)

    def give_up(self, kind: Kind, why: str) -> None:
        """One is not waited for any more, and none is made for a while."""
        self._last_error = why
        self._paused_until = time.monotonic() + PAUSE_S
        if self._ordered[kind]:
            self.errors.setdefault(kind, []).append(why)
        self._fill(kind)

    def _fill(self, kind: Kind) -> None:
        self._ordered[kind] = max(self._ordered[kind] - 1, 0)

    def forget(self) -> None:
        """All that is ordered."""
        self._ordered.clear()

    def missing(self, kind: Kind, wanted: int, there: int) -> int:
        """How many more are to be made now; not above 0 when there are enough."""
        return 0 if self.pause_s else wanted - there - self._making[kind]

    @property
    def pause_s(self) -> float:
        """For so long nothing is made, because of ``last_error``."""
        return max(self._paused_until - time.monotonic(), 0.0)

    @property
    def last_error(self) -> str:
        return self._last_error

    def begin(self, kind: Kind) -> None:
        """One is being made from now on, until ``made`` is left."""
        self._making[kind] += 1

    @contextmanager
    def made(self, kind: Kind) -> Iterator[None]:
        """Around the making of one that was begun."""
        try:
            yield
        except Exception as error:
            self.give_up(kind, str(error))
            raise
        finally:
            self._making[kind] -= 1


def waits_for(lacking: int, demand: Demand[Kind], permits: Permits) -> str:
    """What ``lacking`` spares wait for, in words; empty for none."""
    if not lacking:
        return ""
    if demand.pause_s:
        return f"the next try in {demand.pause_s:.0f} s: {demand.last_error}"
    if permits.urgent:
        return f"spawns of callers, which come first: {permits.urgent} run, {permits.waiting} wait"
    return f"{lacking} that are being made"
