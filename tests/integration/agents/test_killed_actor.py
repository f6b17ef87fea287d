"""Every actor dies by kill -9 somewhere in a delivery; its successor brings each text into the conversation once."""

from __future__ import annotations

import asyncio
import os
import signal

import psutil
import pytest

from actors.agents.base import EntryKind, EventKind
from actors.errors import UnavailableError
from actors.instance.inbox import compose
from actors.instance.journal import JOURNAL_NAME
from actors.instance.responding import Reply
from actors.status import Status
from tests.integration.agents.doomed_actor import MOMENTS
from tests.integration.agents.rig import until
from tests.integration.agents.succession import BLOCKED, LONG, SHORT, SUBMITTED, Team, message
from tests.standin.wrapping import unwrapped

pytestmark = pytest.mark.kills


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_long_text_that_a_killed_actor_was_typing_arrives_exactly_once(team: Team, moment: str) -> None:
    await team.start()
    await team.killed(moment, LONG)

    await team.successor(LONG)
    await team.told(LONG, SUBMITTED)

    await team.shows_each_once(LONG)
    assert turns(team) == [compose(LONG).rstrip()]
    await until(lambda: not (team.rig.instance_directory / JOURNAL_NAME).exists())


async def test_actors_that_die_one_after_the_other_lose_and_double_nothing(team: Team) -> None:
    await team.start()
    lots = []
    for number, moment in enumerate((*MOMENTS, *reversed(MOMENTS)), 1):
        lots.append([message(number * 10 + i, each.text) for i, each in enumerate(SHORT)])
        await team.killed(moment, lots[-1])
        instance = await team.successor(lots[-1])
        await team.told(lots[-1], SUBMITTED)
        await until(lambda: team.status is Status.READY)
        await until(lambda: not (team.rig.instance_directory / JOURNAL_NAME).exists())
        await instance.leave()

    await team.shows_each_once([each for lot in lots for each in lot])
    assert turns(team) == [compose(lot).rstrip() for lot in lots]


def turns(team: Team) -> list[str]:
    """The whole texts of our turns in the agent's transcript."""
    return [unwrapped(entry.text) for entry in team.rig.entries(EntryKind.QUESTION)]


async def test_new_messages_do_not_overtake_what_a_killed_actor_was_typing(team: Team) -> None:
    await team.start()
    await team.killed("before the paste", SHORT)

    late = message(9, "late")
    await team.successor([late])
    await team.told([late, *SHORT], SUBMITTED)

    await team.shows_each_once([*SHORT, late])


async def test_a_dialog_that_came_up_meanwhile_is_not_answered_by_the_successor(team: Team) -> None:
    await team.start()
    await team.killed("before the paste", SHORT)
    await team.rig.submit(f"[x]\n{team.rig.use_tool('touch trapped')}")
    await team.rig.event(EventKind.PERMISSION_REQUESTED)
    await team.rig.shows_dialog()

    instance = await team.successor(SHORT)
    await team.told(SHORT, BLOCKED)
    assert not team.rig.has_run("touch trapped")
    await instance.respond(Reply(allow=False, message="no"))
    await team.told(SHORT, SUBMITTED)

    assert not team.rig.has_run("touch trapped")
    await team.shows_each_once(SHORT)


async def test_a_message_that_asked_for_permission_is_not_entered_again(team: Team) -> None:
    asking = [message(7, team.rig.use_tool("touch asked"))]
    await team.start()
    await team.killed("after Enter", asking)
    await team.rig.event(EventKind.PERMISSION_REQUESTED)

    instance = await team.successor(asking)
    await team.told(asking, SUBMITTED)
    assert not team.rig.has_run("touch asked")
    await instance.respond(Reply(allow=True))
    await until(lambda: team.rig.has_run("touch asked"))

    await team.shows_each_once(asking)


async def test_what_hangs_in_tmux_when_its_actor_is_killed_is_not_typed_beside_the_successor(team: Team) -> None:
    """tmux's program, while it pastes, keeps the successor out until it has."""
    await team.start()
    server_pid = team.rig.server.pid()
    assert server_pid is not None
    await until(lambda: team.rig.events(EventKind.SESSION_STARTED))
    typing = await team.doomed("client pastes", LONG)
    assert typing.stdout is not None
    assert await typing.stdout.readline() == b"adopted\n"
    assert await typing.stdout.readline() == b"pastes\n"
    # The actor has stopped the server before it pastes: its client waits.
    await until(lambda: _has_client(typing.pid))
    typing.kill()
    await typing.wait()
    successor = team.instance()
    try:
        with pytest.raises(UnavailableError, match="Another actor"):
            await team.adopt(successor)
    finally:
        os.kill(server_pid, signal.SIGCONT)
    await team.adopt(successor)
    await successor.deliver(LONG)
    await team.told(LONG, SUBMITTED)

    await team.shows_each_once(LONG)
    assert turns(team) == [compose(LONG).rstrip()]
    await successor.leave()


async def test_a_text_that_tmux_has_not_read_when_its_actor_is_killed_arrives_once(team: Team) -> None:
    await team.start()
    server_pid = team.rig.server.pid()
    assert server_pid is not None
    await until(lambda: team.rig.events(EventKind.SESSION_STARTED))
    try:
        await team.killed("paste on its way", SHORT)
        taking_over = asyncio.create_task(team.successor(SHORT))
        await until(lambda: team.instances[-1:] != [])
    finally:
        os.kill(server_pid, signal.SIGCONT)
    await taking_over
    await team.told(SHORT, SUBMITTED)

    await team.shows_each_once(SHORT)


def _has_client(pid: int) -> bool:
    return any(child.name().startswith("tmux") for child in psutil.Process(pid).children())
