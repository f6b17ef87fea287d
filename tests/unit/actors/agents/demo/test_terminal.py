from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import Composer, Dialog, Screen
from actors.agents.claude_screen import read_screen
from actors.agents.demo.terminal import (
    DialogView,
    Input,
    InputBuffer,
    Key,
    KeyReader,
    PastedText,
    ScreenView,
    TypedKey,
    paint,
    wrapped,
)

PASTE = "\x1b[200~{}\x1b[201~"
DIALOG = DialogView(title="Bash command", body=("ls",), question="Do you want to proceed?", options=("Yes", "No"))
ASKED = Dialog(kind="permission", question="Bash command\nls\nDo you want to proceed?", options=("Yes", "No"), chosen=0)
TEXTS = st.lists(st.tuples(st.sampled_from(["user", "agent", "tool", "program"]), st.text()), max_size=4)


def keys(*pieces: bytes) -> list[Input]:
    reader = KeyReader()
    return [key for piece in pieces for key in reader.feed(piece)]


def test_text_and_keys_are_told_apart() -> None:
    known = [Key.BACKSPACE, Key.CTRL_C, Key.CTRL_U, Key.NEWLINE, Key.UP, Key.DOWN]
    assert keys(b"ab\rc\x7f\x03\x15\n\x1b[A\x1b[B") == [TypedKey("ab"), Key.ENTER, TypedKey("c"), *known]


def test_the_line_ends_of_a_paste_are_newlines() -> None:
    assert keys(PASTE.format("a\rb\r\nc\nd").encode()) == [PastedText("a\nb\nc\nd")]


@given(st.text(st.characters(exclude_characters="\x1b\r", codec="utf-8")), st.integers(1, 9))
def test_a_paste_arrives_whole_however_it_is_cut(text: str, size: int) -> None:
    data = PASTE.format(text).encode() + b"\r"
    pieces = [data[i : i + size] for i in range(0, len(data), size)]

    assert keys(*pieces) == [PastedText(text), Key.ENTER]


@pytest.mark.parametrize("sequence", [b"\x1b[C", b"\x1bOB", b"\x1b[1;5C", b"\x1b[?1;2c", b"\x00", b"\x02"])
def test_sequences_that_mean_nothing_here_are_dropped(sequence: bytes) -> None:
    assert keys(b"a" + sequence + b"b") == [TypedKey("a"), TypedKey("b")]


@pytest.mark.parametrize(
    ("data", "at_once", "later"),
    [(b"\x1b", [], [Key.ESCAPE]), (b"\x1b\x1b", [Key.ESCAPE], [Key.ESCAPE]), (b"\x1b[200~half", [], [])],
)
def test_an_escape_is_a_key_only_when_nothing_follows_and_begins_no_paste(
    data: bytes, at_once: list[Input], later: list[Input]
) -> None:
    reader = KeyReader()
    assert list(reader.feed(data)) == at_once
    assert reader.waits is bool(later)
    assert list(reader.flush()) == later
    assert not reader.waits


@given(st.binary())
def test_any_bytes_at_all_are_read(data: bytes) -> None:
    keys(data)


def pasted(*texts: str) -> InputBuffer:
    draft = InputBuffer()
    for text in texts:
        draft.paste(text)
    return draft


@pytest.mark.parametrize(
    ("pastes", "shown", "text"),
    [
        (["a\nb\nc"], "a\nb\nc", "a\nb\nc"),
        (["a\nb\nc\nd"], "[Pasted text #1 +3 lines]", "a\nb\nc\nd"),
        (["x" * 800], "x" * 800, "x" * 800),
        (["x" * 801], "[Pasted text #1]", "x" * 801),
        (["  a \n"], "  a \n", "  a"),
        (["a\nb\nc\n\n"], "[Pasted text #1 +4 lines]", "a\nb\nc\n\n"),
        (["a\tb e\u0301"], "a    b \u00e9", "a    b \u00e9"),
        (["a\tb e\u0301\n\n\n"], "[Pasted text #1 +3 lines]", "a    b e\u0301\n\n\n"),
        (["1\n2\n3\n4", "[Pasted text #1]"], "[Pasted text #1 +3 lines][Pasted text #1]", "1\n2\n3\n4[Pasted text #1]"),
        (
            ["x" * 801, "5\n6\n7\n8\n", " a  "],
            "[Pasted text #1][Pasted text #2 +4 lines] a  ",
            "x" * 801 + "5\n6\n7\n8\n a",
        ),
    ],
)
def test_a_long_paste_shows_as_a_placeholder_and_is_sent_whole(pastes: list[str], shown: str, text: str) -> None:
    draft = pasted(*pastes)
    assert (draft.shown, draft.text) == (shown, text)


def test_a_backslash_at_the_end_turns_enter_into_a_new_line() -> None:
    draft = pasted("a\\")

    assert draft.escape_enter()
    assert draft.shown == "a\n"
    assert not draft.escape_enter()


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("@x see @al", "@x see @demo-file.txt"),
        ("@", "@demo-file.txt"),
        ("see\n@a/b.txt", "see\n@demo-file.txt"),
        ("see @al ", ""),
        ("see @al\n", ""),
        ("a@b", ""),
    ],
)
def test_a_mention_at_the_end_opens_the_menu_and_is_completed(text: str, completed: str) -> None:
    draft = pasted(text)
    assert draft.mention is bool(completed)
    draft.complete_mention()
    assert draft.text == (completed or text.rstrip())


def test_backspace_takes_a_character_or_a_whole_placeholder() -> None:
    draft = pasted("a\nb\nc\nd")
    draft.type("xy")
    for shown in ("[Pasted text #1 +3 lines]x", "[Pasted text #1 +3 lines]", "", ""):
        draft.backspace()
        assert draft.shown == shown


def capture(view: ScreenView, width: int = 80, height: int = 30) -> str:
    """What ``tmux capture-pane -e`` would return for what was painted."""
    painted = paint(view, width, height)
    assert painted.startswith("\x1b[H")
    return painted.removeprefix("\x1b[H").replace("\x1b[K", "").replace("\x1b[J", "").replace("\r\n", "\n")


BASH_MODE = Dialog(kind="bash mode", question="What is typed into the input box runs as a command of the shell.")


@pytest.mark.parametrize(
    ("view", "screen"),
    [
        (ScreenView(), Screen(composer=Composer.EMPTY)),
        (ScreenView(busy=True), Screen(composer=Composer.EMPTY, busy=True)),
        (ScreenView(busy=True, queued=("a", "b\nc")), Screen(composer=Composer.EMPTY, busy=True)),
        (ScreenView(draft="a\n  b"), Screen(composer=Composer.DRAFT, draft="a\n  b")),
        (ScreenView(draft="!ls"), Screen(composer=Composer.ABSENT, dialog=BASH_MODE)),
        (
            ScreenView(draft="/x", menu=("/x  Does it",)),
            Screen(composer=Composer.DRAFT, draft="/x", dialog=Dialog(kind="completion")),
        ),
        (ScreenView(dialog=DIALOG, busy=True, draft="a"), Screen(composer=Composer.ABSENT, dialog=ASKED)),
        (
            ScreenView(dialog=DIALOG._replace(chosen=1)),
            Screen(composer=Composer.ABSENT, dialog=replace(ASKED, chosen=1)),
        ),
    ],
)
def test_what_the_demo_draws_reads_like_the_real_program(view: ScreenView, screen: Screen) -> None:
    assert replace(read_screen(capture(view)), shown="") == screen


@given(TEXTS, st.integers(20, 120), st.integers(8, 40))
def test_no_conversation_changes_what_the_input_box_reads_as(
    said: list[tuple[str, str]], width: int, height: int
) -> None:
    conversation = tuple(said)
    assert read_screen(capture(ScreenView(conversation=conversation), width, height)) == Screen(composer=Composer.EMPTY)
    assert read_screen(capture(ScreenView(conversation=conversation, dialog=DIALOG), width, height)).dialog


@given(st.text(min_size=1), st.integers(20, 120))
def test_a_draft_is_never_taken_for_an_empty_input_box(draft: str, width: int) -> None:
    screen = read_screen(capture(ScreenView(draft=draft), width, 1000))
    assert screen.composer is (Composer.ABSENT if draft.startswith("!") else Composer.DRAFT)


@given(TEXTS, st.text(), st.integers(10, 60), st.integers(5, 30))
def test_nothing_that_somebody_wrote_reaches_the_terminal_as_a_command(
    said: list[tuple[str, str]], draft: str, width: int, height: int
) -> None:
    shown = capture(ScreenView(conversation=tuple(said), draft=draft, queued=(draft,)), width, height)

    bare = re.sub(r"\x1b\[[0-9;]*[mH]", "", shown)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", bare)
    assert len(bare.split("\n")) <= height


@pytest.mark.parametrize(
    ("text", "rows"),
    [("日本語", ["日本", "語"]), ("e\u0301" * 4, ["e\u0301" * 4]), ("", [""]), ("abcdef\ng", ["abcd", "ef", "g"])],
)
def test_wide_characters_take_two_cells_and_combining_ones_none(text: str, rows: list[str]) -> None:
    assert wrapped(text, 4) == rows
