from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import Composer, Dialog, Screen
from actors.agents.claude_screen import read_screen, scrubbed
from actors.agents.styled import cells_of, read_rows

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "screens" / "claude"
CAPTURES = sorted(FIXTURES.glob("*/*.txt"))
POINTER = "\u276f"
RULE = "─" * 120
REVERSE, RESET = "\x1b[7m", "\x1b[0m"

EMPTY = Screen(composer=Composer.EMPTY)
BUSY = Screen(composer=Composer.EMPTY, busy=True)

EMPTY_ONES = (
    "composer-empty-*",
    "menu-shortcuts*",
    "interrupted-mid-text",
    "idle-after-interrupt-with-queued",
    "hook-*",
    "api-error-*-final",
    "api-error-40[03]-after-4s",
    "api-error-413-after-4s",
    "api-error-429-account-limit",
    "login-needed*",
)
BUSY_ONES = ("busy-[!d]*", "compacting")
RETRYING_ONES = ("api-error-401-after-4s", "api-error-429-after-4s", "api-error-5??-after-4s")
DRAFTS = (
    ("composer-draft-one-line", r"one line draft"),
    ("composer-draft-esc-again-to-clear", r"draft then esc"),
    ("composer-draft-paste-expanded", r"a\nb\nc\nd"),
    ("composer-draft-collapsed-paste", r"\[Pasted text #\d+ \+3 lines\]"),
    ("composer-draft-two-pastes-and-text", r"(\[Pasted text #\d+ \+3 lines\]){2}tail.*"),
    ("composer-draft-unfocused-*", r"half typed 日本"),
    ("composer-draft-much-taller-than-screen", r"(row \d+ of the draft\n)+.*"),
    ("composer-draft-taller-than-screen*", r"(row \d+ of the draft\\?\n)+.*"),
    ("composer-draft-leading-newline", r"\nbelow an empty row"),
    ("composer-draft-trailing-newline", r"above an empty row"),
    ("composer-draft-multi-line", r"first line\nsecond line\n  third line"),
    ("composer-draft-wrapped*", r"(?s)(word|x).*"),
    ("composer-draft-caret-at-start", r"abc"),
    ("composer-draft-one-character-*", r"P"),
    ("composer-draft-only-a-[!n]*", r" "),
    ("composer-draft-only-a-nbsp", r"\xa0"),
    ("composer-draft-only-a-newline", r""),
    ("composer-draft-wide-characters", r"日本語のテキスト .*"),
    ("tmux-copy-mode", r"in copy mode"),
    ("interrupted-before-output", r"first msg\n@@slow 20"),
    ("interrupted-with-draft", r"my draft"),
)
BUSY_DRAFTS = (("busy-draft", "draft while busy"), ("busy-draft-unfocused-*", "a draft"))
COMPLETIONS = ("menu-slash*", "menu-at-files*", "composer-draft-with-completion-ghost")
DIALOGS = (
    ("dialog-bash*", "permission"),
    ("dialog-edit", "permission"),
    ("dialog-mcp", "permission"),
    ("dialog-two-*", "permission"),
    ("dialog-web*", "permission"),
    ("dialog-write-new", "permission"),
    ("dialog-permission-bash*", "permission"),
    ("dialog-permission-unfocused*", "permission"),
    ("dialog-permission-w*", "permission"),
    ("dialog-ask-user-question*", "question"),
    ("dialog-question*", "question"),
    ("dialog-exit-plan-mode*", "plan"),
    ("dialog-plan-*", "plan"),
    ("dialog-auto-mode*", "auto mode"),
    ("dialog-mcp-servers-*", "mcp servers"),
    ("dialog-external-imports-*", "external imports"),
    ("dialog-make-auto-default-*", "make auto default"),
    ("trust-dialog", "trust"),
    ("dialog-trust-*", "trust"),
    ("api-key-approval", "api key"),
    ("dialog-api-key-*", "api key"),
    ("bypass-warning", "bypass warning"),
    ("dialog-bypass-warning-*", "bypass warning"),
    ("settings-warning-dialog", "settings warning"),
    ("dialog-settings-warning-*", "settings warning"),
    ("onboarding-theme", "theme"),
    ("onboarding-after-theme", "onboarding"),
    ("dialog-theme-*", "theme"),
    ("dialog-login-*", "login"),
    ("dialog-model", "settings|model"),
    ("dialog-model-*", "model"),
    ("dialog-config", "settings"),
    ("dialog-settings-[!w]*", "settings"),
    ("dialog-status-*", "settings"),
    ("dialog-help-*", "help"),
    ("dialog-permission-rules-*", "permission rules"),
    ("dialog-resume-*", "resume"),
    ("dialog-hooks-*", "menu"),
    ("dialog-memory-*", "menu"),
    ("dialog-effort-*", "menu"),
    ("rewind-menu", "rewind"),
    ("dialog-rewind-*", "rewind"),
    ("menu-history-search", "history search"),
    ("dialog-history-search-*", "history search"),
    ("transcript-view-*", "transcript view"),
    ("dialog-transcript-view-*", "transcript view"),
    ("dialog-agents-view-*", "agents view"),
    ("composer-bash-mode-*", "bash mode"),
    ("suspended-*", "suspended"),
)
NOT_UNDERSTOOD = ("pane-dead-*", "start-no-connection-*")
TROUBLES = (
    ("trust-dialog", "trust"),
    ("dialog-trust-*", "trust"),
    ("api-key-approval", "API key"),
    ("bypass-warning", "bypassPermissions"),
    ("onboarding-*", "set up"),
    ("login-needed*", "not logged in"),
    ("settings-warning-dialog", "too old"),
    ("dialog-mcp-servers-*", ".mcp.json"),
    ("dialog-external-imports-*", "import files"),
    ("dialog-make-auto-default-*", "default permission mode"),
    ("start-no-connection-*", "reach"),
)


def captures(pattern: str) -> list[str]:
    found = [path.read_bytes().decode() for path in CAPTURES if fnmatch(path.stem, pattern)]
    assert found, f"no fixture {pattern}"
    return found


def read(pattern: str) -> list[Screen]:
    return [read_screen(capture) for capture in captures(pattern)]


def test_each_fixture_is_read_by_a_test() -> None:
    patterns = [*EMPTY_ONES, *BUSY_ONES, *RETRYING_ONES, *COMPLETIONS, *NOT_UNDERSTOOD]
    patterns += [pattern for pattern, _ in (*DRAFTS, *BUSY_DRAFTS, *DIALOGS)]

    assert [path.name for path in CAPTURES if not any(fnmatch(path.stem, pattern) for pattern in patterns)] == []


@pytest.mark.parametrize("pattern", EMPTY_ONES)
def test_an_input_box_without_a_draft_is_empty(pattern: str) -> None:
    for screen in read(pattern):
        assert (screen.composer, screen.draft, screen.dialog, screen.busy) == (Composer.EMPTY, "", None, False)


@pytest.mark.parametrize("pattern", RETRYING_ONES)
def test_an_api_that_is_tried_again_is_told_with_the_attempt(pattern: str) -> None:
    for screen in read(pattern):
        assert (screen.composer, screen.busy) == (Composer.EMPTY, True)
        assert "/10)" in screen.trouble


@pytest.mark.parametrize("pattern", BUSY_ONES)
def test_a_turn_under_way_is_seen_whatever_the_status_line_and_the_motion_are(pattern: str) -> None:
    assert read(pattern) == [BUSY] * len(read(pattern))


@pytest.mark.parametrize(("pattern", "draft"), DRAFTS)
def test_a_draft_is_read_without_ghost_text_and_caret(pattern: str, draft: str) -> None:
    for screen in read(pattern):
        assert re.fullmatch(draft, screen.draft)
        assert replace(screen, scrolled=False) == Screen(composer=Composer.DRAFT, draft=screen.draft)


def test_of_a_draft_that_is_taller_than_the_screen_it_is_told_that_its_beginning_is_not_shown() -> None:
    for screen in (*read("composer-draft-much-taller-*"), *read("composer-draft-taller-than-screen-*")):
        assert screen.scrolled
        assert not screen.draft.startswith("row 0 ")
    assert not any(screen.scrolled for screen in read("composer-draft-taller-than-screen"))


@pytest.mark.parametrize(("pattern", "draft"), BUSY_DRAFTS)
def test_a_draft_typed_while_a_turn_runs_is_a_draft_and_busy(pattern: str, draft: str) -> None:
    for screen in read(pattern):
        assert screen == Screen(composer=Composer.DRAFT, draft=draft, busy=True)


@pytest.mark.parametrize("pattern", COMPLETIONS)
def test_a_completion_menu_is_a_draft_that_enter_would_not_send(pattern: str) -> None:
    for screen in read(pattern):
        menu = pattern != "composer-draft-with-completion-ghost"  # older versions show no menu with it
        assert screen.composer is Composer.DRAFT
        assert screen.dialog == Dialog(kind="completion") or (not menu and screen.dialog is None)


@pytest.mark.parametrize(("pattern", "kind"), DIALOGS)
def test_a_dialog_is_no_input_box_and_has_a_name(pattern: str, kind: str) -> None:
    for screen in read(pattern):
        assert screen.composer is Composer.ABSENT
        assert screen.dialog is not None
        assert screen.dialog.kind in kind.split("|")


@pytest.mark.parametrize("pattern", NOT_UNDERSTOOD)
def test_what_is_not_understood_is_no_input_box_and_shows_its_words(pattern: str) -> None:
    for screen in read(pattern):
        assert (screen.composer, screen.dialog) == (Composer.ABSENT, None)
        assert 0 < len(screen.shown.split("\n")) <= 12


@pytest.mark.parametrize(("pattern", "word"), TROUBLES)
def test_a_screen_that_stops_every_start_is_named(pattern: str, word: str) -> None:
    for screen in read(pattern):
        assert word in screen.trouble


def composer(*inside: str, below: str = "  ? for shortcuts", above: str = "", cursor: tuple[int, int] = (0, 2)) -> str:
    """A capture of an input box. ``cursor`` is the row inside and the column, both from 0."""
    rows = [*above.split("\n"), RULE, *inside, RULE, *below.split("\n")]
    first = len(above.split("\n")) + 2
    return "\n".join(rows) + f"\x1b[{first + cursor[0]};{cursor[1] + 1}H"


@pytest.mark.parametrize(
    ("inside", "cursor", "draft"),
    [
        ([f"{POINTER}\xa0"], (0, 2), ""),
        ([f"{POINTER}\xa0{REVERSE} {RESET}"], (0, 2), ""),
        ([f"{POINTER}\xa0abc"], (0, 5), "abc"),
        ([f"{POINTER}\xa0abc"], (0, 2), "abc"),
        ([f"{POINTER}\xa0日本"], (0, 6), "日本"),
        ([f"{POINTER}\xa0one", "  two"], (1, 5), "one\ntwo"),
        ([f"{POINTER}\xa0see /comp\x1b[2mact{RESET}"], (0, 11), "see /comp"),
        ([f"{POINTER}\xa0see /comp{REVERSE}a\x1b[0;2mct{RESET}"], (0, 11), "see /comp"),
        ([f"{POINTER}\xa0\x1b[2mPress up to edit{RESET}"], (0, 2), ""),
        ([f"{POINTER}\xa0{REVERSE}P\x1b[0;2mress{RESET} \x1b[2mup{RESET} to"], (0, 2), ""),
        ([f"{POINTER}\xa0   {REVERSE} {RESET}"], (0, 5), "   "),
        ([f"{POINTER}\xa0"], (0, 3), " "),
    ],
)
def test_what_was_typed_is_told_from_what_is_only_suggested_with_and_without_a_caret(
    inside: list[str], cursor: tuple[int, int], draft: str
) -> None:
    expected = Screen(composer=Composer.DRAFT if draft else Composer.EMPTY, draft=draft)
    assert read_screen(composer(*inside, cursor=cursor)) == expected


@pytest.mark.parametrize("cursor", [(-1, 2), (0, 1), (1, 2), (2, 18), (-2, 0)])
def test_a_box_without_the_cursor_inside_is_not_believed_whatever_it_draws(cursor: tuple[int, int]) -> None:
    assert read_screen(composer(f"{POINTER}\xa0{REVERSE} {RESET}", cursor=cursor)).composer is Composer.ABSENT


@pytest.mark.parametrize(
    "below",
    [
        "  Not logged in · Run /login\n  \u276f 1. Yes\n  esc to interrupt",
        "  Do you want to proceed?\n  \u276f 1. Yes\n    2. No\n  Esc to cancel",
        "  ─────────────────────────────\n  \u276f 1. Yes",
    ],
)
def test_no_status_line_hides_an_input_box_that_has_the_cursor(below: str) -> None:
    colour, plain = "\x1b[38;5;244m", "\x1b[39m"
    rule = f"{colour}{RULE}{plain}"
    capture = f"{rule}\n{POINTER}\xa0\n{rule}\n{below}\x1b[2;3H"
    screen = read_screen(capture)
    assert (screen.composer, screen.dialog, screen.busy) == (Composer.EMPTY, None, False)


@pytest.mark.parametrize(
    "pointer", ["\x1b[38;5;246m", "\x1b[38;5;241m", "\x1b[90m", "\x1b[2m", "\x1b[38;2;153;153;153m"]
)
def test_a_grey_pointer_is_a_turn_under_way_in_every_theme(pointer: str) -> None:
    rule = f"\x1b[38;5;244m{RULE}\x1b[39m"
    assert read_screen(f"{rule}\n{pointer}{POINTER}{RESET}\xa0\n{rule}\n  mine\x1b[2;3H") == BUSY


@pytest.mark.parametrize(
    ("above", "below", "screen"),
    [("", "  esc to interrupt", BUSY), ("✶ Thinking… (3s)", "", BUSY), ("", "  ? for shortcuts", EMPTY)],
)
def test_without_colours_the_hints_tell_of_a_turn_under_way(above: str, below: str, screen: Screen) -> None:
    assert read_screen(composer(f"{POINTER}\xa0", above=above, below=below)) == screen


@pytest.mark.parametrize("words", ["─ name ─", "─ 日本 branch ─", "─ History 13/13 ────", "── A name ──"])
def test_words_in_the_upper_rule_are_no_hindrance(words: str) -> None:
    cells = sum(map(cells_of, words))
    upper = "─" * (120 - cells) + words
    assert read_screen(f"{upper}\n{POINTER}\xa0\n{RULE}\n  hints\x1b[2;3H") == EMPTY


def test_rules_of_different_widths_are_no_box() -> None:
    capture = f"{RULE}───\n{POINTER}\xa0\n{RULE}\n  hints\x1b[2;3H"
    assert read_screen(capture).composer is Composer.ABSENT


def test_a_program_that_reads_no_keys_has_no_input_box() -> None:
    drawn = composer(f"{POINTER}\xa0").rpartition("\x1b")[0]
    suspended = read_screen(drawn + "\x1b[0;0H")
    assert suspended.composer is Composer.ABSENT
    assert suspended.dialog
    assert (suspended.dialog.kind, suspended.dialog.options) == ("suspended", ())
    assert read_screen("starting\x1b[0;0H") == Screen(composer=Composer.ABSENT, shown="starting")


def test_what_is_shown_is_told_in_few_words() -> None:
    rows = ["┌──┐", *(f"  row   {number} {'x' * 300}" for number in range(40)), "", "   "]
    shown = read_screen("\n".join(rows)).shown.split("\n")
    assert len(shown) == 12
    assert shown[-1] == f"row 39 {'x' * 300}"[:160]
    assert read_screen(composer(f"{POINTER}\xa0")).shown == ""


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param(f"{POINTER} {REVERSE} {RESET}", id="an ordinary space, as in the view of agents"),
        pytest.param(f" {POINTER}\xa0{REVERSE} {RESET}", id="not at the left edge"),
    ],
)
def test_a_box_without_every_sign_is_not_believed(inside: str) -> None:
    assert read_screen(composer(inside)).composer is Composer.ABSENT


def test_a_capture_that_does_not_tell_its_cursor_has_no_input_box() -> None:
    assert read_screen(composer(f"{POINTER}\xa0").rpartition("\x1b")[0]).composer is Composer.ABSENT


def test_typed_blank_lines_are_no_empty_input_box() -> None:
    for below in ("", "  "):
        assert read_screen(composer(f"{POINTER}\xa0", below, cursor=(1, 2))).composer is Composer.DRAFT


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


def lowered(capture: str, rows: int) -> str:
    """The capture with its cursor so many rows further down."""
    return re.sub(r"\x1b\[(\d+);(\d+)H\Z", lambda at: f"\x1b[{int(at[1]) + rows};{at[2]}H", capture)


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
    rows = "\n".join(lines).count("\n") + 1 if lines else 0
    for dialog in captures("dialog-*"):
        screen = read_screen("\n".join([*lines, lowered(dialog, rows)]))
        assert (screen.composer, bool(screen.dialog)) == (Composer.ABSENT, True)


@given(st.lists(NASTY, max_size=8))
def test_no_question_of_an_agent_makes_an_input_box_of_its_dialog(lines: list[str]) -> None:
    question = "\n".join([RULE, " ☐ Header", "", *lines, "", f"{POINTER} 1. A", "  2. B", RULE, "  3. Chat about this"])
    assert read_screen(question + "\n\nEnter to select · Esc to cancel").composer is Composer.ABSENT


@given(st.text())
def test_any_text_at_all_is_read_without_an_error(text: str) -> None:
    read_screen(text)


SIZES = ("80x24", "100x30", "120x40", "250x80")
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


def dialog_in(name: str) -> Dialog | None:
    return read_screen((FIXTURES / f"{name}.txt").read_bytes().decode()).dialog


@pytest.mark.parametrize("name", OFFERED)
def test_the_options_of_a_real_dialog_and_the_chosen_one_are_told(name: str) -> None:
    dialog = dialog_in(name)
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
    dialog = dialog_in(f"2.1.332/{name}")
    assert dialog
    assert (dialog.options[0], dialog.options[-1], dialog.chosen) == ("Yes", "No", 0)
    assert dialog.question.split("\n")[-1].startswith("Do you want to")


@pytest.mark.parametrize("size", SIZES)
def test_a_dialog_without_a_pointer_offers_what_its_keys_do(size: str) -> None:
    dialog = dialog_in(f"2.1.332/dialog-auto-mode-{size}")
    assert dialog
    assert dialog.options == ("stay in auto mode", "leave for accept edits mode and stop")
    assert dialog.keys == ("Enter", "Shift-Tab")


TOOL_WORDS = "   echo Accessing workspace:\n   Rewind\n   Select model\n   WARNING: Claude Code running"


@pytest.mark.parametrize(
    ("drawn", "dialog"),
    [
        pytest.param(
            f" Bash command\n\n   ls\n\n Do you want to proceed?\n   1. Yes\n {POINTER} 2. No\n\n Esc to cancel",
            Dialog(
                kind="permission",
                question="Bash command\nls\nDo you want to proceed?",
                options=("Yes", "No"),
                chosen=1,
            ),
            id="a question without its options",
        ),
        pytest.param(
            f"Which?\n{POINTER} 1. One\n     long\n  2. Two\n     \x1b[38;5;246mthe second\x1b[39m\n\nEsc to cancel",
            Dialog(question="Which?", options=("One long", "Two"), chosen=0),
            id="a label goes on in the next row, a description has another colour",
        ),
        pytest.param(
            f" Ready to code?\n  1. Do it\n  2. Test it\n\n {POINTER} 1. Yes\n   2. No",
            Dialog(kind="plan", question="Ready to code?\n1. Do it\n2. Test it", options=("Yes", "No"), chosen=0),
            id="numbers in the words above are no options",
        ),
        pytest.param(
            f"  Title\n\n    Yes\n  {POINTER} No\n    Later\n\n  Enter to confirm",
            Dialog(question="Title", options=("Yes", "No", "Later"), chosen=1),
            id="options without numbers are the rows around the pointer",
        ),
        pytest.param(
            f"  Title\n\n  {POINTER} [✔] one\n    [ ] two\n\n  Space to select",
            Dialog(question="Title", options=("[✔] one", "[ ] two")),
            id="of options that are ticked none is chosen",
        ),
        pytest.param(
            "  Something new\n  ← to go · Esc to\n  close",
            Dialog(question="Something new\n← to go · Esc to\nclose"),
            id="keys go on in a second row",
        ),
        pytest.param(
            f" Bash command\n{TOOL_WORDS}\n Do you want to proceed?\n {POINTER} 1. Yes\n   2. No",
            Dialog(
                kind="permission",
                question="Bash command\necho Accessing workspace:\nRewind\nSelect model\n"
                "WARNING: Claude Code running\nDo you want to proceed?",
                options=("Yes", "No"),
                chosen=0,
            ),
            id="the words of a tool give it no other name",
        ),
    ],
)
def test_a_dialog_is_read_below_its_rule(drawn: str, dialog: Dialog) -> None:
    assert read_screen(f"{RULE}\n{drawn}").dialog == dialog


@pytest.mark.parametrize("said", ["● answer\n  1. One\n  2. Two\n  the end", ""])
def test_a_conversation_alone_is_no_dialog(said: str) -> None:
    assert read_screen(said).dialog is None


@given(st.lists(st.text(max_size=60), max_size=12))
def test_any_rows_are_read_without_an_error(rows: list[str]) -> None:
    read_screen("\n".join([RULE, *rows]))
    read_screen("\n".join([*rows, f"{POINTER} 1. {'x'.join(rows)}", *rows]))


def words(capture: str) -> list[str]:
    return [row.text for row in read_rows(capture)]


def test_of_a_scrubbed_screen_what_was_said_is_gone_and_what_stands_below_the_last_rule_stays() -> None:
    capture = f"\x1b[2m● The secret is 42 日本\x1b]8;;http://secret\x1b\\\n\n{RULE}\n  What now?\n  ? help\x1b[4;11H"

    assert scrubbed(capture) == f"\x1b[2m● xxx xxxxxx xx 00 ｘｘ\n\n{RULE}\n  What now?\n  ? help\x1b[4;11H"
    assert words(scrubbed("secret one\nsecret two\n\n")) == ["xxxxxx xxx", "xxxxxx xxx", "", ""]


@pytest.mark.parametrize("pattern", NOT_UNDERSTOOD)
def test_a_scrubbed_screen_keeps_its_shape(pattern: str) -> None:
    for capture in captures(pattern):
        was, now = words(capture), words(scrubbed(capture))
        assert [sum(map(cells_of, row)) for row in now] == [sum(map(cells_of, row)) for row in was]


@given(st.text(max_size=200))
def test_any_text_is_scrubbed_without_an_error(text: str) -> None:
    assert len(scrubbed(text).split("\n")) == len(text.split("\n"))
