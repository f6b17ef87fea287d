from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import RestartedAgent
from actors.errors import AgentError, StoreError, UnavailableError, WrongStateError
from actors.instance.reports import Report
from actors.messages import Message
from actors.status import Status
from actors.tmux.pane import PaneInfo
from actors.worktrees.model import Workspace
from supervisor.records import decode_record
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission
from supervisor.spawning.staff import Staff
from supervisor.store import keys
from supervisor.team.lifecycle import Lifecycle
from supervisor.team.queries import is_settled
from supervisor.team.registry import InstanceRecord, InstanceStage
from supervisor.team.team import Team
from tests.fakes.clock import turns
from tests.fakes.hosts import host_load
from tests.fakes.instances import READY, FakeInstance
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member, outgoing, receipt

ID = "spec_0_0_1"


class Outside:
    """Host, factory and adoption in one. ``reported``: what is first heard of an agent that was started again."""

    def __init__(self, reported: Status) -> None:
        self.store = MemoryStore()
        self.team = Team(self.store)
        self._reported = reported
        host: Any = self
        self.memory = MemoryAdmission(host, 1, 0)
        self.ended = 0
        self.destroyed: list[str] = []
        self.renewed: list[str] = []
        self.sessions: list[str] = []
        """Of the conversations that were begun again."""
        self.available_mb = 4000
        self.while_away: Callable[[], object] = lambda: None
        """Called while there is no agent."""
        self.refuses = ""
        """What the store says as soon as the agent is ended."""

    async def load(self) -> Any:
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
        pane = PaneInfo(session_name=session_name, pane_id="%2", pid=2)
        return RestartedAgent(pane=pane, resumed=True)

    async def destroy(self, name: str) -> None:
        self.destroyed.append(name)

    async def renew_agent(self, instance_id: str, session_id: str, prompt: str) -> None:
        self.renewed.append(session_id)

    async def actor(self, record: InstanceRecord) -> FakeInstance:
        return FakeInstance()

    async def adopt(self, record: InstanceRecord, port: FakeInstance) -> None:
        self.team.registry.get(record.instance_id).snapshot = replace(READY, status=self._reported)
        self.team.changes.announce()


async def lifecycle(reported: Status) -> tuple[Lifecycle, Team, Outside]:
    """With one instance that has failed."""
    outside: Any = Outside(reported)
    team = outside.team
    permits = FairSemaphore(3)
    staff = Staff(
        host=outside,
        factory=outside,
        permits=permits,
        memory=outside.memory,
    )
    member = await add_member(team, work_dir=Path("/usr"), stage=InstanceStage.FAILED)
    member.snapshot = replace(READY, status=Status.FAILED)
    return Lifecycle(team, staff, outside, 0.05), team, outside


@pytest.mark.parametrize("reported", [Status.READY, Status.BUSY, Status.WAITING_PERMISSION, Status.RATE_LIMITED])
async def test_who_is_at_work_already_on_what_has_waited_for_it_was_started_well(reported: Status) -> None:
    made, team, outside = await lifecycle(reported)
    result = await made.resume(team.registry.get(ID))
    assert result is not None
    assert (result.status, outside.ended) == (reported, 1)
    assert team.registry.get(ID).record.stage is InstanceStage.RUNNING


@pytest.mark.parametrize("reported", [Status.STARTING, Status.FAILED])
async def test_who_does_not_come_to_its_prompt_is_ended_and_has_failed(reported: Status) -> None:
    made, team, outside = await lifecycle(reported)
    with pytest.raises(AgentError, match="could not be restarted"):
        await made.resume(team.registry.get(ID))
    assert (team.registry.get(ID).record.stage, outside.ended) == (InstanceStage.FAILED, 2)


async def said_abroad(team: Team) -> set[str]:
    """Ids of what has arrived in the instance's conversation, which is on another host alone."""
    workspace = Workspace(mode="isolated", directory=Path("/w") / ID, home=Path("/repository/.git"))
    await team.save(ID, stage=InstanceStage.RUNNING, host="worker", actor=f"{ID}@10.0.0.2", workspace=workspace)
    team.registry.get(ID).snapshot = READY
    sent = [
        each for each in team.outbox.check([outgoing("one"), outgoing("two")], "lead", 1.0) if isinstance(each, Message)
    ]
    await team.outbox.accept(sent)
    await team.outbox.take_receipts([receipt(message) for message in sent])
    return {message.id for message in sent}


async def test_a_fresh_conversation_is_given_nothing_again_of_what_the_one_before_held() -> None:
    made, team, outside = await lifecycle(Status.READY)
    assert len(await said_abroad(team)) == 2
    await made.renew(team.registry.get(ID), "what matters")
    await team.outbox.deliver_again(ID)
    assert team.outbox.pending(ID) == 0
    assert await outside.store.load(keys.MESSAGE_PREFIX) == {}


async def test_a_conversation_that_is_only_begun_again_still_misses_what_its_host_alone_has() -> None:
    made, team, _ = await lifecycle(Status.READY)
    said = await said_abroad(team)
    await made.restart(team.registry.get(ID), team.registry.get(ID).record)
    assert set(team.outbox.unsynced.of(ID)) == said


async def test_while_the_fresh_conversation_cannot_be_stored_nothing_of_the_one_before_is_forgotten() -> None:
    made, team, outside = await lifecycle(Status.READY)
    said = await said_abroad(team)
    outside.refuses = "no space left"
    with pytest.raises(StoreError):
        await made.renew(team.registry.get(ID), "what matters")
    assert set(team.outbox.unsynced.of(ID)) == said
    assert team.registry.get(ID).record.session_id == "s"


async def test_a_restart_of_one_that_has_ended_waits_for_memory_and_says_so() -> None:
    made, team, outside = await lifecycle(Status.READY)
    outside.available_mb = 0
    told: list[str] = []
    restarting = asyncio.create_task(made.restart(team.registry.get(ID), team.registry.get(ID).record, told.append))
    await turns(50)
    assert "waits for room" in told[0]
    assert not team.registry.get(ID).turn.locked()
    assert outside.sessions == []
    outside.available_mb = 4000
    assert (await restarting).status is Status.READY


async def test_a_restart_of_one_that_lives_takes_its_own_place_at_once() -> None:
    made, team, outside = await lifecycle(Status.READY)
    team.registry.get(ID).snapshot = READY
    outside.available_mb = 0
    assert (await made.restart(team.registry.get(ID), team.registry.get(ID).record)).status is Status.READY


async def test_who_is_being_restarted_is_not_stopped_and_takes_messages_that_wait() -> None:
    made, team, outside = await lifecycle(Status.READY)
    member = team.registry.get(ID)
    member.snapshot = READY
    seen: list[object] = []

    def look() -> None:
        (checked,) = team.outbox.check([outgoing()], "lead", 1.0)
        seen.extend([isinstance(checked, Message), member.status, is_settled(team, member)])

    outside.while_away = look
    await made.restart(member, member.record)
    assert seen == [True, Status.STARTING, False]
    assert (member.status, member.coming_back) == (Status.READY, False)


async def test_one_that_could_not_be_started_again_takes_no_messages() -> None:
    made, team, _ = await lifecycle(Status.FAILED)
    member = team.registry.get(ID)
    with pytest.raises(AgentError):
        await made.restart(member, member.record)
    (checked,) = team.outbox.check([outgoing()], "lead", 1.0)
    assert isinstance(checked, WrongStateError)


async def test_a_restart_goes_on_with_the_conversation_that_was_heard_of_last() -> None:
    made, team, outside = await lifecycle(Status.READY)
    now = replace(READY, session_id="after a clear", transcript_path="/t/after.jsonl")
    await team.take_in(ID, Report(incarnation="i", sequence=1, snapshot=now, receipts=()))
    await made.restart(team.registry.get(ID), team.registry.get(ID).record)
    assert outside.sessions == ["after a clear"]
    stored = await outside.store.load(keys.INSTANCE_PREFIX)
    assert decode_record(stored[keys.instance(ID)]).session_id == "after a clear"


async def test_a_fresh_conversation_gets_an_actor_that_knows_nothing_of_the_one_before() -> None:
    made, team, outside = await lifecycle(Status.READY)
    await made.renew(team.registry.get(ID), "what matters")
    assert outside.destroyed == [ID]
    assert outside.sessions == [team.registry.get(ID).record.session_id] != ["s"]


async def test_an_unexpected_error_with_one_of_a_cascade_ends_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    made, team, outside = await lifecycle(Status.READY)
    for number, parent in ((2, ID), (3, ID), (4, "spec_0_0_3")):
        await add_member(team, number, parent_id=parent, work_dir=Path("/usr"))
    end_agent, save = outside.end_agent, team.save

    async def fails_for_one(instance_id: str, session_name: str, grace_s: float) -> None:
        if instance_id == "spec_0_0_2":
            raise RuntimeError("a fault of ours")
        await end_agent(instance_id, session_name, grace_s)

    async def refuses_one(instance_id: str, **changes: object) -> InstanceRecord:
        if instance_id == "spec_0_0_4" and "wanted" in changes:
            raise StoreError("no space left")
        return await save(instance_id, **changes)

    monkeypatch.setattr(outside, "end_agent", fails_for_one)
    monkeypatch.setattr(team, "save", refuses_one)
    result = await made.terminate(ID, cascade=True)
    codes = {one.instance_id: one.error.code if one.error else "" for one in result.terminated}
    assert codes == {"spec_0_0_2": "internal", "spec_0_0_4": "store", "spec_0_0_3": "", ID: ""}
    assert {one.instance_id: one.status for one in result.terminated}["spec_0_0_3"] is Status.STOPPED
    assert not team.registry.get("spec_0_0_4").ending
    assert not result.success


async def test_only_a_conversation_that_has_not_begun_has_what_was_typed_before_forgotten() -> None:
    made, team, outside = await lifecycle(Status.READY)
    member = team.registry.get(ID)
    await made.renew(member, "what matters")
    fresh = member.record.session_id
    await made.restart(member, member.record)
    cleared = replace(READY, session_id="after a clear", transcript_path="/t/after.jsonl")
    await team.take_in(ID, Report(incarnation="i", sequence=1, snapshot=cleared, receipts=()))
    await made.restart(member, member.record)
    assert outside.renewed == [fresh, fresh]
    assert outside.sessions == [fresh, fresh, "after a clear"]


async def test_a_restart_that_had_to_wait_does_not_end_what_another_one_has_started_meanwhile() -> None:
    made, team, outside = await lifecycle(Status.READY)
    member = team.registry.get(ID)
    asked_of = member.record
    await made.restart(member, asked_of)
    with pytest.raises(WrongStateError, match="restarted meanwhile"):
        await made.restart(member, asked_of)
    assert len(outside.sessions) == 1


async def test_a_restart_that_had_to_wait_does_not_bring_back_what_was_terminated_meanwhile() -> None:
    made, team, outside = await lifecycle(Status.READY)
    member = team.registry.get(ID)
    asked_of = member.record
    await team.save(ID, wanted=False, stage=InstanceStage.STOPPED)
    with pytest.raises(WrongStateError, match="terminated"):
        await made.restart(member, asked_of)
    assert outside.sessions == []
    assert (await made.restart(member, member.record)).status is Status.READY


async def test_when_no_actor_can_be_had_the_agent_that_was_ended_has_failed_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, team, outside = await lifecycle(Status.READY)
    member = team.registry.get(ID)
    await team.save(ID, stage=InstanceStage.RUNNING)

    async def no_actor(record: InstanceRecord) -> FakeInstance:
        raise UnavailableError("Ray gives no actor")

    monkeypatch.setattr(outside, "actor", no_actor)
    with pytest.raises(UnavailableError):
        await made.restart(member, member.record)
    assert (member.record.stage, member.record.reason) == (InstanceStage.FAILED, "Ray gives no actor")
