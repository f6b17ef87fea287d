from __future__ import annotations

import pytest

from actors.agents.demo.terminal import InputBuffer


def pasted(*texts: str) -> InputBuffer:
    draft = InputBuffer()
    for text in texts:
        draft.paste(text)
    return draft


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\nc", "a\nb\nc"),
        ("a\nb\nc\nd", "[Pasted text #1 +3 lines]"),
        ("x" * 800, "x" * 800),
        ("x" * 801, "[Pasted text #1]"),
    ],
)
def test_a_long_paste_shows_as_a_placeholder_and_is_sent_whole(text: str, shown: str) -> None:
    draft = pasted(text)

    assert draft.shown == shown
    assert draft.text == text


def test_several_pastes_and_typed_text_stand_in_a_row() -> None:
    draft = pasted("1\n2\n3\n4", "5\n6\n7\n8\n")
    draft.type(" tail  ")

    assert draft.shown == "[Pasted text #1 +3 lines][Pasted text #2 +4 lines] tail  "
    assert draft.text == "1\n2\n3\n45\n6\n7\n8\n tail"


def test_a_text_that_looks_like_a_placeholder_stays_text() -> None:
    draft = pasted("1\n2\n3\n4", "[Pasted text #1 +3 lines]")

    assert draft.text == "1\n2\n3\n4[Pasted text #1 +3 lines]"


def test_blanks_at_the_end_are_not_sent_but_those_of_a_collapsed_paste_are() -> None:
    assert pasted("  a \n").text == "  a"
    assert pasted("a\nb\nc\n\n").text == "a\nb\nc\n\n"


def test_a_tab_becomes_four_blanks_and_text_that_is_shown_is_composed() -> None:
    assert pasted("a\tb e\u0301").text == "a    b \u00e9"
    assert pasted("a\tb e\u0301\n\n\n").text == "a    b e\u0301\n\n\n"


def test_a_backslash_at_the_end_turns_enter_into_a_new_line() -> None:
    draft = pasted("a\\")

    assert draft.escape_enter()
    assert draft.shown == "a\n"
    assert not draft.escape_enter()


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("see @al", True),
        ("@", True),
        ("see\n@a/b.txt", True),
        ("see @al ", False),
        ("see @al\n", False),
        ("a@b", False),
    ],
)
def test_a_mention_at_the_end_opens_the_menu(text: str, mention: bool) -> None:
    assert pasted(text).mention is mention


def test_a_completed_mention_replaces_the_word() -> None:
    draft = pasted("@x see @al")
    draft.complete_mention()

    assert draft.text == "@x see @demo-file.txt"


def test_backspace_takes_a_character_or_a_whole_placeholder() -> None:
    draft = pasted("a\nb\nc\nd")
    draft.type("xy")
    for _ in range(3):
        draft.backspace()
    draft.backspace()

    assert draft.shown == ""
