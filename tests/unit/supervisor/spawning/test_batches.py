from __future__ import annotations

from pathlib import Path

from actors.errors import AgentError
from actors.states import Status
from supervisor.permits import Permits
from supervisor.results import RestartResult
from supervisor.spawning.batches import resume_all
from supervisor.team.registry import Member
from supervisor.team.roll import Roll
from tests.unit.supervisor.stand_ins import TroubledStore, recruit


async def test_those_that_are_started_again_are_counted_as_they_are_done() -> None:
    roll = Roll(TroubledStore())
    members = [await recruit(roll, work_dir=Path("/usr")) for _ in range(3)]
    told: list[tuple[int, int, str]] = []

    async def resume(member: Member) -> RestartResult:
        if member is members[1]:
            raise AgentError("it ended at once")
        return RestartResult(instance_id=member.record.instance_id, status=Status.READY, resumed=True)

    outcomes = await resume_all(members, Permits(1), resume, lambda *word: told.append(word))

    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    ids = [member.record.instance_id for member in members]
    assert told == [(0, 3, "starting them"), (1, 3, ids[0]), (2, 3, f"{ids[1]} failed"), (3, 3, ids[2])]
