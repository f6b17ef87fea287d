"""How many tokens an agent has used: each answer of the API counts once, however often a transcript repeats it.

``Conversation`` counts what it reads, also of subagents, whose transcripts are files of their own. A conversation that
is copied (``/branch``) or read again counts no second time.
"""

from __future__ import annotations

from actors.agents.base import TokenUse
from actors.instance.evidence import RecentMap

_RECENT = 100
"""The lines of one answer stand close together. The first of them may tell less than the last."""


class TokenCounter:
    def __init__(self) -> None:
        self._recent = RecentMap[str, TokenUse](_RECENT)
        self._seen: set[int] = set()
        """Hashes: the ids themselves would take three times the memory, which grows with the age of an instance."""
        self.total = TokenUse()

    def count(self, answer_id: str, told: TokenUse) -> None:
        """Takes in what one line tells of this answer."""
        before = self._recent.get(answer_id)
        if before is None:
            if hash(answer_id) in self._seen:
                return
            self._seen.add(hash(answer_id))
            before = TokenUse()
        now = told.at_least(before)
        self._recent[answer_id] = now
        self.total = self.total.plus(now).minus(before)
