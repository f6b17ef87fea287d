"""A set of ids that forgets the oldest, so that what is remembered does not grow with the age of an instance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

LIMIT = 20_000
"""Ids that are remembered. What is asked for is what the supervisor has not yet taken in: some hundred at most."""


class RecentIds:
    """Holds the latest ``limit`` ids that were added; an id that is added again counts as new."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._ids: dict[str, None] = {}

    def __contains__(self, one: str) -> bool:
        return one in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Iterable[str]) -> None:
        for one in ids:
            self._ids.pop(one, None)
            self._ids[one] = None
        while len(self._ids) > self._limit:
            del self._ids[next(iter(self._ids))]

    def clear(self) -> None:
        self._ids.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._ids))
