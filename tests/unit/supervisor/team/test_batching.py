from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.errors import UnavailableError
from actors.home import Home
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.team.adoption import Adopter, Batching, limits_of
from supervisor.team.team import Team
from tests.fakes.clock import turns
from tests.fakes.instances import FakeInstance
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

FIRST = TunableValues.of(Settings())
LARGE = replace(FIRST, message_batch_size=50, message_batch_delay=500)


class Scene:
    """A team of ``names`` whose instances can be made unreachable."""

    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.live_settings = LiveSettings(FIRST)
        self.batching = Batching(self.live_settings, self.team)
        self.away = False
        self.instance = FakeInstance(self._trouble)

    def _trouble(self) -> None:
        if self.away:
            raise UnavailableError("it is just being restarted")

    async def adopts(self) -> None:
        member = await add_member(self.team)
        nobody: Any = None
        adopter = Adopter(Home(Path("/home")), self.batching, nobody, self.team, auto_restart=False)
        await adopter.adopt(member.record, self.instance)

    async def reports(self) -> None:
        self.instance.tells(1)
        await turns()


async def test_who_takes_its_agent_over_is_told_what_applies_now() -> None:
    scene = Scene()
    scene.live_settings.change(LARGE)
    await scene.adopts()
    assert scene.instance.limits == [limits_of(LARGE)]
    await scene.team.members.leave_all()


async def test_a_change_is_told_to_the_living_at_once_and_only_when_it_concerns_batches() -> None:
    scene = Scene()
    await scene.adopts()
    scene.live_settings.change(replace(FIRST, cache_size=7))
    scene.live_settings.change(LARGE)
    await turns()
    assert scene.instance.limits == [limits_of(FIRST), limits_of(LARGE)]
    await scene.team.members.leave_all()


async def test_who_cannot_be_reached_is_told_once_it_reports_again() -> None:
    scene = Scene()
    await scene.adopts()
    scene.away = True
    scene.live_settings.change(LARGE)
    await turns()
    scene.away = False
    assert scene.instance.limits == [limits_of(FIRST)]
    await scene.reports()
    assert scene.instance.limits == [limits_of(FIRST), limits_of(LARGE)]
    await scene.team.members.leave_all()


async def test_an_instance_that_cannot_be_told_is_adopted_all_the_same() -> None:
    scene = Scene()
    scene.away = True
    await scene.adopts()
    assert scene.team.members.has("spec_0_0_1")
    scene.away = False
    await scene.reports()
    assert scene.instance.limits == [limits_of(FIRST)]
    await scene.team.members.leave_all()
