"""A spawn is whole or undone, counts under the cap, and takes a spare agent whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import Handover
from actors.errors import (
    AgentError,
    RefusedError,
    StoreError,
    TerminalError,
    UnavailableError,
    WorkspaceError,
)
from actors.nodes import Node
from actors.status import Status
from actors.worktrees.model import Workspace
from supervisor.api import requests, results
from supervisor.api.requests import Malformed, Role, SpawnRequest
from supervisor.api.verbs import Caller
from supervisor.cluster.scheduler import HostScheduler, Placement
from supervisor.pool.makers import spare_agent
from supervisor.pool.pool import Spare
from supervisor.records import decode_record
from supervisor.spawning.spawner import AgentStarter, StartedAgent, spawn_all
from supervisor.store import keys
from supervisor.team.access import Access
from supervisor.team.registry import InstanceStage, Limits, Member
from supervisor.team.team import Team
from tests.fakes.hosts import FakeCluster, FakeHost, workspace
from tests.fakes.instances import READY, FakeInstance, FakeListener
from tests.fakes.store import MemoryStore
from tests.fakes.supervisor import CAP, WORK_DIR, Machine, MachinePorts, ModelledInstance, SupervisorRun
from tests.fakes.team import FIRST, record

SPARE = "spare_1"


def request(context: str = "hello") -> SpawnRequest:
    return SpawnRequest(role=Role.SPECIALIST, work_dir="/project", context=context)


def asked(role: Role, **more: Any) -> SpawnRequest:
    return SpawnRequest(role=role, work_dir=str(WORK_DIR), context="hello", workspace_mode="shared", **more)


@pytest.fixture
async def run() -> AsyncIterator[SupervisorRun]:
    made = SupervisorRun(Machine(), {})
    await made.begin()
    yield made
    await made.kill()


def in_stage(run: SupervisorRun, stage: InstanceStage) -> int:
    return sum(member.record.stage is stage for member in run.team.registry)


async def until_an_agent_runs(run: SupervisorRun) -> None:
    while not run.machine.sessions:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def left(run: SupervisorRun) -> list[str]:
    """The agents and members that are there."""
    alive = [name for name, agent in run.machine.sessions.items() if agent.alive]
    return alive + [member.record.instance_id for member in run.team.registry.everyone()]


async def test_a_spawn_whose_caller_went_away_counts_under_the_cap_until_it_is_done(run: SupervisorRun) -> None:
    for batch in range(3):
        calls = [asyncio.create_task(run.spawn(f"r{batch}{number}")) for number in range(CAP)]
        await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert in_stage(run, InstanceStage.STARTING) == CAP, "however often a call is cut off and repeated"
    last = await run.spawn("last")
    assert last.stage is InstanceStage.RUNNING
    assert in_stage(run, InstanceStage.RUNNING) == CAP + 1, "a call that was cut off in the queue has made nothing"


async def test_each_agent_has_a_token_of_its_own_by_which_also_a_later_supervisor_knows_it() -> None:
    machine, records = Machine(), dict[str, bytes]()
    first = SupervisorRun(machine, records)
    await first.begin()
    made = [(await first.spawn(f"r{number}")).instance_id for number in range(2)]
    tokens = [machine.tokens[each] for each in made]
    assert len(set(tokens)) == 2
    await first.kill()

    later = SupervisorRun(machine, records)
    await later.begin()
    access = Access(later.team.registry, siblings_may_send=False)
    assert [access.caller_of(token).instance_id for token in tokens] == made
    assert not any(token.encode() in stored for token in tokens for stored in records.values())
    await later.kill()


async def test_a_token_is_known_before_its_agent_starts(run: SupervisorRun) -> None:
    access = Access(run.team.registry, siblings_may_send=False)
    call = asyncio.create_task(run.spawn("r"))
    await until_an_agent_runs(run)
    ((name, token),) = run.machine.tokens.items()
    assert access.caller_of(token).instance_id == name
    assert access.caller_of(token).stage is InstanceStage.STARTING
    await call


async def test_of_two_starts_at_once_one_takes_the_last_place_and_the_other_is_refused(run: SupervisorRun) -> None:
    executive = await run.spawner.spawn(asked(Role.EXECUTIVE, limits=requests.Limits(instances=1)), Caller(sender="me"))
    lead = Caller(sender=executive.instance_id, instance_id=executive.instance_id)
    member = asked(Role.SPECIALIST, parent_id=executive.instance_id)

    outcomes = await asyncio.gather(*(run.spawner.spawn(member, lead) for _ in range(CAP)), return_exceptions=True)
    refused = [str(each) for each in outcomes if isinstance(each, RefusedError)]

    assert len(refused) == CAP - 1
    assert all("1 instance below it at once, and has 1" in words for words in refused)
    assert in_stage(run, InstanceStage.RUNNING) == 2
    await run.spawner.spawn(member, Caller(sender="me"))  # the user may start anything


async def test_a_link_in_a_leads_workspace_takes_no_instance_elsewhere(run: SupervisorRun, tmp_path: Path) -> None:
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    for directory in (own / "src", elsewhere):
        directory.mkdir(parents=True)
    (own / "link").symlink_to(elsewhere)
    (own / "inner").symlink_to(own / "src")
    executive = await run.spawner.spawn(asked(Role.EXECUTIVE), Caller(sender="me"))
    workspace = Workspace(mode="isolated", directory=own, worktree=own)
    await run.team.save(executive.instance_id, workspace=workspace)
    lead = Caller(sender=executive.instance_id, instance_id=executive.instance_id)

    def below(directory: Path) -> SpawnRequest:
        return asked(Role.SPECIALIST, parent_id=executive.instance_id).model_copy(update={"work_dir": str(directory)})

    with pytest.raises(RefusedError, match=f"{elsewhere} is not within it"):
        await run.spawner.spawn(below(own / "link"), lead)
    made = await run.spawner.spawn(below(own / "inner"), lead)
    assert made.work_dir == own / "src"


async def test_the_limits_of_a_start_are_those_of_the_instance_and_stored_with_it(run: SupervisorRun) -> None:
    limits = requests.Limits(tokens=1000, permission_modes=["plan"])
    made = await run.spawner.spawn(asked(Role.EXECUTIVE, limits=limits), Caller(sender="me"))
    (stored,) = (await MemoryStore(run.records).load(keys.INSTANCE_PREFIX)).values()
    assert made.limits == decode_record(stored).limits == Limits(tokens=1000, permission_modes=("plan",))


async def test_what_is_under_way_when_the_team_ends_is_undone_and_its_callers_learn_why(run: SupervisorRun) -> None:
    calls = [asyncio.create_task(run.spawn(f"r{number}")) for number in range(2 * CAP)]
    await until_an_agent_runs(run)
    run.permits.close("it ends")
    await run.spawner.end("it ends")
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(each) for each in told] == ["it ends"] * 2 * CAP
    assert left(run) == []


async def test_the_undoing_of_a_spawn_goes_to_its_end_however_often_the_team_is_told_to_end(
    run: SupervisorRun,
) -> None:
    call = asyncio.create_task(run.spawn("r"))
    await until_an_agent_runs(run)
    run.permits.close("it ends")
    first = asyncio.create_task(run.spawner.end("it ends"))
    await asyncio.sleep(0.001)
    await run.spawner.end("it ends")
    await asyncio.gather(first, call, return_exceptions=True)
    assert left(run) == []


async def test_members_of_a_batch_fail_alone_are_counted_as_they_are_done_and_found_again_by_their_ids() -> None:
    ids: list[str | None] = []
    told: list[tuple[int, int, str]] = []

    async def spawn(member: SpawnRequest, caller: Caller) -> results.SpawnResult:
        ids.append(member.request_id)
        caller.progress(0, 1, "waits")
        if member.context == "refused":
            raise AgentError("it did not start")
        if member.context == "broken":
            raise RuntimeError("a fault of ours")
        return results.SpawnResult(
            instance_id=member.context,
            session_name="s",
            role=member.role,
            workspace_mode="shared",
            working_directory="/usr",
            branch=None,
            status=Status.READY,
        )

    wrong = Malformed({}, "no role")
    batch = requests.SpawnBatchRequest(
        instances=[request("one"), request("refused"), wrong, request("broken"), request("two")], request_id="b"
    )
    outcomes = await spawn_all(batch, Caller(sender="lead", progress=lambda *word: told.append(word)), spawn)
    codes = [one.instance_id or (one.error and one.error.code) for one in outcomes]
    assert codes == ["one", "agent", "invalid_request", "internal", "two"]
    assert ids == ["b/0", "b/1", "b/3", "b/4"]
    assert [word[:2] for word in told if word[2] != "waits"] == [(number, 5) for number in range(6)]
    assert {word[1] for word in told} == {5}


class HandoverHost(FakeHost):
    """Notes where the instance is placed when the agent gets its name; ``error`` is raised then."""

    def __init__(self, scene: WarmStart) -> None:
        super().__init__()
        self._scene = scene
        self.placed: list[str] = []
        self.error: BaseException | None = None

    async def hand_over(self, handover: Handover) -> None:
        self.placed += [self._scene.scheduler.places[handover.instance_id], self._scene.member.record.host]
        if self.error is not None:
            raise self.error


class WarmStart:
    """Two hosts, and a pool with one spare agent. That is on ``far``; the instance is placed on ``near``."""

    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.host = HandoverHost(self)
        nodes = [Node(name=name, address=f"10.0.0.{at}", slots=4) for at, name in enumerate(("near", "far"), 1)]
        self.scheduler = HostScheduler("near", self.host, FakeCluster(*nodes), self.team.registry, self.team.links)
        pools: Any = self
        nothing: Any = None
        access = Access(self.team.registry, siblings_may_send=False)
        self._starter = AgentStarter(nothing, self.host, self.team, access, nothing, pools, self.scheduler)
        self.allowed: Sequence[str] | None = None
        self.rejected: list[str] = []
        spare = record(
            1,
            instance_id=SPARE,
            recipe="r",
            stage=InstanceStage.SPARE,
            host="far",
            workspace=workspace(SPARE),
            actor=f"{SPARE}@10.0.0.2",
            pane_id="%7",
            pid=7,
            token_hash="of the spare",
        )
        self.spare = self.team.registry.restore(spare, now=1.0)
        self.spare.snapshot = READY
        self.team.links.follow(SPARE, FakeInstance(), "first", FakeListener())
        self.member = self.team.registry.restore(record(1, stage=InstanceStage.STARTING, host="near"), now=1.0)
        self.placement = Placement(host="near", address="10.0.0.1", own=True, instance_id=FIRST)

    @property
    def agents(self) -> WarmStart:
        return self

    def take_agent(self, request: SpawnRequest, work_dir: Path, hosts: Sequence[str] | None) -> Spare[str, Member]:
        self.allowed = hosts
        return spare_agent(self.spare)

    def reject(self, spare: Spare[str, Member], why: str) -> None:
        self.rejected.append(why)

    async def begin(self) -> StartedAgent | None:
        return await self._starter.warm(self.member, request(), Caller(sender="lead"), self.placement)


@pytest.fixture
async def warm() -> AsyncIterator[WarmStart]:
    made = WarmStart()
    await made.scheduler.nodes()
    yield made
    await made.team.links.leave_all()


async def test_an_instance_is_where_its_spare_is_before_the_host_gives_it_its_name(warm: WarmStart) -> None:
    assert await warm.begin() is not None
    assert warm.allowed == ["near", "far"]
    assert warm.host.placed == ["far", "far"]
    bound = warm.member.record
    assert (bound.host, bound.actor, bound.spare, bound.pid) == ("far", f"{SPARE}@10.0.0.2", SPARE, 7)
    assert (warm.placement.host, warm.placement.address, warm.placement.own) == ("far", "10.0.0.2", False)
    assert bound.token_hash == "of the spare"
    assert SPARE not in warm.team.registry


@pytest.mark.parametrize("error", [TerminalError("no session"), UnavailableError("the host does not answer")])
async def test_a_spare_on_another_host_that_cannot_be_given_leaves_the_instance_where_it_was_placed(
    warm: WarmStart, error: Exception
) -> None:
    warm.host.error = error
    assert await warm.begin() is None
    assert warm.rejected == [str(error)]
    assert (warm.member.record.host, warm.placement.host, warm.scheduler.places[FIRST]) == ("near", "near", "near")
    assert SPARE in warm.team.registry


@pytest.mark.parametrize("error", [asyncio.CancelledError(), StoreError("no space left")])
async def test_a_spare_whose_spawn_is_cut_off_is_given_to_no_other(warm: WarmStart, error: BaseException) -> None:
    warm.host.error = error
    with pytest.raises(type(error)):
        await warm.begin()
    assert len(warm.rejected) == 1


async def test_when_the_host_where_it_was_placed_does_not_answer_the_spawn_fails_and_the_spare_goes(
    warm: WarmStart,
) -> None:
    warm.host.error = UnavailableError("the host does not answer")
    warm.scheduler.shift(warm.placement, "far")
    with pytest.raises(UnavailableError):
        await warm.begin()
    assert warm.rejected == ["the host does not answer"]


LEAD = SpawnRequest(role=Role.EXECUTIVE, work_dir="/usr", context="", workspace_mode="shared", request_id="lead")


async def test_an_instance_that_a_person_begins_gets_no_message_and_is_there_when_it_is_at_its_prompt(
    run: SupervisorRun,
) -> None:
    started = await run.spawner.spawn(LEAD, Caller(sender="operator"))
    assert (started.stage, started.attended) == (InstanceStage.RUNNING, True)
    assert run.machine.conversations == {}
    assert await run.spawner.spawn(LEAD, Caller(sender="operator")) == started


async def test_the_actor_is_made_while_the_workspace_is_made_and_the_agent_started(
    run: SupervisorRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def create_workspace(_: object, instance_id: str, work_dir: Path, mode: str) -> Workspace:
        await asked.wait()
        return Workspace(mode="shared", directory=work_dir)

    async def create(_: object, name: str) -> ModelledInstance:
        asked.set()
        await until_an_agent_runs(run)
        return run.machine.actors.setdefault(name, ModelledInstance(run.machine))

    monkeypatch.setattr(MachinePorts, "create_workspace", create_workspace)
    monkeypatch.setattr(MachinePorts, "create", create)
    started = await run.spawn("r")
    assert started.stage is InstanceStage.RUNNING
    assert list(run.machine.actors) == [started.actor_name]


async def test_an_agent_that_ends_at_its_start_is_undone_also_without_a_message(run: SupervisorRun) -> None:
    call = asyncio.create_task(run.spawner.spawn(LEAD, Caller(sender="operator")))
    await until_an_agent_runs(run)
    for agent in run.machine.sessions.values():
        agent.alive = False
    with pytest.raises(AgentError, match="exec_1 did not start: it has ended"):
        await call
    assert left(run) == []


async def test_a_worktree_is_prepared_after_it_was_made_and_what_fails_there_undoes_the_spawn() -> None:
    prepared = SpawnRequest.model_validate(
        {
            "role": "specialist",
            "workDir": "/usr",
            "context": "go",
            "env": {"MODE": "test"},
            "prepare": {"copy": [".env"], "setup": "make deps"},
        }
    )
    machine = Machine()
    run = SupervisorRun(machine, {})
    await run.begin()
    started = await run.spawner.spawn(prepared, Caller(sender="lead"))
    assert machine.prepared == {started.instance_id: ([".env"], "make deps", {"MODE": "test"})}
    machine.setup_fails = True
    with pytest.raises(WorkspaceError, match="no rule to make deps"):
        await run.spawner.spawn(prepared, Caller(sender="lead"))
    assert left(run) == [started.instance_id] * 2
    await run.kill()
