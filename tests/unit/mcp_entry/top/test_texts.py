"""What a person reads: columns that fit, and texts in which nothing steers the terminal."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from actors.status import Status
from mcp_entry.top.columns import age_of, columns_in, instance_row, short_number
from mcp_entry.top.conversation import conversation_strips, screen_strips, screen_text
from mcp_entry.top.details import need_text, task_text, who_facts
from mcp_entry.top.needs import need_of
from mcp_entry.top.rows import NEEDING, TEAM, ListLine
from supervisor.api.results import Tokens
from tests.fakes.gateway import asking, entry, info
from tests.unit.mcp_entry.top.live import NOW

EVIL = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202egnp.exe\u2066\x00[bold]red[/bold]"
STEERING = {"\x1b", "\x07", "\r", "\x9b", "\x00", "\u202e", "\u2066"}


@pytest.mark.parametrize("width", range(60, 260))
def test_the_columns_fill_every_width_exactly(width: int) -> None:
    columns = columns_in(width)
    assert sum(each.width for each in columns) + len(columns) - 1 == width
    assert all(each.width > 0 for each in columns)


def test_eighty_columns_show_what_matters_most_and_more_columns_more() -> None:
    assert [each.title for each in columns_in(79)] == ["", "NAME", "STATUS", "FOR", "DOING"]
    assert {"ID", "CTX", "TOKENS", "MODEL", "TASK"} <= {each.title for each in columns_in(200)}


def test_a_row_tells_what_an_instance_does_and_what_it_has_used() -> None:
    each = info(
        name="parser",
        status=Status.BUSY,
        activity="Bash: npm test",
        task="Write the parser",
        model="claude-opus-5",
        context_tokens=90_000,
        context_window=200_000,
        tokens=Tokens(input=1_000, output=500, cache_creation=10_000, cache_read=9_999_999),
        unread=2,
    )
    row = instance_row(ListLine(TEAM, "spec_1_1_1", depth=2), each, age_of(each, NOW), needs_attention=False)
    shown = {title: cell.text for title, cell in row.cells}
    assert shown == {
        "": "",
        "NAME": "    parser",
        "ID": "spec_1_1_1",
        "STATUS": "busy",
        "FOR": "5m",
        "NEW": "2",
        "CTX": "45%",
        "TOKENS": "12k",
        "MODEL": "opus-5",
        "DOING": "Bash: npm test",
        "TASK": "Write the parser",
    }


def test_one_without_a_name_is_called_by_its_id() -> None:
    row = instance_row(ListLine(TEAM, "spec_1_1_1"), info(), "5m", needs_attention=False)
    shown = {title: cell.text for title, cell in row.cells}
    assert (shown["NAME"], shown["ID"]) == ("spec_1_1_1", "")


def test_a_row_of_one_that_needs_somebody_tells_what_it_needs() -> None:
    row = instance_row(ListLine(NEEDING, "spec_1_1_2"), asking(command="rm -rf build"), "5m", needs_attention=True)
    assert dict(row.cells)["DOING"].text == "Bash: rm -rf build"


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, ""), (999, "999"), (1_000, "1.0k"), (12_345, "12k"), (1_500_000, "1.5M"), (2_000_000_000, "2.0G")],
)
def test_numbers_are_short(number: int, words: str) -> None:
    assert short_number(number) == words


def test_no_text_of_an_agent_steers_the_terminal_or_is_markup() -> None:
    each = asking(tool=EVIL, **{"command": EVIL, "more": f"a\n{EVIL}"}).model_copy(
        update={"name": EVIL, "activity": EVIL, "task": EVIL, "model": EVIL, "branch": EVIL, "reason": EVIL}
    )
    need = need_of(each, needs_attention=True)
    assert need is not None
    row = instance_row(ListLine(NEEDING, "spec_1_1_2"), each, age_of(each, NOW), needs_attention=True)
    texts = [
        *(cell.text for _, cell in row.cells),
        need_text(need, {}).plain,
        *who_facts(each, age_of(each, NOW)),
        task_text(each).plain,
        *(strip.text for strip in conversation_strips([entry(EVIL), entry(EVIL, "tool_call", tool=EVIL)], 60)),
        *(strip.text for strip in screen_strips([EVIL])),
    ]
    assert [text for text in texts if STEERING & set(text)] == []
    assert "[bold]red[/bold]" in need_text(need, {}).plain


def test_the_input_of_a_request_is_shown_to_the_last_character() -> None:
    command = "\n".join(f"echo line {number}  " for number in range(300)) + "\n\n; rm -rf /"
    need = need_of(asking(command=command, timeout=None, deep={"a": [1, "ü"]}), needs_attention=True)
    assert need is not None
    text = need_text(need, {}).plain
    assert all(f"    {line}\n" in text + "\n" for line in command.split("\n"))
    assert "timeout: null" in text
    assert '"ü"' in text


def test_a_screen_keeps_its_colours_and_nothing_else() -> None:
    text = screen_text("\x1b[1;31mred\x1b[0m plain \x1b[48;5;4mblue\x1b[0m\x1b[10;10Hmoved")
    assert text.plain == "red plain blue␛[10;10Hmoved"
    assert [str(span.style) for span in text.spans if text.plain[span.start : span.end] == "red"] == ["bold color(1)"]


def test_wide_characters_are_never_cut_in_half() -> None:
    strips = conversation_strips([entry("漢字仮名" * 20 + "👩‍👩‍👧 done")], 11)
    assert all(cell_len(strip.text) <= 11 for strip in strips)
    assert "漢字仮名" * 20 in "".join(strip.text.removeprefix("● ") for strip in strips)
