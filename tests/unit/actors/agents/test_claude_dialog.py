from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import Dialog
from actors.agents.claude_screen import read_dialog, read_screen
from actors.agents.styled import read_rows

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "screens" / "claude"
SIZES = ("80x24", "100x30", "120x40", "250x80")
RULE = "─" * 80
POINTER = "\u276f"

OFFERED = {
    "2.1.197/dialog-bash": ("Yes", "Yes, and always allow access to proj/ from this project", "No"),
    "2.1.332/dialog-permission-bash-80x24": (
        "Yes",
        "Yes, and always allow access to /tmp/xxxxxxxxxxx/proj from this project",
        "Yes, and switch to auto mode · auto mode handles these prompts for you",
        "No",
    ),
    "2.1.332/dialog-question-80x24": ("Red", "Blue", "Type something.", "Chat about this"),
    "2.1.332/dialog-question-submit-100x30": ("Submit answers", "Cancel"),
    "2.1.332/dialog-trust-80x24": ("No, exit", "Yes, I trust this folder"),
    "2.1.332/dialog-external-imports-80x24": ("No, disable external imports", "Yes, allow external imports"),
    "2.1.332/dialog-make-auto-default-80x24": (
        "Yes, set auto mode as my default permission mode",
        "No, keep manual mode",
    ),
    "2.1.332/dialog-mcp-servers-one-80x24": (
        "Use this MCP server",
        "Use this and all future MCP servers in this project",
        "Continue without using this MCP server",
    ),
    "2.1.332/dialog-bypass-warning-80x24": ("No, exit", "Yes, I accept"),
}
CHOSEN = {"2.1.332/dialog-mcp-servers-one-80x24": 2}
"""Where it is not the first."""


def read(*rows: str) -> Dialog | None:
    return read_dialog(read_rows("\n".join(rows)))


@pytest.mark.parametrize("name", OFFERED)
def test_the_options_of_a_real_dialog_and_the_chosen_one_are_told(name: str) -> None:
    dialog = read_screen((FIXTURES / f"{name}.txt").read_bytes().decode()).dialog
    assert dialog
    assert dialog.options == OFFERED[name]
    assert dialog.chosen == CHOSEN.get(name, 0)


@pytest.mark.parametrize(
    "name",
    [
        *(f"dialog-permission-{tool}-{size}" for tool in ("bash", "write") for size in SIZES),
        "dialog-permission-bash-long-100x30",
    ],
)
def test_a_permission_is_answerable_at_every_size(name: str) -> None:
    dialog = read_screen((FIXTURES / "2.1.332" / f"{name}.txt").read_bytes().decode()).dialog
    assert dialog
    assert (dialog.options[0], dialog.options[-1], dialog.chosen) == ("Yes", "No", 0)
    assert dialog.question.split("\n")[-1].startswith("Do you want to")


@pytest.mark.parametrize("size", SIZES)
def test_a_dialog_without_a_pointer_offers_what_its_keys_do(size: str) -> None:
    dialog = read_screen((FIXTURES / "2.1.332" / f"dialog-auto-mode-{size}.txt").read_bytes().decode()).dialog
    assert dialog
    assert dialog.options == ("stay in auto mode", "leave for accept edits mode and stop")
    assert dialog.keys == ("Enter", "Shift-Tab")


def test_a_question_is_told_without_its_options() -> None:
    dialog = read(
        RULE,
        " Bash command",
        "",
        "   ls",
        "",
        " Do you want to proceed?",
        f"   1. Yes\n {POINTER} 2. No",
        "",
        " Esc to cancel",
    )
    assert dialog == Dialog(
        kind="permission",
        question="Bash command\nls\nDo you want to proceed?",
        options=("Yes", "No"),
        chosen=1,
    )


def test_a_label_goes_on_in_the_next_row_but_a_description_in_another_colour_is_none_of_it() -> None:
    dialog = read(
        RULE,
        "Which?",
        f"{POINTER} 1. One that is",
        "     long",
        "  2. Two",
        "     \x1b[38;5;246mthe second\x1b[39m",
        "",
        "Esc to cancel",
    )
    assert dialog
    assert dialog.options == ("One that is long", "Two")


def test_numbers_in_the_words_above_are_no_options() -> None:
    dialog = read(RULE, " Ready to code?", "  1. Do it", "  2. Test it", "", f" {POINTER} 1. Yes", "   2. No")
    assert dialog
    assert dialog.options == ("Yes", "No")
    assert "2. Test it" in dialog.question


def test_options_without_numbers_are_the_rows_around_the_pointer() -> None:
    dialog = read(
        RULE, "  Title", "", "    Yes", f"  {POINTER} No", "    Later", "", "  Enter to confirm · Esc to cancel"
    )
    assert dialog
    assert (dialog.options, dialog.chosen) == (("Yes", "No", "Later"), 1)


def test_of_options_that_are_ticked_none_is_chosen() -> None:
    dialog = read(RULE, "  Title", "", f"  {POINTER} [✔] one", "    [ ] two", "", "  Space to select · Esc to cancel")
    assert dialog
    assert (dialog.options, dialog.chosen) == (("[✔] one", "[ ] two"), None)


def test_keys_that_go_on_in_a_second_row_are_keys() -> None:
    assert read(RULE, "  Something new", "  ← to go · Esc to", "  close")


def test_an_unknown_dialog_has_its_words_and_no_name() -> None:
    dialog = read(RULE, "  Something new", "  What now?", f"  {POINTER} Go", "    Stay", "", "  Enter to confirm")
    assert dialog == Dialog(question="Something new\nWhat now?", options=("Go", "Stay"), chosen=0)


def test_the_words_of_a_tool_give_a_dialog_no_other_name() -> None:
    command = ["   echo Accessing workspace:", "   Rewind", "   Select model", "   WARNING: Claude Code running"]
    dialog = read(RULE, " Bash command", *command, " Do you want to proceed?", f" {POINTER} 1. Yes", "   2. No")
    assert dialog
    assert dialog.kind == "permission"


def test_a_conversation_alone_is_no_dialog() -> None:
    assert read("● answer", "  1. One", "  2. Two", "  the end") is None
    assert read("") is None


@given(st.lists(st.text(max_size=60), max_size=12))
def test_any_rows_are_read_without_an_error(rows: list[str]) -> None:
    read(RULE, *rows)
    read(*rows, f"{POINTER} 1. {'x'.join(rows)}", *rows)
