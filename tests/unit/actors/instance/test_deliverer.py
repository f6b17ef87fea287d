"""The deliverer: what it types when, what it proves, and what it leaves to its successor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from actors.agents.base import Composer, Dialog, Screen
from actors.errors import PaneGoneError, TerminalError
from actors.files import UNFINISHED
from actors.instance import deliverer
from actors.instance.deliverer import Lease, TypingGate
from actors.instance.delivery import REDRAW_S
from actors.instance.journal import JOURNAL_NAME
from actors.instance.state import RateLimit
from actors.messages import MessageStatus
from actors.status import Status
from actors.tmux.pane import LastKey
from supervisor.cluster.scheduler import FENCE_S
from supervisor.team.adoption import LEASE_S
from supervisor.team.links import POLL_S
from tests.fakes.clock import VirtualTimeLoop
from tests.fakes.deliverer import DRAFT, EMPTY, DelivererScene, message

DIALOG = Screen(composer=Composer.ABSENT, dialog=Dialog(kind="permission"))
ACCEPTED, SUBMITTED = MessageStatus.ACCEPTED, MessageStatus.SUBMITTED


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[DelivererScene]:
    made = DelivererScene(tmp_path)
    yield made
    made.running.cancel()
    await asyncio.gather(made.running, return_exceptions=True)


async def test_a_message_is_pasted_once_entered_and_proved(rig: DelivererScene) -> None:
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    assert (len(rig.pane.pasted), rig.pane.pressed) == (1, ["Enter"])
    rig.deliverer.acknowledged(rig.receipts)
    assert list(rig.directory.iterdir()) == [], "the journal is empty when all is written and taken in"


async def test_a_message_that_is_offered_twice_arrives_once(rig: DelivererScene) -> None:
    rig.offer("a", "a")
    await rig.receipt("a", SUBMITTED)
    rig.offer("a")
    rig.offer("b")
    await rig.receipt("b", SUBMITTED)
    assert [paste.count("msg_a") for paste in rig.pane.pasted] == [1, 0]


async def test_what_came_during_a_turn_goes_in_one_paste_when_the_turn_ends(rig: DelivererScene) -> None:
    rig.observer.become(Status.BUSY)
    rig.offer("a", "b", "c", "d")
    rig.observer.become(Status.READY)
    await rig.receipt("d", SUBMITTED)
    assert [paste.count("[phalanx") for paste in rig.pane.pasted] == [3, 1]


async def test_nothing_is_typed_while_a_permission_is_asked_and_the_lot_changes_with_the_answer(
    rig: DelivererScene,
) -> None:
    rig.observer.become(Status.WAITING_PERMISSION)
    rig.offer("a")
    held = await rig.receipt("a", MessageStatus.BLOCKED)
    assert "respond" in held.reason
    assert rig.pane.pasted == []
    rig.observer.become(Status.BUSY)
    await rig.receipt("a", ACCEPTED)
    rig.observer.become(Status.READY)
    await rig.receipt("a", SUBMITTED)


async def test_nothing_is_typed_into_what_somebody_else_is_typing(rig: DelivererScene) -> None:
    rig.observer.screen = DRAFT
    rig.offer("a")
    held = await rig.receipt("a", MessageStatus.BLOCKED)
    assert "input box" in held.reason
    rig.observer.screen = EMPTY
    await rig.receipt("a", SUBMITTED)
    assert len(rig.pane.pasted) == 1


async def test_the_end_of_the_agent_ends_every_message_with_the_reason(rig: DelivererScene) -> None:
    rig.observer.become(Status.BUSY)
    rig.offer("a")
    rig.observer.become(Status.FAILED, "exit status 3")
    assert "exit status 3" in (await rig.receipt("a", MessageStatus.FAILED)).reason
    rig.offer("late")
    assert "exit status 3" in (await rig.receipt("late", MessageStatus.FAILED)).reason


async def test_messages_for_an_agent_that_is_started_again_are_not_ended(rig: DelivererScene) -> None:
    rig.observer.become(Status.BUSY)
    rig.offer("a")
    rig.observer.coming_back = True
    rig.observer.become(Status.FAILED)
    await rig.running
    assert rig.receipts == []


async def test_a_pane_that_is_gone_fails_the_message_and_one_that_hangs_leaves_doubt(rig: DelivererScene) -> None:
    rig.pane.fault = PaneGoneError("the pane is gone")
    rig.offer("a")
    await rig.receipt("a", MessageStatus.FAILED)
    rig.pane.fault = RuntimeError("a fault of ours")
    rig.offer("b")
    await rig.receipt("b", MessageStatus.UNCONFIRMED)
    rig.pane.fault = None
    rig.offer("c")
    await rig.receipt("c", SUBMITTED)


async def test_a_late_proof_makes_an_unconfirmed_message_submitted(rig: DelivererScene) -> None:
    rig.pane.fault = RuntimeError("after the paste")
    rig.offer("a")
    await rig.receipt("a", MessageStatus.UNCONFIRMED)
    rig.write("a")
    await rig.receipt("a", SUBMITTED)


async def test_an_unconfirmed_message_is_not_typed_again_by_a_successor_which_still_knows_its_lot(
    rig: DelivererScene,
) -> None:
    rig.pane.fault = RuntimeError("after the paste")
    rig.offer("a")
    await rig.receipt("a", MessageStatus.UNCONFIRMED)
    await rig.kill()
    rig.pane.fault = None
    rig.begin()
    rig.offer("a", "b")
    await rig.receipt("b", SUBMITTED)
    await rig.receipt("a", MessageStatus.UNCONFIRMED)
    assert [paste.count("msg_a") for paste in rig.pane.pasted] == [0]
    rig.write("a")
    await rig.receipt("a", SUBMITTED)


async def test_an_end_is_told_again_until_the_supervisor_has_taken_it_in(rig: DelivererScene) -> None:
    rig.pane.fault = RuntimeError("after the paste")
    rig.offer("a")
    await rig.receipt("a", MessageStatus.UNCONFIRMED)
    await rig.kill()
    rig.begin("life 2")
    await rig.receipt("a", MessageStatus.UNCONFIRMED)
    rig.deliverer.acknowledged(rig.receipts)
    await rig.kill()
    rig.begin("life 2")
    assert rig.receipts == []
    assert list(rig.directory.iterdir()) == []


async def test_the_end_of_what_was_delivered_again_is_told_until_it_is_taken_in(rig: DelivererScene) -> None:
    rig.pane.deaf = True
    rig.offer("a")
    await rig.changes.until(lambda: bool(rig.pane.pressed), 5.0)
    await rig.kill()
    rig.observer.evidence.begin_life()
    rig.begin("life 2")
    await rig.receipt("a", ACCEPTED)
    rig.observer.evidence.write("[phalanx msg_a from lead]\na")
    for _ in range(2):
        await rig.kill()
        rig.begin("life 3")
        await rig.receipt("a", SUBMITTED)
    rig.deliverer.acknowledged(rig.receipts)
    assert list(rig.directory.iterdir()) == []


async def test_a_submitted_message_that_is_offered_again_is_told_again(rig: DelivererScene) -> None:
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    await rig.kill()
    rig.begin()
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    rig.receipts.clear()
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    assert len(rig.pane.pasted) == 1


async def test_a_paste_that_tmux_does_not_confirm_is_looked_into_and_done_once(rig: DelivererScene) -> None:
    rig.pane.fault = TerminalError("no answer")
    rig.offer("a")
    await rig.receipt("a", MessageStatus.BLOCKED)
    rig.pane.fault = None
    await rig.receipt("a", SUBMITTED)
    assert len(rig.pane.pasted) == 1


async def test_what_cannot_be_noted_is_not_typed_until_it_can(rig: DelivererScene, tmp_path: Path) -> None:
    obstacle = tmp_path / f"{JOURNAL_NAME}{UNFINISHED}"
    obstacle.mkdir()
    rig.offer("a")
    assert "cannot be noted" in (await rig.receipt("a", MessageStatus.BLOCKED)).reason
    assert rig.pane.pasted == []
    obstacle.rmdir()
    await rig.receipt("a", SUBMITTED)


async def test_what_an_interrupt_took_back_fails_and_is_not_delivered_again(rig: DelivererScene) -> None:
    rig.pane.taken = rig.observer.evidence.report  # type: ignore[method-assign]
    rig.offer("a")
    await rig.changes.until(lambda: rig.pane.pressed == ["Enter"], 5.0)
    async with asyncio.timeout(5.0):
        while rig.deliverer.typing.locked():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
    rig.deliverer.interrupted()
    assert "stopped" in (await rig.receipt("a", MessageStatus.FAILED)).reason
    assert len(rig.pane.pasted) == 1


@pytest.mark.parametrize("clears_after_s", [0.0, 2.0], ids=["at once", "drawn for some time yet"])
async def test_what_an_interrupt_gives_back_however_late_is_cleared_before_the_next_message(
    rig: DelivererScene, clears_after_s: float
) -> None:
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    rig.deliverer.interrupted()
    rig.pane.clears_after_s = clears_after_s
    rig.show(rig.pane.pasted[-1].removesuffix("\n"))
    rig.offer("b")
    await rig.receipt("b", SUBMITTED)
    assert rig.pane.pressed == ["Enter", "C-c", "Enter"]
    assert MessageStatus.BLOCKED not in {receipt.status for receipt in rig.receipts}


async def test_what_a_person_has_taken_back_is_not_cleared(rig: DelivererScene) -> None:
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    rig.show(rig.pane.pasted[-1].removesuffix("\n"))
    rig.offer("b")
    assert "stands in" in (await rig.receipt("b", MessageStatus.BLOCKED)).reason
    assert rig.pane.pressed == ["Enter"]


async def test_what_was_written_before_an_interrupt_is_submitted(rig: DelivererScene) -> None:
    rig.pane.taken = rig.observer.evidence.report  # type: ignore[method-assign]
    rig.offer("a")
    await rig.changes.until(lambda: rig.pane.pressed == ["Enter"], 5.0)
    rig.deliverer.interrupted()
    rig.write("a")
    await rig.receipt("a", SUBMITTED)


async def test_a_prompt_that_a_hook_only_reports_is_not_submitted(rig: DelivererScene) -> None:
    rig.pane.taken = rig.observer.evidence.report  # type: ignore[method-assign]
    rig.offer("a")
    await rig.changes.until(lambda: rig.pane.pressed == ["Enter"], 5.0)
    assert not await rig.changes.until(lambda: bool(rig.receipts), 0.5)
    rig.write("a")
    await rig.receipt("a", SUBMITTED)


async def test_the_receipt_says_what_the_agent_s_program_has_changed(rig: DelivererScene) -> None:
    rig.offer("a")
    assert (await rig.receipt("a", SUBMITTED)).exact
    rig.deliverer.offer([replace(message("b"), text="a\ttab")])
    changed = await rig.receipt("b", SUBMITTED)
    assert (changed.exact, changed.changes) == (False, ("1 tab turned into spaces",))


async def test_a_message_that_is_refused_takes_nobody_along(rig: DelivererScene) -> None:
    rig.pane.refuses = "b"
    rig.observer.become(Status.BUSY)
    rig.offer("a", "b", "c")
    rig.observer.become(Status.READY)
    assert (await rig.receipt("b", MessageStatus.FAILED)).reason == "a hook says no"
    await rig.receipt("c", SUBMITTED)
    await rig.receipt("a", SUBMITTED)
    assert [paste.count("[phalanx") for paste in rig.pane.pasted] == [3, 1, 1, 1]


async def test_a_message_that_is_held_always_says_why_it_is_held_now(rig: DelivererScene) -> None:
    rig.observer.screen = Screen(composer=Composer.DRAFT, draft="q)")
    rig.offer("a")
    async with asyncio.timeout(10.0):
        while "'q)' stands in" not in (rig.receipts[-1].reason if rig.receipts else ""):
            await rig.changes.next(1.0)
    assert "phalanx attach i" in rig.receipts[-1].reason
    rig.observer.become(Status.WAITING_PERMISSION)
    await rig.changes.until(lambda: "respond" in rig.receipts[-1].reason, 5.0)
    rig.offer("b")
    assert "respond" in (await rig.receipt("b", MessageStatus.BLOCKED)).reason
    rig.observer.screen = Screen(composer=Composer.ABSENT)
    rig.observer.become(Status.READY)
    await rig.changes.until(lambda: "not visible" in rig.receipts[-1].reason, 5.0)
    assert {receipt.reason for receipt in rig.receipts[-2:]} == {rig.receipts[-1].reason}
    rig.observer.screen = EMPTY
    await rig.receipt("a", SUBMITTED)
    await rig.receipt("b", SUBMITTED)


async def test_what_a_person_types_behind_our_draft_is_not_entered_until_it_is_gone(rig: DelivererScene) -> None:
    rig.pane.after_paste = lambda: rig.show(rig.pane.pasted[-1] + "q)")
    rig.offer("a")
    held = await rig.receipt("a", MessageStatus.BLOCKED)
    assert "q)' stands in the agent's input box" in held.reason
    assert rig.pane.pressed == []
    rig.show(rig.pane.pasted[-1])
    await rig.receipt("a", SUBMITTED)
    assert (rig.pane.pressed, len(rig.pane.pasted)) == (["Enter"], 1)


async def test_nothing_is_pasted_while_a_person_types_and_it_is_told_when_that_lasts(
    rig: DelivererScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "_TYPING_S", 0.0)
    rig.pane.last_pressed = LastKey(attached=True, at=int(time.time()) + 1)
    rig.offer("a")
    held = await rig.receipt("a", MessageStatus.BLOCKED)
    assert (held.reason, rig.pane.pasted) == ("someone is typing at the agent's terminal", [])
    await rig.receipt("a", SUBMITTED)
    assert rig.pane.pressed == ["Enter"]


async def test_what_a_person_has_begun_to_type_since_the_look_gets_no_paste_into_it(rig: DelivererScene) -> None:
    def press() -> None:
        rig.pane.before_paste = lambda: None
        rig.pane.last_pressed = LastKey(attached=True, at=int(time.time()))

    rig.pane.before_paste = press
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    assert len(rig.pane.pasted) == 1
    assert [receipt.status for receipt in rig.receipts] == [SUBMITTED], "a moment is nothing to tell"


async def test_enter_waits_until_the_screen_would_show_what_a_person_has_typed_since_the_paste(
    rig: DelivererScene,
) -> None:
    def press() -> None:
        rig.pane.last_pressed = LastKey(attached=True, at=int(time.time()))

    rig.pane.after_paste = press
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
    assert rig.pane.pressed == ["Enter"]
    assert time.time() >= rig.pane.last_pressed.at + 2.0


async def test_a_paste_that_is_not_drawn_yet_when_a_stalled_machine_goes_on_is_waited_for(
    rig: DelivererScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled = False

    async def look() -> tuple[Screen, LastKey]:
        nonlocal stalled
        if stalled:
            rig.show(rig.pane.pasted[-1])
        elif rig.pane.pasted:
            stalled = True
            cast("VirtualTimeLoop", asyncio.get_running_loop()).skip(600.0)
        return rig.observer.screen, rig.pane.last_pressed

    paste_shows(rig, EMPTY)
    monkeypatch.setattr(rig.observer, "look_before_typing", look)
    rig.offer("a")
    await asyncio.sleep(0.1)
    await rig.receipt("a", SUBMITTED)
    assert (len(rig.pane.pasted), rig.pane.pressed) == (1, ["Enter"])


def paste_shows(rig: DelivererScene, screen: Screen) -> None:
    """Something comes up the moment that our paste is done."""
    rig.pane.after_paste = lambda: setattr(rig.observer, "screen", screen)


@pytest.mark.parametrize(
    "screen",
    [DIALOG, Screen(composer=Composer.DRAFT, draft="not ours"), replace(EMPTY, busy=True)],
    ids=["dialog", "draft", "turn of a person"],
)
async def test_while_something_stands_in_the_way_of_what_was_pasted_others_may_press_keys(
    rig: DelivererScene, screen: Screen
) -> None:
    paste_shows(rig, screen)
    rig.offer("a")
    async with asyncio.timeout(5.0):
        while not rig.pane.pasted or rig.deliverer.typing.locked() or rig.pane.drawn_for:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        async with rig.deliverer.typing:
            rig.show(rig.pane.pasted[-1])
            await asyncio.sleep(0.3)
            assert rig.pane.pressed == [], "who has the keys alone presses them"
    await rig.receipt("a", SUBMITTED)
    assert (rig.pane.pressed, len(rig.pane.pasted)) == (["Enter"], 1)


async def test_an_interrupt_of_a_turn_that_a_held_message_had_not_begun_does_not_end_the_message(
    rig: DelivererScene,
) -> None:
    paste_shows(rig, DIALOG)
    rig.offer("a")
    await rig.receipt("a", MessageStatus.BLOCKED)
    rig.deliverer.interrupted()
    rig.pane.taken = rig.observer.evidence.report  # type: ignore[method-assign]
    rig.show(rig.pane.pasted[-1])
    await rig.changes.until(lambda: rig.pane.pressed == ["Enter"], 5.0)
    assert not await rig.changes.until(lambda: rig.receipts[-1].status is MessageStatus.FAILED, 3.0)
    rig.write("a")
    await rig.receipt("a", SUBMITTED)


async def test_what_was_pasted_is_not_entered_while_a_request_without_a_dialog_waits(rig: DelivererScene) -> None:
    rig.pane.after_paste = lambda: rig.observer.become(Status.WAITING_PERMISSION)
    rig.offer("a")
    assert "respond" in (await rig.receipt("a", MessageStatus.BLOCKED)).reason
    assert not await rig.changes.until(lambda: bool(rig.pane.pressed), 2.0)
    assert not rig.deliverer.typing.locked()
    assert [receipt.status for receipt in rig.receipts] == [MessageStatus.BLOCKED]
    rig.observer.become(Status.READY)
    await rig.receipt("a", SUBMITTED)


async def test_what_was_pasted_before_the_lease_ran_out_is_not_entered_until_it_is_renewed(rig: DelivererScene) -> None:
    paste_shows(rig, DIALOG)
    rig.offer("a")
    await rig.receipt("a", MessageStatus.BLOCKED)
    rig.boot_s = 41.0
    rig.show(rig.pane.pasted[-1])
    assert await rig.changes.until(lambda: "cut off from the team" in rig.receipts[-1].reason, 5.0)
    assert not await rig.changes.until(lambda: bool(rig.pane.pressed), 1.5)
    rig.renew_lease()
    await rig.receipt("a", SUBMITTED)
    assert (rig.pane.pressed, len(rig.pane.pasted)) == (["Enter"], 1)


async def test_nothing_is_pasted_when_the_lease_runs_out_while_others_press_keys(rig: DelivererScene) -> None:
    async with rig.deliverer.typing:
        rig.offer("a")
        await asyncio.sleep(0.1)
        rig.boot_s = 41.0
    assert "cut off from the team" in (await rig.receipt("a", MessageStatus.BLOCKED)).reason
    assert rig.pane.pasted == []
    rig.renew_lease()
    await rig.receipt("a", SUBMITTED)


async def test_a_draft_of_somebody_else_is_not_entered_by_a_successor(rig: DelivererScene) -> None:
    rig.pane.deaf = True
    rig.offer("a")
    await rig.changes.until(lambda: bool(rig.pane.pressed), 5.0)
    await rig.kill()
    rig.pane.deaf, rig.pane.pressed = False, []
    rig.show("a person's words")
    rig.begin()
    assert "'a person's words' stands in" in (await rig.receipt("a", MessageStatus.BLOCKED)).reason
    assert rig.pane.pressed == []


async def test_the_end_of_a_restarting_agent_is_no_end_for_what_is_offered_then(rig: DelivererScene) -> None:
    rig.observer.coming_back = True
    rig.observer.become(Status.FAILED)
    rig.offer("a")
    await rig.running
    assert rig.receipts == []


def test_a_lease_ends_unless_it_is_renewed_but_on_one_machine_it_lasts_for_ever() -> None:
    now = [100.0]
    lease, endless = Lease(40.0, lambda: now[0]), Lease(0, lambda: now[0])
    assert (lease.held, endless.held) == (False, True)
    lease.confirm(lease.answered())
    for passed_s, held in ((39.0, True), (39.0, True), (1.0, False)):
        now[0] += passed_s
        assert (lease.held, endless.held) == (held, True)
        if passed_s == 39.0 and now[0] < 150.0:
            lease.confirm(lease.answered())


def test_a_lease_lasts_from_the_answer_that_the_supervisor_has_however_late_it_says_so() -> None:
    now = [0.0]
    lease = Lease(40.0, lambda: now[0])
    first = lease.answered()
    now[0] = 30.0
    lease.answered()
    now[0] = 39.0
    lease.confirm(first)
    assert lease.held
    now[0] = 40.0
    assert not lease.held
    lease.confirm(first)  # the same question, which was on its way for long
    assert not lease.held


def test_a_question_that_arrives_late_takes_nothing_back_from_a_lease() -> None:
    now = [0.0]
    lease = Lease(40.0, lambda: now[0])
    first = lease.answered()
    now[0] = 30.0
    lease.confirm(lease.answered())
    lease.confirm(first)
    now[0] = 69.0
    assert lease.held


def test_a_lease_runs_out_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    suspended_s = [0.0]
    ask = time.clock_gettime
    monkeypatch.setattr(
        time, "clock_gettime", lambda clock: ask(clock) + (suspended_s[0] if clock == time.CLOCK_BOOTTIME else 0.0)
    )
    lease = Lease(40.0)
    lease.confirm(lease.answered())
    assert lease.held

    suspended_s[0] = 3600.0
    assert not lease.held
    lease.confirm(lease.answered())
    assert lease.held


def test_a_lease_outlasts_the_supervisor_s_pauses_and_is_outlasted_by_the_wait_before_a_second_copy() -> None:
    assert POLL_S < LEASE_S < FENCE_S


async def test_the_gate_stays_shut_without_even_a_look_while_the_lease_is_not_held() -> None:
    now = [0.0]
    lease = Lease(1.0, lambda: now[0])
    lease.confirm(lease.answered())
    gate = TypingGate(cast("Any", None), lease)  # who looked would fail
    now[0] = 2.0

    verdict = await gate.look("attach")
    assert not verdict.open
    assert verdict.reason == ""
    await asyncio.sleep(REDRAW_S)

    verdict = await gate.look("attach")
    assert not verdict.open
    assert "cut off" in verdict.reason


@pytest.mark.parametrize("is_pasted", [False, True])
async def test_a_new_actor_whose_lease_is_on_its_way_does_not_say_that_its_host_is_cut_off(
    rig: DelivererScene, *, is_pasted: bool
) -> None:
    if is_pasted:
        paste_shows(rig, DRAFT)
        rig.offer("a")
        assert await rig.changes.until(lambda: bool(rig.pane.pasted), 5.0)
        rig.show(rig.pane.pasted[-1])
    await rig.kill()
    rig.lease = Lease(40.0, lambda: rig.boot_s)
    rig.begin()
    if not is_pasted:
        rig.offer("a")
    await asyncio.sleep(0.5)
    assert (len(rig.pane.pasted), rig.pane.pressed) == (int(is_pasted), [])
    rig.renew_lease()
    await rig.receipt("a", SUBMITTED)
    assert MessageStatus.BLOCKED not in [each.status for each in rig.receipts]


async def test_while_it_is_held_nothing_is_typed_and_each_message_says_why(rig: DelivererScene) -> None:
    rig.deliverer.hold = "its token limit is used up"
    rig.offer("a")
    assert (await rig.receipt("a", MessageStatus.BLOCKED)).reason == "its token limit is used up"
    await asyncio.sleep(3600)
    assert rig.pane.pasted == []
    rig.deliverer.hold = ""
    rig.changes.announce()
    await rig.receipt("a", SUBMITTED)


async def test_after_a_turn_that_failed_at_a_limit_messages_wait_until_that_ends(rig: DelivererScene) -> None:
    resets_at = time.time() + 5000
    limited = RateLimit(at=time.time(), resets_at=resets_at)
    rig.observer.state = replace(rig.observer.state, status=Status.RATE_LIMITED, limit=limited)
    rig.offer("a")
    assert "resets at" in (await rig.receipt("a", MessageStatus.BLOCKED)).reason
    await asyncio.sleep(4999)
    assert rig.pane.pasted == []
    await rig.receipt("a", SUBMITTED)
    assert resets_at <= time.time() < resets_at + 2


async def test_a_limit_of_which_no_end_is_told_holds_nothing(rig: DelivererScene) -> None:
    limited = RateLimit(at=time.time())
    rig.observer.state = replace(rig.observer.state, status=Status.RATE_LIMITED, limit=limited)
    rig.offer("a")
    await rig.receipt("a", SUBMITTED)
