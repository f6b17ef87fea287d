"""Changes that the file has and Redis still lacks, in order, kept only while somebody brings Redis up to date. Pure.

``SqliteStore`` could always be asked for them again; this spares the asking while Redis keeps pace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from supervisor.store.values import Change

_MOST_CHANGES = 5000


class Backlog:
    """``kept`` is False when a change is missing: then only the file knows what Redis lacks."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self.kept = False

    def __bool__(self) -> bool:
        return bool(self._changes)

    def restart(self) -> None:
        self._changes.clear()
        self.kept = True

    def stop(self) -> None:
        self._changes.clear()
        self.kept = False

    def add(self, change: Change) -> None:
        """A change that does not follow on the last one shows that one is missing."""
        if not self.kept:
            return
        follows = not self._changes or self._changes[-1].position.sequence == change.previous
        if follows and len(self._changes) < _MOST_CHANGES:
            self._changes.append(change)
        else:
            self.stop()

    def take(self, after: int, most_bytes: int) -> Sequence[Change]:
        """The next ones after the sequence ``after``: one, and more while they are small. Stops when one is missing."""
        while self._changes and self._changes[0].position.sequence <= after:
            self._changes.popleft()
        if self._changes and self._changes[0].previous != after:
            self.stop()
        taken: list[Change] = []
        size = 0
        while self._changes and (not taken or size + _size(self._changes[0]) <= most_bytes):
            size += _size(self._changes[0])
            taken.append(self._changes.popleft())
        return taken


def _size(change: Change) -> int:
    return sum(len(key) + len(value or b"") for key, value in change.records.items())


def merged(changes: Sequence[Change]) -> dict[str, bytes | None]:
    """Several as one: the last value of each record."""
    together: dict[str, bytes | None] = {}
    for change in changes:
        together.update(change.records)
    return together
