from __future__ import annotations

from actors.agents.styled import Run, read_rows


def test_styles_are_taken_out_of_the_text_and_kept_beside_it() -> None:
    (row,) = read_rows("a\x1b[2mbc\x1b[0md\x1b[7me\x1b[27m")

    assert row.text == "abcde"
    assert row.runs == (
        Run(0, "a", False, False),
        Run(1, "bc", True, False),
        Run(3, "d", False, False),
        Run(4, "e", False, True),
    )
    assert row.caret() == 4


def test_a_style_runs_on_over_the_end_of_a_row() -> None:
    first, second = read_rows("a\x1b[2;7m\nb\x1b[22mc")

    assert first.caret() == 1
    assert (second.is_dim_at(0), second.is_dim_at(1)) == (True, False)


def test_the_numbers_of_a_colour_are_no_styles_of_their_own() -> None:
    for colour in ("38;5;2", "48;5;7", "38;2;7;2;2", "58:5:2", "38;5;7;48;5;2"):
        (row,) = read_rows(f"\x1b[{colour}mx")
        assert row.runs == (Run(0, "x", False, False),)


def test_hyperlinks_and_character_sets_are_no_text() -> None:
    (row,) = read_rows("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07\x0ea\x0f")

    assert row.text == "linka"


def test_a_row_without_a_reversed_character_has_no_caret() -> None:
    (row,) = read_rows("plain")

    assert row.caret() is None
    assert not row.blank
