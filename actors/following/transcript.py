"""The conversation of one instance, followed in the agent's own transcript: tokens, unread answers, the proof of a
delivery. What a lead reads of it comes from ``pages``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from actors.agents.base import Agent, Entry, EntryKind, TokenUse
from actors.following.read_mark import ReadMark
from actors.following.tail import Tail
from actors.messaging.proofs import Proofs
from actors.messaging.recent import RecentIds
from actors.troubles import Trouble

logger = logging.getLogger(__name__)

_ANSWER_IDS = 100
"""The lines of one answer stand close together; only they carry the same count of tokens again."""


def _parse(agent: Agent, lines: Sequence[bytes]) -> list[Entry]:
    entries: list[Entry] = []
    for line in lines:
        try:
            entries.extend(agent.read_transcript(line))
        except ValueError:
            continue  # torn by a crash of the agent; what follows is whole
    return entries


class Conversation:
    """Follows one transcript. Blocking file reads: ``follow`` only on news."""

    def __init__(self, agent: Agent, mark: ReadMark, proofs: Proofs) -> None:
        self._agent = agent
        self._proofs = proofs
        self._mark = mark
        self._tail: Tail | None = None
        self._trouble = Trouble(logger, "the transcript cannot be read, which is tried again")
        self._counted = RecentIds(_ANSWER_IDS)
        self.tokens = TokenUse()
        self.context_tokens = 0
        """What the latest request to the model held, with its answer: how long the conversation has grown."""
        self.answers = 0
        """In the transcript that is followed now."""
        self._answers_read = 0
        self.last_answer = ""

    def open(self, path: str) -> None:
        """Begin to follow this transcript after the end of the one before; no-op if it is followed already."""
        if path and (self._tail is None or self._tail.path != Path(path)):
            self.follow()
            self._tail = Tail(Path(path))
            self.answers = 0
            self._answers_read = self._mark.of(self._tail.path)

    @property
    def path(self) -> Path | None:
        """Where the transcript is; None while that is not known."""
        return None if self._tail is None else self._tail.path

    @property
    def unreadable(self) -> bool:
        """There may be more than could be read."""
        return self._trouble.lasts

    @property
    def is_open(self) -> bool:
        return self._tail is not None

    def follow(self) -> bool:
        """Takes in what is new; whether there was anything."""
        if self._tail is None:
            return False
        found = False
        try:
            for lines in self._tail.pieces():
                for entry in _parse(self._agent, lines):
                    self._take_in(entry)
                    found = True
        except OSError as error:  # as without free file descriptors: what is there is read the next time
            self._trouble.met(error)
        else:
            self._trouble.over()
        return found

    def _take_in(self, entry: Entry) -> None:
        if entry.kind is EntryKind.QUESTION:
            self._proofs.write(entry.text)
        if entry.refused:
            self._proofs.refuse(entry.refused, entry.text)
        if entry.kind is EntryKind.ANSWER:
            self.answers += 1
            self.last_answer = entry.text
        if entry.tokens and entry.answer_id not in self._counted:
            self._counted.add((entry.answer_id,))
            used = entry.tokens
            held = used.input_tokens + used.cache_read_tokens + used.cache_creation_tokens
            self.context_tokens = held + used.output_tokens
            self.tokens = TokenUse(
                input_tokens=self.tokens.input_tokens + entry.tokens.input_tokens,
                output_tokens=self.tokens.output_tokens + entry.tokens.output_tokens,
                cache_read_tokens=self.tokens.cache_read_tokens + entry.tokens.cache_read_tokens,
                cache_creation_tokens=self.tokens.cache_creation_tokens + entry.tokens.cache_creation_tokens,
            )

    @property
    def unread(self) -> int:
        return max(0, self.answers - self._answers_read)

    def read_to(self, answers: int) -> None:
        """The reader of pages has seen so many answers."""
        if self._tail is not None and answers != self._answers_read:
            self._answers_read = answers
            self._mark.set(self._tail.path, answers)
