"""The two kinds of spares: what each is for, which are good, and what is left of one that is ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequestError, UnavailableError
from actors.home import Home
from actors.status import Status
from actors.worktrees.model import Workspace
from supervisor.api.requests import SpawnRequest
from supervisor.pool.makers import (
    STUCK_S,
    AgentMaker,
    AgentSpec,
    WorktreeMaker,
    spare_agent,
)
from supervisor.pool.pool import PAUSE_S, Pool, Spare
from supervisor.spawning.admission import FairSemaphore
from supervisor.spawning.rollback import SpawnRollback
from supervisor.store import keys
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.hosts import workspace
from tests.fakes.instances import FakeInstance, FakeListener
from tests.fakes.pools import FakePlacement, maintained
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

PROJECT = Path("/project")
WORKER = "10.0.0.2"


class WorktreeScene:
    """A pool of worktrees; the host in one with it. ``log`` tells what was undone where."""

    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.placement = FakePlacement()
        self.log: list[str] = []
        self.undoes = True
        host: Any = self
        maker = WorktreeMaker(host, self.team, self.placement)
        self.pool: Pool[Path, Workspace] = Pool(maker, dict, FairSemaphore(8), self.team.changes, self.team.confirm)

    async def create_spare(self, name: str, work_dir: Path) -> Workspace:
        await asyncio.sleep(0.1)
        if self.placement.settled[name] not in self.placement.there:
            raise UnavailableError("the host does not answer")
        return workspace(name)

    async def undo_workspace(self, spare: Workspace) -> None:
        self.log.append(f"undo on {self.placement.settled[spare.directory.name]}")
        if not self.undoes:
            raise UnavailableError("the host does not answer")

    async def order(self, count: int) -> None:
        self.pool.recognise(())
        self.pool.order(PROJECT, count)
        await asyncio.sleep(1)

    async def drain(self, host: str) -> None:
        self.placement.drained.add(host)
        self.team.changes.announce()
        await asyncio.sleep(1)


@pytest.fixture
async def worktrees() -> AsyncIterator[WorktreeScene]:
    made = WorktreeScene()
    async with maintained(made.pool):
        yield made


async def test_worktrees_are_spread_and_taken_only_on_their_own_host(worktrees: WorktreeScene) -> None:
    await worktrees.order(4)
    assert sorted(worktrees.pool.hosts().values()) == [1, 1, 2]
    names = []
    while (spare := worktrees.pool.take(PROJECT, ["b"])) is not None:
        names.append(spare.name)
    assert {worktrees.placement.settled[name] for name in names} == {"b"}
    assert len(worktrees.pool.ready(PROJECT)) == 4 - len(names)


async def test_a_drained_host_loses_its_worktrees_and_a_lost_one_is_not_asked_and_they_are_made_up_for_elsewhere(
    worktrees: WorktreeScene,
) -> None:
    await worktrees.order(3)
    worktrees.placement.there.remove("c")
    await worktrees.drain("b")
    assert worktrees.pool.take(PROJECT, ["b"]) is None
    assert worktrees.log == ["undo on b"]
    assert worktrees.pool.hosts() == Counter({"a": 3})
    assert len(worktrees.team.registry.spare_worktrees) == 3


async def test_a_worktree_that_could_not_be_removed_is_tried_again_and_belongs_to_the_team_until_it_is_gone(
    worktrees: WorktreeScene,
) -> None:
    await worktrees.order(3)
    worktrees.undoes = False
    await worktrees.drain("b")
    assert len(worktrees.team.registry.spare_worktrees) == 4
    worktrees.undoes = True
    await asyncio.sleep(2 * PAUSE_S)
    assert worktrees.log == ["undo on b"] * 2
    assert len(worktrees.team.registry.spare_worktrees) == 3


def key(work_dir: Path = PROJECT, **more: Any) -> str:
    request = SpawnRequest.model_validate({"role": "specialist", "workDir": "/project", "context": "x", **more})
    return AgentSpec.of(request, work_dir, "claude").key


@pytest.mark.parametrize(
    "same",
    [{"context": "another task", "name": "cart", "requestId": "r"}, {"agent": "claude"}],
    ids=str,
)
def test_the_instance_and_its_task_do_not_matter_to_a_spare_agent(same: dict[str, Any]) -> None:
    assert key(**same) == key()


@pytest.mark.parametrize(
    "other",
    [
        {"agent": "demo"},
        {"model": "opus"},
        {"permissionMode": "plan"},
        {"env": {"A": "1"}},
        {"role": "manager"},
        {"mcpServers": "none"},
        {"mcpServers": ["github"]},
    ],
    ids=str,
)
def test_all_that_its_start_depends_on_does(other: dict[str, Any]) -> None:
    assert key(**other) != key()
    assert key(Path("/other"), **other) != key(**other)


def test_mcp_servers_are_the_same_in_any_order() -> None:
    assert key(mcpServers=["github", "db"]) == key(mcpServers=["db", "github"])


def test_the_environment_matters_in_any_order_and_no_value_of_it_can_be_read_from_the_key() -> None:
    assert key(env={"A": "1", "B": "2"}) == key(env={"B": "2", "A": "1"})
    assert "hunter2" not in key(env={"TOKEN": "hunter2"})


class AgentScene:
    """Host and factory in one; ``log`` tells what they were asked for."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.team = Team(self.store)
        self.placement = FakePlacement()
        self.log: list[str] = []
        self.was_bound = False
        self.actor_stays = False
        this: Any = self
        rollback = SpawnRollback(self.team, this, this)
        home = Home(Path("/no-such-home"))
        self.maker = AgentMaker(home, this, self.team, this, rollback, this, self.placement, 1.0)

    async def destroy(self, name: str) -> None:
        self.log.append(f"destroy {name}")
        if self.actor_stays:
            raise ValueError("an error of Ray's own")

    async def withdraw(self, place: str) -> None:
        """It is making nothing."""

    async def end_agent(self, place: str, session_name: str, grace_s: float) -> None:
        self.log.append(f"end {session_name}")

    async def undo_workspace(self, workspace: Workspace) -> None:
        """It is gone."""

    async def is_spare(self, workspace: object) -> bool:
        await asyncio.sleep(0 if "b" in self.placement.there else 60)
        return not self.was_bound

    async def forget_instance(self, place: str) -> None:
        self.log.append(f"forget {place}{' on its host' if place in self.placement.settled else ''}")

    async def add(self, **changes: Any) -> Spare[str, Member]:
        """On the host b."""
        self.placement.settle("spare_1", "b")
        given = {"instance_id": "spare_1", "recipe": "r", "stage": InstanceStage.SPARE, "host": "b", **changes}
        member = await add_member(self.team, 1, actor="spare_1@1", workspace=workspace("spare_1"), **given)
        member.snapshot = replace(member.snapshot, since=asyncio.get_running_loop().time())
        self.team.links.follow("spare_1", FakeInstance(), "first", FakeListener())
        return spare_agent(member)


@pytest.fixture
async def agents() -> AsyncIterator[AgentScene]:
    made = AgentScene()
    yield made
    await made.team.links.leave_all()


async def test_no_spare_is_made_that_asks_for_nothing_where_that_is_not_allowed(agents: AgentScene) -> None:
    spec = AgentSpec(work_dir=Path("/p"), agent="demo", permission_mode="bypassPermissions")
    agents.maker.specs[spec.key] = spec
    with pytest.raises(InvalidRequestError, match="allow_bypass_permissions"):
        await agents.maker.make("spare_9", spec.key)
    assert agents.team.registry.spares() == ()


async def test_an_agent_at_its_prompt_is_good_for_days(agents: AgentScene) -> None:
    spare = await agents.add()
    await asyncio.sleep(3 * 86_400)
    await agents.maker.look()
    assert agents.maker.is_ready(spare)
    assert agents.maker.fault(spare) == ""


async def test_an_agent_that_is_not_at_its_prompt_is_not_given_away_and_bad_after_a_while(agents: AgentScene) -> None:
    spare, now = await agents.add(), asyncio.get_running_loop().time()
    spare.content.snapshot = replace(spare.content.snapshot, status=Status.RATE_LIMITED, since=now, reason="limit")
    assert not agents.maker.is_ready(spare)
    await asyncio.sleep(STUCK_S - 1)
    assert agents.maker.fault(spare) == ""
    await asyncio.sleep(2)
    assert agents.maker.fault(spare) == "limit"
    spare.content.snapshot = replace(spare.content.snapshot, status=Status.FAILED, since=now + STUCK_S, reason="")
    assert agents.maker.fault(spare) == "it is failed"


async def test_an_agent_is_bad_when_the_program_of_its_own_host_is_another(agents: AgentScene) -> None:
    spare = await agents.add(program="old")
    agents.placement.hosts["a"].program_version, agents.placement.hosts["b"].program_version = "new", "old"
    await agents.maker.look()
    assert agents.maker.fault(spare) == ""
    agents.placement.hosts["b"].program_version = "new"
    await agents.maker.look()
    assert agents.maker.fault(spare) == "its program was changed"


async def test_an_agent_of_a_drained_host_is_bad_at_once_and_nothing_is_known_of_one_that_is_just_used(
    agents: AgentScene,
) -> None:
    spare = await agents.add()
    agents.placement.drained.add("b")
    assert agents.maker.fault(spare) == "the host b is drained or lost"
    async with spare.content.turn:
        assert agents.maker.fault(spare) == ""
        assert not agents.maker.is_ready(spare)
    agents.team.registry.remove(spare.name)
    assert agents.maker.fault(spare) == "it is gone"


async def test_an_agent_that_was_being_handed_over_when_the_supervisor_died_is_bad_and_one_that_cannot_be_asked_is_not(
    agents: AgentScene,
) -> None:
    spare = await agents.add()
    assert await agents.maker.recognise(spare) == ""
    agents.was_bound = True
    assert "was being handed over" in await agents.maker.recognise(spare)
    agents.placement.there.remove("b")
    assert await agents.maker.recognise(spare) == ""


async def test_all_that_an_agent_has_is_removed_from_a_host_that_can_be_asked(agents: AgentScene) -> None:
    spare = await agents.add()
    agents.placement.drained.add("b")
    for _ in range(2):  # the second time it is gone already
        await agents.maker.end(spare)
        assert agents.log == ["end spare_1", "destroy spare_1@1", "forget spare_1 on its host"]
        assert spare.name not in agents.team.registry


async def test_an_agent_of_which_a_part_stays_is_not_called_gone(agents: AgentScene) -> None:
    spare = await agents.add()
    agents.actor_stays = True
    with pytest.raises(UnavailableError, match="Not all of spare_1 is gone"):
        await agents.maker.end(spare)
    assert spare.name in agents.team.registry


@pytest.mark.parametrize("stage", [InstanceStage.SPARE, InstanceStage.STARTING])
async def test_a_lost_host_is_asked_nothing_and_no_record_of_its_agents_is_left(
    agents: AgentScene, stage: InstanceStage
) -> None:
    spare = await agents.add(stage=stage)
    agents.placement.there.remove("b")
    for each in [spare] if stage is InstanceStage.SPARE else await agents.maker.look():
        await agents.maker.end(each)
    assert agents.log == ["destroy spare_1@1", "forget spare_1"]
    assert spare.name not in agents.team.registry
    assert await agents.store.load(keys.INSTANCE_PREFIX) == {}


async def test_an_agent_for_which_no_host_has_room_leaves_nothing(agents: AgentScene) -> None:
    spec = AgentSpec(work_dir=PROJECT, agent="demo")
    agents.maker.specs[spec.key] = spec
    assert agents.maker.obstacle(spec.key) == ""
    agents.placement.there.clear()
    assert agents.maker.obstacle(spec.key) == "the hosts, which are just coming back"
    with pytest.raises(UnavailableError, match="no host has room"):
        await agents.maker.make("spare_2", spec.key)
    assert agents.team.registry.spares() == ()
