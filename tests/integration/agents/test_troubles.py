"""An actor whose looks fail in the midst of a delivery: it stays awake, says so once, and goes on when they work."""

from __future__ import annotations

import asyncio
import logging
import shlex
import time
from pathlib import Path

import psutil
import pytest

from actors.agents.base import EventKind
from actors.agents.claude import ClaudeAgent
from actors.instance import deliverer
from actors.messages import MessageStatus
from actors.tmux import pane
from actors.tmux.pane import Pane
from tests.integration.agents.pastes import around_pastes
from tests.integration.agents.rig import until
from tests.integration.agents.starved_actor import BEAT_S, STARVED_S
from tests.integration.agents.succession import SHORT, SUBMITTED, Team, only_claude

TROUBLE_S = 3.0
SETTLE_S = 1.5


async def test_a_socket_that_is_removed_after_a_paste_leaves_the_actor_awake_and_the_message_arrives_when_it_is_back(
    team: Team, short_tmp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await team.start()
    instance = await team.successor([])
    socket, aside = short_tmp / "tmux.sock", short_tmp / "aside.sock"

    async def lose_the_socket(_pane: Pane) -> None:
        socket.rename(aside)

    around_pastes(monkeypatch.setattr, after=lose_the_socket)
    caplog.set_level(logging.INFO)
    await instance.deliver(SHORT)
    await until(aside.exists)
    caplog.clear()
    beats, began = 0, time.monotonic()
    while time.monotonic() - began < TROUBLE_S:
        await asyncio.sleep(BEAT_S)
        beats += 1

    assert beats > TROUBLE_S / BEAT_S / 4
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 4
    aside.rename(socket)
    monkeypatch.undo()
    await team.told(SHORT, SUBMITTED)
    assert MessageStatus.FAILED not in {receipt.status for receipt in team.receipts}
    assert team.in_transcript() == [each.id for each in SHORT]


@only_claude
async def test_what_was_pasted_into_an_agent_that_stands_still_is_entered_once_when_it_goes_on(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = team.rig
    assert isinstance(rig.agent, ClaudeAgent)
    # tmux lets a stopped program go on, but not one that another program has started.
    starts_it = rig.user_file("starts.sh", f'#!/bin/sh\n{shlex.quote(rig.agent.command)} "$@"\nexit $?\n')
    rig.agent = ClaudeAgent(command=str(starts_it), python=rig.agent.python)
    monkeypatch.setattr(pane, "_UNREAD_S", 0.5)
    monkeypatch.setattr(deliverer, "SETTLE_S", SETTLE_S)
    await team.start()
    instance = await team.successor([])
    (agent,) = psutil.Process(rig.pid).children()
    agent.suspend()
    try:
        await instance.deliver(SHORT[:1])
        await until(lambda: any("suspended" in receipt.reason for receipt in team.receipts))
        await asyncio.sleep(2 * SETTLE_S)
        assert rig.events(EventKind.PROMPT_SUBMITTED) == []
    finally:
        agent.resume()
    await team.told(SHORT[:1], SUBMITTED)
    assert team.in_transcript() == [SHORT[0].id]


@pytest.mark.parametrize("moment", ["adopted", "after the paste"])
async def test_an_actor_without_file_descriptors_stays_awake_says_so_once_and_goes_on_with_them(
    team: Team, short_tmp: Path, moment: str
) -> None:
    await team.start()
    told = await team.play("tests.integration.agents.starved_actor", moment, SHORT)

    assert told["beats"] > STARVED_S / BEAT_S / 4
    assert told["lines"] <= 8
    assert [receipt for receipt in told["receipts"] if "accepted" not in receipt and "blocked" not in receipt] == [
        f"{each.id} submitted" for each in SHORT
    ]
    assert team.in_transcript() == [each.id for each in SHORT]
