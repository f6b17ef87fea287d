"""The conversation of one instance: its transcript is followed, paged and shortened for reading.

The observer follows it with ``Conversation``; leads read it with ``read_page``, also when the agent is long gone.
``FileTail`` reads files that another program appends to. Everything here blocks on files: call it in a thread, or where
a file has news only.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actors.agents.base import Agent, ConversationItem, EntryKind, TokenUse
from actors.backoff import LastingProblem
from actors.errors import InvalidRequestError
from actors.files import replace_file
from actors.instance.activity import Activity
from actors.instance.evidence import DeliveryEvidence
from actors.instance.tokens import TokenCounter

logger = logging.getLogger(__name__)

MARK_NAME = "read.json"

LONGEST_SPOKEN = 20_000
"""Most characters shown of a question or an answer."""
LONGEST_OTHER = 2_000
"""Most characters shown of anything else, and of a tool's input."""
_SPOKEN = frozenset({EntryKind.QUESTION, EntryKind.ANSWER})

PAGE_CHARACTERS = 40_000
"""A page ends before the entry that would go beyond it."""
_LATEST_BYTES = 2_000_000
"""How far back a read without a cursor looks for the latest entries."""

_PIECE_BYTES = 1 << 22


class Conversation:
    """Follows one transcript: tokens, unread answers, proofs of delivery. ``follow`` blocks: call it only on news."""

    def __init__(self, agent: Agent, directory: Path, evidence: DeliveryEvidence) -> None:
        """``directory``: the instance's own, where the number of answers that were read is kept.

        So only new answers count as unread after any restart. That file is not synced: what a power cut takes counts
        as unread once more.
        """
        self._agent = agent
        self._evidence = evidence
        self._read_mark = directory / MARK_NAME
        self._tail: FileTail | None = None
        self._trouble = LastingProblem(logger, "the transcript cannot be read, which is tried again")
        self._counter = TokenCounter()
        self._subagents: dict[Path, FileTail] = {}
        self.context_tokens = 0
        """What the latest request to the model held, with its answer: how long the conversation has grown."""
        self.answers = 0
        """In the transcript that is followed now."""
        self._answers_read = 0
        self.last_answer = ""
        self.activity = Activity()
        self.interruptions = 0
        """How many turns the transcript says were interrupted."""

    def open(self, path: str) -> None:
        """Begin to follow this transcript after the end of the one before; no-op if it is followed already."""
        if path and (self._tail is None or self._tail.path != Path(path)):
            self.follow()
            self.follow_subagents()
            self._tail = FileTail(Path(path))
            self.answers = self.context_tokens = 0
            self._answers_read = self._marked_as_read(self._tail.path)

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
                for line in lines:
                    for entry in _parse_line(self._agent, line):
                        self._take_in(entry)
                        found = True
        except OSError as error:  # as without free file descriptors: what is there is read the next time
            self._trouble.met(error)
        else:
            self._trouble.over()
        return found

    def _take_in(self, entry: ConversationItem) -> None:
        if entry.kind is EntryKind.QUESTION:
            self._evidence.write(entry.text)
        if entry.refused:
            self._evidence.refuse(entry.refused, entry.text)
        self.interruptions += entry.interrupted
        if entry.kind is EntryKind.ANSWER:
            self.answers += 1
            self.last_answer = entry.text
        if entry.tokens:
            self._counter.count(entry.answer_id, entry.tokens)
        if entry.tokens and entry.model:  # an answer that the program makes by itself holds nothing
            self.context_tokens = entry.tokens.counted + entry.tokens.cache_read_tokens
        self.activity.take_in(entry)

    @property
    def context_window(self) -> int | None:
        """How many tokens the model of the last answer takes; None where that is not known."""
        window = self._agent.context_window(self.activity.model) if self.activity.model else None
        return window if window is None or self.context_tokens <= window else None

    @property
    def tokens(self) -> TokenUse:
        """Of all conversations so far, with those of subagents."""
        return self._counter.total

    def follow_subagents(self) -> None:
        """Takes in what they have used by now."""
        if self._tail is None:
            return
        try:
            for path in self._agent.subagent_transcripts(self._tail.path):
                for lines in self._subagents.setdefault(path, FileTail(path)).pieces():
                    for line in lines:
                        self._count_line(line)
        except OSError as error:
            self._trouble.met(error)

    def _count_line(self, line: bytes) -> None:
        with suppress(ValueError):  # torn by a crash of the agent
            if (used := self._agent.read_usage(line)) is not None:
                self._counter.count(*used)

    @property
    def unread(self) -> int:
        return max(0, self.answers - self._answers_read)

    def read_to(self, answers: int) -> None:
        """The reader of pages has seen so many answers."""
        if self._tail is None or answers == self._answers_read:
            return
        self._answers_read = answers
        try:
            replace_file(self._read_mark, json.dumps({"transcript": self._tail.path.name, "answers": answers}))
        except OSError as error:
            logger.warning("%s cannot be written (%s): what was read counts as unread again", self._read_mark, error)

    def _marked_as_read(self, transcript: Path) -> int:
        try:
            found = json.loads(self._read_mark.read_text())
            return int(found["answers"]) if found["transcript"] == transcript.name else 0
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("%s cannot be read (%s): all counts as unread", self._read_mark, error)
            return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    cursor: str | None
    """None: the latest ``limit`` entries, from the oldest of them on."""
    limit: int
    """About the most entries."""
    whole: str = ""
    """The reference of one entry, which is wanted in whole and alone."""
    leaves_unread: bool = False
    """The reader is not the lead: entries that it reads stay unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageItem:
    """One entry of a page."""

    entry: ConversationItem
    left_out: int = 0
    """Characters of its text and input that are not shown."""
    reference: str = ""
    """By this it can be read in whole; empty when it is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptPage:
    """Whole lines of a transcript, bounded in entries and characters; long entries are shortened.

    ``cursor`` is ``<file>:<byte offset>`` of a line's beginning. It stays good across restarts; reading starts anew
    when the agent began another file.
    """

    entries: tuple[PageItem, ...]
    cursor: str
    more: bool
    """Complete entries stand after the cursor already."""


@dataclass(frozen=True, slots=True)
class _TranscriptLine:
    begin: int
    end: int
    entries: tuple[ConversationItem, ...]


def read_page(agent: Agent, path: Path, query: PageQuery) -> TranscriptPage:
    """Raises ``InvalidRequestError`` for a cursor or reference that was never given for this conversation."""
    if query.whole:
        return _whole(agent, path, query.whole)
    if query.cursor:
        return _page(_lines(agent, path, _offset(path, query.cursor)), path, query.limit)
    return _page(_latest(agent, path, query.limit), path, query.limit)


def _lines(agent: Agent, path: Path, offset: int) -> Iterator[_TranscriptLine]:
    """The complete lines that say something; the last one says where reading goes on, even if it says nothing."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield _TranscriptLine(offset, offset, ())
        return
    with file:
        begin = offset if offset <= file.seek(0, 2) else 0
        file.seek(begin)
        silent = _TranscriptLine(begin, begin, ())
        for raw in file:
            if not raw.endswith(b"\n"):
                break
            line = _TranscriptLine(silent.end, silent.end + len(raw), _parse_line(agent, raw))
            silent = _TranscriptLine(line.end, line.end, ())
            if line.entries:
                yield line
        yield silent


def _parse_line(agent: Agent, raw: bytes) -> tuple[ConversationItem, ...]:
    try:
        return agent.read_transcript(raw.removesuffix(b"\n")) if raw.strip() else ()
    except ValueError:
        return ()  # torn by a crash of the agent, or by a look into the middle of it; what follows is whole


def _latest(agent: Agent, path: Path, limit: int) -> Iterator[_TranscriptLine]:
    size = path.stat().st_size if path.exists() else 0
    lines = list(_lines(agent, path, max(0, size - _LATEST_BYTES)))
    count, first = 0, len(lines)
    while first > 0 and count < limit:
        first -= 1
        count += len(lines[first].entries)
    yield from lines[first:]


def _page(lines: Iterator[_TranscriptLine], path: Path, limit: int) -> TranscriptPage:
    shown: list[PageItem] = []
    size = 0
    end = 0
    for line in lines:
        found = [_shown(path, line, index) for index in range(len(line.entries))]
        size += sum(size_of(one.entry) for one in found)
        if found and shown and (len(shown) >= limit or size > PAGE_CHARACTERS):
            return TranscriptPage(entries=tuple(shown), cursor=_place(path, end), more=True)
        shown += found
        end = line.end
    return TranscriptPage(entries=tuple(shown), cursor=_place(path, end), more=False)


def _shown(path: Path, line: _TranscriptLine, index: int) -> PageItem:
    entry, left_out = shortened(line.entries[index])
    reference = f"{_place(path, line.begin)}:{index}" if left_out else ""
    return PageItem(entry=entry, left_out=left_out, reference=reference)


def _whole(agent: Agent, path: Path, reference: str) -> TranscriptPage:
    place, _, index = reference.rpartition(":")
    line = next(_lines(agent, path, _offset(path, place)), None) if index.isdecimal() else None
    if line is None or _place(path, line.begin) != place or int(index) >= len(line.entries):
        raise InvalidRequestError(
            f"There is no entry {reference!r}: give the reference of one that read has shortened."
        )
    return TranscriptPage(entries=(PageItem(entry=line.entries[int(index)]),), cursor="", more=False)


def _place(path: Path, offset: int) -> str:
    return f"{zlib.crc32(str(path).encode()):08x}:{offset}"


def _offset(path: Path, cursor: str) -> int:
    mark, _, offset = cursor.partition(":")
    if not offset.isdecimal():
        raise InvalidRequestError(f"The cursor {cursor!r} is not one of ours: give the cursor of an earlier read.")
    return int(offset) if mark == _place(path, 0).partition(":")[0] else 0


class FileTail:
    """Complete lines of a growing file; a missing file has none yet.

    Lines end with the newline byte only: transcripts hold U+2028 raw, so text splitting would tear records apart. A
    last line without its end is left for later. A file that shrank is read from its start again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def pieces(self) -> Iterator[list[bytes]]:
        """All lines that are complete and new, blank ones left out, some megabytes at a time: a long life leaves long
        files."""
        read_to = -1
        while self._offset != read_to:
            read_to = self._offset
            if lines := self._piece():
                yield lines

    def _piece(self) -> list[bytes]:
        """One complete line is always read, however long it is."""
        try:
            if self.path.stat().st_size == self._offset:
                return []
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                data = file.read(_PIECE_BYTES)
                if b"\n" not in data:
                    data += file.readline()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._offset += end
        return [line for line in data[:end].split(b"\n") if line.strip()]


def shortened(entry: ConversationItem) -> tuple[ConversationItem, int]:
    """The entry as it is shown, and how many characters of its text and input are left out."""
    longest = LONGEST_SPOKEN if entry.kind in _SPOKEN else LONGEST_OTHER
    left_out = max(0, len(entry.text) - longest)
    budget = _Budget(LONGEST_OTHER)
    tool_input = budget.within(entry.tool_input)
    if not left_out and not budget.left_out:
        return entry, 0
    return replace(entry, text=entry.text[:longest], tool_input=tool_input), left_out + budget.left_out


def size_of(entry: ConversationItem) -> int:
    """About how many characters it takes to show it."""
    return len(entry.text) + (len(json.dumps(entry.tool_input, ensure_ascii=False)) if entry.tool_input else 0)


class _Budget:
    """Keeps the form of a JSON value, so that names and short values still tell what it is about."""

    def __init__(self, characters: int) -> None:
        self._rest = characters
        self.left_out = 0

    def within(self, value: Any) -> Any:
        if isinstance(value, str):
            kept = value[: self._rest]
            self.left_out += len(value) - len(kept)
            self._rest -= len(kept)
            return kept
        if isinstance(value, Mapping):
            return {name: self.within(inner) for name, inner in value.items() if self._takes(f"{name}", inner)}
        if isinstance(value, list | tuple):
            return [self.within(inner) for inner in value if self._takes("", inner)]
        return value

    def _takes(self, name: str, value: Any) -> bool:
        """Whether there is room for its name, and for itself where it cannot be shortened."""
        shortens = isinstance(value, str | Mapping | list | tuple)
        needed = len(name) + (0 if shortens else len(str(value)))
        if needed <= self._rest and self._rest > 0:
            self._rest -= needed
            return True
        self._rest = 0
        self.left_out += len(name) + len(json.dumps(value, ensure_ascii=False))
        return False
