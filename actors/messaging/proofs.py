"""Which messages the agent's own records show: its hook events at once, its transcript a moment later.

Kept by the observer, asked by the courier. An agent that is killed loses what its transcript does not show yet, so
proofs are told apart by the agent's life: what was reported only in an earlier life may have been lost with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from actors.messaging.recent import RecentIds


class Proofs:
    """``written`` is the transcript's set of ids, kept by who reads it."""

    def __init__(self, written: RecentIds) -> None:
        self.written = written
        self._prompted = RecentIds()
        self._earlier = RecentIds()
        self._awaited: set[str] = set()

    def begin_life(self) -> None:
        """The agent was started anew: what came before proves nothing to it that it has not written."""
        self._earlier.add(self._prompted)
        self._prompted.clear()
        self._awaited.clear()

    def add(self, ids: Collection[str]) -> None:
        """Ids of a prompt that a hook has reported."""
        self._prompted.add(ids)
        self._awaited.update(one for one in ids if one not in self.written)

    def has(self, message_id: str) -> bool:
        """Whether it is in the conversation of the agent as it lives now."""
        return message_id in self.written or message_id in self._prompted

    def has_ever(self, message_id: str) -> bool:
        """Whether it was in the conversation in this life or an earlier one."""
        return self.has(message_id) or message_id in self._earlier

    def has_all(self, ids: Iterable[str]) -> bool:
        return all(map(self.has, ids))

    @property
    def all_written(self) -> bool:
        """Whether the transcript shows everything that hooks have reported."""
        self._awaited = {one for one in self._awaited if one not in self.written}
        return not self._awaited

    def await_no_more(self) -> None:
        """What is not written by now will not be: what an interrupt took back is never written."""
        self._awaited.clear()
