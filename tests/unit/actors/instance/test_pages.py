from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.agents.catalog import DemoAgent
from actors.errors import InvalidRequestError
from actors.instance.transcript import PAGE_CHARACTERS, PageQuery, TranscriptPage, read_page

AGENT = DemoAgent("python")


def said(text: str) -> bytes:
    return _line({"type": "user", "timestamp": "t", "message": {"role": "user", "content": text}})


def answered(text: str) -> bytes:
    content = [{"type": "text", "text": text}]
    return _line({"type": "assistant", "timestamp": "t", "message": {"role": "assistant", "content": content}})


def printed(*texts: str) -> bytes:
    """One line with the results of several tools."""
    blocks = [{"type": "tool_result", "content": text} for text in texts]
    return _line({"type": "user", "timestamp": "t", "message": {"role": "user", "content": blocks}})


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data).encode() + b"\n"


NOTHING = _line({"type": "summary"})


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    return tmp_path / "transcript.jsonl"


def page(path: Path, cursor: str | None = None, limit: int = 50, whole: str = "") -> TranscriptPage:
    return read_page(AGENT, path, PageQuery(cursor=cursor, limit=limit, whole=whole))


def texts(read: TranscriptPage) -> list[str]:
    return [shown.entry.text for shown in read.entries]


def all_texts(path: Path, first: TranscriptPage, limit: int = 50) -> list[str]:
    """Reads on from a first page until there is no more."""
    found, last = texts(first), first
    while last.more:
        last = page(path, last.cursor, limit)
        found += texts(last)
    return found


def test_without_a_cursor_the_latest_are_given_and_with_it_only_what_is_new(transcript: Path) -> None:
    transcript.write_bytes(b"".join(map(said, "abcde")) + NOTHING)
    first = page(transcript, limit=2)
    assert (texts(first), first.more) == (["d", "e"], False)
    assert texts(page(transcript, first.cursor)) == []
    with transcript.open("ab") as file:
        file.write(said("f") + said("g")[:-5])
    new = page(transcript, first.cursor)
    assert (texts(new), new.more) == (["f"], False)
    with transcript.open("ab") as file:
        file.write(said("g")[-5:])
    assert texts(page(transcript, new.cursor)) == ["g"]


def test_pages_of_any_size_give_everything_once_and_in_order(transcript: Path) -> None:
    lines = [said(f"{number}") + NOTHING for number in range(25)]
    transcript.write_bytes(b"".join(lines))
    begin = page(transcript, limit=25)
    zero = f"{begin.cursor.partition(':')[0]}:0"
    for limit in (1, 2, 7, 24, 25, 100):
        assert all_texts(transcript, page(transcript, zero, limit), limit) == [f"{number}" for number in range(25)]


def test_a_page_is_bounded_and_the_rest_is_had_with_its_cursor(transcript: Path) -> None:
    long = [letter * 15_000 for letter in "abcdefgh"]
    transcript.write_bytes(b"".join(map(said, long)))
    first = page(transcript)
    assert first.more
    assert sum(map(len, texts(first))) <= PAGE_CHARACTERS
    assert all_texts(transcript, first) == long


def test_what_a_tool_printed_is_shortened_and_can_be_had_in_whole(transcript: Path) -> None:
    transcript.write_bytes(NOTHING + said("go") + printed("short", "x" * 5000) + said("on"))
    read = page(transcript)
    assert [(len(shown.entry.text), shown.left_out) for shown in read.entries] == [(2, 0), (5, 0), (2000, 3000), (2, 0)]
    assert [bool(shown.reference) for shown in read.entries] == [False, False, True, False]
    whole = page(transcript, whole=read.entries[2].reference)
    assert (texts(whole), whole.more) == (["x" * 5000], False)


@pytest.mark.parametrize("reference", ["x", "0:0:0", "{mark}:1:0", "{mark}:0:7", "{mark}:0:", "{mark}:99999:0"])
def test_a_reference_that_was_never_given_is_refused_in_words(transcript: Path, reference: str) -> None:
    transcript.write_bytes(said("a" * 30_000))
    mark = page(transcript).cursor.partition(":")[0]
    with pytest.raises(InvalidRequestError, match=r"There is no entry|not one of ours"):
        page(transcript, whole=reference.format(mark=mark))


def test_a_cursor_of_another_file_reads_from_the_beginning_and_nonsense_is_refused(transcript: Path) -> None:
    transcript.write_bytes(said("a") + said("b"))
    assert texts(page(transcript, "00000000:17")) == ["a", "b"]
    with pytest.raises(InvalidRequestError, match="earlier read"):
        page(transcript, "nonsense")


def test_a_transcript_that_is_not_there_has_no_entries_yet(transcript: Path) -> None:
    first = page(transcript)
    assert (first.entries, first.more) == ((), False)
    transcript.write_bytes(said("a"))
    assert texts(page(transcript, first.cursor)) == ["a"]


def test_a_torn_line_is_passed_over(transcript: Path) -> None:
    transcript.write_bytes(said("a") + b'{"type":"user","mess\n' + said("b"))
    assert texts(page(transcript)) == ["a", "b"]
