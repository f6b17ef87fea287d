from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.demo.terminal import Input, Key, KeyReader, PastedText, TypedKey

PASTE = "\x1b[200~{}\x1b[201~"


def keys(*pieces: bytes) -> list[Input]:
    reader = KeyReader()
    return [key for piece in pieces for key in reader.feed(piece)]


def test_text_and_keys_are_told_apart() -> None:
    assert keys(b"ab\rc\x7f\x03\x15\n\x1b[A\x1b[B") == [
        TypedKey("ab"),
        Key.ENTER,
        TypedKey("c"),
        Key.BACKSPACE,
        Key.CTRL_C,
        Key.CTRL_U,
        Key.NEWLINE,
        Key.UP,
        Key.DOWN,
    ]


def test_a_paste_is_one_input_whose_line_ends_are_newlines() -> None:
    assert keys(PASTE.format("a\rb\r\nc\nd").encode()) == [PastedText("a\nb\nc\nd")]


@given(st.text(st.characters(exclude_characters="\x1b\r", codec="utf-8")), st.integers(1, 9))
def test_a_paste_arrives_whole_however_it_is_cut(text: str, size: int) -> None:
    data = PASTE.format(text).encode() + b"\r"
    pieces = [data[i : i + size] for i in range(0, len(data), size)]

    assert keys(*pieces) == [PastedText(text), Key.ENTER]


@pytest.mark.parametrize("sequence", [b"\x1b[C", b"\x1bOB", b"\x1b[1;5C", b"\x1b[?1;2c", b"\x00", b"\x02"])
def test_sequences_that_mean_nothing_here_are_dropped(sequence: bytes) -> None:
    assert keys(b"a" + sequence + b"b") == [TypedKey("a"), TypedKey("b")]


def test_a_lone_escape_is_a_key_only_when_nothing_follows() -> None:
    reader = KeyReader()
    assert list(reader.feed(b"\x1b")) == []
    assert reader.waits
    assert list(reader.flush()) == [Key.ESCAPE]
    assert not reader.waits


def test_two_escapes_in_one_go_are_two_keys() -> None:
    reader = KeyReader()
    assert [*reader.feed(b"\x1b\x1b"), *reader.flush()] == [Key.ESCAPE, Key.ESCAPE]


def test_an_open_paste_is_waited_for_and_not_flushed() -> None:
    reader = KeyReader()
    assert list(reader.feed(b"\x1b[200~half")) == []
    assert not reader.waits
    assert list(reader.flush()) == []
    assert list(reader.feed(b" done\x1b[201~")) == [PastedText("half done")]


@given(st.binary())
def test_any_bytes_at_all_are_read(data: bytes) -> None:
    keys(data)
