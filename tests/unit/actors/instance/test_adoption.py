from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from actors.agents.catalog import AgentCatalog
from actors.errors import InvalidRequestError, UnavailableError, WrongStateError
from actors.instance.inbox import BatchLimits
from actors.instance.instance import Instance, InstanceConfig
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
def instance() -> Instance:
    return Instance(AgentCatalog(claude_command="claude", python=sys.executable))


async def test_an_instance_that_has_adopted_nobody_takes_nothing(instance: Instance) -> None:
    with pytest.raises(UnavailableError, match="follows no agent yet"):
        await instance.deliver([])


async def test_an_instance_that_has_adopted_nobody_answers_who_follows_it_at_once_as_somebody_new(
    instance: Instance,
) -> None:
    report = await instance.reports(after=7, timeout_s=30.0, incarnation="before")
    assert report.incarnation != "before"


async def test_an_actor_serves_one_instance_and_no_other(instance: Instance, config: InstanceConfig) -> None:
    incarnation = await instance.adopt(config, "%1", 1)
    assert (await instance.reports(after=0, timeout_s=0.0, incarnation=incarnation)).incarnation == incarnation
    other = replace(config, instance_id="spec_0_0_2", directory=config.directory / "other")
    with pytest.raises(WrongStateError, match="follows spec_0_0_1, so not spec_0_0_2"):
        await instance.adopt(other, "%2", 2)
    await instance.leave()


async def test_an_instance_that_is_in_another_conversation_by_now_is_followed_on_undisturbed(
    instance: Instance, config: InstanceConfig
) -> None:
    """Its agent has said so itself: a person has cleared the conversation."""
    before = await instance.adopt(config, "%1", 1)
    assert await instance.adopt(replace(config, session_id="1"), "%1", 1) == before
    await instance.leave()


async def test_the_same_instance_may_come_under_another_id(instance: Instance, config: InstanceConfig) -> None:
    before = await instance.adopt(replace(config, instance_id="spare_1"), "%1", 1)
    assert await instance.adopt(config, "%1", 1) == before
    with pytest.raises(UnavailableError, match="The terminal of spec_0_0_1"):
        await instance.respond(Reply(allow=True))
    await instance.leave()


async def test_an_agent_that_nobody_knows_is_refused_and_the_actor_stays_vacant(
    instance: Instance, config: InstanceConfig
) -> None:
    with pytest.raises(InvalidRequestError, match="no agent"):
        await instance.adopt(replace(config, agent="other"), "%1", 1)
    with pytest.raises(UnavailableError, match="follows no agent yet"):
        await instance.deliver([])
