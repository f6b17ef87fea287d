"""Working trees whose files a merge is just changing.

``MergeService`` holds a tree while the branch that it has checked out moves. Those who work there are known and kept
between two turns; who is only being started is not. So ``AgentStarter`` waits before it starts an agent in a tree that
is held. All in the supervisor's event loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.concurrency import ChangeNotifier


class MovingTrees:
    def __init__(self, changes: ChangeNotifier) -> None:
        self._changes = changes
        self._held: set[Path] = set()

    @contextmanager
    def hold(self, tree: Path) -> Iterator[None]:
        """For one merge at a time."""
        self._held.add(tree)
        try:
            yield
        finally:
            self._held.remove(tree)
            self._changes.announce()

    async def until_still(self, tree: Path) -> None:
        """No longer than a merge takes to move its branch, which has a time limit."""
        await self._changes.until(lambda: tree not in self._held, None)
