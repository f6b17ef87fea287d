"""The conversation of one instance, read from the agent's own transcript.

``Conversation`` follows the transcript for the actor (tokens, unread answers, the second witness of a delivery) and
answers a lead's reads by cursor. A cursor is ``<file>:<byte offset>``; it stays good across restarts of the actor, and
reading starts anew when the agent began another file.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.agents.base import Agent, Entry, EntryKind, TokenUse
from actors.envelope import ids_in
from actors.errors import InvalidRequestError
from actors.recent import RecentIds
from actors.tail import Tail

_LATEST_BYTES = 2_000_000
"""How far back a read without a cursor looks for the latest entries."""
_ANSWER_IDS = 100
"""The lines of one answer stand close together; only they carry the same count of tokens again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    entries: tuple[Entry, ...]
    cursor: str
    more: bool
    """Complete entries stand after the cursor already."""


def _parse(agent: Agent, lines: Sequence[bytes]) -> list[Entry]:
    entries: list[Entry] = []
    for line in lines:
        try:
            entries.extend(agent.read_transcript(line))
        except ValueError:
            continue  # torn by a crash of the agent; what follows is whole
    return entries


class Conversation:
    """Follows one transcript. Blocking file reads: call ``page`` in a thread, ``follow`` only on news."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._tail: Tail | None = None
        self._counted = RecentIds(_ANSWER_IDS)
        self.tokens = TokenUse()
        self.answers = 0
        self.answers_read = 0
        """Of the answers, those that the reader of pages had seen when it said ``all_read``."""
        self.last_answer = ""
        self.seen_ids = RecentIds()
        """Ids of messages that stand in the conversation."""

    def open(self, path: str) -> None:
        """Begin to follow this transcript; no-op if it is followed already."""
        if path and (self._tail is None or self._tail.path != Path(path)):
            self._tail = Tail(Path(path))

    @property
    def is_open(self) -> bool:
        """Whether it is known where the transcript is."""
        return self._tail is not None

    def follow(self) -> bool:
        """Takes in what is new; whether there was anything."""
        if self._tail is None:
            return False
        found = False
        for lines in self._tail.pieces():
            for entry in _parse(self._agent, lines):
                self._take_in(entry)
                found = True
        return found

    def _take_in(self, entry: Entry) -> None:
        if entry.kind is EntryKind.QUESTION:
            self.seen_ids.add(ids_in(entry.text))
        if entry.kind is EntryKind.ANSWER:
            self.answers += 1
            self.last_answer = entry.text
        if entry.tokens and entry.answer_id not in self._counted:
            self._counted.add((entry.answer_id,))
            self.tokens = TokenUse(
                input_tokens=self.tokens.input_tokens + entry.tokens.input_tokens,
                output_tokens=self.tokens.output_tokens + entry.tokens.output_tokens,
                cache_read_tokens=self.tokens.cache_read_tokens + entry.tokens.cache_read_tokens,
                cache_creation_tokens=self.tokens.cache_creation_tokens + entry.tokens.cache_creation_tokens,
            )

    @property
    def unread(self) -> int:
        return max(0, self.answers - self.answers_read)

    def all_read(self) -> None:
        self.answers_read = self.answers

    def page(self, cursor: str | None, limit: int) -> Page:
        """At most about ``limit`` entries after ``cursor``; without one the latest ``limit``."""
        if self._tail is None:
            return Page(entries=(), cursor="", more=False)
        path = self._tail.path
        return self._after(path, cursor, limit) if cursor else self._latest(path, limit)

    def _latest(self, path: Path, limit: int) -> Page:
        size = path.stat().st_size if path.exists() else 0
        tail = Tail(path, max(0, size - _LATEST_BYTES))
        entries = _parse(self._agent, tail.read())
        return Page(entries=tuple(entries[-limit:]), cursor=_cursor(path, tail.offset), more=False)

    def _after(self, path: Path, cursor: str, limit: int) -> Page:
        tail = Tail(path, _offset(path, cursor))
        entries: list[Entry] = []
        while len(entries) < limit:
            lines = tail.read(limit_bytes=1)
            if not lines:
                return Page(entries=tuple(entries), cursor=_cursor(path, tail.offset), more=False)
            entries.extend(_parse(self._agent, lines))
        more = bool(Tail(path, tail.offset).read(limit_bytes=1))
        return Page(entries=tuple(entries), cursor=_cursor(path, tail.offset), more=more)


def _file_mark(path: Path) -> str:
    return f"{zlib.crc32(str(path).encode()):08x}"


def _cursor(path: Path, offset: int) -> str:
    return f"{_file_mark(path)}:{offset}"


def _offset(path: Path, cursor: str) -> int:
    mark, _, offset = cursor.partition(":")
    if not offset.isdecimal():
        raise InvalidRequestError(f"The cursor {cursor!r} is not one of ours: give the cursor of an earlier read.")
    return int(offset) if mark == _file_mark(path) else 0
