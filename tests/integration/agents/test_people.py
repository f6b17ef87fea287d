"""People at an agent's terminal: they attach at any size, type, scroll, resize and leave, and break nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from actors.agents.base import Composer, EventKind, Screen
from actors.tmux.pane import COLUMNS, ROWS
from tests.integration.agents.rig import ClaudeRig, DemoRig, until
from tests.people import PtyPerson, attach_command

pytestmark = pytest.mark.timeout(300)

SIZES = [(80, 24), (100, 30), (120, 40), (250, 80), (40, 12)]


@pytest.fixture
def socket(short_tmp: Path) -> Path:
    return short_tmp / "tmux.sock"


@contextmanager
def looking(socket: Path, columns: int, rows: int) -> Iterator[PtyPerson]:
    with PtyPerson(attach_command(socket, "rig1"), columns, rows) as person:
        yield person


async def size(rig: DemoRig | ClaudeRig) -> tuple[int, int]:
    rows = (await rig.pane.capture()).split("\n")
    columns = await rig.window_columns()
    return columns, len(rows)


async def has_size(rig: DemoRig | ClaudeRig, of_terminal: tuple[int, int]) -> None:
    """As it is in a person's terminal of this size, of which the last row is the status line."""
    columns, rows = of_terminal
    await has_one_of(rig, (columns, rows - 1))


async def has_own_size(rig: DemoRig | ClaudeRig) -> None:
    await has_one_of(rig, (COLUMNS, ROWS), (COLUMNS + 1, ROWS))


async def has_one_of(rig: DemoRig | ClaudeRig, *expected: tuple[int, int]) -> None:
    async def reached() -> bool:
        return await size(rig) in expected

    await until(reached)


def is_empty(screen: Screen) -> bool:
    return screen.composer is Composer.EMPTY and not screen.busy


def prompts(rig: DemoRig | ClaudeRig) -> list[str]:
    return [event.text.strip() for event in rig.events(EventKind.PROMPT_SUBMITTED)]


async def test_whoever_looks_gets_the_window_in_their_size_and_leaves_it_readable(
    rig: DemoRig | ClaudeRig, socket: Path
) -> None:
    await rig.ready()
    for number, (columns, rows) in enumerate(SIZES):
        with looking(socket, columns, rows) as person:
            await has_size(rig, (columns, rows))
            await rig.shows(is_empty)
            if number % 2:
                person.detach()
        await has_own_size(rig)
        await rig.shows(is_empty)
        await rig.submit(f"after {columns}x{rows}")
        await rig.event(EventKind.TURN_ENDED, number + 1)
    assert prompts(rig) == [f"after {columns}x{rows}" for columns, rows in SIZES]


async def test_a_message_arrives_while_somebody_looks_and_while_the_window_changes(
    rig: DemoRig | ClaudeRig, socket: Path
) -> None:
    await rig.ready()
    with looking(socket, 80, 24) as person:
        await has_size(rig, (80, 24))
        await rig.submit("at 80x24")
        await rig.event(EventKind.TURN_ENDED)
        person.resize(120, 40)
        await rig.submit("while it grows")
        await rig.event(EventKind.TURN_ENDED, 2)
        await has_size(rig, (120, 40))
        person.resize(100, 30)
        await rig.submit("while it shrinks")
        await rig.event(EventKind.TURN_ENDED, 3)
    assert prompts(rig) == ["at 80x24", "while it grows", "while it shrinks"]


async def test_whoever_only_looks_in_for_a_moment_leaves_a_readable_screen(
    rig: DemoRig | ClaudeRig, socket: Path
) -> None:
    await rig.ready()
    for columns, rows in (*SIZES, *SIZES):
        with looking(socket, columns, rows):
            await has_size(rig, (columns, rows))  # tmux cuts the screen at once, the agent hears of it later
        await has_own_size(rig)
    # The agent may have heard of no change at all: then only the redrawing helps that the observer asks for.
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            await rig.shows(is_empty)
    if not is_empty(await rig.screen()):
        await rig.pane.redraw()
    await rig.shows(is_empty)
    await rig.submit("after many looks")


async def test_a_screen_that_is_broken_is_drawn_anew(rig: DemoRig | ClaudeRig, socket: Path) -> None:
    await rig.ready()
    Path(await rig.pane_terminal()).write_text("\x1b[H\x1b[2Jsomebody has written here")
    await rig.shows(lambda screen: screen.composer is Composer.ABSENT)
    await rig.pane.redraw()
    await rig.shows(is_empty)
    await has_own_size(rig)
    with looking(socket, 80, 24):
        await has_size(rig, (80, 24))
        await rig.pane.redraw()
        assert await size(rig) == (80, 23)


async def test_what_a_person_has_typed_stays_a_draft_when_they_leave(rig: DemoRig | ClaudeRig, socket: Path) -> None:
    await rig.ready()
    with looking(socket, 80, 24) as person:
        await has_size(rig, (80, 24))
        person.type("half a thought")
        await rig.shows(lambda screen: screen.draft == "half a thought")
        person.detach()
    await has_own_size(rig)
    screen = await rig.shows(lambda screen: screen.composer is not Composer.ABSENT)
    assert (screen.composer, screen.draft) == (Composer.DRAFT, "half a thought")
    assert prompts(rig) == []


async def test_of_two_who_look_the_one_who_types_has_the_window(rig: DemoRig | ClaudeRig, socket: Path) -> None:
    await rig.ready()
    with looking(socket, 80, 24) as one:
        await has_size(rig, (80, 24))
        with looking(socket, 120, 40) as other:
            await has_size(rig, (120, 40))
            one.type("a")
            await has_size(rig, (80, 24))
            await rig.shows(lambda screen: screen.draft == "a")
            other.type("b")
            await has_size(rig, (120, 40))
            await rig.shows(lambda screen: screen.draft == "ab")
            other.type("\x7f\x7f")
            await rig.shows(is_empty)
        await has_size(rig, (80, 24))
        await rig.submit("to both")
        one.detach()
    await has_own_size(rig)
    await rig.shows(is_empty)
    assert prompts(rig) == ["to both"]


async def test_a_dialog_shows_its_options_at_every_size(rig: DemoRig | ClaudeRig, socket: Path) -> None:
    await rig.ready()
    await rig.submit(rig.use_tool("touch it-ran"))
    await rig.shows_dialog()
    for columns, rows in SIZES:
        with looking(socket, columns, rows):
            await has_size(rig, (columns, rows))
            await rig.shows(offers_yes_and_no)
        await has_own_size(rig)
        await rig.shows(offers_yes_and_no)
    assert not rig.has_run("touch it-ran")


def offers_yes_and_no(screen: Screen) -> bool:
    dialog = screen.dialog
    return bool(
        screen.composer is Composer.ABSENT
        and dialog
        and dialog.kind == "permission"
        and dialog.options[:1] == ("Yes",)  # none while it is half drawn
        and dialog.options[-1:] == ("No",)
        and dialog.chosen == 0
        and "Do you want to proceed?" in dialog.question
    )


async def test_whoever_scrolls_back_and_leaves_is_not_in_the_way(rig: DemoRig | ClaudeRig, socket: Path) -> None:
    async def in_mode() -> bool:
        return (await rig.pane.state()).in_mode

    await rig.ready()
    for number in range(6):
        await rig.submit(f"line {number}")
        await rig.event(EventKind.TURN_ENDED, number + 1)
    with looking(socket, 80, 24) as person:
        await has_size(rig, (80, 24))
        person.wheel(5)
        person.wheel(-2)
        await rig.shows(is_empty)
        person.type("\x02[")  # copy mode
        await until(in_mode)  # tmux takes keys of one moment for pasted text
        person.detach()
    await has_own_size(rig)
    await rig.shows(is_empty)
    await rig.submit("after scrolling")
    assert prompts(rig) == [*(f"line {number}" for number in range(6)), "after scrolling"]


async def test_ctrl_z_of_a_person_does_not_stop_the_agent(rig: DemoRig | ClaudeRig, socket: Path) -> None:
    await rig.ready()
    with looking(socket, 100, 30) as person:
        await has_size(rig, (100, 30))
        person.type("\x1a")
        await until(lambda: b"Ctrl-Z is not passed on" in person.seen)
        assert not (await rig.pane.state()).stopped
    await rig.submit("still here")


@pytest.mark.real_claude
async def test_a_suspended_agent_is_told_from_one_that_reads_its_keys(claude: ClaudeRig, socket: Path) -> None:
    await claude.ready()
    assert not (await claude.pane.state()).stopped
    await claude.suspend()
    await claude.shows(lambda screen: screen.dialog and screen.dialog.kind == "suspended")
    assert (await claude.pane.state()).stopped
    with looking(socket, 80, 24):  # older versions draw their input box anew for the new size
        await has_size(claude, (80, 24))
    await has_own_size(claude)
    for _ in range(20):
        assert (await claude.screen()).composer is Composer.ABSENT
        await asyncio.sleep(0.05)

    os.kill(claude.pid, signal.SIGCONT)
    await claude.shows(is_empty)
    assert not (await claude.pane.state()).stopped
    await claude.submit("back again")


@pytest.mark.real_claude
async def test_a_session_with_a_name_or_a_colour_has_an_input_box(claude: ClaudeRig) -> None:
    await claude.ready()
    await claude.submit("hello")
    await claude.event(EventKind.TURN_ENDED)
    for command in ("/rename a name of mine", "/color red", "/branch another one"):
        await claude.shows(is_empty)
        await claude.pane.paste(command)
        await claude.shows(lambda screen: screen.composer is Composer.DRAFT)
        await claude.pane.press("Enter")
        await claude.shows(is_empty)
    assert "another one" in await claude.pane.capture()
    await claude.paste("to the branch")
