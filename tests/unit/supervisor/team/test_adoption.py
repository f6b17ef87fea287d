from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from actors.errors import UnavailableError
from actors.home import Home
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.team.adoption import Adopter, Batching, limits_of
from supervisor.team.registry import Member
from supervisor.team.team import Team
from tests.fakes.clock import turns
from tests.fakes.instances import FakeInstance, FakeInstances
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

BEFORE = TunableValues.of(Settings())
LARGE = replace(BEFORE, message_batch_size=50, message_batch_delay=500)


class Scene:
    """A team with one instance, which may be away."""

    def __init__(self, team: Team, member: Member) -> None:
        self.team = team
        self.member = member
        self.live_settings = LiveSettings(BEFORE)
        batching = Batching(self.live_settings, team)
        self.adopter = Adopter(Home(Path("/home")), batching, FakeInstances(), team, auto_restart=False)
        self.away = False
        self.instance = FakeInstance(self._trouble)

    def _trouble(self) -> None:
        if self.away:
            raise UnavailableError("it is just being restarted")

    async def adopt(self) -> None:
        await self.adopter.adopt(self.member.record, self.instance)

    async def change_batches(self) -> None:
        self.live_settings.change(LARGE)
        await turns()

    async def report(self) -> None:
        self.away = False
        self.instance.tells(1)
        await turns()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    team = Team(MemoryStore())
    yield Scene(team, await add_member(team))
    await team.links.leave_all()


async def test_an_instance_that_was_silent_and_is_adopted_is_silent_no_more(scene: Scene) -> None:
    await scene.adopter.on_unreachable(scene.member.record.instance_id, "it does not answer")
    assert scene.team.needs_attention(scene.member)
    await scene.adopt()
    assert not scene.member.silence


async def test_an_actor_that_comes_back_while_its_agent_is_restarted_keeps_what_waits_for_it(scene: Scene) -> None:
    """It was killed after it had been told, and would call messages failed that the agent's next life is to have."""
    for scene.member.coming_back in (False, True):
        await scene.adopt()
    assert [config.comes_back for config in scene.instance.configs] == [False, True]


async def test_an_actor_that_takes_its_agent_over_is_told_the_limits_that_apply_now(scene: Scene) -> None:
    await scene.change_batches()
    await scene.adopt()
    assert scene.instance.limits == [limits_of(LARGE)]


async def test_a_change_is_told_at_once_and_only_when_it_concerns_batches(scene: Scene) -> None:
    await scene.adopt()
    scene.live_settings.change(replace(BEFORE, cache_size=7))
    await scene.change_batches()
    assert scene.instance.limits == [limits_of(BEFORE), limits_of(LARGE)]


async def test_an_instance_that_cannot_be_reached_is_told_once_it_reports_again(scene: Scene) -> None:
    await scene.adopt()
    scene.away = True
    await scene.change_batches()
    assert scene.instance.limits == [limits_of(BEFORE)]
    await scene.report()
    assert scene.instance.limits == [limits_of(BEFORE), limits_of(LARGE)]


async def test_an_instance_that_cannot_be_told_is_adopted_all_the_same(scene: Scene) -> None:
    scene.away = True
    await scene.adopt()
    assert scene.team.links.has(scene.member.record.instance_id)
    await scene.report()
    assert scene.instance.limits == [limits_of(BEFORE)]


async def test_what_became_of_the_messages_of_an_ended_agent_is_asked_of_a_new_actor(scene: Scene) -> None:
    factory = FakeInstances()
    batching = Batching(scene.live_settings, scene.team)
    adopter = Adopter(Home(Path("/home")), batching, factory, scene.team, auto_restart=False)
    await adopter.collect_last_report(scene.member.record)
    assert factory.log.calls == ["destroy spec_0_0_1"]
    assert scene.team.links.has("spec_0_0_1")
