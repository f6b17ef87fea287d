"""What ``list`` shows, and when a ``wait`` is over, whether it was reached, and what it says when it was not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from actors.errors import InvalidRequestError
from actors.host.host import Host
from actors.instance.reports import InstanceSnapshot
from actors.instance.state import PendingPermission
from actors.messages import Message, MessageStatus
from actors.status import Status
from supervisor.api import requests, results
from supervisor.api.verbs import Caller
from supervisor.team import views
from supervisor.team.queries import LASTS_S, Queries
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, SECOND, accept, add_member, receipt

THIRD = "spec_0_0_3"
ALL = requests.ListRequest()
BUSY = replace(READY, status=Status.BUSY)
STARTING = replace(READY, status=Status.STARTING)
ASKING = replace(
    READY,
    status=Status.WAITING_PERMISSION,
    permission=PendingPermission(request_id="p", tool="Bash", tool_input={"command": "ls"}),
)
DIALOG = replace(READY, status=Status.WAITING_INPUT, reason="a dialog is up at its terminal")
LONG_S, AT_ONCE_S = 3600.0, 2 * LASTS_S


class Scene:
    """A team of as many instances as there are snapshots."""

    def __init__(self, team: Team, members: list[Member]) -> None:
        self.team = team
        self.members = members
        self.to_be_told: set[str] = set()
        self.queries = Queries(team, cast("Host", None), lambda: self.to_be_told)

    @classmethod
    async def of(cls, *snapshots: InstanceSnapshot) -> Scene:
        team = Team(MemoryStore())
        members = [await add_member(team, number) for number in range(1, len(snapshots) + 1)]
        for member, snapshot in zip(members, snapshots, strict=True):
            member.snapshot = snapshot
        return cls(team, members)

    def list(self, request: requests.ListRequest = ALL) -> list[results.InstanceInfo]:
        return self.queries.list(request, self.team.registry).instances

    async def send(self, status: MessageStatus | None = None, reason: str = "") -> Message:
        (message,) = await accept(self.team, "x")
        if status is not None:
            await self.team.outbox.take_receipts([receipt(message, status, reason)])
        return message

    async def wait(self, until: str = "idle", timeout_s: float = 0.01) -> results.WaitResult:
        request = requests.WaitRequest.model_validate({"until": until, "timeoutSeconds": timeout_s})
        return await self.queries.wait(request, Caller(sender="lead"))


def shown(waited: results.WaitResult) -> list[str]:
    return [each.instance_id for each in waited.instances]


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("snapshot", {"status": Status.BUSY}),
        ("snapshot", {"unread": 3}),
        ("snapshot", {"reason": "a dialog is up"}),
        ("record", {"stage": InstanceStage.STOPPED}),
        ("record", {"host": "there"}),
        ("silence", None),
    ],
)
async def test_every_change_of_an_instance_is_seen_by_the_next_list(part: str, changes: dict[str, Any] | None) -> None:
    scene = await Scene.of(READY, READY, READY)
    before = scene.list()
    changed = "it does not answer" if changes is None else replace(getattr(scene.members[1], part), **changes)
    setattr(scene.members[1], part, changed)
    after = {info.instance_id: info for info in scene.list()}
    assert after[FIRST] == before[0]
    needs = scene.team.needs_attention(scene.members[1])
    assert after[SECOND] == views.instance_info(scene.members[1], followed=False, needs_attention=needs) != before[1]


async def test_what_becomes_of_messages_is_seen_by_the_next_list() -> None:
    scene = await Scene.of(READY)
    assert scene.list()[0].queued_messages == 0
    message = await scene.send()
    assert scene.list()[0].queued_messages == 1
    await scene.team.outbox.take_receipts([receipt(message, MessageStatus.BLOCKED, "a dialog is up")])
    (needing,) = scene.list(requests.ListRequest(needs_attention=True))
    assert needing.reason == "a dialog is up"
    await scene.team.outbox.take_receipts([receipt(message)])
    assert scene.queries.list(ALL, scene.team.registry).needs_attention == []
    assert scene.list()[0].queued_messages == 0


async def test_an_instance_that_is_followed_again_is_no_longer_said_to_be_coming_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = await Scene.of(READY)
    assert "come back" in (scene.list()[0].reason or "")
    monkeypatch.setattr(scene.team.links, "has", lambda _: True)
    assert scene.list()[0].reason is None


async def test_only_those_that_need_attention_are_shown_on_request_and_all_are_counted() -> None:
    scene = await Scene.of(READY, READY, ASKING)
    listed = scene.queries.list(requests.ListRequest(needs_attention=True), scene.team.registry)
    assert [info.instance_id for info in listed.instances] == listed.needs_attention == [THIRD]
    assert listed.counts == {"ready": 2, "waiting_permission": 1}
    assert [info.instance_id for info in scene.list()] == [THIRD, FIRST, SECOND]


async def test_an_idle_instance_is_not_described_anew_for_every_list(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = await Scene.of(READY, READY, READY)
    scene.list()
    described: list[str] = []
    instance_info = views.instance_info

    def describe(member: Member, **more: Any) -> results.InstanceInfo:
        described.append(member.record.instance_id)
        return instance_info(member, **more)

    monkeypatch.setattr(views, "instance_info", describe)
    scene.members[0].snapshot = replace(READY, unread=1)
    scene.list()
    scene.list()
    assert described == [FIRST]


@pytest.mark.parametrize("ended", [READY, *(replace(READY, status=each) for each in (Status.FAILED, Status.STOPPED))])
async def test_an_instance_that_is_idle_or_has_ended_with_nothing_on_its_way_is_reached_without_a_reason(
    ended: InstanceSnapshot,
) -> None:
    waited = await (await Scene.of(READY, ended)).wait()
    assert (waited.reached, waited.reason, waited.others) == (True, None, {})
    assert set(shown(waited)) == {FIRST, SECOND}


async def test_a_message_on_its_way_is_not_done_and_the_wait_ends_when_it_has_arrived() -> None:
    scene = await Scene.of(READY)
    message = await scene.send()
    waited = await scene.wait()
    assert (waited.reached, waited.reason) == (False, "The time ran out: 1 is still at work.")
    assert (shown(waited), waited.others) == ([], {"ready": 1})
    await scene.team.outbox.take_receipts([receipt(message)])
    assert (await scene.wait()).reached


@pytest.mark.parametrize(
    ("snapshot", "status", "words"),
    [
        (READY, MessageStatus.BLOCKED, "has a message held back: someone is typing"),
        (ASKING, None, "waits for a decision on Bash"),
        (ASKING, MessageStatus.BLOCKED, "waits for a decision on Bash"),
        (replace(BUSY, reason="a dialog is up"), None, "a dialog is up"),
        (
            replace(READY, status=Status.FAILED),
            MessageStatus.ACCEPTED,
            "is failed, with a message not delivered: restart it",
        ),
    ],
    ids=["held message", "decision", "decision with a held message", "dialog in a turn", "message for a failed one"],
)
async def test_what_only_somebody_can_see_to_ends_the_wait_at_once_unreached_and_in_words(
    snapshot: InstanceSnapshot, status: MessageStatus | None, words: str
) -> None:
    begun = asyncio.get_running_loop().time()
    scene = await Scene.of(READY, READY)
    if status is not None:
        await scene.send(status, "someone is typing")
    scene.members[0].snapshot = snapshot
    waited = await scene.wait(timeout_s=LONG_S)
    assert (waited.reached, waited.reason) == (False, f"spec_0_0_1 {words}.")
    assert shown(waited) == [FIRST, SECOND]
    assert waited.instances[0].needs_attention
    assert asyncio.get_running_loop().time() - begun < AT_ONCE_S


async def test_while_others_work_one_that_is_held_does_not_end_a_wait_for_all() -> None:
    waited = await (await Scene.of(BUSY, ASKING, READY)).wait()
    assert not waited.reached
    assert waited.reason == "The time ran out: spec_0_0_2 waits for a decision on Bash; 1 is still at work."
    assert (shown(waited), waited.others) == ([SECOND, THIRD], {"busy": 1})


@pytest.mark.parametrize(("snapshot", "reached"), [(READY, True), (ASKING, False)])
async def test_a_wait_for_any_ends_with_the_first_that_is_done_or_held(
    snapshot: InstanceSnapshot, reached: bool
) -> None:
    begun = asyncio.get_running_loop().time()
    waited = await (await Scene.of(BUSY, BUSY, snapshot)).wait("any_idle", LONG_S)
    assert (waited.reached, shown(waited), waited.others) == (reached, [THIRD], {"busy": 2})
    assert asyncio.get_running_loop().time() - begun < AT_ONCE_S


async def test_a_wait_for_those_that_need_attention_shows_only_those() -> None:
    failed = replace(READY, reason="the last turn failed: API error")
    waited = await (await Scene.of(READY, failed, BUSY)).wait("needs_attention")
    assert (waited.reached, shown(waited), waited.others) == (True, [SECOND], {"ready": 1, "busy": 1})
    waited = await (await Scene.of(READY)).wait("needs_attention")
    assert (waited.reached, waited.reason) == (False, "The time ran out: nobody needs attention.")


async def test_one_that_has_stopped_with_messages_on_their_way_needs_attention() -> None:
    scene = await Scene.of(READY)
    await scene.send()
    scene.members[0].snapshot = replace(READY, status=Status.STOPPED)
    waited = await scene.wait("needs_attention")
    assert (waited.reached, shown(waited)) == (True, [FIRST])
    assert waited.instances[0].needs_attention
    assert waited.instances[0].reason == "a message not delivered: restart it"


async def test_many_that_are_held_are_named_in_part() -> None:
    waited = await (await Scene.of(*[ASKING] * 8)).wait()
    assert (waited.reason or "").endswith("spec_0_0_5 waits for a decision on Bash; 3 more are held.")


async def test_without_names_the_whole_team_is_waited_for_but_nobody_who_was_terminated() -> None:
    scene = await Scene.of(READY, READY)
    await scene.team.save(SECOND, wanted=False, stage=InstanceStage.STOPPED)
    assert shown(await scene.wait()) == [FIRST]
    with pytest.raises(InvalidRequestError, match="no instance to wait for"):
        await (await Scene.of()).wait()


async def test_a_dialog_that_has_just_been_answered_and_is_still_drawn_does_not_end_a_wait() -> None:
    scene = await Scene.of(BUSY)
    waiting = asyncio.create_task(scene.wait(timeout_s=LONG_S))
    for snapshot in (DIALOG, BUSY, DIALOG, READY):
        scene.members[0].snapshot = snapshot
        scene.team.changes.announce()
        await asyncio.sleep(LASTS_S / 2)
    assert (await waiting).reached


@pytest.mark.parametrize("others", [[READY], [DIALOG] * 8], ids=["alone", "with many others"])
async def test_a_dialog_that_stays_ends_a_wait_in_its_words(others: list[InstanceSnapshot]) -> None:
    begun = asyncio.get_running_loop().time()
    waited = await (await Scene.of(DIALOG, *others)).wait(timeout_s=LONG_S)
    assert not waited.reached
    assert (waited.reason or "").startswith("spec_0_0_1 a dialog is up at its terminal")
    assert LASTS_S <= asyncio.get_running_loop().time() - begun < 2 * LASTS_S


async def test_a_spawn_that_fails_while_it_is_waited_for_is_waited_for_no_more() -> None:
    scene = await Scene.of(READY, STARTING)
    waiting = asyncio.create_task(scene.wait(timeout_s=LONG_S))
    await asyncio.sleep(AT_ONCE_S)
    await scene.team.remove(SECOND)
    waited = await waiting
    assert (waited.reached, shown(waited)) == (True, [FIRST])


@pytest.mark.parametrize("until", ["any_idle", "needs_attention"])
async def test_a_wait_for_nobody_but_a_spawn_that_fails_ends_and_says_so(until: str) -> None:
    scene = await Scene.of(STARTING)
    waiting = asyncio.create_task(scene.wait(until, LONG_S))
    await asyncio.sleep(AT_ONCE_S)
    await scene.team.remove(FIRST)
    waited = await asyncio.wait_for(waiting, AT_ONCE_S)
    assert (waited.reached, waited.reason) == (False, "None of them is in the team any more.")


async def test_a_lead_that_is_just_about_to_be_told_something_is_not_done() -> None:
    scene = await Scene.of(READY, READY)
    scene.to_be_told.add(FIRST)
    waiting = asyncio.create_task(scene.wait(timeout_s=LONG_S))
    any_idle = await scene.wait("any_idle")
    await asyncio.sleep(AT_ONCE_S)
    assert (any_idle.reached, shown(any_idle), waiting.done()) == (True, [SECOND], False)

    scene.to_be_told.clear()
    scene.team.changes.announce()
    assert (await waiting).reached


async def test_of_whom_the_status_only_is_seen_nothing_else_is_shown() -> None:
    scene = await Scene.of(ASKING, replace(ASKING, reason="a secret"))
    listed = scene.queries.list(ALL, scene.team.registry)
    seen = views.with_status_only(listed, {SECOND})

    assert seen.instances[0] == listed.instances[0]
    assert (seen.needs_attention, seen.counts) == ([FIRST], {"waiting_permission": 2})
    assert seen.instances[1].model_dump(exclude_defaults=True) == {
        "instance_id": SECOND,
        "role": requests.Role.SPECIALIST,
        "status": Status.WAITING_PERMISSION,
    }
    assert views.with_status_only(listed, ()) == listed
