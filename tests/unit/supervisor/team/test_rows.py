"""What ``changes`` tells: who applies its answers holds what ``list`` says, whatever happened in between."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from actors.host.host import Host
from actors.instance.state import PendingPermission
from actors.messages import Message, MessageStatus
from actors.status import Status
from supervisor.api import requests, results
from supervisor.api.verbs import Caller
from supervisor.team import rows, views
from supervisor.team.queries import Queries
from supervisor.team.registry import InstanceStage, Limits
from supervisor.team.rows import GATHER_S, RowService
from supervisor.team.team import Team
from tests.fakes.clock import VirtualTimeLoop, show_virtual_time
from tests.fakes.instances import READY, FakeInstance, FakeListener
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, SECOND, accept, add_member, receipt

USER = Caller(sender="page")
ASKS = PendingPermission(request_id="p", tool="Bash", tool_input={"command": "ls"})


class View:
    """Holds rows as a page does."""

    def __init__(self, service: RowService) -> None:
        self._service = service
        self._cursor: str | None = None
        self.rows: dict[str, results.InstanceInfo] = {}
        self.needs_attention: list[str] = []
        self.answers = 0

    async def ask(self, timeout_s: float = 0.0) -> results.ChangesResult:
        answer = await self._service.changes(
            requests.ChangesRequest(cursor=self._cursor, timeout_seconds=timeout_s), USER
        )
        self.answers += 1
        self._cursor = answer.cursor
        if answer.complete:
            self.rows.clear()
        for instance_id in answer.gone:
            self.rows.pop(instance_id, None)
        told = [row.instance_id for row in answer.instances]
        assert len(told) == len(set(told))
        assert not set(told) & set(answer.gone)
        self.rows.update({row.instance_id: row for row in answer.instances})
        self.needs_attention = answer.needs_attention
        return answer


class Scene:
    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.queries = Queries(self.team, cast("Host", None), set)
        self.service = RowService(self.team, self.queries)

    def view(self) -> View:
        return View(self.service)

    def check(self, view: View) -> None:
        listed = self.queries.list(requests.ListRequest(), self.team.registry)
        assert view.rows == {row.instance_id: row for row in listed.instances}
        assert view.needs_attention == listed.needs_attention
        assert {row.instance_id for row in listed.instances if row.needs_attention} == set(view.needs_attention)
        assert all(row.reason or row.permission or row.dialog for row in listed.instances if row.needs_attention)


@pytest.fixture
async def scene() -> Scene:
    made = Scene()
    await add_member(made.team, 1)
    await add_member(made.team, 2)
    return made


async def test_at_first_every_row_is_told_and_then_only_those_that_changed(scene: Scene) -> None:
    view = scene.view()
    first = await view.ask()
    assert first.complete
    assert [row.instance_id for row in first.instances] == [FIRST, SECOND]
    member = scene.team.registry.get(SECOND)
    member.snapshot = replace(READY, status=Status.WAITING_PERMISSION, permission=ASKS)
    second = await view.ask()
    assert not second.complete
    assert second.instances == [views.instance_info(member, followed=False, needs_attention=True)]
    assert second.needs_attention == [SECOND]


async def test_a_call_waits_until_something_changes_and_gathers_what_comes_with_it(scene: Scene) -> None:
    view = scene.view()
    await view.ask()
    clock = asyncio.get_running_loop().time
    began = clock()
    asked = asyncio.create_task(view.ask(25.0))
    await asyncio.sleep(3.0)
    for unread in range(5):
        scene.team.registry.get(FIRST).snapshot = replace(READY, unread=unread)
        await asyncio.sleep(GATHER_S / 10)
    scene.team.registry.get(SECOND).silence = "it does not answer"
    answer = await asked
    assert [(row.instance_id, row.unread) for row in answer.instances] == [(FIRST, 4), (SECOND, 0)]
    assert clock() - began == pytest.approx(3.0 + GATHER_S)


async def test_a_view_that_waits_is_told_what_another_call_has_just_taken_in(scene: Scene) -> None:
    view, other = scene.view(), scene.view()
    await view.ask()
    clock = asyncio.get_running_loop().time
    began = clock()
    asked = asyncio.create_task(view.ask(25.0))
    await asyncio.sleep(1.0)
    scene.team.registry.get(FIRST).snapshot = replace(READY, unread=1)
    await other.ask()
    assert [row.unread for row in (await asked).instances] == [1]
    assert clock() - began < 2.0


async def test_nothing_is_told_and_nobody_woken_while_nothing_that_a_row_shows_changes(scene: Scene) -> None:
    view = scene.view()
    await view.ask()
    asked = asyncio.create_task(view.ask(25.0))
    await asyncio.sleep(1.0)
    member = scene.team.registry.get(FIRST)
    member.ending, member.counted = True, 7
    member.snapshot = replace(member.snapshot)
    await asyncio.sleep(1.0)
    assert not asked.done()
    answer = await asked
    assert (answer.instances, answer.gone, answer.complete) == ([], [], False)


async def test_who_comes_late_gets_what_is_newest_once(scene: Scene) -> None:
    slow = scene.view()
    await slow.ask()
    for unread in range(100):
        scene.team.registry.get(FIRST).snapshot = replace(READY, unread=unread)
        await scene.view().ask()
    answer = await slow.ask()
    assert [row.unread for row in answer.instances] == [99]


@pytest.mark.parametrize("cursor", ["", "1", "x.1", "0a0b0c0d.0", "0a0b0c0d.²", "9" * 100])
async def test_a_cursor_of_another_supervisor_gets_every_row(scene: Scene, cursor: str) -> None:
    answer = await scene.service.changes(requests.ChangesRequest(cursor=cursor, timeout_seconds=25.0), USER)
    assert answer.complete
    assert len(answer.instances) == 2


async def test_a_cursor_from_before_ids_that_are_forgotten_gets_every_row(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "GONE_KEPT", 1)
    old, later = scene.view(), scene.view()
    await old.ask()
    await scene.team.remove(FIRST)
    await later.ask()
    await scene.team.remove(SECOND)
    answer = await later.ask()
    assert (answer.complete, answer.gone) == (False, [SECOND])
    assert (await old.ask()).complete
    scene.check(old)
    scene.check(later)


async def test_one_that_was_terminated_is_gone_and_one_that_only_ended_is_shown(scene: Scene) -> None:
    view = scene.view()
    await view.ask()
    await scene.team.save(FIRST, stage=InstanceStage.STOPPED, wanted=False)
    await scene.team.save(SECOND, stage=InstanceStage.STOPPED)
    assert (await view.ask()).gone == [FIRST]
    assert list(view.rows) == [SECOND]


async def test_the_row_of_one_that_has_ended_with_messages_on_their_way_says_that_it_needs_somebody(
    scene: Scene,
) -> None:
    view = scene.view()
    await view.ask()
    await accept(scene.team, "x", "y")
    scene.team.registry.get(FIRST).snapshot = replace(READY, status=Status.STOPPED)
    assert (await view.ask()).needs_attention == [FIRST]
    assert view.rows[FIRST].needs_attention
    assert view.rows[FIRST].reason == "2 messages not delivered: restart it"
    scene.check(view)


NUMBERS = st.integers(1, 8)
SNAPSHOTS = st.sampled_from(
    [
        READY,
        replace(READY, status=Status.BUSY, task="Write tests.", activity="Bash: npm test"),
        replace(READY, status=Status.WAITING_PERMISSION, permission=ASKS),
        replace(READY, status=Status.FAILED, reason="it has ended"),
        replace(READY, status=Status.STOPPED),
        replace(READY, unread=2, model="demo", context_tokens=7),
    ]
)


class Rows(RuleBasedStateMachine):
    """Whatever happens to a team, and whenever each view asks."""

    @initialize()
    def begin(self) -> None:
        self.patches = pytest.MonkeyPatch()
        show_virtual_time(self.patches)
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.patches.setattr(rows, "GONE_KEPT", 2)
        self.messages: list[Message] = []
        self.last = 0
        self.run(self.make())
        for _ in range(3):
            self.one_comes()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def make(self) -> None:
        self.scene = Scene()
        self.views = [self.scene.view() for _ in range(3)]

    def member(self, number: int) -> Any:
        return self.scene.team.registry.find(f"spec_0_0_{number}")

    @rule()
    def one_comes(self) -> None:
        """Numbers are given once, in their order."""

        async def come() -> None:
            await add_member(self.scene.team, self.last, limits=Limits(tokens=9 if self.last % 2 else None))

        self.last += 1
        self.run(come())

    @rule(number=NUMBERS)
    def one_is_forgotten(self, number: int) -> None:
        self.run(self.scene.team.remove(f"spec_0_0_{number}"))

    @rule(number=NUMBERS, snapshot=SNAPSHOTS)
    def one_reports(self, number: int, snapshot: Any) -> None:
        if member := self.member(number):
            member.snapshot = snapshot

    @rule(number=NUMBERS, name=st.sampled_from(["silence", "hold"]), words=st.sampled_from(["", "a", "b"]))
    def words_about_one(self, number: int, name: str, words: str) -> None:
        if member := self.member(number):
            setattr(member, name, words)

    @rule(number=NUMBERS, back=st.booleans(), more=st.integers(0, 2))
    def one_is_restarted_or_uses_tokens(self, number: int, back: bool, more: int) -> None:
        if member := self.member(number):
            member.coming_back = back
            member.total += more

    @rule(number=NUMBERS, stage=st.sampled_from(InstanceStage), wanted=st.booleans())
    def a_record_changes(self, number: int, stage: InstanceStage, wanted: bool) -> None:
        if self.member(number) and stage is not InstanceStage.SPARE:
            self.run(self.scene.team.save(f"spec_0_0_{number}", stage=stage, wanted=wanted))

    @rule(number=NUMBERS)
    def one_gets_a_message(self, number: int) -> None:
        if self.member(number):
            self.messages += self.run(accept(self.scene.team, "x", instance_id=f"spec_0_0_{number}"))

    @rule(data=st.data(), status=st.sampled_from(MessageStatus))
    def a_message_gets_on(self, data: st.DataObject, status: MessageStatus) -> None:
        if self.messages:
            message = data.draw(st.sampled_from(self.messages))
            self.run(self.scene.team.outbox.take_receipts([receipt(message, status, str(status))]))

    @rule(number=NUMBERS)
    def one_begins_another_life(self, number: int) -> None:
        self.scene.team.outbox.begin_life(f"spec_0_0_{number}")

    @rule(number=NUMBERS, followed=st.booleans())
    def one_is_followed_or_not(self, number: int, followed: bool) -> None:
        async def follow() -> None:
            instance_id = f"spec_0_0_{number}"
            if followed and self.member(number):
                self.scene.team.links.follow(instance_id, FakeInstance(), "first", FakeListener())
            else:
                await self.scene.team.links.leave(instance_id)

        self.run(follow())

    @rule(which=st.integers(0, 2))
    def a_view_asks(self, which: int) -> None:
        view = self.views[which]
        self.run(view.ask())
        self.scene.check(view)

    def teardown(self) -> None:
        if not hasattr(self, "scene"):
            return
        for view in self.views:
            self.run(view.ask())
            self.scene.check(view)
        self.run(self.scene.team.links.leave_all())
        self.run(self.scene.team.outbox.stop())
        self.runner.close()
        self.patches.undo()


TestRows = Rows.TestCase
TestRows.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
