"""What the status line says, and when the hosts are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from actors.instance.reports import InstanceSnapshot
from actors.instance.state import PendingPermission
from actors.status import Status
from supervisor.events.needing import AGAIN_S, SETTLE_S, NeedingLine
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.hosts import FakeHost
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

ASKS = InstanceSnapshot(
    status=Status.WAITING_PERMISSION, permission=PendingPermission(request_id="p", tool="Bash", tool_input={})
)
ENOUGH_S = 5 * SETTLE_S


class Scene:
    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.desk, self.rack = FakeHost("desk"), FakeHost("rack")
        self.hosts = {"desk": self.desk}
        self.line = NeedingLine(self.team, lambda: self.hosts)

    def asks(self, *members: Member) -> None:
        for member in members:
            member.snapshot = ASKS
            self.team.changed(member)

    def is_answered(self, *members: Member) -> None:
        for member in members:
            member.snapshot = READY
            self.team.changed(member)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.line.begin()
    yield made
    await made.line.end()
    await made.team.events.stop()


async def test_the_line_says_how_many_need_somebody_and_who_in_the_order_of_the_list(scene: Scene) -> None:
    parser, _quiet, docs = [
        await add_member(scene.team, n, name=name) for n, name in ((1, "parser"), (2, "x"), (3, None))
    ]
    scene.asks(docs)
    await asyncio.sleep(ENOUGH_S)
    scene.asks(parser)
    await asyncio.sleep(ENOUGH_S)
    scene.is_answered(docs, parser)
    await asyncio.sleep(ENOUGH_S)
    assert scene.desk.needing == [
        ("", ()),
        ("1 needs you: spec_0_0_3", ("spec_0_0_3",)),
        ("2 need you: parser, spec_0_0_3", ("spec_0_0_1", "spec_0_0_3")),
        ("", ()),
    ]


async def test_hosts_are_told_only_what_changes(scene: Scene) -> None:
    members = [await add_member(scene.team, number) for number in range(1, 9)]
    await asyncio.sleep(ENOUGH_S)
    for _ in range(50):
        scene.is_answered(*members)
        await asyncio.sleep(SETTLE_S)
    assert scene.desk.needing == [("", ())]
    scene.asks(*members)
    await asyncio.sleep(ENOUGH_S)
    assert len(scene.desk.needing) == 2
    assert scene.desk.needing[1][0] == "8 need you: spec_0_0_1, spec_0_0_2, spec_0_0_3, +5"


async def test_a_very_long_name_is_shown_in_whole_and_the_others_are_counted(scene: Scene) -> None:
    scene.asks(*[await add_member(scene.team, number, name=f"{'n' * 39}{number}") for number in (1, 2)])
    await asyncio.sleep(ENOUGH_S)
    assert scene.desk.needing[-1][0] == f"2 need you: {'n' * 39}1, +1"


async def test_one_that_was_terminated_needs_nobody(scene: Scene) -> None:
    member = await add_member(scene.team, 1)
    scene.asks(member)
    await asyncio.sleep(ENOUGH_S)
    member.record = replace(member.record, stage=InstanceStage.STOPPED, wanted=False)
    scene.team.changed(member)
    await asyncio.sleep(ENOUGH_S)
    assert [words for words, _ in scene.desk.needing] == ["", "1 needs you: spec_0_0_1", ""]


async def test_a_host_that_did_not_answer_and_one_that_joins_later_are_told_what_is_so_then(scene: Scene) -> None:
    member = await add_member(scene.team, 1)
    scene.desk.silent = True
    scene.asks(member)
    await asyncio.sleep(ENOUGH_S)
    scene.desk.silent = False
    await asyncio.sleep(AGAIN_S + ENOUGH_S)
    scene.hosts["rack"] = scene.rack
    scene.team.changed(member)
    await asyncio.sleep(ENOUGH_S)
    told = ("1 needs you: spec_0_0_1", ("spec_0_0_1",))
    assert scene.desk.needing == [("", ()), told]
    assert scene.rack.needing == [told]


async def test_a_host_that_hangs_holds_up_no_other_and_is_told_the_latest_when_it_goes_on(scene: Scene) -> None:
    scene.hosts["rack"] = scene.rack
    scene.rack.gate.clear()
    member = await add_member(scene.team, 1)
    scene.asks(member)
    await asyncio.sleep(ENOUGH_S)
    scene.is_answered(member)
    await asyncio.sleep(ENOUGH_S)
    assert [words for words, _ in scene.desk.needing] == ["", "1 needs you: spec_0_0_1", ""]
    scene.asks(member)
    await asyncio.sleep(ENOUGH_S)
    scene.rack.gate.set()
    await asyncio.sleep(ENOUGH_S)
    assert scene.rack.needing[-1][0] == scene.desk.needing[-1][0] == "1 needs you: spec_0_0_1"


async def test_a_host_that_left_and_came_back_is_told_again(scene: Scene) -> None:
    scene.hosts["rack"] = scene.rack
    member = await add_member(scene.team, 1)
    scene.asks(member)
    await asyncio.sleep(ENOUGH_S)
    del scene.hosts["rack"]
    scene.team.changed(member)
    await asyncio.sleep(ENOUGH_S)
    again = scene.hosts["rack"] = FakeHost("rack")
    scene.team.changed(member)
    await asyncio.sleep(ENOUGH_S)
    assert again.needing == [("1 needs you: spec_0_0_1", ("spec_0_0_1",))]


async def test_a_host_is_told_again_when_an_agent_has_started_there_because_it_may_have_restarted(scene: Scene) -> None:
    scene.hosts["rack"] = scene.rack
    member = await add_member(scene.team, 1, host="desk", pid=7)
    scene.asks(member)
    await asyncio.sleep(ENOUGH_S)
    scene.rack.needing.clear()
    started = await add_member(scene.team, 2, host="rack", pid=8)
    scene.team.changed(started)
    await asyncio.sleep(ENOUGH_S)
    started.record = replace(started.record, pid=9)
    scene.team.changed(started)
    await asyncio.sleep(ENOUGH_S)
    told = ("1 needs you: spec_0_0_1", ("spec_0_0_1",))
    assert scene.rack.needing == [told, told]
    assert scene.desk.needing[-1] == told
    assert len(scene.desk.needing) <= 2
