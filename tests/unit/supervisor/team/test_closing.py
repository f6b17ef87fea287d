from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import Restarted
from actors.errors import AgentError, StoreError
from actors.messages import Message
from actors.states import Status
from actors.terminal.pane import PaneInfo
from actors.workspace.values import Workspace
from supervisor.permits import Permits
from supervisor.pool.stock import ActorStock
from supervisor.spawning.room import Room
from supervisor.spawning.staff import Staff
from supervisor.store import keys
from supervisor.team.closing import Closing
from supervisor.team.registry import InstanceRecord, Stage
from supervisor.team.roll import Roll
from tests.unit.supervisor.stand_ins import READY, StandInInstance, TroubledStore, draft, load, receipt, recruit

ID = "spec_0_0_1"


class Outside:
    """Host, factory and adoption in one. ``reported``: what is first heard of an agent that was started again."""

    def __init__(self, reported: Status) -> None:
        self.store = TroubledStore()
        self.roll = Roll(self.store)
        self._reported = reported
        self.ended = 0
        self.refuses = ""
        """What the store says as soon as the agent is ended."""

    async def load(self) -> Any:
        return load(available_mb=4000)

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        self.ended += 1
        if self.refuses:
            self.store.fails(self.refuses)

    async def restart_agent(
        self, instance_id: str, session_name: str, transcript_path: str, session_id: str
    ) -> Restarted:
        pane = PaneInfo(session_name=session_name, pane_id="%2", pid=2, dead=False, exit_status=None, created_s=1)
        return Restarted(pane=pane, resumed=True)

    async def renew_agent(self, instance_id: str, session_id: str, prompt: str) -> None:
        """The fresh conversation begins with the restart."""

    async def actor(self, record: InstanceRecord) -> StandInInstance:
        return StandInInstance()

    async def adopt(self, record: InstanceRecord, port: StandInInstance) -> None:
        self.roll.registry.get(record.instance_id).snapshot = replace(READY, status=self._reported)
        self.roll.news.announce()


async def closing(reported: Status) -> tuple[Closing, Roll, Outside]:
    """With one instance that has failed."""
    outside: Any = Outside(reported)
    roll = outside.roll
    permits = Permits(3)
    staff = Staff(
        host=outside,
        factory=outside,
        permits=permits,
        stock=ActorStock(outside, permits, 0),
        room=Room(outside, 1, 0),
    )
    member = await recruit(roll, work_dir=Path("/usr"), stage=Stage.FAILED)
    member.snapshot = replace(READY, status=Status.FAILED)
    return Closing(roll, staff, outside, 0.05), roll, outside


@pytest.mark.parametrize("reported", [Status.READY, Status.BUSY, Status.WAITING_PERMISSION, Status.RATE_LIMITED])
async def test_who_is_at_work_already_on_what_has_waited_for_it_was_started_well(reported: Status) -> None:
    made, roll, outside = await closing(reported)
    result = await made.resume(roll.registry.get(ID))
    assert result is not None
    assert (result.status, outside.ended) == (reported, 1)
    assert roll.registry.get(ID).record.stage is Stage.RUNNING


@pytest.mark.parametrize("reported", [Status.STARTING, Status.FAILED])
async def test_who_does_not_come_to_its_prompt_is_ended_and_has_failed(reported: Status) -> None:
    made, roll, outside = await closing(reported)
    with pytest.raises(AgentError, match="could not be restarted"):
        await made.resume(roll.registry.get(ID))
    assert (roll.registry.get(ID).record.stage, outside.ended) == (Stage.FAILED, 2)


async def said_abroad(roll: Roll) -> set[str]:
    """Ids of what has arrived in the instance's conversation, which is on another host alone."""
    workspace = Workspace(mode="isolated", directory=Path("/w") / ID, home=Path("/repository/.git"))
    await roll.save(ID, stage=Stage.RUNNING, host="worker", actor=f"{ID}@10.0.0.2", workspace=workspace)
    roll.registry.get(ID).snapshot = READY
    sent = [each for each in roll.mail.check([draft("one"), draft("two")], "lead", 1.0) if isinstance(each, Message)]
    await roll.mail.accept(sent)
    await roll.mail.take_receipts([receipt(message) for message in sent])
    return {message.id for message in sent}


async def test_a_fresh_conversation_is_given_nothing_again_of_what_the_one_before_held() -> None:
    made, roll, outside = await closing(Status.READY)
    assert len(await said_abroad(roll)) == 2
    await made.renew(roll.registry.get(ID), "what matters")
    await roll.mail.deliver_again(ID)
    assert roll.mail.pending(ID) == 0
    assert await outside.store.load(keys.MESSAGE_PREFIX) == {}


async def test_a_conversation_that_is_only_begun_again_still_misses_what_its_host_alone_has() -> None:
    made, roll, _ = await closing(Status.READY)
    said = await said_abroad(roll)
    await made.restart(roll.registry.get(ID))
    assert set(roll.mail.abroad.of(ID)) == said


async def test_while_the_fresh_conversation_cannot_be_stored_nothing_of_the_one_before_is_forgotten() -> None:
    made, roll, outside = await closing(Status.READY)
    said = await said_abroad(roll)
    outside.refuses = "no space left"
    with pytest.raises(StoreError):
        await made.renew(roll.registry.get(ID), "what matters")
    assert set(roll.mail.abroad.of(ID)) == said
    assert roll.registry.get(ID).record.session_id == "s"
