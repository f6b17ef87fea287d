"""A conversation as leads read it in pages, with long entries shortened, and what of it counts as unread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import ConversationItem, EntryKind
from actors.agents.demo.agent import DemoAgent
from actors.errors import InvalidRequestError
from actors.instance.evidence import DeliveryEvidence
from actors.instance.transcript import (
    LONGEST_OTHER,
    LONGEST_SPOKEN,
    MARK_NAME,
    PAGE_CHARACTERS,
    Conversation,
    PageQuery,
    TranscriptPage,
    read_page,
    shortened,
    size_of,
)

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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3000),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)


def entry(kind: EntryKind, text: str = "", **tool_input: Any) -> ConversationItem:
    return ConversationItem(kind=kind, at="", text=text, tool_input=tool_input)


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        (EntryKind.QUESTION, LONGEST_SPOKEN),
        (EntryKind.ANSWER, LONGEST_SPOKEN),
        (EntryKind.TOOL_RESULT, LONGEST_OTHER),
        (EntryKind.NOTICE, LONGEST_OTHER),
    ],
)
def test_what_tools_print_is_shortened_earlier_than_what_is_said(kind: EntryKind, longest: int) -> None:
    assert shortened(entry(kind, "x" * longest)) == (entry(kind, "x" * longest), 0)
    short, left_out = shortened(entry(kind, "x" * longest + "yz"))
    assert (short.text, left_out) == ("x" * longest, 2)


def test_a_long_input_keeps_its_names_and_short_values() -> None:
    call = entry(EntryKind.TOOL_CALL, file_path="/src/a.py", content="c" * 10_000)
    short, left_out = shortened(call)
    assert short.tool_input["file_path"] == "/src/a.py"
    assert len(short.tool_input["content"]) + left_out == 10_000
    assert size_of(short) < LONGEST_OTHER + 100


@given(st.dictionaries(st.text(max_size=20), JSON, max_size=5))
def test_a_shortened_input_is_bounded_and_says_when_something_is_missing(tool_input: dict[str, Any]) -> None:
    short, left_out = shortened(ConversationItem(kind=EntryKind.TOOL_CALL, at="", text="", tool_input=tool_input))
    assert (left_out == 0) == (short.tool_input == tool_input)
    assert characters(short.tool_input) <= LONGEST_OTHER
    json.dumps(short.tool_input)


def characters(value: Any) -> int:
    if isinstance(value, dict):
        return sum(len(name) + characters(inner) for name, inner in value.items())
    if isinstance(value, list):
        return sum(map(characters, value))
    return len(str(value))


def following(place: Path, transcript: Path) -> Conversation:
    """As an actor that has just been started follows it."""
    conversation = Conversation(AGENT, place, DeliveryEvidence())
    conversation.open(str(transcript))
    conversation.follow()
    return conversation


@pytest.fixture
def two_answers(transcript: Path) -> Path:
    transcript.write_bytes(answered("a") + answered("b"))
    return transcript


def test_a_later_actor_counts_only_what_nobody_has_read(tmp_path: Path, two_answers: Path) -> None:
    first = following(tmp_path, two_answers)
    assert first.unread == 2
    first.read_to(first.answers)
    assert first.unread == 0
    with two_answers.open("ab") as file:
        file.write(answered("c"))

    assert following(tmp_path, two_answers).unread == 1


def test_another_conversation_in_its_place_is_unread_from_its_first_answer_on(
    tmp_path: Path, two_answers: Path
) -> None:
    conversation = following(tmp_path, two_answers)
    conversation.read_to(conversation.answers)
    fresh = tmp_path / "second.jsonl"
    fresh.write_bytes(answered("x"))

    conversation.open(str(fresh))
    conversation.follow()
    assert conversation.unread == 1
    assert following(tmp_path, fresh).unread == 1
    assert following(tmp_path, two_answers).unread == 0


@pytest.mark.parametrize(
    "found", ["", "{", "[]", '{"transcript": "transcript.jsonl"}', '{"transcript": 1, "answers": 2}']
)
def test_a_mark_that_is_damaged_only_makes_all_count_as_unread(found: str, tmp_path: Path, two_answers: Path) -> None:
    (tmp_path / MARK_NAME).write_text(found)
    conversation = following(tmp_path, two_answers)
    assert conversation.unread == 2
    conversation.read_to(2)
    assert following(tmp_path, two_answers).unread == 0
    assert (tmp_path / MARK_NAME).stat().st_mode & 0o777 == 0o600


def test_a_mark_that_cannot_be_written_hinders_no_reading(tmp_path: Path, two_answers: Path) -> None:
    conversation = following(tmp_path / "gone", two_answers)
    conversation.read_to(2)
    assert conversation.unread == 0
