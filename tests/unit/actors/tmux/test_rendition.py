"""Lines of a capture that may be shown anywhere: text and styles alone, each line in its own right."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.tmux.rendition import apply, printable, styled_lines

ALLOWED = re.compile(r"\x1b\[[0-9;:]*m")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
STYLES = (
    "1",
    "0",
    "",
    "2",
    "22",
    "31",
    "39",
    "1;4;31",
    "38;5;246",
    "48;2;1;2;3",
    "0;1;97;44",
    "4:3",
    "58:2::1:2:3",
    "7",
)
PIECES = st.one_of(
    st.sampled_from([f"\x1b[{style}m" for style in STYLES]),
    st.sampled_from(
        ["\n", "\x1b]8;;https://x\x1b\\", "\x1b]8;;\x07", "\x1b[2J", "\x1b[?25l", "\x1b(0", "\x1bc", "\x1b"]
    ),
    st.text(max_size=6),
    st.characters(categories=["Cc", "Cs"]),
)


def cells(line: str, style: dict[str, str]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Each character of a line with the style in which a terminal shows it; ``style`` goes on."""
    found = []
    at = 0
    for sequence in ALLOWED.finditer(line):
        found += [(each, tuple(sorted(style.items()))) for each in line[at : sequence.start()]]
        apply(style, sequence[0][2:-1])
        at = sequence.end()
    return found + [(each, tuple(sorted(style.items()))) for each in line[at:]]


@given(st.lists(PIECES, max_size=30).map("".join))
@example("\x9b31m\x1b[31;1H\x1b[31mred")
def test_nothing_but_text_and_styles_is_left_of_whatever_an_agent_prints(capture: str) -> None:
    lines = styled_lines(capture)
    assert len(lines) == capture.count("\n") + 1
    assert all(not CONTROL.search(ALLOWED.sub("", line)) for line in lines)


@given(st.lists(st.one_of(st.sampled_from([f"\x1b[{style}m" for style in STYLES]), st.sampled_from("ab \n"))))
def test_each_line_alone_looks_as_it_does_below_the_others(pieces: list[str]) -> None:
    capture = "".join(pieces)
    running: dict[str, str] = {}
    for expected, line in zip(capture.split("\n"), styled_lines(capture), strict=True):
        after: dict[str, str] = {}
        assert cells(line, after) == cells(expected, running)
        assert after == {}


@pytest.mark.parametrize(
    ("capture", "lines"),
    [
        ("\x1b[1;31mred\nstill\x1b[0m no", ["\x1b[1;31mred\x1b[0m", "\x1b[1;31mstill\x1b[0m no"]),
        ("\x0elqk\x0f lqk", ["┌─┐ lqk"]),
        ("\x1b]8;;file:///etc/passwd\x1b\\link\x1b]8;;\x1b\\", ["link"]),
        ("a\x1b[38;5;1m\x1b[38;2;9;9;9mb", ["a\x1b[38;5;1m\x1b[38;2;9;9;9mb\x1b[0m"]),
        ("<script>&amp;</script>", ["<script>&amp;</script>"]),
    ],
)
def test_how_a_capture_reads(capture: str, lines: list[str]) -> None:
    assert styled_lines(capture) == lines


def test_a_title_keeps_its_text_and_loses_what_would_command_a_terminal() -> None:
    assert printable("✳ Write\x07 tests\x9b31m\x1b]0;x") == "✳ Write tests31m]0;x"
