"""Which dialogs a person who looks at a version of the terminal has seen."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from actors.agents.base import Agent, Composer, Dialog, Screen
from actors.instance.terminal import KEPT, LOOK_EVERY_S, TerminalView
from actors.tmux.pane import Pane, PaneView

PROMPT = Screen(composer=Composer.EMPTY)
ASKS = Screen(
    composer=Composer.ABSENT, dialog=Dialog(kind="permission", question="Run it?", options=("Yes", "No"), chosen=0)
)
MOVED = replace(ASKS, dialog=replace(ASKS.dialog or Dialog(), options=("Yes", "No, but"), chosen=1))
NAMELESS = Screen(composer=Composer.ABSENT, dialog=Dialog(options=("Go on",), chosen=0))
OTHER_NAMELESS = Screen(composer=Composer.ABSENT, dialog=Dialog(options=("Delete",), chosen=0))
OTHER = replace(ASKS, dialog=Dialog(kind="permission", question="Delete all?", options=("Yes", "No"), chosen=0))


class Terminal:
    """A pane and its agent: what is drawn is a number for a screen."""

    def __init__(self) -> None:
        self._screens = [PROMPT]

    def draw(self, screen: Screen) -> None:
        self._screens.append(screen)

    async def view(self) -> tuple[PaneView, str]:
        text = str(len(self._screens) - 1)
        return PaneView(columns=9, rows=1, lines=(text,), cursor=None, title=""), text

    def read_screen(self, text: str) -> Screen:
        return self._screens[int(text)]


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


@pytest.fixture
def view(terminal: Terminal) -> TerminalView:
    return TerminalView(cast("Pane", terminal), cast("Agent", terminal))


async def _looked_at(view: TerminalView, after: str = "") -> str:
    return (await view.next(after, 1.0)).version


async def test_a_dialog_that_has_come_up_since_is_not_seen_and_one_that_was_up_is(
    terminal: Terminal, view: TerminalView
) -> None:
    before = await _looked_at(view)
    assert view.unseen(PROMPT, before) is None
    assert view.unseen(ASKS, before) == ASKS.dialog
    terminal.draw(ASKS)
    seen = await _looked_at(view, before)
    assert view.unseen(ASKS, seen) is None
    assert view.unseen(MOVED, seen) is None  # the keys of the person have done it
    assert view.unseen(OTHER, seen) == OTHER.dialog
    assert view.unseen(PROMPT, seen) is None
    terminal.draw(NAMELESS)
    seen = await _looked_at(view, seen)
    assert view.unseen(NAMELESS, seen) is None
    assert view.unseen(OTHER_NAMELESS, seen) == OTHER_NAMELESS.dialog


async def test_of_a_version_of_long_ago_no_dialog_was_seen(terminal: Terminal, view: TerminalView) -> None:
    terminal.draw(ASKS)
    seen = version = await _looked_at(view)
    for _ in range(KEPT):
        assert view.unseen(ASKS, seen) is None
        terminal.draw(ASKS)
        version = await _looked_at(view, version)
    assert view.unseen(ASKS, seen) == ASKS.dialog
    assert view.unseen(ASKS, version) is None
    assert view.unseen(ASKS, "unknown") == ASKS.dialog
    assert view.unseen(PROMPT, "unknown") is None


async def test_what_is_looked_at_all_the_time_stays_known(terminal: Terminal, view: TerminalView) -> None:
    terminal.draw(ASKS)
    version = await _looked_at(view)
    await view.next(version, 10 * KEPT * LOOK_EVERY_S)
    assert view.unseen(ASKS, version) is None
