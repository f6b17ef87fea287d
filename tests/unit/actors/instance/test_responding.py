"""Answering a dialog at a terminal: which keys are pressed, and when none is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.agents.base import Agent, Composer, Dialog, Screen
from actors.agents.permissions import decision_text
from actors.errors import InvalidRequestError, UnavailableError, WrongStateError
from actors.instance.observer import Observer
from actors.instance.responding import Reply, Responder
from actors.instance.state import InstanceState, PendingPermission
from actors.status import Status
from actors.tmux.pane import Key, Pane

ASKS = Dialog(kind="mcp servers", question="New MCP server", options=("Use it", "Use all", "Go on without"), chosen=0)

KEYED = Dialog(kind="auto mode", options=("stay", "leave"), keys=("Enter", "Shift-Tab"))


class Terminal:
    """A dialog that follows the arrows; Enter and Escape close it."""

    def __init__(self, dialog: Dialog | None, *, deaf: bool = False) -> None:
        self.dialog = dialog
        self.deaf = deaf
        self.pressed: list[Key] = []
        self.took: str | None = None

    async def press(self, key: Key) -> None:
        assert self.dialog is not None
        self.pressed.append(key)
        if self.deaf:
            return
        chosen = self.dialog.chosen or 0
        if key in ("Up", "Down"):
            step = 1 if key == "Down" else -1
            self.dialog = replace(self.dialog, chosen=(chosen + step) % len(self.dialog.options))
        else:
            self.took = self.dialog.options[chosen] if key == "Enter" else key
            self.dialog = None


class Watcher:
    def __init__(self, terminal: Terminal, *waiting: PendingPermission) -> None:
        self._terminal = terminal
        self.state = InstanceState(status=Status.WAITING_INPUT, permissions=waiting)

    def read_spool(self) -> None:
        """Nothing comes."""

    def change(self, state: InstanceState) -> None:
        self.state = state

    async def look(self) -> Screen:
        shown = self._terminal.dialog
        return Screen(composer=Composer.EMPTY if shown is None else Composer.ABSENT, dialog=shown)


async def nothing() -> None:
    """Happens."""


async def respond(
    terminal: Terminal,
    reply: Reply,
    *waiting: PendingPermission,
    beside: Callable[[], Awaitable[None]] = nothing,
) -> Any:
    """``beside`` happens 0.2 s later."""
    watcher = cast("Observer", Watcher(terminal, *waiting))
    responder = Responder(cast("Agent", None), cast("Pane", terminal), watcher, Path("/nowhere"), asyncio.Lock())
    asked = asyncio.ensure_future(responder.respond(reply))
    await asyncio.wait([asked], timeout=0.2)
    await beside()
    return await asked


@pytest.mark.parametrize(
    ("option", "took", "pressed"),
    [
        ("Use it", "Use it", ["Down", "Up", "Enter"]),
        ("Go  on without", "Go on without", ["Down", "Down", "Enter"]),
        ("2", "Use all", ["Down", "Enter"]),
    ],
)
async def test_the_named_option_is_chosen(option: str, took: str, pressed: list[Key]) -> None:
    terminal = Terminal(ASKS)
    assert (await respond(terminal, Reply(option=option))).dialog == ASKS
    assert (terminal.took, terminal.pressed) == (took, pressed)


async def test_the_pointer_goes_up_as_well() -> None:
    terminal = Terminal(replace(ASKS, chosen=2))
    await respond(terminal, Reply(option="Use it"))
    assert terminal.pressed == ["Up", "Up", "Enter"]


async def test_a_denial_closes_a_dialog_that_may_be_closed() -> None:
    terminal = Terminal(ASKS)
    await respond(terminal, Reply(allow=False))
    assert terminal.took == "Escape"


@pytest.mark.parametrize(
    ("dialog", "reply"),
    [
        (ASKS, Reply(option="Use nothing")),
        (ASKS, Reply(option="4")),
        (ASKS, Reply(allow=True)),
        (replace(ASKS, kind="trust"), Reply(allow=False)),
        (replace(ASKS, chosen=None), Reply(option="Use it")),
        (replace(ASKS, options=("Same", "Same")), Reply(option="Same")),
    ],
)
async def test_without_certainty_no_key_is_pressed(dialog: Dialog, reply: Reply) -> None:
    terminal = Terminal(dialog)
    with pytest.raises(InvalidRequestError, match=r"attach|has no option"):
        await respond(terminal, reply)
    assert terminal.pressed == []


async def test_a_dialog_that_does_not_follow_is_told() -> None:
    terminal = Terminal(ASKS, deaf=True)
    with pytest.raises(UnavailableError, match="does not follow"):
        await respond(terminal, Reply(option="Use all"))
    assert set(terminal.pressed) == {"Down"}


def losing(terminal: Terminal, lost: Key) -> None:
    """The first press of this key is not read."""
    press = terminal.press

    async def lose_the_first(key: Key) -> None:
        terminal.deaf = key == lost and lost not in terminal.pressed
        await press(key)

    terminal.press = lose_the_first  # type: ignore[method-assign]


async def test_an_arrow_that_was_lost_is_pressed_again_before_anything_is_entered() -> None:
    terminal = Terminal(replace(ASKS, chosen=2))
    losing(terminal, "Up")
    await respond(terminal, Reply(option="Go on without"))
    assert (terminal.took, terminal.pressed) == ("Go on without", ["Up", "Up", "Down", "Enter"])


async def test_a_pointer_that_moves_by_itself_leads_to_no_other_answer() -> None:
    """As when an arrow that was pressed again comes late, or when a program draws its first dialog anew."""
    terminal = Terminal(replace(ASKS, chosen=1))
    press = terminal.press

    def point_at_the_last() -> None:
        assert terminal.dialog is not None
        terminal.dialog = replace(terminal.dialog, chosen=2)

    async def then_it_moves(key: Key) -> None:
        await press(key)
        if terminal.pressed == ["Down", "Up"]:
            asyncio.get_running_loop().call_later(0.2, point_at_the_last)

    terminal.press = then_it_moves  # type: ignore[method-assign]
    await respond(terminal, Reply(option="Use all"))
    assert (terminal.took, terminal.pressed) == ("Use all", ["Down", "Up", "Up", "Enter"])


@pytest.mark.parametrize(
    ("dialog", "reply", "key"),
    [
        (ASKS, Reply(option="Use it"), "Enter"),
        (ASKS, Reply(allow=False), "Escape"),
        (
            Dialog(kind="auto mode", options=("stay", "leave"), keys=("Enter", "Shift-Tab")),
            Reply(option="stay"),
            "Enter",
        ),
        (Dialog(kind="settings warning", options=("Continue",), chosen=0), Reply(option="Continue"), "Enter"),
    ],
)
async def test_a_key_that_answers_is_pressed_once_even_when_it_shows_no_effect(
    dialog: Dialog, reply: Reply, key: Key
) -> None:
    terminal = Terminal(dialog)
    losing(terminal, key)
    with pytest.raises(UnavailableError, match=f"no effect of the key {key}"):
        await respond(terminal, reply)
    assert terminal.pressed.count(key) == 1


@pytest.mark.parametrize("reply", [Reply(option="stay"), Reply(allow=False)])
async def test_a_dialog_that_has_only_just_come_up_gets_no_key(reply: Reply) -> None:
    terminal = Terminal(KEYED)

    async def another() -> None:
        terminal.dialog = replace(KEYED, question="another")

    with pytest.raises(WrongStateError, match="changed meanwhile"):
        await respond(terminal, reply, beside=another)
    assert terminal.pressed == []


@pytest.mark.parametrize("question", ["New MCP server", "New  MCP\nserver"])
async def test_an_answer_that_names_the_dialog_goes_to_it(question: str) -> None:
    terminal = Terminal(ASKS)
    await respond(terminal, Reply(option="Use all", question=question))
    assert terminal.took == "Use all"


@pytest.mark.parametrize("answer", [Reply(option="Use all", question="Old"), Reply(allow=False, question="")])
async def test_an_answer_to_another_dialog_than_the_one_that_is_up_presses_no_key(answer: Reply) -> None:
    terminal = Terminal(ASKS)
    with pytest.raises(WrongStateError, match=r"that dialog is gone.*New MCP server"):
        await respond(terminal, answer)
    assert terminal.pressed == []


async def test_an_answer_to_a_dialog_decides_no_request_that_waits_by_now() -> None:
    terminal = Terminal(ASKS)
    request = PendingPermission(request_id="p", tool="Bash", tool_input={})
    with pytest.raises(WrongStateError, match="permission to use Bash by now"):
        await respond(terminal, Reply(allow=False, question="New MCP server"), request)
    assert terminal.pressed == []


async def test_where_nothing_waits_nothing_is_answered() -> None:
    terminal = Terminal(None)
    with pytest.raises(WrongStateError, match="waits for no permission"):
        await respond(terminal, Reply(option="Yes"))
    assert terminal.pressed == []


async def test_a_request_goes_before_a_dialog_and_takes_no_option_that_is_none_of_it() -> None:
    terminal = Terminal(ASKS)
    asked = PendingPermission(request_id="0" * 32, tool="Bash", tool_input={})
    with pytest.raises(InvalidRequestError, match="Bash"):
        await respond(terminal, Reply(option="Use it"), asked)
    with pytest.raises(WrongStateError, match="waits no more"):
        await respond(terminal, Reply(allow=True, permission_id="f" * 32), asked)
    assert terminal.pressed == []


async def test_a_request_whose_hook_cannot_be_reached_now_still_waits(tmp_path: Path) -> None:
    asked = PendingPermission(request_id="0" * 32, tool="Bash", tool_input={})
    (tmp_path / f"permission-{asked.request_id}").mkdir()  # it cannot be opened, and not because nobody reads
    terminal = Terminal(None)
    watcher = Watcher(terminal, asked)
    responder = Responder(
        cast("Agent", SimpleNamespace(permission_answer=decision_text)),
        cast("Pane", terminal),
        cast("Observer", watcher),
        tmp_path,
        asyncio.Lock(),
    )

    with pytest.raises(UnavailableError, match="still waits"):
        await responder.respond(Reply(allow=True))
    assert watcher.state.permissions == (asked,)


async def test_the_key_that_a_dialog_names_for_an_option_is_pressed() -> None:
    terminal = Terminal(KEYED)
    await respond(terminal, Reply(option="leave"))
    assert terminal.pressed == ["Shift-Tab"]
