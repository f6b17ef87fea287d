from __future__ import annotations

import pytest

from actors.agents.styled import Cursor, Style, read_capture, read_rows

PLAIN, DIM = Style(), Style(dim=True)


def test_styles_are_taken_out_of_the_text_and_kept_beside_it() -> None:
    (row,) = read_rows("a\x1b[2mbc\x1b[0md\x1b[7me\x1b[27m")

    assert row.text == "abcde"
    assert [row.style_at(index) for index in range(6)] == [PLAIN, DIM, DIM, PLAIN, PLAIN, PLAIN]


def test_a_style_runs_on_over_the_end_of_a_row() -> None:
    _, second = read_rows("a\x1b[2;7m\nb\x1b[22mc")

    assert (second.style_at(0).dim, second.style_at(1).dim, second.style_at(9).dim) == (True, False, False)


def test_the_numbers_of_a_colour_are_no_styles_of_their_own() -> None:
    for colour in ("48;5;7", "58:5:2", "48;2;7;2;2"):
        (row,) = read_rows(f"\x1b[{colour}mx")
        assert row.style_at(0) == PLAIN


@pytest.mark.parametrize(
    ("sequence", "colour"),
    [
        ("38;5;246", "38;5;246"),
        ("38;2;7;2;2", "38;2;7;2;2"),
        ("38:5:7", "38;5;7"),
        ("38;5;7;48;5;2", "38;5;7"),
        ("90", "90"),
        ("37", "37"),
        ("31;39", ""),
        ("31;0", ""),
    ],
)
def test_the_colour_of_the_text_is_kept(sequence: str, colour: str) -> None:
    (row,) = read_rows(f"\x1b[{sequence}mx")

    assert row.style_at(0) == Style(colour=colour)


def test_hyperlinks_and_character_sets_are_no_text() -> None:
    (row,) = read_rows("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07\x0ea\x0f")

    assert row.text == "linka"


def test_the_cursor_is_told_by_the_sequence_that_would_put_it_there() -> None:
    rows, cursor = read_capture("one\ntwo\x1b[2;3H")

    assert [row.text for row in rows] == ["one", "two"]
    assert cursor == Cursor(row=1, column=2)
    assert read_capture("one\ntwo")[1] is None
    assert read_capture("one\x1b[0;0H")[1] == Cursor(row=-1, column=-1)


def test_a_cell_is_found_behind_wide_and_combining_characters() -> None:
    (row,) = read_rows("a日e\u0301b")

    assert [row.index_at(column) for column in range(7)] == [0, 1, 1, 2, 4, 5, 6]
