"""What becomes of a spare agent when its host has no spares any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.errors import UnavailableError
from actors.home import Home
from supervisor.pool.agents import AgentFactory, AgentFactoryParts
from supervisor.pool.demand import AgentSpec
from supervisor.spawning.rollback import SpawnRollback
from supervisor.store import keys
from supervisor.store.memory import MemoryStore
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.unit.supervisor.pool.hosts import Hosts
from tests.unit.supervisor.stand_ins import recruit


class Scene:
    """Host and factory in one; ``deeds`` tells what they were asked for."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.team = Team(self.store)
        self.hosts = Hosts()
        self.deeds: list[str] = []
        this: Any = self
        self.maker = AgentFactory(
            AgentFactoryParts(
                home=Home(Path("/no-such-home")),
                host=this,
                team=self.team,
                adopter=this,
                rollback=SpawnRollback(self.team, this, this),
                memory=this,
                placement=self.hosts,
                timeout_s=1.0,
            )
        )

    async def destroy(self, name: str) -> None:
        self.deeds.append(f"destroy {name}")

    async def end_agent(self, place: str, session_name: str, grace_s: float) -> None:
        self.deeds.append(f"end {session_name}")

    async def orphans(self, known: object) -> tuple[()]:
        return ()

    async def forget_instance(self, place: str) -> None:
        self.deeds.append(f"forget {place}{' on its host' if place in self.hosts.settled else ''}")


@pytest.fixture
async def scene() -> Scene:
    made = Scene()
    made.hosts.settle("spare_1", "b")
    given: dict[str, Any] = {"instance_id": "spare_1", "recipe": "r", "stage": InstanceStage.SPARE, "host": "b"}
    await recruit(made.team, 1, actor="spare_1@1", **given)
    return made


async def test_on_a_host_that_can_be_asked_all_that_it_has_is_taken_away_there(scene: Scene) -> None:
    scene.hosts.drained.add("b")
    await scene.maker.discard(scene.team.registry.get("spare_1"))
    assert scene.deeds == ["end spare_1", "destroy spare_1@1", "forget spare_1 on its host"]
    assert "spare_1" not in scene.team.registry


async def test_of_a_lost_host_nothing_is_asked_and_no_record_is_left(scene: Scene) -> None:
    scene.hosts.there.remove("b")
    await scene.maker.discard(scene.team.registry.get("spare_1"))
    assert scene.deeds == ["destroy spare_1@1", "forget spare_1"]
    assert "spare_1" not in scene.team.registry
    assert await scene.store.load(keys.INSTANCE_PREFIX) == {}


async def test_one_for_which_there_is_room_nowhere_leaves_nothing(scene: Scene) -> None:
    scene.hosts.there.clear()
    with pytest.raises(UnavailableError, match="no host has room"):
        await scene.maker.make(AgentSpec(work_dir=Path("/project"), agent="demo"))
    assert len(scene.team.registry.spares()) == 1
