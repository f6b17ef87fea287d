from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.home import Home
from actors.instance.instance import InstanceConfig
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.team.adoption import Adopter, Batching
from supervisor.team.team import Team
from tests.fakes.instances import FakeInstance
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member


async def test_who_was_silent_and_is_adopted_is_silent_no_more() -> None:
    team = Team(MemoryStore())
    nobody: Any = None
    batching = Batching(LiveSettings(TunableValues.of(Settings())), team)
    adopter = Adopter(Home(Path("/h")), batching, nobody, team, auto_restart=False)
    member = await add_member(team, 1)
    await adopter.on_unreachable(member.record.instance_id, "it does not answer")
    assert team.needs_attention(member)
    await adopter.adopt(member.record, FakeInstance())
    assert not member.silence
    await team.members.leave_all()


class Keeping(FakeInstance):
    """Keeps what it was told at its adoption."""

    def __init__(self) -> None:
        super().__init__()
        self.configured: list[InstanceConfig] = []

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        self.configured.append(config)
        return await super().adopt(config, pane_id, pid)


async def test_an_actor_that_comes_back_while_its_agent_is_restarted_keeps_what_waits_for_it() -> None:
    """It was killed after it had been told, and would call messages failed that the agent's next life is to have."""
    team = Team(MemoryStore())
    nobody: Any = None
    batching = Batching(LiveSettings(TunableValues.of(Settings())), team)
    adopter = Adopter(Home(Path("/h")), batching, nobody, team, auto_restart=False)
    member, port = await add_member(team, 1), Keeping()
    for member.coming_back in (False, True):
        await adopter.adopt(member.record, port)
    assert [config.comes_back for config in port.configured] == [False, True]
    await team.members.leave_all()
