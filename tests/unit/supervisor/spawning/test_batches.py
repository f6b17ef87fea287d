from __future__ import annotations

from pathlib import Path

from actors.errors import AgentError
from actors.status import Status
from supervisor.api import requests, results
from supervisor.api.requests import Malformed, Role
from supervisor.api.results import RestartResult
from supervisor.api.verbs import Caller, ignore_progress
from supervisor.spawning.admission import FairSemaphore
from supervisor.spawning.spawner import resume_all, spawn_all
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

CALLER = Caller(sender="lead")


async def test_members_of_a_spawn_batch_fail_alone_whatever_goes_wrong() -> None:
    async def spawn(member: requests.SpawnRequest, caller: Caller) -> results.SpawnResult:
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
            notes=[],
            from_pool=False,
        )

    def member(context: str) -> requests.SpawnRequest:
        return requests.SpawnRequest(role=Role.SPECIALIST, work_dir="/usr", context=context)

    batch = requests.SpawnBatchRequest(
        instances=[member("one"), member("refused"), Malformed({}, "no role"), member("broken"), member("two")]
    )
    outcomes = await spawn_all(batch, CALLER, spawn)
    assert [one.instance_id or (one.error and one.error.code) for one in outcomes] == [
        "one",
        "agent",
        "invalid_request",
        "internal",
        "two",
    ]


async def test_members_that_are_resumed_fail_alone_whatever_goes_wrong() -> None:
    team = Team(MemoryStore())
    members = [await add_member(team, number, stage=InstanceStage.FAILED) for number in range(1, 5)]

    async def resume(member: Member) -> results.RestartResult | None:
        match member.record.number:
            case 1:
                raise AgentError("it did not start")
            case 2:
                raise RuntimeError("a fault of ours")
            case 3:
                return None
        return results.RestartResult(instance_id=member.record.instance_id, status=Status.READY, resumed=True)

    outcomes = await resume_all(members, FairSemaphore(2), resume, ignore_progress)
    assert [one.error.code if one.error else one.resumed for one in outcomes] == ["agent", "internal", False, True]


async def test_those_that_are_started_again_are_counted_as_they_are_done() -> None:
    team = Team(MemoryStore())
    members = [await add_member(team, work_dir=Path("/usr")) for _ in range(3)]
    told: list[tuple[int, int, str]] = []

    async def resume(member: Member) -> RestartResult:
        if member is members[1]:
            raise AgentError("it ended at once")
        return RestartResult(instance_id=member.record.instance_id, status=Status.READY, resumed=True)

    outcomes = await resume_all(members, FairSemaphore(1), resume, lambda *word: told.append(word))

    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    ids = [member.record.instance_id for member in members]
    assert told == [(0, 3, "starting them"), (1, 3, ids[0]), (2, 3, f"{ids[1]} failed"), (3, 3, ids[2])]
