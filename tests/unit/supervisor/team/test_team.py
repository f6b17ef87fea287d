from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import FencedError, StoreError, UnknownInstanceError
from actors.instance.reports import InstanceSnapshot, Report
from actors.status import Status
from supervisor.records import decode_record
from supervisor.store import keys
from supervisor.store.guards import FencedStore
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.clock import turns
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, accept, add_member, receipt


def report(status: Status = Status.READY, *, sequence: int = 1, path: str = "", reason: str = "") -> Report:
    snapshot = InstanceSnapshot(status=status, since=5.0, reason=reason, transcript_path=path)
    return Report(incarnation="first", sequence=sequence, snapshot=snapshot, receipts=())


async def stored(store: MemoryStore) -> InstanceRecord:
    return decode_record((await store.load(keys.INSTANCE_PREFIX))[keys.instance(FIRST)])


class Failures:
    def __init__(self, team: Team) -> None:
        self.told: list[str] = []
        team.subscribe_failures(self._note)

    def _note(self, member: Member) -> None:
        self.told.append(member.record.reason)


ENDED = InstanceSnapshot(status=Status.FAILED, since=5.0, task="the task", unread=2, model="demo", activity="Bash: ls")


async def after_restart(store: MemoryStore) -> InstanceSnapshot:
    """Of the first instance, as the next supervisor begins with it."""
    team = Team(store)
    await team.load()
    return team.snapshot_of(FIRST)


async def test_what_an_ended_instance_showed_last_is_known_after_a_restart() -> None:
    store = MemoryStore()
    team = Team(store)
    await add_member(team)
    await team.take_in(FIRST, Report(incarnation="first", sequence=1, snapshot=ENDED, receipts=()))
    assert await after_restart(store) == ENDED


async def test_what_was_read_of_an_ended_instance_is_not_unread_again_after_a_restart() -> None:
    store = MemoryStore()
    team = Team(store)
    member = await add_member(team)
    await team.take_in(FIRST, Report(incarnation="first", sequence=1, snapshot=ENDED, receipts=()))
    await team.mark_read(member)
    assert (await after_restart(store)).unread == member.snapshot.unread == 0


async def test_that_it_was_read_is_known_until_the_next_start_where_it_cannot_be_stored() -> None:
    store = MemoryStore()
    team = Team(store)
    member = await add_member(team)
    await team.take_in(FIRST, Report(incarnation="first", sequence=1, snapshot=ENDED, receipts=()))
    store.fails()
    await team.mark_read(member)
    assert member.snapshot.unread == 0


async def test_an_agent_that_ended_unseen_shows_nothing_of_an_earlier_end() -> None:
    store = MemoryStore()
    team = Team(store)
    await add_member(team)
    await team.take_in(FIRST, Report(incarnation="first", sequence=1, snapshot=ENDED, receipts=()))
    await team.save(FIRST, stage=InstanceStage.RUNNING)  # it was started again, and then the power went
    later = Team(store)
    await later.load()
    await later.mark_ended(later.registry.get(FIRST), InstanceStage.FAILED, "the machine was restarted")
    assert (await after_restart(store)).task == ""


CHANGES = st.sampled_from(
    [
        {"host": "a"},
        {"pane_id": "%7", "pid": 7},
        {"wanted": False},
        {"stage": InstanceStage.STARTING},
        {"stage": InstanceStage.RUNNING},
        {"session_id": "other"},
    ]
)
REPORTS = st.builds(report, st.sampled_from([Status.BUSY, Status.FAILED]), path=st.sampled_from(["", "/a", "/b"]))


@given(st.lists(CHANGES | REPORTS | st.just("turn") | st.just("hold") | st.just("go on"), max_size=20))
@settings(max_examples=200, deadline=None)
def test_changes_and_reports_at_the_same_time_lose_nothing_of_each_other(steps: list[Any]) -> None:
    async def scene() -> None:
        store = MemoryStore()
        team = Team(store)
        member = await add_member(team)
        expected: dict[str, object] = {}
        under_way: list[asyncio.Task[Any]] = []
        for step in steps:
            match step:
                case "turn":
                    await turns(2)
                case "hold":
                    store.gate.clear()
                case "go on":
                    store.gate.set()
                case Report():
                    under_way.append(asyncio.create_task(team.take_in(FIRST, step)))
                case dict():
                    under_way.append(asyncio.create_task(team.save(FIRST, **step)))
                    expected.update({name: value for name, value in step.items() if name != "stage"})
        store.gate.set()
        await asyncio.gather(*under_way)
        assert await stored(store) == member.record
        assert {name: getattr(member.record, name) for name in expected} == expected

    asyncio.run(scene())


async def test_what_a_spawn_has_noted_while_another_change_is_stored_is_not_lost() -> None:
    store = MemoryStore()
    team = Team(store)
    member = await add_member(team, stage=InstanceStage.STARTING)
    store.gate.clear()
    ending = asyncio.create_task(team.save(FIRST, wanted=False))
    await turns()
    team.registry.change_in_memory(FIRST, pane_id="%7", pid=7)
    store.gate.set()
    await ending
    assert (member.record.wanted, member.record.pane_id) == (False, "%7")


@pytest.mark.parametrize("removal", [Team.remove, Team.dismiss])
async def test_a_change_of_an_instance_that_is_just_being_removed_does_not_bring_it_back(
    removal: Callable[[Team, str], Coroutine[Any, Any, None]],
) -> None:
    store = MemoryStore()
    team = Team(store)
    await add_member(team)
    store.gate.clear()
    removing = asyncio.create_task(removal(team, FIRST))
    await turns()
    changing = asyncio.create_task(team.save(FIRST, resumes=1))
    await turns()
    store.gate.set()
    await removing
    with pytest.raises(UnknownInstanceError):
        await changing
    assert await store.load(keys.INSTANCE_PREFIX) == {}


async def test_a_report_that_could_not_be_stored_has_changed_nothing_and_may_come_again() -> None:
    store = MemoryStore()
    team = Team(store)
    member = await add_member(team)
    failures = Failures(team)
    store.fails()
    with pytest.raises(StoreError):
        await team.take_in(FIRST, report(Status.FAILED, reason="exit status 9"))
    assert (member.record.stage, member.snapshot, failures.told) == (InstanceStage.RUNNING, READY, [])
    store.error = None
    await team.take_in(FIRST, report(Status.FAILED, reason="exit status 9"))
    assert (member.record.stage, member.snapshot.status) == (InstanceStage.FAILED, Status.FAILED)
    assert failures.told == ["exit status 9"]
    assert (await stored(store)).reason == "exit status 9"


async def test_a_failure_is_told_once_however_often_it_is_reported() -> None:
    team = Team(MemoryStore())
    await add_member(team)
    failures = Failures(team)
    for sequence in range(3):
        await team.take_in(FIRST, report(Status.FAILED, sequence=sequence, reason="gone"))
    await team.take_in(FIRST, report(Status.READY))
    await team.take_in(FIRST, report(Status.FAILED, reason="again"))
    assert failures.told == ["gone", "again"]


async def test_receipts_stand_in_the_store_together_with_what_else_the_report_changed() -> None:
    store = MemoryStore()
    team = Team(store)
    await add_member(team)
    (message,) = await accept(team, "hello")
    before = store.saves
    await team.take_in(FIRST, replace(report(path="/transcript"), receipts=(receipt(message),)))
    assert store.saves == before + 1
    assert (await stored(store)).transcript_path == "/transcript"
    assert await store.load(keys.MESSAGE_PREFIX) == {}


@pytest.mark.parametrize("status", [Status.READY, Status.STOPPED, Status.FAILED])
@pytest.mark.parametrize(("stage", "wanted"), [(InstanceStage.STARTING, True), (InstanceStage.ENDING, False)])
async def test_a_report_decides_nothing_while_an_instance_is_started_or_terminated(
    status: Status, stage: InstanceStage, wanted: bool
) -> None:
    team = Team(MemoryStore())
    member = await add_member(team, stage=stage, wanted=wanted)
    failures = Failures(team)
    await team.take_in(FIRST, report(status, path="/transcript"))
    assert (member.record.stage, member.record.transcript_path) == (stage, "/transcript")
    assert member.snapshot.status is status
    assert failures.told == []


async def test_receipts_of_an_instance_that_is_forgotten_are_taken_in_all_the_same() -> None:
    store = MemoryStore()
    team = Team(store)
    await add_member(team)
    (message,) = await accept(team, "hello")
    await team.remove(FIRST)
    await team.take_in(FIRST, replace(report(), receipts=(receipt(message),)))
    assert team.outbox.pending(FIRST) == 0
    assert await store.load(keys.INSTANCE_PREFIX) == {}


async def test_a_later_supervisor_knows_all_instances_oldest_first_and_gives_no_number_twice() -> None:
    store = MemoryStore()
    team = Team(store)
    for number, stage in (
        (2, InstanceStage.RUNNING),
        (10, InstanceStage.STOPPED),
        (9, InstanceStage.FAILED),
        (11, InstanceStage.RUNNING),
    ):
        await add_member(
            team, number, stage=stage, ended_at=0.0 if stage is InstanceStage.RUNNING else 5.0, reason="why"
        )
    await team.remove("spec_0_0_11")
    later = Team(store)
    await later.load()
    known = [(member.record.number, member.snapshot.status) for member in later.registry]
    assert known == [(2, Status.STARTING), (9, Status.FAILED), (10, Status.STOPPED)]
    assert later.registry.get("spec_0_0_9").snapshot.reason == "why"
    assert later.registry.last_number == 11


async def test_names_that_were_left_in_the_home_or_counted_by_an_earlier_supervisor_are_not_given_again() -> None:
    store = MemoryStore()
    team = Team(store, ["spec_0_0_4", "spare_6", "mine"])
    assert (team.registry.last_number, team.registry.next_spare()) == (4, "spare_7")
    await team.confirm()
    later = Team(store)
    await later.load()
    assert (later.registry.last_number, later.registry.next_spare()) == (4, "spare_8")


async def test_a_supervisor_that_was_replaced_reads_and_writes_nothing_any_more() -> None:
    store = MemoryStore()
    fence = FencedStore(store)
    team = Team(fence)
    member = await add_member(team)
    store.is_fenced()
    with pytest.raises(FencedError):
        await team.confirm()
    store.error = None
    before = await store.load("")
    for deed in (
        team.save(FIRST, host="b"),
        team.remove(FIRST),
        team.mark_ended(member, InstanceStage.STOPPED, ""),
        team.load(),
    ):
        with pytest.raises(FencedError):
            await deed
    with pytest.raises(FencedError):
        fence.check()
    assert await store.load("") == before
    assert member.record.stage is InstanceStage.RUNNING
