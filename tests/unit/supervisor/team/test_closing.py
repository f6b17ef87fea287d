from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import Restarted
from actors.errors import AgentError
from actors.states import Status
from actors.terminal.pane import PaneInfo
from supervisor.permits import Permits
from supervisor.pool.stock import ActorStock
from supervisor.spawning.room import Room
from supervisor.spawning.staff import Staff
from supervisor.store.memory import MemoryStore
from supervisor.team.closing import Closing
from supervisor.team.registry import InstanceRecord, Stage
from supervisor.team.roll import Roll
from tests.unit.supervisor.stand_ins import READY, StandInInstance, load, recruit

ID = "spec_0_0_1"


class Outside:
    """Host, factory and adoption in one. ``reported``: what is first heard of an agent that was started again."""

    def __init__(self, roll: Roll, reported: Status) -> None:
        self._roll = roll
        self._reported = reported
        self.ended = 0

    async def load(self) -> Any:
        return load(available_mb=4000)

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        self.ended += 1

    async def restart_agent(self, instance_id: str, session_name: str, transcript_path: str) -> Restarted:
        pane = PaneInfo(session_name=session_name, pane_id="%2", pid=2, dead=False, exit_status=None, created_s=1)
        return Restarted(pane=pane, resumed=True)

    async def actor(self, record: InstanceRecord) -> StandInInstance:
        return StandInInstance()

    async def adopt(self, record: InstanceRecord, port: StandInInstance) -> None:
        self._roll.registry.get(record.instance_id).snapshot = replace(READY, status=self._reported)
        self._roll.news.announce()


async def closing(reported: Status) -> tuple[Closing, Roll, Outside]:
    """With one instance that has failed."""
    roll = Roll(MemoryStore())
    outside: Any = Outside(roll, reported)
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
