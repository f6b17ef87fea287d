from __future__ import annotations

from typing import Any

from actors.agents.base import AgentEvent, Composer, Dialog, EventKind, Screen
from actors.states import DIALOG_REASON, InstanceState, Status, decided, fold, on_exit, on_screen

COMPOSER = Screen(composer=Composer.EMPTY)
DIALOG = Screen(composer=Composer.ABSENT, dialog=Dialog())
WORKING = Screen(composer=Composer.EMPTY, busy=True)


def event(kind: EventKind, at: float = 1.0, **fields: Any) -> AgentEvent:
    return AgentEvent(kind=kind, at=at, session_id="s", **fields)


def after(*events: AgentEvent, state: InstanceState | None = None) -> InstanceState:
    folded = state or InstanceState()
    for one in events:
        folded = fold(folded, one)
    return folded


ASK = event(EventKind.PERMISSION_REQUESTED, request_id="r1", tool="Bash", tool_input={"command": "ls"})
BUSY = after(event(EventKind.SESSION_STARTED), event(EventKind.PROMPT_SUBMITTED, text="hi"))


def test_an_agent_is_ready_when_its_input_box_is_visible_and_not_when_its_session_starts() -> None:
    started = after(event(EventKind.SESSION_STARTED))
    assert started.status is Status.STARTING
    assert on_screen(started, DIALOG, 1.0).status is Status.STARTING
    assert on_screen(started, COMPOSER, 1.0).status is Status.READY


def test_a_screen_that_stops_the_start_gives_the_reason() -> None:
    stuck = on_screen(InstanceState(), Screen(composer=Composer.ABSENT, trouble="not logged in"), 1.0)
    assert stuck.status is Status.STARTING
    assert stuck.reason == "not logged in"


def test_a_prompt_makes_it_busy_and_an_answer_ready() -> None:
    assert BUSY.status is Status.BUSY
    assert after(event(EventKind.TURN_ENDED), state=BUSY).status is Status.READY


def test_a_permission_request_waits_until_it_is_decided() -> None:
    waiting = after(ASK, state=BUSY)
    assert waiting.status is Status.WAITING_PERMISSION
    assert waiting.permissions[0].tool_input == {"command": "ls"}
    assert decided(waiting, "r1", 2.0).status is Status.BUSY


def test_of_two_requests_the_other_goes_on_waiting() -> None:
    second = event(EventKind.PERMISSION_REQUESTED, request_id="r2", tool="Write", tool_input={"path": "x"})
    waiting = after(ASK, second, state=BUSY)
    left = after(event(EventKind.TOOL_USED, tool="Bash", tool_input={"command": "ls"}), state=waiting)
    assert left.status is Status.WAITING_PERMISSION
    assert [p.request_id for p in left.permissions] == ["r2"]


def test_a_rate_limit_is_told_apart_from_other_failures() -> None:
    limited = after(event(EventKind.TURN_FAILED, text="429", rate_limited=True), state=BUSY)
    failed = after(event(EventKind.TURN_FAILED, text="overloaded"), state=BUSY)
    assert limited.status is Status.RATE_LIMITED
    assert failed.status is Status.READY
    assert "overloaded" in failed.reason


def test_the_screen_ends_a_turn_that_no_hook_ended_but_not_at_once() -> None:
    assert on_screen(BUSY, COMPOSER, 1.5).status is Status.BUSY
    assert on_screen(BUSY, COMPOSER, 60.0).status is Status.READY
    assert on_screen(BUSY, WORKING, 60.0).status is Status.BUSY


def test_a_dialog_that_a_person_answered_no_longer_waits() -> None:
    waiting = after(ASK, state=BUSY)
    assert on_screen(waiting, DIALOG, 60.0).status is Status.WAITING_PERMISSION
    assert on_screen(waiting, WORKING, 60.0).status is Status.BUSY


def test_a_dialog_that_no_hook_announced_is_a_reason_to_look_and_none_once_it_is_gone() -> None:
    assert on_screen(BUSY, DIALOG, 1.5).reason == ""
    seen = on_screen(BUSY, DIALOG, 60.0)
    assert (seen.status, seen.reason) == (Status.BUSY, DIALOG_REASON)
    assert on_screen(seen, WORKING, 61.0).reason == ""


def test_an_end_that_was_asked_for_is_no_failure_and_the_dead_stay_dead() -> None:
    assert on_exit(BUSY, 2.0, asked=True, reason="").status is Status.STOPPED
    dead = on_exit(BUSY, 2.0, asked=False, reason="exit status 3")
    assert dead.status is Status.FAILED
    assert after(event(EventKind.PROMPT_SUBMITTED), state=dead).status is Status.FAILED
