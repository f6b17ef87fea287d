"""When a wait is over, whether it was reached, and what it says when it was not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from actors.errors import InvalidRequestError
from actors.host.host import Host
from actors.instance.reports import InstanceSnapshot
from actors.messages import Message, MessageStatus
from actors.status import PendingPermission, Status
from supervisor.api import requests, results
from supervisor.api.verbs import Caller
from supervisor.team.queries import LASTS_S, Queries
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member, outgoing, receipt

BUSY = replace(READY, status=Status.BUSY)
ASKING = replace(
    READY,
    status=Status.WAITING_PERMISSION,
    permission=PendingPermission(request_id="p", tool="Bash", tool_input={"command": "ls"}),
)
LONG_S, AT_ONCE_S = 3600.0, 2 * LASTS_S


class Scene:
    def __init__(self, *members: Member, team: Team) -> None:
        self.members = members
        self.team = team
        self.queries = Queries(team, cast("Host", None))

    @classmethod
    async def of(cls, *snapshots: InstanceSnapshot) -> Scene:
        team = Team(MemoryStore())
        members = [await add_member(team, number) for number in range(1, len(snapshots) + 1)]
        for member, snapshot in zip(members, snapshots, strict=True):
            member.snapshot = snapshot
        return cls(*members, team=team)

    async def send(self, number: int = 1, status: MessageStatus | None = None, reason: str = "") -> Message:
        checked = self.team.outbox.check([outgoing("x", f"spec_0_0_{number}")], "lead", 1.0)
        (message,) = (one for one in checked if isinstance(one, Message))
        await self.team.outbox.accept([message])
        if status is not None:
            await self.team.outbox.take_receipts([receipt(message, status, reason)])
        return message

    async def wait(self, until: str = "idle", timeout_s: float = 0.01) -> results.WaitResult:
        request = requests.WaitRequest.model_validate({"until": until, "timeoutSeconds": timeout_s})
        return await self.queries.wait(request, Caller(sender="lead"))


def shown(waited: results.WaitResult) -> list[str]:
    return [each.instance_id for each in waited.instances]


async def test_a_team_that_is_idle_is_reached_without_a_reason() -> None:
    waited = await (await Scene.of(READY, READY)).wait()
    assert (waited.reached, waited.reason, waited.others) == (True, None, {})
    assert shown(waited) == ["spec_0_0_1", "spec_0_0_2"]


async def test_a_message_on_its_way_is_not_done_and_the_wait_ends_when_it_has_arrived() -> None:
    scene = await Scene.of(READY)
    message = await scene.send()
    waited = await scene.wait()
    assert (waited.reached, waited.reason) == (False, "The time ran out: 1 is still at work.")
    assert (shown(waited), waited.others) == ([], {"ready": 1})
    await scene.team.outbox.take_receipts([receipt(message)])
    assert (await scene.wait()).reached


def held() -> dict[str, tuple[InstanceSnapshot, MessageStatus | None, str]]:
    dialog = "a dialog that asks for no permission is up"
    return {
        "a held message": (READY, MessageStatus.BLOCKED, "has a message held back: someone is typing"),
        "a decision": (ASKING, None, "waits for a decision on Bash"),
        "a decision, with a held message": (ASKING, MessageStatus.BLOCKED, "waits for a decision on Bash"),
        "a dialog in the midst of a turn": (replace(BUSY, reason=dialog), None, dialog),
        "a message for one that has failed": (
            replace(READY, status=Status.FAILED),
            MessageStatus.ACCEPTED,
            "is failed, with a message not delivered: restart it",
        ),
    }


@pytest.mark.parametrize("what", held())
async def test_what_only_somebody_can_see_to_ends_the_wait_at_once_unreached_and_in_words(what: str) -> None:
    snapshot, status, words = held()[what]

    begun = asyncio.get_running_loop().time()
    scene = await Scene.of(READY, READY)
    if status is not None:
        await scene.send(1, status, "someone is typing")
    scene.members[0].snapshot = snapshot
    waited = await scene.wait(timeout_s=LONG_S)
    assert (waited.reached, waited.reason) == (False, f"spec_0_0_1 {words}.")
    assert shown(waited) == ["spec_0_0_1", "spec_0_0_2"]
    assert waited.instances[0].needs_attention
    assert asyncio.get_running_loop().time() - begun < AT_ONCE_S


async def test_while_others_work_one_that_is_held_does_not_end_a_wait_for_all() -> None:
    scene = await Scene.of(BUSY, ASKING, READY)
    waited = await scene.wait()
    assert not waited.reached
    assert waited.reason == "The time ran out: spec_0_0_2 waits for a decision on Bash; 1 is still at work."
    assert (shown(waited), waited.others) == (["spec_0_0_2", "spec_0_0_3"], {"busy": 1})


@pytest.mark.parametrize(("snapshot", "reached"), [(READY, True), (ASKING, False)])
async def test_a_wait_for_any_ends_with_the_first_that_is_done_or_held(
    snapshot: InstanceSnapshot, reached: bool
) -> None:
    begun = asyncio.get_running_loop().time()
    scene = await Scene.of(BUSY, BUSY, snapshot)
    waited = await scene.wait("any_idle", LONG_S)
    assert (waited.reached, shown(waited), waited.others) == (reached, ["spec_0_0_3"], {"busy": 2})
    assert asyncio.get_running_loop().time() - begun < AT_ONCE_S


async def test_a_wait_for_who_needs_attention_shows_only_those() -> None:
    failed = replace(READY, status=Status.READY, reason="the last turn failed: API error")
    waited = await (await Scene.of(READY, failed, BUSY)).wait("needs_attention")
    assert (waited.reached, shown(waited), waited.others) == (True, ["spec_0_0_2"], {"ready": 1, "busy": 1})
    waited = await (await Scene.of(READY)).wait("needs_attention")
    assert (waited.reached, waited.reason) == (False, "The time ran out: nobody needs attention.")


async def test_who_has_failed_or_stopped_with_nothing_on_its_way_can_do_no_more_and_is_done() -> None:
    ended: Callable[[Status], InstanceSnapshot] = lambda status: replace(READY, status=status)  # noqa: E731
    assert (await (await Scene.of(ended(Status.FAILED), ended(Status.STOPPED))).wait()).reached


async def test_many_that_are_held_are_named_in_part() -> None:
    waited = await (await Scene.of(*[ASKING] * 8)).wait()
    assert (waited.reason or "").endswith("spec_0_0_5 waits for a decision on Bash; 3 more are held.")


async def test_without_names_the_whole_team_is_waited_for_but_nobody_who_was_terminated() -> None:
    scene = await Scene.of(READY, READY)
    gone = scene.members[1]
    await scene.team.save(gone.record.instance_id, wanted=False, stage=InstanceStage.STOPPED)
    assert shown(await scene.wait()) == ["spec_0_0_1"]
    with pytest.raises(InvalidRequestError, match="no instance to wait for"):
        await (await Scene.of()).wait()


async def test_a_dialog_that_has_just_been_answered_and_is_still_drawn_does_not_end_a_wait() -> None:
    drawn = replace(READY, status=Status.WAITING_INPUT, reason="a dialog is up at its terminal")

    scene = await Scene.of(BUSY)
    (member,) = scene.members

    async def go_on() -> None:
        for snapshot in (drawn, BUSY, drawn, READY):
            member.snapshot = snapshot
            scene.team.changes.announce()
            await asyncio.sleep(LASTS_S / 2)

    going = asyncio.create_task(go_on())
    waited = await scene.wait(timeout_s=LONG_S)
    assert waited.reached
    await going


async def test_a_dialog_that_stays_ends_a_wait_in_its_words() -> None:
    stays = replace(READY, status=Status.WAITING_INPUT, reason="a dialog is up at its terminal")

    begun = asyncio.get_running_loop().time()
    waited = await (await Scene.of(stays, READY)).wait(timeout_s=LONG_S)
    assert (waited.reached, waited.reason) == (False, "spec_0_0_1 a dialog is up at its terminal.")
    assert LASTS_S <= asyncio.get_running_loop().time() - begun < 2 * LASTS_S


async def test_many_that_are_held_at_the_same_time_end_a_wait_as_soon_as_one_does() -> None:
    stays = replace(READY, status=Status.WAITING_INPUT, reason="a dialog is up at its terminal")

    begun = asyncio.get_running_loop().time()
    assert not (await (await Scene.of(*[stays] * 9)).wait(timeout_s=LONG_S)).reached
    assert asyncio.get_running_loop().time() - begun < 2 * LASTS_S


async def test_a_spawn_that_fails_while_it_is_waited_for_is_waited_for_no_more() -> None:
    async def wait() -> results.WaitResult:
        scene = await Scene.of(READY, replace(READY, status=Status.STARTING))
        waiting = asyncio.create_task(scene.wait(timeout_s=LONG_S))
        await asyncio.sleep(AT_ONCE_S)
        await scene.team.remove("spec_0_0_2")
        return await waiting

    waited = await wait()
    assert (waited.reached, shown(waited)) == (True, ["spec_0_0_1"])


@pytest.mark.parametrize("until", ["any_idle", "needs_attention"])
async def test_a_wait_for_nobody_but_a_spawn_that_fails_ends_and_says_so(until: str) -> None:
    async def wait() -> results.WaitResult:
        scene = await Scene.of(replace(READY, status=Status.STARTING))
        waiting = asyncio.create_task(scene.wait(until, LONG_S))
        await asyncio.sleep(AT_ONCE_S)
        await scene.team.remove("spec_0_0_1")
        return await asyncio.wait_for(waiting, AT_ONCE_S)

    waited = await wait()
    assert (waited.reached, waited.reason) == (False, "None of them is in the team any more.")


async def test_one_that_has_stopped_with_messages_on_their_way_needs_attention() -> None:
    scene = await Scene.of(READY)
    await scene.send()
    scene.members[0].snapshot = replace(READY, status=Status.STOPPED)
    waited = await scene.wait("needs_attention")
    assert (waited.reached, shown(waited)) == (True, ["spec_0_0_1"])
