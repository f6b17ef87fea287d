"""What a command shows of its progress, on a terminal and elsewhere, in virtual time."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console

from mcp_entry.cli.output import visible
from mcp_entry.cli.progress_line import Lines, drawn, line
from mcp_entry.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def spawning(clock: Clock, done: int, what: str = "spec_1_1_9 (parser)") -> Progress:
    """Fifty, one of which is done every 4 s."""
    progress = Progress(alike=True, now=clock)
    progress(0, 50, "starting them")
    for number in range(1, done + 1):
        clock.now = 4.0 * number
        progress(number, 50, what)
    return progress


def test_the_line_says_what_is_done_how_much_of_all_since_when_and_how_long_it_still_takes() -> None:
    drawn_line = line(spawning(Clock(), 20), "starting", "spec_1_1_9 (parser)", 80).plain
    assert drawn_line == "starting: spec_1_1_9 (parser)  20/50, 80 s, about 2 min left"


@pytest.mark.parametrize("width", [12, 30, 50, 80, 200])
@pytest.mark.parametrize("what", ["x" * 300, "the first\nthe second", "状" * 100, ""])
def test_it_stays_one_row_in_every_terminal_and_only_its_words_are_cut(width: int, what: str) -> None:
    drawn_line = line(spawning(Clock(), 20), "starting", what, width).plain
    assert cell_len(drawn_line) < width
    assert "\n" not in drawn_line
    assert width < 50 or drawn_line.endswith("20/50, 80 s, about 2 min left")


def test_without_anything_counted_it_says_what_goes_on_and_since_when() -> None:
    clock = Clock()
    progress = Progress(alike=False, now=clock)
    progress(0, 0, "starting Ray")
    assert line(progress, "bringing the team up", "starting Ray", 80).plain == "bringing the team up: starting Ray"
    clock.now = 3.2
    assert line(progress, "bringing the team up", "starting Ray", 80).plain == "bringing the team up: starting Ray  3 s"


def test_nothing_of_it_stays_on_the_terminal_and_nothing_in_it_controls_the_terminal() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system=None, width=80)
    with drawn(console, "starting", visible, alike=True) as progress:
        progress(1, 2, "\x1b]0;gone\x07 half")
    assert "starting: ␛]0;gone␇ half  1/2" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K"), "the row is erased at the end"


@pytest.fixture
def said() -> list[str]:
    return []


def minutes_of_work(say: Callable[[str], None], minutes: int) -> None:
    clock = Clock()
    lines = Lines(say, alike=True, now=clock)
    total = minutes * 15
    for done in range(total + 1):
        clock.now = 4.0 * done
        lines(done, total, f"member {done}")


def test_elsewhere_there_are_a_few_whole_lines_however_long_it_takes(said: list[str]) -> None:
    minutes_of_work(said.append, 60)
    assert said[0] == "0/900 member 0"
    assert said[-1] == "900/900 member 900"
    assert "9/900 member 9, about 59 min left" in said
    assert len(said) < 60
    assert all("\r" not in each and "\x1b" not in each for each in said)


def test_each_word_on_what_is_not_counted_is_a_line_once(said: list[str]) -> None:
    lines = Lines(said.append, alike=False)
    for what in ("waits for memory", "waits for memory", "merging"):
        lines(0, 1, what)
    assert said == ["waits for memory", "merging"]


def test_a_lost_connection_and_what_comes_after_it_are_told_at_once(said: list[str]) -> None:
    lines = Lines(said.append, alike=True)
    for done, total, what in ((0, 9, "starting them"), (5, 9, "one"), (0, 0, "the team is away"), (6, 9, "another")):
        lines(done, total, what)
    assert said == ["0/9 starting them", "the team is away", "6/9 another"]
