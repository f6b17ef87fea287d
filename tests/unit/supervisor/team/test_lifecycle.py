from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import pytest

from actors.agents.base import RestartedAgent
from actors.errors import (
    AgentError,
    InvalidRequestError,
    PhalanxError,
    RefusedError,
    StoreError,
    UnavailableError,
    UnknownInstanceError,
    WorkspaceError,
    WrongStateError,
)
from actors.host.load import HostLoad
from actors.instance.reports import Report
from actors.status import Status
from actors.tmux.pane import PaneInfo
from actors.worktrees.model import Workspace
from supervisor.api import requests
from supervisor.api.requests import Role
from supervisor.api.results import RestartResult
from supervisor.api.verbs import Caller
from supervisor.records import decode_record
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission
from supervisor.store import keys
from supervisor.team.lifecycle import GIVEN_UP, AutoRestart, Lifecycle, restart_all, resume_all
from supervisor.team.queries import is_settled
from supervisor.team.registry import InstanceRecord, InstanceStage, Limits, Member, RecordChanges
from supervisor.team.team import Team
from tests.fakes.clock import turns
from tests.fakes.hosts import CATALOG, host_load
from tests.fakes.instances import READY, FakeInstance
from tests.fakes.store import MemoryStore
from tests.fakes.team import accept, add_member, outgoing, receipt

ID = "spec_0_0_1"
LIMIT = 3


class Scene:
    """A team with one instance, which has failed; host, factory and adopter in one."""

    def __init__(self, team: Team, store: MemoryStore, member: Member, reported: Status) -> None:
        """``reported``: what is first heard of an agent that was started again."""
        self.team = team
        self.store = store
        self.member = member
        self._reported = reported
        this: Any = self
        self.lifecycle = Lifecycle(team, this, this, this, MemoryAdmission(this, CATALOG, 1, 0), None, this, 0.05)
        self.ended = 0
        self.destroyed: list[str] = []
        self.renewed: list[str] = []
        self.sessions: list[str] = []
        """Of the conversations that were begun again."""
        self.available_mb = 4000
        self.no_tokens = ""
        """Why nothing is started below a lead."""
        self.while_away: Callable[[], object] = lambda: None
        """Called while there is no agent."""
        self.refuses = ""
        """What the store says as soon as the agent is ended."""

    async def restart(self) -> RestartResult:
        return await self.lifecycle.restart(self.member, self.member.record)

    async def renew(self) -> None:
        await self.lifecycle.renew(self.member, "what matters")

    async def hear(self, **snapshot: Any) -> None:
        report = Report(incarnation="i", sequence=1, snapshot=replace(READY, **snapshot), receipts=())
        await self.team.take_in(ID, report)

    def check_start(self, parent_id: str | None) -> None:
        """As of ``TokenLimits``."""
        if self.no_tokens:
            raise RefusedError(self.no_tokens)

    async def load(self) -> HostLoad:
        return host_load(available_mb=self.available_mb)

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        self.ended += 1
        self.team.registry.get(instance_id).snapshot = replace(READY, status=Status.STOPPED)
        if self.refuses:
            self.store.fails(self.refuses)

    async def restart_agent(
        self, instance_id: str, session_name: str, transcript_path: str, session_id: str
    ) -> RestartedAgent:
        self.sessions.append(session_id)
        self.while_away()
        return RestartedAgent(pane=PaneInfo(session_name=session_name, pane_id="%2", pid=2), resumed=True)

    async def destroy(self, name: str) -> None:
        self.destroyed.append(name)

    async def renew_agent(self, instance_id: str, session_id: str, prompt: str) -> None:
        self.renewed.append(session_id)

    async def actor(self, record: InstanceRecord) -> FakeInstance:
        return FakeInstance()

    async def adopt(self, record: InstanceRecord, port: FakeInstance) -> None:
        self.team.registry.get(record.instance_id).snapshot = replace(READY, status=self._reported)
        self.team.changes.announce()


async def scene_of(reported: Status) -> Scene:
    store = MemoryStore()
    team = Team(store)
    member = await add_member(team, work_dir=Path("/usr"), stage=InstanceStage.FAILED)
    member.snapshot = replace(READY, status=Status.FAILED)
    return Scene(team, store, member, reported)


@pytest.fixture
async def scene() -> Scene:
    return await scene_of(Status.READY)


async def test_an_agent_that_asks_for_nothing_is_not_started_again_where_that_is_not_allowed_any_more(
    scene: Scene,
) -> None:
    scene.member.record = replace(scene.member.record, permission_mode="bypassPermissions")
    for start in (scene.lifecycle.resume(scene.member), scene.restart()):
        with pytest.raises(InvalidRequestError, match="allow_bypass_permissions"):
            await start
    assert scene.ended == 0


@pytest.mark.parametrize("reported", [Status.READY, Status.BUSY, Status.WAITING_PERMISSION, Status.RATE_LIMITED])
async def test_an_agent_that_is_at_work_already_on_what_has_waited_for_it_was_started_well(reported: Status) -> None:
    scene = await scene_of(reported)
    result = await scene.lifecycle.resume(scene.member)
    assert result is not None
    assert (result.status, scene.ended) == (reported, 1)
    assert scene.member.record.stage is InstanceStage.RUNNING


@pytest.mark.parametrize("reported", [Status.STARTING, Status.FAILED])
async def test_an_agent_that_does_not_come_to_its_prompt_is_ended_has_failed_and_takes_no_messages(
    reported: Status,
) -> None:
    scene = await scene_of(reported)
    with pytest.raises(AgentError, match="could not be restarted"):
        await scene.lifecycle.resume(scene.member)
    assert (scene.member.record.stage, scene.ended) == (InstanceStage.FAILED, 2)
    (checked,) = scene.team.outbox.check([outgoing()], "lead", 1.0)
    assert isinstance(checked, WrongStateError)


async def test_a_restart_of_one_that_has_ended_waits_for_memory_and_says_so(scene: Scene) -> None:
    scene.available_mb = 0
    told: list[str] = []
    restarting = asyncio.create_task(scene.lifecycle.restart(scene.member, scene.member.record, told.append))
    await turns(50)
    assert "waits for room" in told[0]
    assert not scene.member.turn.locked()
    assert scene.sessions == []
    scene.available_mb = 4000
    assert (await restarting).status is Status.READY


async def test_a_restart_of_one_that_lives_takes_its_own_place_at_once(scene: Scene) -> None:
    scene.member.snapshot = READY
    scene.available_mb = 0
    assert (await scene.restart()).status is Status.READY


async def test_an_instance_that_is_being_restarted_is_not_stopped_and_takes_messages_that_wait(scene: Scene) -> None:
    scene.member.snapshot = READY
    seen: list[object] = []

    def look() -> None:
        (checked,) = scene.team.outbox.check([outgoing()], "lead", 1.0)
        seen.extend([isinstance(checked, Exception), scene.member.status, is_settled(scene.team, scene.member)])

    scene.while_away = look
    await scene.restart()
    assert seen == [False, Status.STARTING, False]
    assert (scene.member.status, scene.member.coming_back) == (Status.READY, False)


async def test_a_restart_goes_on_with_the_conversation_that_was_heard_of_last(scene: Scene) -> None:
    await scene.hear(session_id="after a clear", transcript_path="/t/after.jsonl")
    await scene.restart()
    assert scene.sessions == ["after a clear"]
    stored = await scene.store.load(keys.INSTANCE_PREFIX)
    assert decode_record(stored[keys.instance(ID)]).session_id == "after a clear"


async def test_a_restart_that_had_to_wait_does_not_end_what_another_one_has_started_meanwhile(scene: Scene) -> None:
    asked_of = scene.member.record
    await scene.restart()
    with pytest.raises(WrongStateError, match="restarted meanwhile"):
        await scene.lifecycle.restart(scene.member, asked_of)
    assert len(scene.sessions) == 1


async def test_a_restart_that_had_to_wait_does_not_bring_back_what_was_terminated_meanwhile(scene: Scene) -> None:
    asked_of = scene.member.record
    await scene.team.save(ID, wanted=False, stage=InstanceStage.STOPPED)
    with pytest.raises(WrongStateError, match="terminated"):
        await scene.lifecycle.restart(scene.member, asked_of)
    assert scene.sessions == []
    assert (await scene.restart()).status is Status.READY


LEAD, SECOND = "exec_1", "spec_1_0_3"


async def below_a_lead(**of_lead: Any) -> Scene:
    """The scene's instance, terminated, under a lead."""
    scene = await scene_of(Status.READY)
    lead = await add_member(scene.team, 9, instance_id=LEAD, role=Role.EXECUTIVE, **of_lead)
    lead.snapshot = READY
    scene.team.registry.remove(ID)
    ended: dict[str, Any] = {"wanted": False, "stage": InstanceStage.STOPPED}
    scene.member = await add_member(scene.team, work_dir=Path("/usr"), parent_id=LEAD, name="tests", **ended)
    scene.member.snapshot = replace(READY, status=Status.STOPPED)
    scene.member.ending = True
    return scene


async def test_one_that_was_terminated_starts_again_with_its_name_and_place() -> None:
    scene = await below_a_lead(limits=Limits(instances=1))
    result = await scene.lifecycle.restart(scene.member, scene.member.record, by_instance=True)
    assert (result.status, scene.member.record.wanted, scene.member.ending) == (Status.READY, True, False)


async def test_one_that_was_terminated_starts_again_only_as_a_new_one_might() -> None:
    async def refused(scene: Scene, words: str, *, by_instance: bool) -> None:
        with pytest.raises(PhalanxError, match=words):
            await scene.lifecycle.restart(scene.member, scene.member.record, by_instance=by_instance)
        assert (scene.sessions, scene.member.record.wanted, scene.member.ending) == ([], False, True)
        stored = await scene.store.load(keys.INSTANCE_PREFIX)
        assert not decode_record(stored[keys.instance(ID)]).wanted

    for limits in (Limits(instances=1), Limits(models=("opus",)), Limits(permission_modes=("plan",))):
        scene = await below_a_lead(limits=limits)
        await add_member(scene.team, 3, instance_id=SECOND, parent_id=LEAD)
        await refused(scene, "exec_1 may have", by_instance=True)
        # The user may start anything.
        await scene.restart()
    scene = await below_a_lead()
    await add_member(scene.team, 3, instance_id=SECOND, name="tests")
    await refused(scene, "The name tests is taken", by_instance=False)
    scene = await below_a_lead()
    scene.no_tokens = "its tokens are used up"
    await refused(scene, "tokens are used up", by_instance=False)
    scene = await below_a_lead(wanted=False, stage=InstanceStage.STOPPED)
    await refused(scene, "The parent exec_1 was terminated", by_instance=False)


async def test_one_that_was_terminated_and_has_no_workspace_any_more_stays_so() -> None:
    scene = await below_a_lead()
    scene.member.record = replace(scene.member.record, work_dir=Path("/no-such-directory"))
    with pytest.raises(WorkspaceError, match="spawn a new instance"):
        await scene.restart()
    assert (scene.member.terminated, scene.member.ending) == (True, True)


async def test_two_that_were_terminated_do_not_take_one_last_place() -> None:
    scene = await below_a_lead(limits=Limits(instances=1))
    ended: dict[str, Any] = {"wanted": False, "stage": InstanceStage.STOPPED}
    other = await add_member(scene.team, 3, instance_id=SECOND, parent_id=LEAD, work_dir=Path("/usr"), **ended)
    other.snapshot = replace(READY, status=Status.STOPPED)
    done = await asyncio.gather(
        *(scene.lifecycle.restart(each, each.record, by_instance=True) for each in (scene.member, other)),
        return_exceptions=True,
    )
    assert [type(each) for each in done] == [RestartResult, RefusedError]


async def test_one_that_could_not_be_stored_as_wanted_stays_terminated() -> None:
    scene = await below_a_lead()
    scene.store.fails("the disk is full")
    with pytest.raises(StoreError):
        await scene.restart()
    assert (scene.member.terminated, scene.member.ending, scene.sessions) == (True, True, [])


async def test_when_no_actor_can_be_had_the_agent_that_was_ended_has_failed_and_says_why(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_actor(record: InstanceRecord) -> FakeInstance:
        raise UnavailableError("Ray gives no actor")

    await scene.team.save(ID, stage=InstanceStage.RUNNING)
    monkeypatch.setattr(scene, "actor", no_actor)
    with pytest.raises(UnavailableError):
        await scene.restart()
    assert (scene.member.record.stage, scene.member.record.reason) == (InstanceStage.FAILED, "Ray gives no actor")


async def arrived_elsewhere(team: Team) -> set[str]:
    """Ids of what has arrived in the instance's conversation, which is on another host alone."""
    workspace = Workspace(mode="isolated", directory=Path("/w") / ID, home=Path("/repository/.git"))
    await team.save(ID, stage=InstanceStage.RUNNING, host="worker", actor=f"{ID}@10.0.0.2", workspace=workspace)
    team.registry.get(ID).snapshot = READY
    sent = await accept(team, "one", "two")
    await team.outbox.take_receipts([receipt(message) for message in sent])
    return {message.id for message in sent}


async def test_a_fresh_conversation_is_given_nothing_again_of_what_the_one_before_held(scene: Scene) -> None:
    assert len(await arrived_elsewhere(scene.team)) == 2
    await scene.renew()
    await scene.team.outbox.deliver_again(ID)
    assert scene.team.outbox.pending(ID) == 0
    assert await scene.store.load(keys.MESSAGE_PREFIX) == {}


async def test_a_conversation_that_is_only_begun_again_still_misses_what_its_host_alone_has(scene: Scene) -> None:
    sent = await arrived_elsewhere(scene.team)
    await scene.restart()
    assert set(scene.team.outbox.unsynced.of(ID)) == sent


async def test_while_the_fresh_conversation_cannot_be_stored_nothing_of_the_one_before_is_forgotten(
    scene: Scene,
) -> None:
    sent = await arrived_elsewhere(scene.team)
    scene.refuses = "no space left"
    with pytest.raises(StoreError):
        await scene.renew()
    assert set(scene.team.outbox.unsynced.of(ID)) == sent
    assert scene.member.record.session_id == "s"


async def test_a_fresh_conversation_gets_an_actor_that_knows_nothing_of_the_one_before(scene: Scene) -> None:
    await scene.renew()
    assert scene.destroyed == [ID]
    assert scene.sessions == [scene.member.record.session_id] != ["s"]


async def test_only_a_conversation_that_has_not_begun_has_what_was_typed_before_forgotten(scene: Scene) -> None:
    await scene.renew()
    fresh = scene.member.record.session_id
    await scene.restart()
    await scene.hear(session_id="after a clear", transcript_path="/t/after.jsonl")
    await scene.restart()
    assert scene.renewed == [fresh, fresh]
    assert scene.sessions == [fresh, fresh, "after a clear"]


async def test_an_unexpected_error_with_one_of_a_cascade_ends_all_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, parent in ((2, ID), (3, ID), (4, "spec_0_0_3")):
        await add_member(scene.team, number, parent_id=parent, work_dir=Path("/usr"))
    end_agent, save = scene.end_agent, scene.team.save

    async def fails_for_one(instance_id: str, session_name: str, grace_s: float) -> None:
        if instance_id == "spec_0_0_2":
            raise RuntimeError("a fault of ours")
        await end_agent(instance_id, session_name, grace_s)

    async def refuses_one(instance_id: str, **changes: Unpack[RecordChanges]) -> InstanceRecord:
        if instance_id == "spec_0_0_4" and "wanted" in changes:
            raise StoreError("no space left")
        return await save(instance_id, **changes)

    monkeypatch.setattr(scene, "end_agent", fails_for_one)
    monkeypatch.setattr(scene.team, "save", refuses_one)
    result = await scene.lifecycle.terminate(requests.TerminateRequest(instance_id=ID, cascade=True))
    codes = {one.instance_id: one.error.code if one.error else "" for one in result.terminated}
    assert codes == {"spec_0_0_2": "internal", "spec_0_0_4": "store", "spec_0_0_3": "", ID: ""}
    assert {one.instance_id: one.status for one in result.terminated}["spec_0_0_3"] is Status.STOPPED
    assert not scene.team.registry.get("spec_0_0_4").ending
    assert (result.success, result.still_running) == (False, ["spec_0_0_2", "spec_0_0_4"])


async def test_several_are_ended_in_the_order_asked_each_once_and_those_that_are_unknown_fail_alone(
    scene: Scene,
) -> None:
    for number in (2, 3):
        await add_member(scene.team, number, parent_id=ID, work_dir=Path("/usr"))
    request = requests.TerminateRequest(instance_ids=[ID, "spec_9", "spec_0_0_2", ID])
    result = await scene.lifecycle.terminate(request)
    codes = [(one.instance_id, one.error.code if one.error else "") for one in result.terminated]
    assert codes == [(ID, ""), ("spec_9", "unknown_instance"), ("spec_0_0_2", "")]
    assert (result.success, result.still_running) == (False, ["spec_0_0_3"])


async def test_one_that_is_named_and_cannot_be_ended_is_not_told_again_as_left_by_the_one_above(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_member(scene.team, 2, parent_id=ID, work_dir=Path("/usr"))
    end_agent = scene.end_agent

    async def fails_for_one(instance_id: str, session_name: str, grace_s: float) -> None:
        if instance_id == "spec_0_0_2":
            raise UnavailableError("The host is away.")
        await end_agent(instance_id, session_name, grace_s)

    monkeypatch.setattr(scene, "end_agent", fails_for_one)
    result = await scene.lifecycle.terminate(requests.TerminateRequest(instance_ids=[ID, "spec_0_0_2"]))
    assert [one.error is None for one in result.terminated] == [True, False]
    assert result.still_running == []


async def test_what_a_cascade_ends_is_told_once_and_before_what_leads_it(scene: Scene) -> None:
    await add_member(scene.team, 2, parent_id=ID, work_dir=Path("/usr"))
    result = await scene.lifecycle.terminate(requests.TerminateRequest(instance_ids=[ID, "spec_0_0_2"], cascade=True))
    assert [one.instance_id for one in result.terminated] == ["spec_0_0_2", ID]
    assert (result.success, result.still_running) == (True, [])


@pytest.mark.parametrize("cascade", [True, False])
async def test_those_that_an_unknown_instance_led_are_neither_ended_nor_told(scene: Scene, cascade: bool) -> None:
    await add_member(scene.team, 2, parent_id="mgr_0_9", work_dir=Path("/usr"))
    result = await scene.lifecycle.terminate(requests.TerminateRequest(instance_ids=["mgr_0_9"], cascade=cascade))
    assert [one.instance_id for one in result.terminated] == ["mgr_0_9"]
    assert (scene.ended, result.still_running) == (0, [])


async def test_the_agent_of_one_that_is_being_ended_already_is_left_alone_while_the_store_refuses(
    scene: Scene,
) -> None:
    await scene.team.save(ID, wanted=False, stage=InstanceStage.ENDING)
    scene.member.snapshot = READY
    scene.store.is_fenced()
    result = await scene.lifecycle.terminate(requests.TerminateRequest(instance_id=ID))
    assert (result.success, scene.ended) == (False, 0)


async def restart(instance_id: str, _caller: Caller) -> RestartResult:
    if instance_id == "spec_9":
        raise UnknownInstanceError("There is no instance spec_9.")
    return RestartResult(instance_id=instance_id, status=Status.READY, resumed=True)


async def test_one_that_is_named_alone_is_refused_as_a_call_of_its_own(scene: Scene) -> None:
    with pytest.raises(UnknownInstanceError):
        await scene.lifecycle.terminate(requests.TerminateRequest(instance_id="spec_9"))
    with pytest.raises(UnknownInstanceError):
        await restart_all(requests.RestartRequest(instance_id="spec_9"), Caller(sender="lead"), restart)


async def test_several_are_restarted_in_the_order_asked_and_those_that_cannot_be_fail_alone() -> None:
    several = requests.RestartRequest(instance_ids=["spec_1", "spec_9", "spec_2", "spec_1"])
    done = await restart_all(several, Caller(sender="lead"), restart)
    assert done.restarted is not None
    assert [(each.instance_id, each.success, each.status) for each in done.restarted] == [
        ("spec_1", True, Status.READY),
        ("spec_9", False, None),
        ("spec_2", True, Status.READY),
    ]
    assert not done.success
    one = await restart_all(requests.RestartRequest(instance_id="spec_1"), Caller(sender="lead"), restart)
    assert (one.success, one.status, one.resumed, one.restarted) == (True, Status.READY, True, None)


async def test_members_that_are_resumed_fail_alone_and_are_counted_as_they_are_done() -> None:
    team = Team(MemoryStore())
    members = [await add_member(team, number, stage=InstanceStage.FAILED) for number in range(1, 5)]
    told: list[tuple[int, int, str]] = []

    async def resume(member: Member) -> RestartResult | None:
        match member.record.number:
            case 1:
                raise AgentError("it did not start")
            case 2:
                raise RuntimeError("a fault of ours")
            case 3:
                return None
        return RestartResult(instance_id=member.record.instance_id, status=Status.READY, resumed=True)

    outcomes = await resume_all(members, FairSemaphore(1), resume, lambda *word: told.append(word))
    assert [one.error.code if one.error else one.resumed for one in outcomes] == ["agent", "internal", False, True]
    assert told == [
        (0, 4, "starting them"),
        (1, 4, "spec_0_0_1 failed"),
        (2, 4, "spec_0_0_2 failed"),
        (3, 4, "spec_0_0_3"),
        (4, 4, "spec_0_0_4"),
    ]


class FakeLifecycle:
    """Notes when an instance was tried; ``fails`` says whether that goes wrong."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self.at: list[float] = []
        self.fails: Iterator[bool | str] = iter(())

    async def resume(self, member: Member) -> RestartResult | None:
        if not member.record.resumable:
            return None
        self.at.append(asyncio.get_running_loop().time())
        fails = next(self.fails, False)
        if fails == "unexpectedly":
            raise RuntimeError("a fault of ours")
        if fails:
            await self._team.mark_ended(member, InstanceStage.FAILED, "it did not start")
            raise AgentError("it did not start")
        await self._team.save(member.record.instance_id, stage=InstanceStage.RUNNING, ended_at=0.0)
        member.snapshot = READY
        return RestartResult(instance_id=member.record.instance_id, status=Status.READY, resumed=True)


class Restarts:
    """A team whose one instance fails as the test says and is started again by itself."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.team = Team(store)
        self._lifecycle = FakeLifecycle(self.team)
        lifecycle: Any = self._lifecycle
        self.auto_restart = AutoRestart(self.team, lifecycle, FairSemaphore(5), LIMIT)
        self.team.subscribe_failures(self.auto_restart.failed)
        self._begun = asyncio.get_running_loop().time()

    @property
    def member(self) -> Member:
        return self.team.registry.get(ID)

    async def fail(self, *restarts: bool | str) -> None:
        """``restarts``: whether the next attempts go wrong, too."""
        self._lifecycle.fails = iter(restarts)
        await self.team.mark_ended(self.member, InstanceStage.FAILED, "exit status 9")

    @property
    def tried_after(self) -> list[float]:
        return [round(at - self._begun, 1) for at in self._lifecycle.at]

    async def after_a_crash(self, *restarts: bool) -> Restarts:
        """The next supervisor, which has seen that its instance has failed."""
        await self.auto_restart.stop()
        later = Restarts(self.store)
        await later.team.load()
        later._lifecycle.fails = iter(restarts)
        later.auto_restart.failed(later.member)
        return later


@pytest.fixture
async def restarts() -> AsyncIterator[Restarts]:
    made = Restarts(MemoryStore())
    await add_member(made.team)
    yield made
    await made.auto_restart.stop()


@pytest.mark.parametrize(
    ("fails", "tried_after", "stage"),
    [
        ([], [0.5], InstanceStage.RUNNING),
        (["unexpectedly"], [0.5, 1.5], InstanceStage.RUNNING),
        ([True] * 10, [0.5, 1.5, 3.5], InstanceStage.FAILED),
    ],
    ids=["it works", "an unexpected error costs one try", "after the limit it stays failed"],
)
async def test_an_agent_that_fails_is_started_again_after_pauses_that_grow(
    restarts: Restarts, fails: list[bool | str], tried_after: list[float], stage: InstanceStage
) -> None:
    await restarts.fail(*fails)
    await asyncio.sleep(3600)
    assert (restarts.tried_after, restarts.member.record.stage) == (tried_after, stage)


async def test_one_that_stays_failed_says_so_with_what_to_do_once_and_not_before(restarts: Restarts) -> None:
    member = restarts.member
    await restarts.fail(*[True] * 10)
    await asyncio.sleep(3)
    assert GIVEN_UP not in member.snapshot.reason
    await asyncio.sleep(3600)
    told = member.snapshot.reason
    assert told.startswith("it did not start\n")
    assert "3 times in a row" in told
    assert "restart spec_0_0_1" in told
    reported = replace(member.snapshot, reason="exit status 9", unread=1)
    await restarts.team.take_in(ID, Report(incarnation="i", sequence=1, snapshot=reported, receipts=()))
    assert (member.snapshot.reason, member.snapshot.unread) == (told, 1)
    later = await restarts.after_a_crash()
    await asyncio.sleep(10)
    assert later.member.snapshot.reason == told
    await later.auto_restart.stop()


@pytest.mark.parametrize(
    ("runs_s", "attempts"), [(30, LIMIT), (700, 10)], ids=["fails soon again", "has run for a while"]
)
async def test_only_one_that_has_run_for_a_while_has_its_attempts_back(
    restarts: Restarts, runs_s: float, attempts: int
) -> None:
    for _ in range(10):
        await restarts.fail()
        await asyncio.sleep(runs_s)
    assert len(restarts.tried_after) == attempts


async def test_time_alone_gives_no_attempts_back_to_one_that_stays_failed(restarts: Restarts) -> None:
    await restarts.fail(*[True] * LIMIT)
    await asyncio.sleep(3600)
    restarts.auto_restart.failed(restarts.member)
    await asyncio.sleep(3600)
    assert len(restarts.tried_after) == LIMIT


async def test_attempts_are_counted_on_after_a_crash_of_the_supervisor(restarts: Restarts) -> None:
    await restarts.fail(*[True] * 10)
    await asyncio.sleep(2)
    later = await restarts.after_a_crash(*[True] * 10)
    await asyncio.sleep(3600)
    assert len(restarts.tried_after) + len(later.tried_after) == LIMIT
    await later.auto_restart.stop()


async def test_a_failure_in_the_very_moment_in_which_an_attempt_ends_is_not_overlooked(restarts: Restarts) -> None:
    await restarts.fail()
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == f"resume {ID}")
    again = asyncio.Event()
    task.add_done_callback(lambda _: again.set())
    await again.wait()
    await restarts.fail()
    await asyncio.sleep(60)
    assert restarts.tried_after == [0.5, 1.5]


async def test_one_that_is_terminated_during_the_pause_is_not_brought_back(restarts: Restarts) -> None:
    await restarts.fail()
    await restarts.team.save(ID, wanted=False, stage=InstanceStage.ENDING)
    await asyncio.sleep(60)
    assert restarts.tried_after == []


async def test_nothing_is_started_once_it_has_stopped(restarts: Restarts) -> None:
    await restarts.fail()
    await restarts.auto_restart.stop()
    await asyncio.sleep(60)
    assert restarts.tried_after == []
