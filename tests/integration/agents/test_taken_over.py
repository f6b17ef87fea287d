"""Who follows an agent: one actor at a time, anew after a fault of ours, and nobody what is no agent of ours."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from actors.errors import UnavailableError
from actors.instance.deliverer import Deliverer
from actors.messages import MessageStatus
from actors.status import Status
from tests.integration.agents.rig import until
from tests.integration.agents.succession import SHORT, SUBMITTED, Team

pytestmark = pytest.mark.kills


async def test_an_actor_that_is_there_already_is_not_disturbed(team: Team) -> None:
    await team.start()
    instance = await team.successor(SHORT)
    incarnations = {await team.adopt(instance) for _ in range(20)}
    await instance.deliver(SHORT)
    await team.told(SHORT, SUBMITTED)

    assert len(incarnations) == 1
    await team.shows_each_once(SHORT)


async def test_no_second_actor_types_while_the_first_one_lives(team: Team) -> None:
    await team.start()
    first = await team.successor(SHORT)
    second = team.instance()
    with pytest.raises(UnavailableError, match="Another actor"):
        await team.adopt(second)
    await first.leave()
    await team.adopt(second)
    await second.deliver(SHORT)
    await team.told(SHORT, SUBMITTED)

    await team.shows_each_once(SHORT)


async def test_an_agent_that_ended_while_nobody_followed_it_gets_its_end_at_once(team: Team) -> None:
    await team.start()
    await team.killed("after the paste", SHORT)
    os.kill(team.rig.pid, signal.SIGKILL)
    await team.rig.ended()

    instance = await team.successor(SHORT)
    report = await instance.reports(0, 5.0)
    assert report.snapshot.status is Status.FAILED
    await team.told(SHORT, MessageStatus.FAILED)
    assert team.in_transcript() == []


async def test_a_loop_that_dies_is_seen_and_the_agent_is_taken_over_anew(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.start()
    instance = await team.successor([])
    first = (await instance.reports(0, 5.0)).incarnation
    with monkeypatch.context() as broken:
        broken.setattr(Deliverer, "_next_try_s", _fail)
        await instance.deliver(SHORT)
        await until(lambda: "an error in Phalanx" in team.reason)
    await until(lambda: team.reason == "")
    second = (await instance.reports(0, 5.0)).incarnation
    assert second != first

    assert await team.adopt(instance) == second
    await instance.deliver(SHORT)
    await team.told(SHORT, SUBMITTED)
    await team.shows_each_once(SHORT)


def _fail(_: Deliverer) -> float:
    raise RuntimeError("a fault of ours")


async def test_a_recycled_process_id_is_not_followed(team: Team) -> None:
    await team.start()
    instance = team.instance()
    await instance.adopt(team.config, team.rig.pane_id, os.getpid())
    await instance.deliver(SHORT)
    await team.told(SHORT, MessageStatus.FAILED)
    assert team.status is Status.FAILED
    assert "another program" in team.reason


async def test_a_pane_that_is_gone_ends_what_is_pending_at_once(team: Team) -> None:
    await team.start()
    await team.killed("after the paste", SHORT)
    await asyncio.to_thread(team.rig.server.close_session, "rig1")
    await team.successor(SHORT)
    await team.told(SHORT, MessageStatus.FAILED)
    assert "gone" in team.reason
    assert team.in_transcript() == []
