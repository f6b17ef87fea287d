"""Instances leave drained and lost hosts, and the work of other hosts comes home."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from actors.errors import FencedError, UnavailableError
from actors.instance.reports import InstanceSnapshot
from actors.messages import Message, MessageStatus
from actors.status import Status
from supervisor.cluster.scheduler import FENCE_S
from supervisor.store import keys
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.hosts import workspace
from tests.fakes.instances import READY
from tests.fakes.migration import DrainScene, FailoverScene, WorkSyncScene
from tests.fakes.team import FIRST, SECOND, accept, receipt

BUSY = InstanceSnapshot(status=Status.BUSY, since=1.0)
OLD_ACTOR = f"{FIRST}@10.0.0.9"
START_ON_OLD, START_ON_NEW = f"start {FIRST} on old", f"start {FIRST} on new"
MOVED = [f"sync transcript of {FIRST}", f"sync all of {FIRST}", f"prepare {FIRST} on new", "clear old"]
HANDED_OVER = [f"destroy {OLD_ACTOR}", "end", *MOVED, START_ON_NEW]


async def arrived(team: Team, *texts: str) -> list[Message]:
    """Messages that have arrived at the first instance."""
    messages = await accept(team, *texts)
    await team.outbox.take_receipts([receipt(message) for message in messages])
    return messages


@pytest.fixture
async def drain() -> AsyncIterator[DrainScene]:
    made = DrainScene()
    made.drainer.begin()
    yield made
    await made.drainer.end()
    await made.team.links.leave_all()


async def add_ended(drain: DrainScene, status: Status, **changes: Any) -> Member:
    member = await drain.add_member(stage=InstanceStage(str(status)), actor=OLD_ACTOR, **changes)
    member.snapshot = replace(READY, status=status)
    return member


async def test_an_idle_instance_is_ended_carried_prepared_elsewhere_and_started_there_once(drain: DrainScene) -> None:
    member = await drain.add_followed(labels={"disk": "fast"})
    await asyncio.sleep(100)
    assert drain.log.calls == HANDED_OVER
    assert drain.wanted == [{"disk": "fast"}]
    record = member.record
    assert (record.host, record.actor, record.moving_from) == ("new", f"{FIRST}@10.0.0.2", "")
    assert drain.drainer.remaining("old") == {}


async def test_an_instance_at_work_is_left_alone_until_its_turn_is_done(drain: DrainScene) -> None:
    member = await drain.add_followed()
    member.snapshot = drain.snapshot = BUSY
    await asyncio.sleep(60)
    assert drain.log.calls == []
    assert drain.drainer.remaining("old")[FIRST].startswith("is at work")
    member.snapshot = drain.snapshot = READY
    await asyncio.sleep(5)
    assert drain.log.calls == HANDED_OVER


@pytest.mark.parametrize("why", ["it is at work", "a message came", "a message is under way"])
async def test_an_instance_that_is_not_idle_when_it_is_asked_itself_is_followed_again(
    drain: DrainScene, why: str
) -> None:
    async def send() -> None:
        await accept(drain.team, "meanwhile")

    drain.drained.clear()
    member = await drain.add_followed()
    if why == "it is at work":
        drain.snapshot = BUSY
    elif why == "a message came":
        drain.before_report = send
    else:
        (message,) = await arrived(drain.team, "again")
        drain.receipts = (receipt(message, MessageStatus.ACCEPTED, "again"),)
    drain.drained.add("old")
    await asyncio.sleep(2)
    assert set(drain.log.calls) == {"adopt"}
    assert drain.team.links.has(FIRST)
    assert member.record.moving_from == ""


@pytest.mark.parametrize("failing", [f"sync all of {FIRST}", f"prepare {FIRST} on new"])
async def test_an_instance_that_cannot_be_taken_along_goes_on_where_it_was_and_is_tried_again(
    drain: DrainScene, failing: str
) -> None:
    member = await drain.add_followed()
    drain.log.errors[failing] = UnavailableError("the disk hangs")
    await asyncio.sleep(5)
    assert drain.log.calls[-1] == START_ON_OLD
    assert (drain.places[FIRST], member.record.host, member.record.moving_from) == ("old", "old", "")
    assert "the disk hangs" in drain.drainer.remaining("old")[FIRST]
    drain.log.errors.clear()
    await asyncio.sleep(30)
    assert drain.log.calls[-1] == START_ON_NEW


async def test_an_instance_that_does_not_start_elsewhere_is_started_there_later_and_nowhere_else(
    drain: DrainScene,
) -> None:
    member = await drain.add_followed()
    drain.log.errors["start"] = UnavailableError("no prompt")
    await asyncio.sleep(10)
    record = member.record
    assert (record.host, record.stage, record.moving_from) == ("new", InstanceStage.FAILED, "old")
    assert FIRST in drain.drainer.remaining("old")
    drain.log.errors.clear()
    await asyncio.sleep(30)
    assert drain.log.calls == HANDED_OVER
    assert member.record.moving_from == ""


@pytest.mark.parametrize(
    ("drained", "host", "calls", "ends_on"),
    [
        (True, "old", [*MOVED, START_ON_NEW], "new"),
        (True, "new", [START_ON_NEW], "new"),
        (False, "old", [START_ON_OLD], "old"),
    ],
)
async def test_a_hand_over_that_a_crash_has_cut_off_goes_on_and_one_that_was_taken_back_is_undone(
    drain: DrainScene, drained: bool, host: str, calls: Sequence[str], ends_on: str
) -> None:
    if not drained:
        drain.drained.clear()
    member = await add_ended(drain, Status.FAILED, host=host, moving_from="old")
    await asyncio.sleep(100)
    assert drain.log.calls == calls
    assert (member.record.host, member.record.moving_from) == (ends_on, "")


async def test_an_ended_instance_that_may_go_on_some_day_is_taken_along_and_not_started(drain: DrainScene) -> None:
    member = await add_ended(drain, Status.STOPPED)
    await asyncio.sleep(10)
    assert drain.log.calls == MOVED
    assert member.record.host == "new"


async def test_instances_in_a_directory_of_the_host_itself_and_terminated_ones_stay(drain: DrainScene) -> None:
    member = await drain.add_followed(workspace=workspace(FIRST, home=None))
    await asyncio.sleep(10)
    assert "until it is terminated" in drain.drainer.remaining("old")[FIRST]
    await drain.team.save(FIRST, wanted=False, workspace=workspace(FIRST))
    await asyncio.sleep(10)
    assert drain.log.calls == []
    member.snapshot = replace(READY, status=Status.STOPPED)
    assert drain.drainer.remaining("old") == {}


async def test_an_instance_that_no_host_takes_goes_on_undisturbed_and_the_reason_is_told(drain: DrainScene) -> None:
    await drain.add_followed()
    drain.refusal = lambda _: "no other host takes it"
    await asyncio.sleep(20)
    assert drain.log.calls == []
    assert "no other host takes it" in drain.drainer.remaining("old")[FIRST]


async def test_while_the_hosts_with_its_labels_are_full_an_instance_goes_on_and_says_what_it_waits_for(
    drain: DrainScene,
) -> None:
    await drain.add_followed(labels={"disk": "fast"})
    drain.full = lambda _: True
    await asyncio.sleep(60)
    assert drain.log.calls == []
    assert drain.drainer.remaining("old")[FIRST] == "waits until there is room on another host that is disk=fast"
    drain.full = lambda _: False
    await asyncio.sleep(5)
    assert drain.log.calls == HANDED_OVER


async def test_an_instance_that_is_not_to_leave_any_more_waits_for_room_no_longer(drain: DrainScene) -> None:
    member = await drain.add_followed()
    drain.full = lambda _: True
    await asyncio.sleep(10)
    member.snapshot = drain.snapshot = BUSY
    await asyncio.sleep(10)
    assert "until there is room" in drain.drainer.remaining("old")[FIRST]
    drain.drained.clear()
    await asyncio.sleep(5)
    assert drain.drainer.remaining("old")[FIRST].startswith("is at work")
    drain.full = lambda _: False
    await asyncio.sleep(60)
    assert drain.log.calls == []


@pytest.mark.parametrize("actor", [OLD_ACTOR, ""])
async def test_an_instance_that_delivers_again_what_its_agent_had_lost_is_left_alone_until_that_has_arrived(
    drain: DrainScene, actor: str
) -> None:
    drain.drained.clear()
    await drain.add_followed(actor=actor)
    (message,) = await arrived(drain.team, "again")
    await drain.team.outbox.take_receipts([receipt(message, MessageStatus.BLOCKED, "a draft")])
    drain.drained.add("old")
    await asyncio.sleep(30)
    assert drain.log.calls == []
    await drain.team.outbox.take_receipts([receipt(message)])
    await asyncio.sleep(5)
    assert drain.log.calls[-1] == START_ON_NEW


async def test_what_an_ended_instance_had_alone_is_told_of_when_it_goes_elsewhere(drain: DrainScene) -> None:
    drain.drained.clear()
    member = await drain.add_followed(actor="")
    (message,) = await arrived(drain.team, "again")
    await drain.team.outbox.take_receipts([receipt(message, MessageStatus.ACCEPTED, "again")])
    await drain.team.links.leave(FIRST)
    await drain.team.mark_ended(member, InstanceStage.STOPPED, "")
    drain.drained.add("old")
    await asyncio.sleep(10)
    found = drain.team.outbox.receipt(message.id)
    assert found is not None
    assert (member.record.host, found.status) == ("new", MessageStatus.UNCONFIRMED)
    assert drain.team.outbox.pending(FIRST) == 0


@pytest.fixture
async def failover() -> AsyncIterator[FailoverScene]:
    made = FailoverScene()
    made.failover.begin()
    yield made
    await made.failover.end()
    await made.team.links.leave_all()


async def lose_worker(failover: FailoverScene, for_s: float) -> None:
    await asyncio.sleep(5)
    failover.hosts.remove("worker")
    await asyncio.sleep(for_s)


async def test_nothing_starts_elsewhere_before_the_lease_on_the_lost_host_has_run_out(failover: FailoverScene) -> None:
    member = await failover.add_member()
    await lose_worker(failover, FENCE_S - 3)
    assert failover.log.calls == []
    assert "its host worker is lost" in member.silence.lower()
    assert failover.away == {"worker"}
    await asyncio.sleep(200)
    assert failover.log.calls == [f"destroy {OLD_ACTOR}", f"prepare {FIRST} on head", f"start {FIRST} on head"]
    assert (member.record.host, member.record.actor, member.record.stage) == ("head", "", InstanceStage.RUNNING)


async def test_the_wait_for_the_lease_begins_when_an_instance_was_heard_of_last_and_not_when_ray_notices(
    failover: FailoverScene,
) -> None:
    await failover.add_member()
    failover.follow(FIRST)
    await lose_worker(failover, FENCE_S - 8)
    assert failover.log.calls == []
    await asyncio.sleep(6)
    assert failover.log.calls[-1] == f"start {FIRST} on head"


async def test_an_instance_that_is_heard_of_while_it_waits_for_room_elsewhere_stays(failover: FailoverScene) -> None:
    await failover.add_member()
    failover.full = lambda _: True
    await lose_worker(failover, FENCE_S + 10)
    failover.follow(FIRST)
    failover.full = lambda _: False
    await asyncio.sleep(10)
    assert failover.log.calls == []
    await asyncio.sleep(FENCE_S)
    assert failover.log.calls[-1] == f"start {FIRST} on head"


async def test_a_host_that_is_back_in_time_keeps_its_instances_and_its_next_loss_counts_anew(
    failover: FailoverScene,
) -> None:
    await failover.add_member()
    for _ in range(3):
        await lose_worker(failover, FENCE_S - 5)
        failover.hosts.append("worker")
    await asyncio.sleep(5)
    assert failover.log.calls == []


async def test_an_instance_that_cannot_be_moved_is_tried_again_and_holds_up_no_other(failover: FailoverScene) -> None:
    first, second = await failover.add_member(1), await failover.add_member(2)
    failover.log.errors[f"prepare {FIRST} on head"] = UnavailableError("not now")
    await lose_worker(failover, FENCE_S + 10)
    assert (first.record.host, second.record.host) == ("worker", "head")
    assert (failover.places[FIRST], first.record.stage) == ("worker", InstanceStage.FAILED)
    failover.log.errors.clear()
    await asyncio.sleep(60)
    assert first.record.host == "head"
    assert first.snapshot.status is Status.READY


async def test_instances_that_are_terminated_have_failed_by_themselves_or_are_just_being_ended_are_not_started_again(
    failover: FailoverScene,
) -> None:
    await failover.add_member(1, wanted=False)
    failed = await failover.add_member(2, stage=InstanceStage.FAILED, reason="it crashed")
    failed.snapshot = replace(READY, status=Status.FAILED)
    ending = await failover.add_member(3)
    async with ending.turn:
        await lose_worker(failover, FENCE_S + 30)
        assert failover.log.calls == []


async def test_an_instance_that_was_being_handed_over_when_its_host_died_goes_on_by_what_came_home(
    failover: FailoverScene,
) -> None:
    member = await failover.add_member(stage=InstanceStage.FAILED, moving_from="worker")
    member.snapshot = replace(READY, status=Status.FAILED)
    await lose_worker(failover, FENCE_S + 10)
    record = member.record
    assert (record.host, record.moving_from, record.stage) == ("head", "", InstanceStage.RUNNING)


async def test_while_ray_does_not_answer_no_host_is_taken_for_lost(failover: FailoverScene) -> None:
    await failover.add_member()
    failover.ray_is_away = True
    await asyncio.sleep(FENCE_S * 3)
    failover.ray_is_away = False
    await asyncio.sleep(10)
    assert failover.log.calls == []


async def test_a_supervisor_that_was_replaced_moves_nothing(failover: FailoverScene) -> None:
    await failover.add_member()
    failover.store.error = FencedError("another supervisor has the state")
    await lose_worker(failover, FENCE_S * 2)
    assert failover.log.calls == []


async def test_the_place_of_an_instance_that_is_forgotten_is_forgotten_too(failover: FailoverScene) -> None:
    await failover.add_member()
    failover.places["spec_0_0_9"] = "worker"
    await asyncio.sleep(5)
    assert failover.places == {FIRST: "worker"}


async def test_a_message_that_arrived_after_the_conversation_came_home_last_is_delivered_again(
    failover: FailoverScene,
) -> None:
    await failover.add_member()
    home, lost = [message.id for message in await arrived(failover.team, "one", "two")]
    failover.in_copies = {home}
    await lose_worker(failover, FENCE_S - 5)
    outbox = failover.team.outbox
    assert outbox.pending(FIRST) == 0
    await asyncio.sleep(10)
    statuses = [found and found.status for found in map(outbox.receipt, (home, lost))]
    assert statuses == [MessageStatus.SUBMITTED, MessageStatus.ACCEPTED]
    assert outbox.pending(FIRST) == 1


async def test_a_supervisor_that_dies_before_the_start_leaves_word_that_the_instance_is_on_its_way(
    failover: FailoverScene,
) -> None:
    member = await failover.add_member()
    failover.log.errors["start"] = UnavailableError("not now")
    await lose_worker(failover, FENCE_S + 10)
    assert (member.record.host, member.record.moving_from, member.record.resumable) == ("head", "worker", True)


@pytest.mark.parametrize("full", [False, True])
async def test_an_instance_without_a_host_for_it_says_so_and_holds_up_no_other(
    failover: FailoverScene, full: bool
) -> None:
    member, other = await failover.add_member(1, labels={"disk": "fast"}), await failover.add_member(2)
    if full:
        failover.full = lambda wanted: bool(wanted.labels)
    else:
        failover.refusal = lambda wanted: "none is disk=fast" if wanted.labels else ""
    await lose_worker(failover, FENCE_S + 10)
    assert (member.record.host, other.record.host) == ("worker", "head")
    waits = "it waits until there is room on another host that is disk=fast"
    assert (waits if full else "cannot go on elsewhere yet: none is disk=fast") in member.silence
    failover.full, failover.refusal = lambda _: False, lambda _: ""
    await asyncio.sleep(60)
    assert (member.record.host, member.record.stage) == ("head", InstanceStage.RUNNING)


async def test_an_instance_whose_move_waits_for_those_of_others_says_so(failover: FailoverScene) -> None:
    members = [await failover.add_member(number) for number in range(1, 7)]
    failover.call_s = 60
    await lose_worker(failover, FENCE_S + 10)
    waiting = [member for member in members if not member.turn.locked()]
    assert ["waits until others have moved" in member.silence for member in waiting] == [True, True]
    await asyncio.sleep(600)
    assert {member.record.host for member in members} == {"head"}


async def test_an_instance_that_is_terminated_or_has_its_host_back_waits_for_room_no_longer(
    failover: FailoverScene,
) -> None:
    first = await failover.add_member(1, labels={"disk": "fast"})
    ended = await failover.add_member(2, labels={"disk": "fast"})
    failover.full = lambda _: True
    await lose_worker(failover, FENCE_S + 10)
    await failover.team.save(SECOND, wanted=False)
    await asyncio.sleep(5)
    assert failover.cancelled_waits == 1
    failover.hosts.append("worker")
    failover.full = lambda _: False
    await asyncio.sleep(60)
    assert failover.cancelled_waits == 2
    assert (first.record.host, ended.record.host) == ("worker", "worker")
    first.silence = ""
    await lose_worker(failover, 10)
    assert "if it is not back soon" in first.silence, "an earlier wait is not told any more"


async def add_busy(scene: WorkSyncScene, number: int = 1, **changes: Any) -> Member:
    member = await scene.add_member(number, **changes)
    member.snapshot = BUSY
    return member


@pytest.fixture
def every_s() -> float:
    return 60.0


@pytest.fixture
async def work_sync(every_s: float) -> AsyncIterator[WorkSyncScene]:
    made = WorkSyncScene(every_s)
    made.work_sync.begin()
    yield made
    await made.work_sync.end()


async def test_what_was_committed_comes_home_when_a_turn_ends_once_for_each_turn(work_sync: WorkSyncScene) -> None:
    member = await add_busy(work_sync)
    await asyncio.sleep(5)
    assert work_sync.log.calls == []
    for turn in range(3):
        member.snapshot = replace(READY, since=2.0 + turn)
        await asyncio.sleep(5)
    assert work_sync.log.calls == [f"sync transcript of {FIRST}", f"sync commits of {FIRST}"] * 3


@pytest.mark.parametrize(("every_s", "carried"), [(60.0, [f"sync all of {FIRST}"] * 3), (0.0, [])])
async def test_what_is_not_committed_comes_home_at_intervals_if_there_are_any(
    work_sync: WorkSyncScene, carried: Sequence[str]
) -> None:
    await add_busy(work_sync)
    await asyncio.sleep(190)
    assert work_sync.log.calls[1::2] == carried


async def test_what_could_not_be_carried_is_tried_again_soon(work_sync: WorkSyncScene) -> None:
    await work_sync.add_member()
    work_sync.log.errors[f"sync commits of {FIRST}"] = UnavailableError("the host is away")
    await asyncio.sleep(10)
    work_sync.log.errors.clear()
    await asyncio.sleep(3)
    assert work_sync.log.calls.count(f"sync commits of {FIRST}") == 1


async def test_each_instance_is_carried_once_at_a_time_and_holds_up_no_other(work_sync: WorkSyncScene) -> None:
    work_sync.call_s = 150
    names = [(await work_sync.add_member(number)).record.instance_id for number in (1, 2, 3)]
    await asyncio.sleep(310)
    assert sorted(work_sync.log.calls[3:]) == [f"sync commits of {name}" for name in names]


async def test_instances_of_this_machine_ended_ones_and_those_that_are_just_restarted_are_not_carried(
    work_sync: WorkSyncScene,
) -> None:
    await work_sync.add_member(1, workspace=workspace(FIRST, home=None))
    (await work_sync.add_member(2)).snapshot = replace(READY, status=Status.STOPPED)
    restarting = await work_sync.add_member(3)
    async with restarting.turn:
        await asyncio.sleep(120)
        assert work_sync.log.calls == []


async def test_a_message_is_kept_until_the_conversation_that_came_home_shows_it(work_sync: WorkSyncScene) -> None:
    member = await add_busy(work_sync)
    messages = await arrived(work_sync.team, "one", "two")
    for turn, shown in enumerate(messages):
        work_sync.in_copies.add(shown.id)
        member.snapshot = replace(READY, since=2.0 + turn)
        await asyncio.sleep(5)
        left = [keys.message(message.id) for message in messages[turn + 1 :]]
        assert list(await work_sync.store.load(keys.MESSAGE_PREFIX)) == left
