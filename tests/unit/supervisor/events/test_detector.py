"""What of an instance's changes becomes an event, once, also over restarts of actor and supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import Dialog
from actors.instance.reports import InstanceSnapshot, Report
from actors.instance.state import PendingPermission
from actors.messages import Message, MessageStatus, Receipt
from actors.status import Status
from supervisor.api.results import TeamEvent
from supervisor.events.detector import FIRST_LOOKS_S, EventDetector
from supervisor.store import keys
from supervisor.team.queries import LASTS_S
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.fakes.clock import turns
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, accept, add_member, outgoing, receipt

IDLE = InstanceSnapshot(status=Status.READY, since=1.0)
BUSY = replace(IDLE, status=Status.BUSY, turn_at=10.0)
DONE = replace(IDLE, turn_at=11.0, answer="All tests pass.", answer_characters=15)
FAILED_TURN = replace(IDLE, turn_at=11.0, turn_failed=True, reason="the last turn failed: API Error 529")
DIALOG = replace(
    IDLE,
    status=Status.WAITING_INPUT,
    turn_at=10.0,
    reason="a dialog is up at its terminal: Trust this folder?",
    dialog=Dialog(question="Trust this folder?", options=("Yes", "No")),
)
LONG_S = 2 * FIRST_LOOKS_S


def asking(permission_id: str = "4be0", **given: Any) -> InstanceSnapshot:
    asked = PendingPermission(request_id=permission_id, tool="Bash", tool_input=given or {"command": "ls"})
    return replace(BUSY, status=Status.WAITING_PERMISSION, permission=asked)


class Scene:
    """A supervisor's part of the events, over a store that outlives it."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.team = Team(store)
        self.detector = EventDetector(self.team, store, self.team.unreadable)
        self.sequence = 0
        self.incarnation = "first"

    @classmethod
    async def begun(cls, store: MemoryStore) -> Scene:
        made = cls(store)
        await made.team.load()
        await made.detector.begin()
        return made

    async def again(self) -> Scene:
        """The next supervisor, after this one was killed with what it had not stored."""
        self.detector.end()
        return await Scene.begun(self.store)

    async def reports(self, *snapshots: InstanceSnapshot, receipts: Sequence[Receipt] = (), of: str = FIRST) -> None:
        for snapshot in snapshots:
            self.sequence += 1
            await self.team.take_in(
                of,
                Report(
                    incarnation=self.incarnation,
                    sequence=self.sequence,
                    snapshot=snapshot,
                    receipts=tuple(receipts),
                ),
            )

    async def told(self) -> list[TeamEvent]:
        await turns()
        return (await self.team.events.after("0", lambda event: True, 0.001)).events

    async def kinds(self) -> list[str]:
        return [event.kind for event in await self.told()]

    async def send(self) -> Message:
        (message,) = await accept(self.team, "x")
        return message


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = await Scene.begun(MemoryStore())
    await add_member(made.team, name="builder", parent_id="mgr_0_1")
    yield made
    made.detector.end()


async def test_the_end_of_a_turn_is_told_once_with_the_head_of_the_answer_and_whose_it_is(scene: Scene) -> None:
    await scene.reports(IDLE, BUSY, DONE, replace(DONE, unread=3), DONE)
    (event,) = await scene.told()
    assert (event.kind, event.text, event.number) == ("became_idle", "All tests pass.", 1)
    assert (event.instance_id, event.name, event.parent_id) == (FIRST, "builder", "mgr_0_1")


async def test_each_turn_is_told(scene: Scene) -> None:
    await scene.reports(DONE, replace(BUSY, turn_at=20.0), replace(DONE, turn_at=21.0))
    assert await scene.kinds() == ["became_idle"] * 2


async def test_an_agent_that_has_not_had_a_turn_has_not_become_idle(scene: Scene) -> None:
    await scene.reports(IDLE)
    assert await scene.kinds() == []


async def test_what_was_cut_off_an_answer_is_marked(scene: Scene) -> None:
    await scene.reports(replace(DONE, answer="a" * 600, answer_characters=1000))
    (event,) = await scene.told()
    assert event.text == "a" * 600 + f"… [400 more characters: read {FIRST} shows them]"


async def test_a_turn_that_was_interrupted_has_ended_too(scene: Scene) -> None:
    await scene.reports(BUSY, replace(IDLE, turn_at=10.0))
    assert [event.text for event in await scene.told()] == [""]


async def test_an_instance_with_a_message_on_its_way_becomes_idle_after_that(scene: Scene) -> None:
    await scene.reports(BUSY)
    message = await scene.send()
    await scene.reports(DONE)
    assert await scene.kinds() == []
    await scene.reports(replace(BUSY, turn_at=20.0), receipts=[receipt(message)])
    await scene.reports(replace(DONE, turn_at=21.0, answer="Both done.", answer_characters=10))
    assert [(event.kind, event.text) for event in await scene.told()] == [
        ("message_final", "submitted"),
        ("became_idle", "Both done."),
    ]


async def test_a_question_is_told_at_once_exactly_and_with_what_answers_it(scene: Scene) -> None:
    await scene.reports(asking(command="rm -r build"))
    (event,) = await scene.told()
    assert (event.kind, event.permission_id) == ("needs_attention", "4be0")
    assert event.text == 'asks to use Bash: {"command": "rm -r build"}'


async def test_what_an_agent_asks_a_person_is_told_as_questions_with_their_options(scene: Scene) -> None:
    options = [{"label": "Postgres", "description": "as in production"}, {"label": "SQLite"}]
    questions = [{"question": "Which database?", "options": options}, {"question": "Since when?", "options": "odd"}]
    await scene.reports(asking(questions=questions))
    (event,) = await scene.told()
    assert event.text == "Which database?\n1. Postgres\n2. SQLite\nSince when?"


async def test_a_question_that_lasts_is_told_once_and_the_next_one_too(scene: Scene) -> None:
    await scene.reports(asking("a"), replace(asking("a"), unread=2), asking("a"), asking("b"), asking("b"))
    await asyncio.sleep(LONG_S)
    assert [event.permission_id for event in await scene.told()] == ["a", "b"]


async def test_a_dialog_is_told_with_its_options_when_it_has_lasted(scene: Scene) -> None:
    await scene.reports(BUSY, DIALOG)
    assert await scene.kinds() == []
    await asyncio.sleep(LASTS_S + 0.1)
    assert [event.text for event in await scene.told()] == ["Trust this folder?\n1. Yes\n2. No"]


async def test_a_dialog_that_is_only_still_drawn_is_not_told(scene: Scene) -> None:
    await scene.reports(DIALOG)
    await asyncio.sleep(LASTS_S / 2)
    await scene.reports(BUSY)
    await asyncio.sleep(LONG_S)
    assert await scene.kinds() == []


async def test_the_same_dialog_is_told_again_when_it_was_gone_in_between(scene: Scene) -> None:
    for snapshot in (DIALOG, BUSY, DIALOG):
        await scene.reports(snapshot)
        await asyncio.sleep(LONG_S)
    assert await scene.kinds() == ["needs_attention"] * 2


async def test_a_dialog_that_flickers_is_told_once(scene: Scene) -> None:
    await scene.reports(DIALOG)
    await asyncio.sleep(LASTS_S + 0.1)
    for _ in range(5):
        await scene.reports(BUSY)
        await asyncio.sleep(LASTS_S / 2)
        await scene.reports(DIALOG)
        await asyncio.sleep(LASTS_S / 2)
    assert await scene.kinds() == ["needs_attention"]


async def test_a_cause_that_counts_attempts_is_one_cause(scene: Scene) -> None:
    for attempt in range(1, 9):
        await scene.reports(replace(BUSY, reason=f"the API does not answer (attempt {attempt})"))
        await asyncio.sleep(LASTS_S + 1)
    assert await scene.kinds() == ["needs_attention"]


async def test_a_turn_that_failed_needs_attention_and_is_not_told_as_idle_too(scene: Scene) -> None:
    await scene.reports(BUSY, FAILED_TURN, replace(FAILED_TURN, turn_failed=False, reason=""))
    await asyncio.sleep(LONG_S)
    assert [(event.kind, event.text) for event in await scene.told()] == [("needs_attention", FAILED_TURN.reason)]


async def test_messages_that_are_held_back_are_told_once_whatever_is_drafted_meanwhile(scene: Scene) -> None:
    message = await scene.send()
    for draft in ("a", "ab", "abc"):
        held = receipt(message, MessageStatus.BLOCKED, f"somebody's draft '{draft}' is in the input box")
        await scene.reports(IDLE, receipts=[held])
        await asyncio.sleep(LASTS_S + 1)
    assert [event.text for event in await scene.told()] == [
        "messages for it are held back: somebody's draft 'a' is in the input box"
    ]


async def test_an_actor_that_does_not_answer_is_told(scene: Scene) -> None:
    await scene.reports(BUSY)
    member = scene.team.registry.get(FIRST)
    member.silence = "its host is lost"
    scene.team.changed(member)
    await asyncio.sleep(LONG_S)
    assert [(event.kind, event.text) for event in await scene.told()] == [("needs_attention", "its host is lost")]


async def test_a_failure_is_told_with_its_reason_and_again_when_there_is_more_to_say(scene: Scene) -> None:
    gone = replace(IDLE, status=Status.FAILED, since=30.0, reason="the agent ended with exit status 1")
    await scene.reports(BUSY, gone, gone)
    assert [(event.kind, event.text) for event in await scene.told()] == [("failed", gone.reason)]
    member = scene.team.registry.get(FIRST)
    await scene.team.tell_reason(member, f"{gone.reason}\nIt stays so.")
    assert [event.text for event in await scene.told()][1:] == [f"{gone.reason}\nIt stays so."]


async def test_an_instance_that_is_being_ended_is_not_told_of(scene: Scene) -> None:
    member = scene.team.registry.get(FIRST)
    await scene.reports(BUSY)
    member.ending = True
    await scene.team.save(FIRST, stage=InstanceStage.ENDING, wanted=False)
    await scene.reports(replace(IDLE, status=Status.STOPPED))
    await scene.team.mark_ended(member, InstanceStage.STOPPED, "")
    await asyncio.sleep(LONG_S)
    assert await scene.kinds() == []


async def test_a_turn_that_ended_before_its_spawn_was_done_is_told_when_it_is(scene: Scene) -> None:
    await scene.team.save(FIRST, stage=InstanceStage.STARTING)
    message = scene.team.outbox.first_message(FIRST, "x", "lead")
    await scene.team.outbox.accept([message])
    await scene.reports(BUSY, DONE, receipts=[receipt(message)])
    assert await scene.kinds() == []
    await scene.team.save(FIRST, stage=InstanceStage.RUNNING)
    assert await scene.kinds() == ["became_idle"]


async def test_what_a_recycling_asks_and_is_answered_is_not_told(scene: Scene) -> None:
    (asked,) = scene.team.outbox.check([outgoing("Sum up.")], "phalanx", 1.0)
    assert isinstance(asked, Message)
    with scene.team.outbox.withheld(FIRST, but=asked.id):
        await scene.team.outbox.accept([asked])
        await scene.reports(BUSY, DONE, receipts=[receipt(asked)])
    assert await scene.kinds() == []


@pytest.mark.parametrize("snapshot", [DONE, asking(), FAILED_TURN])
async def test_what_was_told_is_not_told_by_the_next_supervisor(scene: Scene, snapshot: InstanceSnapshot) -> None:
    await scene.reports(snapshot)
    assert len(await scene.told()) == 1
    later = await scene.again()
    await later.reports(snapshot)
    await asyncio.sleep(LONG_S)
    assert len(await later.told()) == 1


@pytest.mark.parametrize("snapshot", [DONE, asking(), DIALOG, FAILED_TURN])
async def test_what_happened_while_no_supervisor_was_there_is_told_by_the_next_one(
    scene: Scene, snapshot: InstanceSnapshot
) -> None:
    await scene.reports(BUSY)
    later = await scene.again()
    await later.reports(snapshot)
    await asyncio.sleep(LASTS_S + 1)
    assert len(await later.told()) == 1


async def test_a_failure_that_a_supervisor_did_not_come_to_tell_is_told_by_the_next_one(scene: Scene) -> None:
    await scene.team.save(FIRST, stage=InstanceStage.FAILED, reason="it crashed", ended_at=30.0)
    await scene.store.save({}, [*await scene.store.load(keys.EVENT_PREFIX), keys.detected(FIRST)])
    later = await Scene.begun(scene.store)
    assert [(event.kind, event.text) for event in await later.told()] == [("failed", "it crashed")]
    assert await (await later.again()).kinds() == ["failed"]


async def test_a_dialog_that_a_new_actor_sees_only_after_a_while_is_not_told_again(scene: Scene) -> None:
    await scene.reports(DIALOG)
    await asyncio.sleep(LASTS_S + 1)
    scene.incarnation = "second"
    await scene.reports(BUSY)
    await asyncio.sleep(FIRST_LOOKS_S - 1)
    await scene.reports(DIALOG)
    await asyncio.sleep(LONG_S)
    assert await scene.kinds() == ["needs_attention"]


async def test_fifty_that_become_idle_at_once_are_few_transactions() -> None:
    scene = await Scene.begun(MemoryStore())
    for number in range(1, 51):
        await add_member(scene.team, number)
    await asyncio.gather(*(scene.reports(DONE, of=f"spec_0_0_{number}") for number in range(1, 51)))
    await scene.team.events.publish()
    before = scene.store.saves
    assert len(await scene.told()) == 50
    assert before <= 50 + 4, "besides the records of the instances"


async def test_nothing_is_remembered_of_an_instance_that_has_left_the_team(scene: Scene) -> None:
    await scene.reports(DONE)
    await scene.told()
    assert await scene.store.load(keys.DETECTED_PREFIX)
    await scene.team.remove(FIRST)
    await turns()
    assert await scene.store.load(keys.DETECTED_PREFIX) == {}


async def test_what_was_told_of_an_instance_that_left_while_the_supervisor_died_goes_at_the_next_start(
    scene: Scene,
) -> None:
    await scene.reports(DONE)
    await scene.told()
    await scene.store.save({}, [keys.instance(FIRST)])
    later = await scene.again()
    assert await later.kinds() == ["became_idle"]
    assert await scene.store.load(keys.DETECTED_PREFIX) == {}


@pytest.mark.parametrize("status", [MessageStatus.SUBMITTED, MessageStatus.FAILED, MessageStatus.UNCONFIRMED])
async def test_a_message_that_is_settled_is_told_once_with_its_sender(scene: Scene, status: MessageStatus) -> None:
    message = await scene.send()
    final = receipt(message, status, "no proof in time" if status is not MessageStatus.SUBMITTED else "")
    await scene.reports(BUSY, receipts=[final])
    await scene.reports(BUSY, receipts=[final])
    (event,) = await scene.told()
    assert (event.kind, event.message_id, event.sender, event.status) == ("message_final", message.id, "lead", status)
    assert event.text == (f"{status}: {final.reason}" if final.reason else "submitted")
    assert await (await scene.again()).kinds() == ["message_final"]


async def test_a_message_that_was_settled_when_the_supervisor_died_is_told_by_the_next_one(scene: Scene) -> None:
    messages = [await scene.send(), await scene.send()]
    store, receipts = scene.store, [receipt(message) for message in messages]
    await scene.reports(BUSY, receipts=receipts)
    due = await store.load(keys.DUE_EVENT_PREFIX)
    assert len(due) == 1, "they are not published yet"
    later = await Scene.begun(MemoryStore(dict(await store.load(""))))
    await later.reports(BUSY, receipts=receipts)
    assert [(event.kind, event.message_id) for event in await later.told()] == [
        ("message_final", message.id) for message in messages
    ]
    assert await later.store.load(keys.DUE_EVENT_PREFIX) == {}


async def test_a_message_that_arrives_after_all_is_told_again_as_that(scene: Scene) -> None:
    message = await scene.send()
    await scene.reports(BUSY, receipts=[receipt(message, MessageStatus.UNCONFIRMED, "no proof in time")])
    await scene.reports(BUSY, receipts=[receipt(message)])
    assert [event.status for event in await scene.told()] == [MessageStatus.UNCONFIRMED, MessageStatus.SUBMITTED]


@given(
    st.lists(st.sampled_from(["turn", "ask", "answer", "kill", "turn and kill", "ask and kill", "wait"]), max_size=12)
)
async def test_whatever_dies_when_each_turn_and_each_question_is_told_exactly_once(steps: list[str]) -> None:
    scene = await Scene.begun(MemoryStore())
    await add_member(scene.team)
    at, now, ended, asked = 100.0, IDLE, 0, 0
    for step in steps:
        if step.startswith("turn"):
            at, ended = at + 10, ended + 1
            now = replace(DONE, turn_at=at)
        elif step.startswith("ask"):
            asked += 1
            now = asking(f"q{asked}")
        elif step == "answer":
            now = replace(BUSY, turn_at=at + 1)
        elif step == "wait":
            await asyncio.sleep(40)
        await scene.reports(now)
        if step.endswith("kill"):  # with what is not stored yet
            scene.detector.end()
            scene = await Scene.begun(MemoryStore(dict(await scene.store.load(""))))
            await scene.reports(now)
        await scene.told()
    await asyncio.sleep(60)
    told = await scene.told()
    assert sum(event.kind == "became_idle" for event in told) == ended
    questions = [event.permission_id for event in told if event.kind == "needs_attention"]
    assert questions == [f"q{number}" for number in range(1, asked + 1)]
    assert [event.number for event in told] == list(range(1, len(told) + 1))
