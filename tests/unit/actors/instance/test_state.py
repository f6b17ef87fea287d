"""How the witnesses of an agent's status are weighed, each alone and against the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import AgentEvent, Composer, Dialog, EventKind, ReportedStatus, Screen
from actors.instance.state import (
    ANSWER_HEAD,
    SETTLE_S,
    UNSEEN_S,
    InstanceState,
    RateLimit,
    decided,
    fold,
    in_words,
    interrupted,
    on_exit,
    on_own_status,
    on_screen,
    without,
)
from actors.status import Status

FREE = Screen(composer=Composer.EMPTY)
DRAFT = Screen(composer=Composer.DRAFT, draft="q)")
WORKING = Screen(composer=Composer.EMPTY, busy=True)
DIALOG = Screen(composer=Composer.ABSENT, dialog=Dialog(question="Turn it on?", options=("Yes", "No")))
NO_BOX = Screen(composer=Composer.ABSENT, shown="a view of the transcript")
SOON = 0.3
LATE = 100.0


def event(kind: EventKind, **fields: Any) -> AgentEvent:
    return AgentEvent(kind=kind, at=1.0, session_id="s", **fields)


STARTED = event(EventKind.SESSION_STARTED, source="startup")
PROMPT = event(EventKind.PROMPT_SUBMITTED, text="hi")
ENDED = event(EventKind.TURN_ENDED)
ENDED_WITH_SUBAGENTS = event(EventKind.TURN_ENDED, in_background=True)
ASK = event(EventKind.PERMISSION_REQUESTED, request_id="r1", tool="Bash", tool_input={"command": "ls"})
SUBAGENT_ASKS = event(
    EventKind.PERMISSION_REQUESTED, request_id="r2", tool="Bash", tool_input={"command": "rm"}, subagent="a1"
)
USED = event(EventKind.TOOL_USED, tool="Bash", tool_input={"command": "ls"})


def own(status: str, waiting_for: str = "") -> ReportedStatus:
    return ReportedStatus(session_id="s", status=status, waiting_for=waiting_for)


IDLE, AT_WORK, SHELL = own("idle"), own("busy"), own("shell")
WAITING = own("waiting", "dialog open")


class Story:
    """What the witnesses say one after the other; ``at`` seconds after the last hook event."""

    def __init__(self, *events: AgentEvent) -> None:
        self.now = 0.0
        self.state = on_screen(InstanceState(), FREE, self.now)
        self.hooks(STARTED, *events)

    def hooks(self, *events: AgentEvent) -> Story:
        for one in events:
            self.now += 0.01
            self.state = fold(self.state, one, self.now)
        return self

    def file(self, says: ReportedStatus | None, after: float = 0.0) -> Story:
        self.now += after
        self.state = on_own_status(self.state, says, self.now)
        return self

    def screen(self, *shows: Screen, after: float = 0.0) -> Story:
        self.now += after
        for one in shows:
            self.now += 0.01
            self.state = on_screen(self.state, one, self.now)
        return self

    @property
    def status(self) -> str:
        return self.state.status


def test_a_dialog_that_is_still_drawn_after_its_request_was_decided_asks_nobody() -> None:
    story = Story(PROMPT, ASK).file(WAITING).screen(DIALOG, DIALOG, DIALOG, after=LATE)
    story.state = decided(story.state, "r1", story.now, allowed=True)
    assert story.status == Status.BUSY
    assert story.screen(DIALOG, DIALOG, after=LATE).status == Status.WAITING_INPUT


def test_an_agent_is_ready_when_its_input_box_is_visible_and_not_when_its_session_starts() -> None:
    started = fold(InstanceState(), STARTED, 0.0)
    assert started.status is Status.STARTING
    assert on_screen(started, DIALOG, 1.0).status is Status.STARTING
    assert on_screen(started, FREE, 1.0).status is Status.READY


def test_an_agent_that_had_turns_before_it_was_followed_has_started_whatever_its_screen_shows() -> None:
    asked = fold(fold(fold(InstanceState(), STARTED, 0.0), PROMPT, 0.0), ASK, 0.0)
    assert on_screen(asked, DIALOG, 1.0).status is Status.WAITING_PERMISSION


def test_a_screen_that_stops_the_start_gives_the_reason() -> None:
    stuck = on_screen(InstanceState(), Screen(composer=Composer.ABSENT, trouble="not logged in"), 1.0)
    assert (stuck.status, stuck.reason) == (Status.STARTING, "not logged in")


def test_a_dialog_at_the_start_is_told_with_its_options() -> None:
    state = on_screen(on_screen(InstanceState(), DIALOG, 1.0), DIALOG, 1.5)
    assert state.status is Status.STARTING
    assert "Turn it on?" in state.reason
    assert "1. Yes; 2. No" in state.reason


def test_a_start_that_shows_something_unknown_says_what_it_shows_within_ten_seconds() -> None:
    state = on_screen(on_screen(InstanceState(), NO_BOX, 1.0), NO_BOX, 1.0 + UNSEEN_S)
    assert "a view of the transcript" in state.reason
    assert UNSEEN_S < 10


def test_a_prompt_makes_it_busy_and_an_answer_ready() -> None:
    story = Story(PROMPT)
    assert story.status is Status.BUSY
    assert story.hooks(ENDED).status is Status.READY


def test_a_prompt_that_came_while_a_turn_was_under_way_keeps_it_busy_when_that_turn_ends() -> None:
    story = Story(PROMPT, PROMPT, ENDED)
    assert story.status is Status.BUSY
    assert story.file(AT_WORK).screen(WORKING, WORKING, after=LATE).status is Status.BUSY
    assert story.hooks(ENDED).status is Status.READY


def test_a_prompt_that_makes_no_turn_of_its_own_keeps_it_busy_only_until_file_and_screen_say_otherwise() -> None:
    story = Story(PROMPT, PROMPT, ENDED).file(IDLE)
    assert story.screen(FREE, FREE, after=SOON).status is Status.BUSY
    assert story.screen(FREE, FREE, after=SETTLE_S).status is Status.READY
    assert story.hooks(PROMPT, ENDED).status is Status.READY


def test_a_prompt_after_a_turn_that_no_hook_ended_is_no_second_one() -> None:
    stopped = Story(PROMPT).file(IDLE).screen(FREE, FREE, after=LATE)
    assert stopped.hooks(PROMPT, ENDED).status is Status.READY
    cleared = Story(PROMPT, PROMPT, event(EventKind.SESSION_STARTED, source="clear"), PROMPT, ENDED)
    assert cleared.status is Status.READY
    interrupted_one = Story(PROMPT, PROMPT)
    interrupted_one.state = interrupted(interrupted_one.state, interrupted_one.now)
    assert interrupted_one.hooks(PROMPT, ENDED).status is Status.READY


def test_a_message_may_be_typed_beside_subagents_although_a_prompt_came_while_the_turn_was_under_way() -> None:
    story = Story(PROMPT, PROMPT, ENDED_WITH_SUBAGENTS).file(AT_WORK, after=LATE)
    assert (story.status, story.state.typable) == (Status.BUSY, True)


def test_a_permission_request_waits_until_it_is_decided() -> None:
    story = Story(PROMPT, ASK)
    assert story.status is Status.WAITING_PERMISSION
    assert story.state.permissions[0].tool_input == {"command": "ls"}
    assert decided(story.state, "r1", 2.0, allowed=True).status is Status.BUSY


def test_of_two_requests_the_other_goes_on_waiting() -> None:
    second = event(EventKind.PERMISSION_REQUESTED, request_id="r9", tool="Write", tool_input={"path": "x"})
    story = Story(PROMPT, ASK, second, USED)
    assert story.status is Status.WAITING_PERMISSION
    assert [asked.request_id for asked in story.state.permissions] == ["r9"]


def test_a_call_that_was_allowed_is_not_taken_for_its_equal_that_still_waits() -> None:
    again = event(EventKind.PERMISSION_REQUESTED, request_id="r9", tool="Bash", tool_input={"command": "ls"})
    story = Story(PROMPT, ASK, again)
    story.state = decided(story.state, "r1", story.now, allowed=True)
    assert [asked.request_id for asked in story.hooks(USED).state.permissions] == ["r9"]


def test_a_call_that_was_denied_or_has_failed_is_not_taken_for_a_later_one_of_the_same_words() -> None:
    again = event(EventKind.PERMISSION_REQUESTED, request_id="r9", tool="Bash", tool_input={"command": "ls"})
    denied = Story(PROMPT, ASK)
    denied.state = decided(denied.state, "r1", denied.now, allowed=False)
    failed = Story(PROMPT, ASK)
    failed.state = decided(failed.state, "r1", failed.now, allowed=True)
    for story in (denied, failed.hooks(USED)):
        assert story.hooks(again).status is Status.WAITING_PERMISSION
        assert story.hooks(USED).status is Status.BUSY


def test_a_call_that_ran_with_a_long_input_is_matched_by_its_tool_when_only_one_was_asked_for() -> None:
    slimmed = event(EventKind.TOOL_USED, tool="Bash", subagent="a1", slimmed=True)
    assert Story(PROMPT, SUBAGENT_ASKS, slimmed).status is Status.BUSY
    other = event(
        EventKind.PERMISSION_REQUESTED, request_id="r8", tool="Bash", tool_input={"command": "x"}, subagent="a1"
    )
    assert len(Story(PROMPT, SUBAGENT_ASKS, other, slimmed).state.permissions) == 2
    for tool, subagent in (("Bash", ""), ("Bash", "a2"), ("Write", "a1")):
        another = event(EventKind.TOOL_USED, tool=tool, subagent=subagent, slimmed=True)
        assert Story(PROMPT, SUBAGENT_ASKS, another).status is Status.WAITING_PERMISSION


def test_no_request_is_dropped_because_the_screen_shows_no_dialog() -> None:
    """Claude Code draws the dialog of a subagent in the background only when the hook has ended, and that of a long
    call after 20 seconds."""
    for asks in (ASK, SUBAGENT_ASKS):
        story = Story(PROMPT, asks).file(AT_WORK).screen(FREE, FREE, FREE, after=LATE)
        assert story.status is Status.WAITING_PERMISSION


def test_the_request_of_a_subagent_outlives_the_turn_and_every_screen_and_ends_with_its_hook() -> None:
    story = Story(PROMPT, SUBAGENT_ASKS, ENDED_WITH_SUBAGENTS).file(AT_WORK)
    assert story.status is Status.WAITING_PERMISSION
    assert story.screen(DIALOG, DIALOG, FREE, FREE, after=LATE).status is Status.WAITING_PERMISSION
    assert without(story.state, {"r2"}, story.now).status is Status.BUSY


def test_the_own_request_of_an_agent_ends_with_its_turn() -> None:
    assert Story(PROMPT, ASK, ENDED).status is Status.READY


def test_a_dialog_that_a_person_answered_no_longer_waits() -> None:
    story = Story(PROMPT, ASK).screen(DIALOG, after=LATE)
    assert story.status is Status.WAITING_PERMISSION
    assert story.screen(WORKING).status is Status.WAITING_PERMISSION
    assert story.screen(WORKING).status is Status.BUSY


def test_a_dialog_that_only_the_program_told_of_no_longer_waits_when_it_is_gone() -> None:
    story = Story(PROMPT, ASK).file(AT_WORK).file(own("waiting", "permission prompt"), after=SOON)
    assert story.screen(WORKING, WORKING, after=LATE).status is Status.WAITING_PERMISSION
    assert story.file(AT_WORK).screen(WORKING, WORKING, after=SOON).status is Status.BUSY


def test_the_program_s_word_on_an_earlier_dialog_is_not_taken_for_one_on_a_request_that_has_just_come() -> None:
    waits = own("waiting", "permission prompt")
    for before in ((AT_WORK,), (AT_WORK, waits)):
        story = Story(PROMPT)
        for says in before:
            story.file(says)
        story.hooks(ASK).file(waits, after=0.01).file(AT_WORK, after=SOON)
        assert story.screen(WORKING, WORKING, WORKING, after=LATE).status is Status.WAITING_PERMISSION


def test_a_request_waits_on_while_the_program_says_so_whatever_the_screen_shows() -> None:
    story = Story(PROMPT, ASK).screen(DIALOG, after=LATE).file(own("waiting", "permission prompt"))
    assert story.screen(FREE, FREE, FREE).status is Status.WAITING_PERMISSION


def test_a_rate_limit_is_told_apart_from_other_failures_and_gone_with_the_next_prompt() -> None:
    limited = Story(PROMPT, event(EventKind.TURN_FAILED, text="429", rate_limited=True))
    failed = Story(PROMPT, event(EventKind.TURN_FAILED, text="overloaded"))
    assert limited.status is Status.RATE_LIMITED
    assert failed.status is Status.READY
    assert "overloaded" in failed.state.reason
    assert limited.hooks(PROMPT, ENDED).status is Status.READY
    assert failed.hooks(PROMPT, ENDED).state.reason == ""


@pytest.mark.parametrize("says", [None, IDLE, SHELL])
def test_a_turn_that_no_hook_ended_is_over_when_file_and_screen_agree_but_not_at_once(
    says: ReportedStatus | None,
) -> None:
    story = Story(PROMPT).file(says)
    assert story.screen(FREE, FREE, after=SOON).status is Status.BUSY
    assert story.screen(FREE, FREE, after=SETTLE_S).status is Status.READY


def test_a_turn_goes_on_while_the_program_says_that_it_works_although_the_screen_shows_no_sign() -> None:
    """As with reduced motion, or a status line in place of the hints."""
    assert Story(PROMPT).file(AT_WORK).screen(FREE, FREE, FREE, after=LATE).status is Status.BUSY


def test_a_turn_goes_on_while_the_screen_shows_it() -> None:
    assert Story(PROMPT).file(IDLE).screen(WORKING, WORKING, after=LATE).status is Status.BUSY


def test_one_look_alone_proves_nothing_against_a_hook() -> None:
    story = Story(PROMPT).screen(FREE, after=LATE)
    assert story.status is Status.BUSY


def test_work_that_a_person_started_is_seen_without_a_hook() -> None:
    assert Story(PROMPT, ENDED).file(AT_WORK).file(AT_WORK, after=LATE).status is Status.BUSY
    assert Story(PROMPT, ENDED).screen(WORKING, WORKING, after=LATE).status is Status.BUSY


def test_what_goes_wrong_beside_an_input_box_is_told_and_taken_back() -> None:
    retries = Screen(composer=Composer.EMPTY, busy=True, trouble="the API does not answer")
    story = Story(PROMPT).file(AT_WORK).screen(retries, after=LATE)
    assert (story.status, story.state.reason) == (Status.BUSY, "the API does not answer")
    assert story.screen(WORKING).state.reason == ""
    logged_out = Screen(composer=Composer.EMPTY, trouble="not logged in")
    assert Story(PROMPT, ENDED).screen(logged_out, after=LATE).state.reason == "not logged in"


def test_a_screen_that_has_not_caught_up_with_the_end_of_a_turn_is_overruled_by_the_file() -> None:
    story = Story(PROMPT, ENDED).screen(WORKING, WORKING, after=LATE)
    assert story.status is Status.BUSY
    assert story.file(IDLE).file(IDLE, after=LATE).status is Status.READY


def test_subagents_in_the_background_keep_it_busy_but_a_message_may_be_typed() -> None:
    story = Story(PROMPT, ENDED_WITH_SUBAGENTS).file(AT_WORK, after=LATE)
    assert (story.status, story.state.typable) == (Status.BUSY, True)
    assert not Story(PROMPT).state.typable
    assert story.hooks(PROMPT, ENDED).file(IDLE).status is Status.READY


def test_subagents_that_a_person_stopped_work_no_more() -> None:
    story = Story(PROMPT, ENDED_WITH_SUBAGENTS).file(AT_WORK)
    assert story.file(IDLE).file(IDLE, after=LATE).status is Status.READY


def test_it_is_never_ready_while_the_program_says_that_it_waits() -> None:
    for events in ((), (PROMPT,), (PROMPT, ENDED)):
        story = Story(*events).file(WAITING).file(WAITING, after=SETTLE_S).screen(FREE, FREE, FREE)
        assert story.status is Status.WAITING_INPUT
        assert "dialog open" in story.state.reason


def test_a_dialog_that_no_hook_announced_waits_for_a_person_until_it_is_gone() -> None:
    story = Story(PROMPT)
    assert story.screen(DIALOG, after=SOON).status is Status.BUSY
    assert story.screen(DIALOG, DIALOG, after=SETTLE_S).status is Status.WAITING_INPUT
    assert "Turn it on?" in story.state.reason
    assert story.screen(WORKING).status is Status.BUSY


def test_a_view_without_an_input_box_waits_for_a_person_when_no_turn_is_under_way() -> None:
    story = Story(PROMPT, ENDED).file(IDLE).screen(NO_BOX, after=LATE)
    assert story.screen(NO_BOX).status is Status.READY
    assert story.screen(NO_BOX, after=UNSEEN_S).status is Status.WAITING_INPUT
    assert "a view of the transcript" in story.state.reason
    assert Story(PROMPT).file(AT_WORK).screen(NO_BOX, NO_BOX, NO_BOX, after=LATE).status is Status.BUSY


def test_a_new_conversation_in_the_same_program_ends_the_turn() -> None:
    for source in ("clear", "resume", "fork"):
        began = event(EventKind.SESSION_STARTED, source=source)
        assert Story(PROMPT, began).status is Status.READY
    assert Story(PROMPT, event(EventKind.SESSION_STARTED, source="compact")).status is Status.BUSY


def test_the_conversation_that_it_is_in_is_known() -> None:
    other = AgentEvent(kind=EventKind.SESSION_STARTED, at=1.0, session_id="other", source="resume")
    assert Story(PROMPT, ENDED).state.session_id == "s"
    assert Story(PROMPT, ENDED, other).state.session_id == "other"


def test_an_agent_whose_hooks_are_silent_says_so() -> None:
    state = on_screen(on_screen(InstanceState(), FREE, 0.0), FREE, UNSEEN_S)
    assert state.status is Status.READY
    assert "hooks" in state.reason


def test_an_interrupted_turn_is_over_and_with_it_what_it_asked() -> None:
    state = interrupted(Story(PROMPT, ASK).file(AT_WORK).state, LATE)
    assert (state.status, state.permissions) == (Status.READY, ())


def test_an_end_that_was_asked_for_is_no_failure_and_the_dead_stay_dead() -> None:
    assert on_exit(Story(PROMPT).state, asked=True, reason="").status is Status.STOPPED
    dead = on_exit(Story(PROMPT, ASK).state, asked=False, reason="exit status 3")
    assert (dead.status, dead.permissions) == (Status.FAILED, ())
    for later in (fold(dead, PROMPT, LATE), on_screen(dead, FREE, LATE), on_own_status(dead, IDLE, LATE)):
        assert (later.status, later.reason) == (Status.FAILED, "exit status 3")


def test_a_dialog_without_words_still_has_a_reason() -> None:
    assert "attach" in in_words(Dialog())
    assert "attach" in in_words(Dialog(question="Reload?"))


EVENTS = [STARTED, PROMPT, ENDED, ENDED_WITH_SUBAGENTS, ASK, SUBAGENT_ASKS, USED]
SCREENS = [FREE, DRAFT, WORKING, DIALOG, NO_BOX]
FILES = [None, IDLE, AT_WORK, SHELL, WAITING]
STEPS = st.tuples(st.sampled_from([*EVENTS, *SCREENS, *FILES]), st.sampled_from([0.01, SOON, SETTLE_S, UNSEEN_S]))


@given(st.lists(STEPS, max_size=30))
def test_whatever_the_witnesses_say_no_promise_is_broken(steps: list[tuple[Any, float]]) -> None:
    state, now = on_screen(InstanceState(), FREE, 0.0), 0.0
    for said, passed in steps:
        now += passed
        asked = {one.request_id for one in state.permissions if one.subagent}
        if isinstance(said, AgentEvent):
            state = fold(state, said, now)
        elif isinstance(said, Screen):
            state = on_screen(state, said, now)
            assert asked <= {one.request_id for one in state.permissions}
        else:
            state = on_own_status(state, said, now)
            assert asked <= {one.request_id for one in state.permissions}
        assert (state.status is Status.WAITING_PERMISSION) == bool(state.permissions)
        settled = now - max(state.heard_at, state.own_since) >= SETTLE_S
        if state.own is not None and state.own.waiting and settled:
            assert state.status not in {Status.READY, Status.RATE_LIMITED, Status.BUSY}
        if state.permissions or (state.own is not None and state.own.waiting):
            assert not state.typable


def test_a_turn_is_named_by_the_event_that_began_it_and_then_by_the_one_that_ended_it() -> None:
    began, ended = replace(PROMPT, at=20.0), replace(ENDED, at=30.0, text="a" * (ANSWER_HEAD + 5))
    story = Story(began)
    assert (story.state.turn_at, story.state.answer) == (20.0, "")
    story.hooks(ended)
    assert (story.state.turn_at, story.state.answer) == (30.0, "a" * ANSWER_HEAD)
    assert story.state.answer_characters == ANSWER_HEAD + 5


def test_the_answer_of_a_turn_ends_with_the_next_prompt_and_a_failed_turn_has_none() -> None:
    ended = replace(ENDED, text="done")
    assert Story(PROMPT, ended, PROMPT).state.answer == ""
    failed = event(EventKind.TURN_FAILED, text="API Error 529")
    assert Story(PROMPT, ended, PROMPT, failed).state.answer == ""


def test_an_interrupted_turn_keeps_the_name_of_its_begin() -> None:
    story = Story(replace(PROMPT, at=20.0))
    assert interrupted(story.state, story.now).turn_at == 20.0


def test_a_limit_is_known_with_its_end_until_another_turn_begins() -> None:
    failed = event(EventKind.TURN_FAILED, text="429", rate_limited=True, resets_at=50.0)
    limited = Story(PROMPT, failed).state
    assert limited.limit == RateLimit(at=1.0, resets_at=50.0)
    assert [limited.limit.holds(now) for now in (49.0, 50.0)] == [True, False]
    for begins in (PROMPT, STARTED):
        assert Story(PROMPT, failed, begins).state.limit is None
