from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import Composer, Dialog, Screen
from actors.agents.claude_screen import read_screen

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "screens" / "claude"
CAPTURES = sorted(FIXTURES.glob("*/*.txt"))
POINTER = "\u276f"
RULE = "─" * 120
REVERSE, RESET = "\x1b[7m", "\x1b[0m"

EMPTY = Screen(composer=Composer.EMPTY)
BUSY = Screen(composer=Composer.EMPTY, busy=True)
DIALOG = Screen(composer=Composer.ABSENT, dialog=Dialog())

EXPECTED = (
    ("composer-empty-*", EMPTY),
    ("menu-shortcuts", EMPTY),
    ("interrupted-mid-text", EMPTY),
    ("api-error-*-final", EMPTY),
    ("busy-[!d]*", BUSY),
    ("api-error-529-after-4s", BUSY),
    ("dialog-*", DIALOG),
    ("rewind-menu", DIALOG),
    ("transcript-view-*", DIALOG),
    ("menu-history-search", DIALOG),
    ("composer-bash-mode-*", DIALOG),
    ("pane-dead-*", Screen(composer=Composer.ABSENT)),
)
DRAFTS = (
    ("composer-draft-one-line", r"one line draft"),
    ("composer-draft-esc-again-to-clear", r"draft then esc"),
    ("composer-draft-paste-expanded", r"a\nb\nc\nd"),
    ("composer-draft-collapsed-paste", r"\[Pasted text #\d+ \+3 lines\]"),
    ("composer-draft-two-pastes-and-text", r"(\[Pasted text #\d+ \+3 lines\]){2}tail.*"),
    ("tmux-copy-mode", r"in copy mode"),
    ("interrupted-before-output", r"first msg\n@@slow 20"),
)
TROUBLES = (
    ("trust-dialog", "trust"),
    ("api-key-approval", "API key"),
    ("bypass-warning", "bypassPermissions"),
    ("onboarding-*", "set up"),
    ("login-needed*", "not logged in"),
    ("settings-warning-dialog", "too old"),
)


def captures(pattern: str) -> list[str]:
    found = [path.read_bytes().decode() for path in CAPTURES if fnmatch(path.stem, pattern)]
    assert found, f"no fixture {pattern}"
    return found


@pytest.mark.parametrize(("pattern", "expected"), EXPECTED, ids=[name for name, _ in EXPECTED])
def test_a_screen_of_the_real_program_is_understood(pattern: str, expected: Screen) -> None:
    assert [read_screen(capture) for capture in captures(pattern)] == [expected] * len(captures(pattern))


def test_of_a_draft_that_is_taller_than_the_screen_newer_versions_show_the_end_in_a_box_that_says_so() -> None:
    old, new = map(read_screen, captures("composer-draft-much-taller-than-screen"))
    assert old == Screen(composer=Composer.ABSENT)
    assert (new.composer, new.scrolled) == (Composer.DRAFT, True)
    assert new.draft.startswith("row 41 of the draft\nrow 42")


@pytest.mark.parametrize(("pattern", "draft"), DRAFTS, ids=[name for name, _ in DRAFTS])
def test_a_draft_is_read_without_ghost_text_and_caret(pattern: str, draft: str) -> None:
    for capture in captures(pattern):
        screen = read_screen(capture)
        assert re.fullmatch(draft, screen.draft)
        assert screen == Screen(composer=Composer.DRAFT, draft=screen.draft)


def test_a_draft_typed_while_a_turn_runs_is_a_draft_and_busy() -> None:
    for capture in captures("busy-draft"):
        assert read_screen(capture) == Screen(composer=Composer.DRAFT, draft="draft while busy", busy=True)


@pytest.mark.parametrize("pattern", ["menu-slash", "menu-slash-filtered", "menu-at-files"])
def test_a_completion_menu_is_a_draft_that_enter_would_not_send(pattern: str) -> None:
    for capture in captures(pattern):
        screen = read_screen(capture)
        assert (screen.composer, bool(screen.dialog)) == (Composer.DRAFT, True)


@pytest.mark.parametrize(("pattern", "word"), TROUBLES, ids=[name for name, _ in TROUBLES])
def test_a_screen_that_stops_every_start_is_named(pattern: str, word: str) -> None:
    for capture in captures(pattern):
        screen = read_screen(capture)
        assert screen.composer is Composer.ABSENT
        assert word in screen.trouble


def test_no_capture_with_an_open_dialog_is_ever_taken_for_an_input_box() -> None:
    for pattern in ("trust-*", "onboarding-*", "api-key-*", "bypass-*", "settings-*", "rewind-*"):
        for capture in captures(pattern):
            assert read_screen(capture).composer is Composer.ABSENT


def composer(*inside: str, below: str = "  ? for shortcuts", above: str = "") -> str:
    return "\n".join([above, RULE, *inside, RULE, below])


def test_the_plain_input_box_is_empty() -> None:
    assert read_screen(composer(f"{POINTER}\xa0{REVERSE} {RESET}")) == EMPTY


def test_a_caret_that_was_left_out_at_the_row_end_still_counts() -> None:
    assert read_screen(composer(f"{POINTER}\xa0{REVERSE}", below=f"{RESET}  ? for shortcuts")) == EMPTY


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param(f"{POINTER} {REVERSE} {RESET}", id="an ordinary space, as in the view of agents"),
        pytest.param(f"{POINTER}\xa0", id="no caret, as in the history search"),
        pytest.param(f" {POINTER}\xa0{REVERSE} {RESET}", id="not at the left edge"),
        pytest.param(f"{POINTER}\xa01. Yes", id="an option"),
    ],
)
def test_a_box_without_every_sign_is_not_believed(inside: str) -> None:
    assert read_screen(composer(inside)).composer is Composer.ABSENT


@pytest.mark.parametrize(
    "below",
    [
        pytest.param(f"{POINTER} 1. Yes\n  2. No", id="options at the left edge"),
        pytest.param(f"\n  {POINTER} 1. Yes\n    2. No", id="options"),
        pytest.param("\nResume this session with:\nclaude --resume x", id="the last words"),
        pytest.param("\n\nPane is dead (status 0)", id="a dead pane"),
    ],
)
def test_a_box_with_anything_but_hints_below_is_not_believed(below: str) -> None:
    assert read_screen(composer(f"{POINTER}\xa0{REVERSE} {RESET}", below=below)).composer is Composer.ABSENT


@pytest.mark.parametrize(
    ("inside", "draft"),
    [
        (f"{POINTER}\xa0   {REVERSE} {RESET}", "   "),
        (f"{POINTER}\xa0see /comp{REVERSE}a\x1b[0;2mct{RESET}", "see /comp"),
        (f"{POINTER}\xa0{REVERSE}a{RESET}bc", "abc"),
        (f"{POINTER}\xa0a", "a"),
    ],
)
def test_what_was_typed_is_told_from_what_is_only_suggested(inside: str, draft: str) -> None:
    rows = [inside] if REVERSE in inside else [inside, f"  b{REVERSE} {RESET}"]
    expected = draft if REVERSE in inside else "a\nb"
    assert read_screen(composer(*rows)) == Screen(composer=Composer.DRAFT, draft=expected)


def test_typed_blank_lines_are_no_empty_input_box() -> None:
    assert read_screen(composer(f"{POINTER}\xa0", f"  {REVERSE} {RESET}")).composer is Composer.DRAFT


def test_a_suggestion_in_an_empty_input_box_is_no_draft() -> None:
    ghost = f"{POINTER}\xa0{REVERSE}P\x1b[0;2mress{RESET} \x1b[2mup{RESET} to"
    assert read_screen(composer(ghost)) == EMPTY


NASTY = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            RULE,
            f"{POINTER}\xa0",
            f"{POINTER} 1. Yes",
            f"{POINTER}\xa0{REVERSE} {RESET}",
            " Do you want to proceed?",
            " Esc to cancel · Tab to amend",
            "  esc to interrupt",
            "✶ Thinking… (3s)",
            "Not logged in · Run /login",
            "Yes, I trust this folder",
        ]
    ),
)
"""Text of a conversation that looks like a screen."""


def as_conversation(lines: list[str]) -> list[str]:
    """As Claude Code shows what somebody wrote: never at the left edge, control characters left out."""
    shown = ["".join(c for c in line if c.isprintable() or c == "\xa0") for line in lines]
    return [f"  {line}" for line in shown]


@given(st.lists(NASTY, max_size=8))
def test_no_text_of_the_conversation_hides_or_fakes_the_state_of_the_input_box(lines: list[str]) -> None:
    said = "\n".join(["● answer", *as_conversation(lines)])
    assert read_screen(composer(f"{POINTER}\xa0{REVERSE} {RESET}", above=said)) == EMPTY


@given(st.lists(NASTY, max_size=8))
def test_no_text_above_a_dialog_makes_an_input_box_of_it(lines: list[str]) -> None:
    for dialog in captures("dialog-*"):
        screen = read_screen("\n".join([*lines, dialog]))
        assert (screen.composer, bool(screen.dialog)) == (Composer.ABSENT, True)


@given(st.lists(NASTY, max_size=8))
def test_no_question_of_an_agent_makes_an_input_box_of_its_dialog(lines: list[str]) -> None:
    question = "\n".join([RULE, " ☐ Header", "", *lines, "", f"{POINTER} 1. A", "  2. B", RULE, "  3. Chat about this"])
    assert read_screen(question + "\n\nEnter to select · Esc to cancel").composer is Composer.ABSENT


@given(st.text())
def test_any_text_at_all_is_read_without_an_error(text: str) -> None:
    read_screen(text)
