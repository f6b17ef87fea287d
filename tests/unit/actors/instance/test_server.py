from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from actors.agents.catalog import AgentCatalog
from actors.errors import InvalidRequestError, UnavailableError, WrongStateError
from actors.instance.inbox import BatchLimits
from actors.instance.instance import InstanceConfig, InstanceServer
from actors.instance.responding import Reply


@pytest.fixture
def config(tmp_path: Path) -> InstanceConfig:
    return InstanceConfig(
        instance_id="spec_0_0_1",
        agent="demo",
        session_id="0",
        directory=tmp_path,
        tmux_socket=tmp_path / "no-tmux.sock",
        limits=BatchLimits(size=10, delay_s=0.1),
    )


@pytest.fixture
def seat() -> InstanceServer:
    return InstanceServer(AgentCatalog(claude_command="claude", python=sys.executable))


async def test_an_empty_seat_says_so_and_takes_nothing(seat: InstanceServer) -> None:
    assert await seat.vacant()
    with pytest.raises(UnavailableError, match="follows no agent yet"):
        await seat.deliver([])


async def test_an_empty_seat_answers_who_follows_it_at_once_as_somebody_new(seat: InstanceServer) -> None:
    report = await seat.reports(after=7, timeout_s=30.0, incarnation="before")
    assert report.incarnation != "before"


async def test_a_seat_serves_one_instance_and_no_other(seat: InstanceServer, config: InstanceConfig) -> None:
    incarnation = await seat.adopt(config, "%1", 1)
    assert not await seat.vacant()
    assert (await seat.reports(after=0, timeout_s=0.0, incarnation=incarnation)).incarnation == incarnation
    other = replace(config, instance_id="spec_0_0_2", directory=config.directory / "other")
    with pytest.raises(WrongStateError, match="follows spec_0_0_1, so not spec_0_0_2"):
        await seat.adopt(other, "%2", 2)
    await seat.leave()


async def test_an_instance_that_is_in_another_conversation_by_now_is_followed_on_undisturbed(
    seat: InstanceServer, config: InstanceConfig
) -> None:
    """Its agent has said so itself: a person has cleared the conversation."""
    before = await seat.adopt(config, "%1", 1)
    assert await seat.adopt(replace(config, session_id="1"), "%1", 1) == before
    await seat.leave()


async def test_the_same_instance_may_come_under_another_id(seat: InstanceServer, config: InstanceConfig) -> None:
    before = await seat.adopt(replace(config, instance_id="spare_1"), "%1", 1)
    assert await seat.adopt(config, "%1", 1) == before
    with pytest.raises(UnavailableError, match="The terminal of spec_0_0_1"):
        await seat.respond(Reply(allow=True))
    await seat.leave()


async def test_an_agent_that_nobody_knows_is_refused_and_the_seat_stays_empty(
    seat: InstanceServer, config: InstanceConfig
) -> None:
    with pytest.raises(InvalidRequestError, match="no agent"):
        await seat.adopt(replace(config, agent="other"), "%1", 1)
    assert await seat.vacant()
