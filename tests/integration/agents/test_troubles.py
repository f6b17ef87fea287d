"""An actor whose looks fail in the midst of a delivery: it stays awake, says so once, and goes on when they work."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from actors.messages import MessageStatus
from actors.tmux.pane import Pane
from tests.integration.agents.pastes import around_pastes
from tests.integration.agents.rig import until
from tests.integration.agents.starved_actor import BEAT_S, STARVED_S
from tests.integration.agents.succession import SHORT, SUBMITTED, Team

TROUBLE_S = 3.0


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
