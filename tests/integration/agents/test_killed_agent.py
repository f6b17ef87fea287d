"""An agent dies by kill -9 around its proof; its next life has each text in the conversation once."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from actors.agents.base import EventKind
from actors.instance.journal import JOURNAL_NAME
from actors.instance.transcript import Conversation
from actors.messages import Message, MessageStatus
from actors.status import Status
from tests.integration.agents.rig import until
from tests.integration.agents.succession import SUBMITTED, AnyRig, Team, message

pytestmark = pytest.mark.kills


async def test_what_a_killed_agent_had_not_written_down_is_delivered_to_its_next_life(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, at_risk = [message(20, "written")], [message(21, "at risk")]
    await team.start()
    instance = await team.successor(before)
    await team.told(before, SUBMITTED)
    await team.shows_each_once(before)
    with monkeypatch.context() as late:
        late.setattr(Conversation, "follow", lambda _: False)  # it is written only after the kill, which is never
        await instance.deliver(at_risk)
        await until(lambda: len(team.rig.events(EventKind.PROMPT_SUBMITTED)) == 2)
        assert SUBMITTED not in lot_of(team, at_risk[0])
        await instance.expect_end(coming_back=True)
        os.kill(team.rig.pid, signal.SIGKILL)
        await until(lambda: team.status is Status.STOPPED)
        lose_from_transcript(team.rig, at_risk[0].id)

    await team.start(resume=True)
    await team.adopt(instance)

    await until(lambda: team.in_transcript() == [before[0].id, at_risk[0].id])
    await until(lambda: lot_of(team, at_risk[0])[-1:] == [SUBMITTED])
    assert lot_of(team, at_risk[0]).count(SUBMITTED) == 1
    await until(lambda: not (team.rig.instance_directory / JOURNAL_NAME).exists())


def lot_of(team: Team, one: Message) -> list[MessageStatus]:
    return [receipt.status for receipt in team.receipts if receipt.message_id == one.id]


@pytest.mark.parametrize("wait_s", [0.0, 0.3])
async def test_an_agent_killed_just_after_its_proof_has_the_message_once_when_it_is_back(
    team: Team, wait_s: float
) -> None:
    before, at_risk = [message(20, "before")], [message(21, team.rig.work(5))]
    await team.start()
    instance = await team.successor(before)
    await team.told(before, SUBMITTED)
    await team.shows_each_once(before)
    await instance.deliver(at_risk)
    await team.told(at_risk, SUBMITTED)
    await asyncio.sleep(wait_s)
    os.kill(team.rig.pid, signal.SIGKILL)
    await until(lambda: team.status is Status.FAILED)

    await team.start(resume=True)
    await team.adopt(instance)

    await until(lambda: team.in_transcript() == [before[0].id, at_risk[0].id])
    after = [message(22, "after")]
    await instance.deliver(after)
    await team.told(after, SUBMITTED)
    await until(lambda: len(team.in_transcript()) >= 3)
    assert team.in_transcript() == [before[0].id, at_risk[0].id, after[0].id]


def lose_from_transcript(rig: AnyRig, message_id: str) -> None:
    """What the kill may leave: the agent's last lines were never written."""
    path = Path(rig.events()[0].transcript_path)
    lines = path.read_bytes().splitlines(keepends=True)
    kept = next((i for i, line in enumerate(lines) if message_id.encode() in line), len(lines))
    path.write_bytes(b"".join(lines[:kept]))


async def test_an_agent_restarted_in_the_midst_of_a_delivery_gets_each_text_once(team: Team) -> None:
    await team.start()
    before = [message(20, "before")]
    instance = await team.successor(before)
    await team.told(before, SUBMITTED)
    await team.shows_each_once(before)
    pending = [message(n, f"text {n}") for n in range(21, 29)]
    await instance.expect_end(coming_back=True)
    await instance.deliver(pending)
    while not (team.rig.instance_directory / JOURNAL_NAME).exists():  # noqa: ASYNC110 - it is there for some 10 ms
        await asyncio.sleep(0)
    os.kill(team.rig.pid, signal.SIGKILL)
    await team.rig.ended()

    await team.start(resume=True)
    await team.adopt(instance)
    await instance.deliver(pending)
    await team.told(pending, SUBMITTED)

    await until(lambda: team.in_transcript() == [each.id for each in (*before, *pending)])
    assert not any(receipt.status is MessageStatus.FAILED for receipt in team.receipts)
