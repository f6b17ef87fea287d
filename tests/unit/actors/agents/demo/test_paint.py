from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import Composer, Dialog, Screen
from actors.agents.claude_screen import read_screen
from actors.agents.demo.terminal import DialogView, ScreenView, paint, wrapped

DIALOG = DialogView(title="Bash command", body=("ls",), question="Do you want to proceed?", options=("Yes", "No"))
ASKED = Dialog(
    kind="permission",
    question="Bash command\nls\nDo you want to proceed?",
    options=("Yes", "No"),
    chosen=0,
)
TEXTS = st.lists(st.tuples(st.sampled_from(["user", "agent", "tool", "program"]), st.text()), max_size=4)


def capture(view: ScreenView, width: int = 80, height: int = 30) -> str:
    """What ``tmux capture-pane -e`` would return for what was painted."""
    painted = paint(view, width, height)
    assert painted.startswith("\x1b[H")
    return painted.removeprefix("\x1b[H").replace("\x1b[K", "").replace("\x1b[J", "").replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("view", "screen"),
    [
        (ScreenView(), Screen(composer=Composer.EMPTY)),
        (ScreenView(busy=True), Screen(composer=Composer.EMPTY, busy=True)),
        (ScreenView(busy=True, queued=("a", "b\nc")), Screen(composer=Composer.EMPTY, busy=True)),
        (ScreenView(draft="a\n  b"), Screen(composer=Composer.DRAFT, draft="a\n  b")),
        (
            ScreenView(draft="/x", menu=("/x  Does it",)),
            Screen(composer=Composer.DRAFT, draft="/x", dialog=Dialog(kind="completion")),
        ),
        (ScreenView(dialog=DIALOG), Screen(composer=Composer.ABSENT, dialog=ASKED)),
        (
            ScreenView(dialog=DIALOG._replace(chosen=1)),
            Screen(composer=Composer.ABSENT, dialog=replace(ASKED, chosen=1)),
        ),
        (ScreenView(dialog=DIALOG, busy=True, draft="a"), Screen(composer=Composer.ABSENT, dialog=ASKED)),
    ],
)
def test_what_the_demo_draws_reads_like_the_real_program(view: ScreenView, screen: Screen) -> None:
    assert replace(read_screen(capture(view)), shown="") == screen


def test_the_mode_for_commands_of_the_shell_is_no_input_box() -> None:
    screen = read_screen(capture(ScreenView(draft="!ls")))
    assert screen.composer is Composer.ABSENT
    assert screen.dialog
    assert screen.dialog.kind == "bash mode"


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


def test_wide_characters_take_two_cells_and_combining_ones_none() -> None:
    assert wrapped("日本語", 4) == ["日本", "語"]
    assert wrapped("e\u0301" * 4, 4) == ["e\u0301" * 4]
    assert wrapped("", 4) == [""]
    assert wrapped("abcdef\ng", 4) == ["abcd", "ef", "g"]
