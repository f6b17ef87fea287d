"""Pages of a conversation, read from the agent's own transcript, also when the agent is long gone.

A cursor is ``<file>:<byte offset>`` of a line's beginning; it stays good across restarts of everybody, and reading
starts anew when the agent began another file. A page holds whole lines and is bounded in entries and characters; long
entries are shortened, and each such entry has a reference by which it can be read in whole. Blocking file reads: call
in a thread.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.agents.base import Agent, Entry
from actors.errors import InvalidRequestError
from actors.following.shortening import shortened, size_of

PAGE_CHARACTERS = 40_000
"""A page ends before the entry that would go beyond it."""
_LATEST_BYTES = 2_000_000
"""How far back a read without a cursor looks for the latest entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    cursor: str | None
    """None: the latest ``limit`` entries, from the oldest of them on."""
    limit: int
    """About the most entries."""
    whole: str = ""
    """The reference of one entry, which is wanted in whole and alone."""
    leaves_unread: bool = False
    """Who asks is not the lead: what is read so counts as unread all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One entry of a page."""

    entry: Entry
    left_out: int = 0
    """Characters of its text and input that are not shown."""
    reference: str = ""
    """By this it can be read in whole; empty when it is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    entries: tuple[Shown, ...]
    cursor: str
    more: bool
    """Complete entries stand after the cursor already."""


@dataclass(frozen=True, slots=True)
class _Line:
    begin: int
    end: int
    entries: tuple[Entry, ...]


def read_page(agent: Agent, path: Path, query: PageQuery) -> Page:
    """Raises ``InvalidRequestError`` for a cursor or reference that was never given for this conversation."""
    if query.whole:
        return _whole(agent, path, query.whole)
    if query.cursor:
        return _page(_lines(agent, path, _offset(path, query.cursor)), path, query.limit)
    return _page(_latest(agent, path, query.limit), path, query.limit)


def _lines(agent: Agent, path: Path, offset: int) -> Iterator[_Line]:
    """The complete lines that say something; the last one says where reading goes on, even if it says nothing."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield _Line(offset, offset, ())
        return
    with file:
        begin = offset if offset <= file.seek(0, 2) else 0
        file.seek(begin)
        silent = _Line(begin, begin, ())
        for raw in file:
            if not raw.endswith(b"\n"):
                break
            line = _Line(silent.end, silent.end + len(raw), _parse(agent, raw))
            silent = _Line(line.end, line.end, ())
            if line.entries:
                yield line
        yield silent


def _parse(agent: Agent, raw: bytes) -> tuple[Entry, ...]:
    try:
        return agent.read_transcript(raw.removesuffix(b"\n")) if raw.strip() else ()
    except ValueError:
        return ()  # torn by a crash of the agent, or by a look into the middle of it; what follows is whole


def _latest(agent: Agent, path: Path, limit: int) -> Iterator[_Line]:
    size = path.stat().st_size if path.exists() else 0
    lines = list(_lines(agent, path, max(0, size - _LATEST_BYTES)))
    count, first = 0, len(lines)
    while first > 0 and count < limit:
        first -= 1
        count += len(lines[first].entries)
    yield from lines[first:]


def _page(lines: Iterator[_Line], path: Path, limit: int) -> Page:
    shown: list[Shown] = []
    size = 0
    end = 0
    for line in lines:
        found = [_shown(path, line, index) for index in range(len(line.entries))]
        size += sum(size_of(one.entry) for one in found)
        if found and shown and (len(shown) >= limit or size > PAGE_CHARACTERS):
            return Page(entries=tuple(shown), cursor=_place(path, end), more=True)
        shown += found
        end = line.end
    return Page(entries=tuple(shown), cursor=_place(path, end), more=False)


def _shown(path: Path, line: _Line, index: int) -> Shown:
    entry, left_out = shortened(line.entries[index])
    reference = f"{_place(path, line.begin)}:{index}" if left_out else ""
    return Shown(entry=entry, left_out=left_out, reference=reference)


def _whole(agent: Agent, path: Path, reference: str) -> Page:
    place, _, index = reference.rpartition(":")
    line = next(_lines(agent, path, _offset(path, place)), None) if index.isdecimal() else None
    if line is None or _place(path, line.begin) != place or int(index) >= len(line.entries):
        raise InvalidRequestError(
            f"There is no entry {reference!r}: give the reference of one that read has shortened."
        )
    return Page(entries=(Shown(entry=line.entries[int(index)]),), cursor="", more=False)


def _place(path: Path, offset: int) -> str:
    return f"{zlib.crc32(str(path).encode()):08x}:{offset}"


def _offset(path: Path, cursor: str) -> int:
    mark, _, offset = cursor.partition(":")
    if not offset.isdecimal():
        raise InvalidRequestError(f"The cursor {cursor!r} is not one of ours: give the cursor of an earlier read.")
    return int(offset) if mark == _place(path, 0).partition(":")[0] else 0
