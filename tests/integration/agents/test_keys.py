"""Keys to an agent's pane beside messages: what an interrupt clears away and leaves, where no key is pressed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.agents.base import Composer, Screen
from actors.agents.demo.agent import DemoAgent
from actors.errors import WrongStateError
from actors.instance.responding import Reply
from actors.status import Status
from tests.integration.agents.rig import ClaudeRig, DemoRig, until
from tests.integration.agents.succession import SUBMITTED, Team, message, only_claude

TIMEOUT_S = 10.0
NEXT = message(9, "the next one")


@pytest.mark.parametrize("body", ["on one line", "one\ntwo\nthree\nfour", "a long line " * 100])
async def test_a_message_that_an_interrupt_gives_back_is_cleared_away_and_the_next_one_arrives(
    team: Team, body: str
) -> None:
    await team.start()
    slow = message(1, f"{body}\n{team.rig.work(60)}")
    instance = await team.successor([slow])
    await team.told([slow], SUBMITTED)

    assert await instance.interrupt(TIMEOUT_S)
    await instance.deliver([NEXT])
    await team.told([NEXT], SUBMITTED)


class Unstoppable(DemoAgent):
    interrupt_key = None  # type: ignore[assignment]


async def test_an_agent_without_a_key_for_it_says_that_its_turn_cannot_be_stopped(
    demo: DemoRig, short_tmp: Path
) -> None:
    demo.agent = Unstoppable(sys.executable)
    team = Team(demo, short_tmp)
    try:
        await team.start()
        instance = await team.successor([])
        assert not await instance.interrupt(TIMEOUT_S)
        await demo.submit(demo.work(60))
        await until(lambda: team.status is Status.BUSY)
        with pytest.raises(WrongStateError, match="no key that stops a turn"):
            await instance.interrupt(TIMEOUT_S)
    finally:
        await team.close()


@only_claude
async def test_what_a_person_had_begun_to_type_outlives_the_interrupt_of_a_dialog_that_hid_it(team: Team) -> None:
    await team.start()
    asking = message(1, f"@@slow 3\n{team.rig.use_tool('touch it-ran')}")
    instance = await team.successor([asking])
    await team.rig.shows(lambda screen: screen.busy)
    await team.rig.keys("-l", "half a thought")
    await until(lambda: team.status is Status.WAITING_PERMISSION)
    await team.rig.shows_dialog()

    assert await instance.interrupt(TIMEOUT_S)
    screen = await team.rig.shows(lambda screen: screen.composer is not Composer.ABSENT)
    assert (screen.composer, screen.draft) == (Composer.DRAFT, "half a thought")
    assert not team.rig.has_run("touch it-ran")


async def test_a_prompt_of_a_person_that_an_interrupt_gives_back_stays_theirs(team: Team) -> None:
    await team.start()
    instance = await team.successor([])
    await team.rig.submit(f"[x]\n{team.rig.work(60)}")
    await team.rig.shows(lambda screen: screen.busy)

    assert await instance.interrupt(TIMEOUT_S)
    screen = await team.rig.shows(lambda screen: not screen.busy)
    assert (screen.composer, screen.draft) == (Composer.DRAFT, f"[x]\n{team.rig.work(60)}")


@only_claude
async def test_a_view_that_a_person_has_opened_is_no_turn_and_is_told(team: Team) -> None:
    await team.start()
    instance = await team.successor([])
    await team.rig.keys("C-o")
    await team.rig.shows_dialog()

    with pytest.raises(WrongStateError, match=r"Nothing was interrupted: a dialog is up .*detailed transcript"):
        await instance.interrupt(TIMEOUT_S)
    assert is_view(await team.rig.screen())


def is_view(screen: Screen) -> bool:
    return screen.dialog is not None and screen.dialog.kind == "transcript view"


@pytest.fixture
async def untrusted(claude: ClaudeRig, short_tmp: Path) -> AsyncIterator[Team]:
    """An agent that asks at its start whether it may trust its directory."""
    claude.cwd = short_tmp / "untrusted"
    claude.cwd.mkdir()
    claude.instance_directory.mkdir(mode=0o700)
    claude.start()
    await claude.shows_dialog()
    team = Team(claude, short_tmp)
    yield team
    await team.close()


@pytest.mark.real_claude
async def test_a_question_at_the_start_gets_no_key_that_would_end_the_agent(untrusted: Team) -> None:
    instance = await untrusted.successor([])
    with pytest.raises(WrongStateError, match=r"Nothing was interrupted: .*trust"):
        await instance.interrupt(TIMEOUT_S)
    assert asks_for_trust(await untrusted.rig.screen())


@pytest.mark.real_claude
async def test_a_question_at_the_start_is_answered_as_soon_as_it_is_drawn(untrusted: Team) -> None:
    instance = await untrusted.successor([])
    dialog = (await untrusted.rig.screen()).dialog
    assert dialog is not None
    await instance.respond(Reply(option=next(option for option in dialog.options if "I trust" in option)))
    await untrusted.rig.shows_empty_composer()


def asks_for_trust(screen: Screen) -> bool:
    return screen.dialog is not None and screen.dialog.kind == "trust"
