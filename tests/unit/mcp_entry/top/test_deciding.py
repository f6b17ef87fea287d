"""What a key may decide, and as which request."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from actors.status import Status
from mcp_entry.top.deciding import PASTE_S, READ_S, Decisions, NotDecidedError
from mcp_entry.top.needs import Need, need_of
from supervisor.api.requests import RespondRequest
from supervisor.api.results import DialogInfo, InstanceInfo, Permission
from tests.fakes.gateway import asking, info


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def shown(each: InstanceInfo, after_s: float = 10.0) -> tuple[Decisions, Clock]:
    """One that was shown so long ago, and a key that just came."""
    clock = Clock()
    decisions = Decisions(clock)
    decisions.show(needed(each))
    clock.now += after_s
    decisions.key_came()
    return decisions, clock


def allowed(decisions: Decisions) -> RespondRequest:
    return decisions.allow(end_was_in_view=True)


def needed(each: InstanceInfo) -> Need | None:
    return need_of(each, needs_attention=each.needs_attention)


def questioning(*questions: dict[str, Any]) -> InstanceInfo:
    return asking(tool="AskUserQuestion", questions=list(questions))


def question(words: str, *labels: str, **more: Any) -> dict[str, Any]:
    options = [{"label": label, "description": f"means {label}"} for label in labels]
    return {"question": words, "options": options, **more}


def dialog(words: str, *options: str) -> InstanceInfo:
    shown_dialog = DialogInfo(question=words, options=list(options))
    return info(status=Status.WAITING_INPUT, needs_attention=True, dialog=shown_dialog)


def other(each: InstanceInfo, permission_id: str) -> InstanceInfo:
    permission = Permission(permission_id=permission_id, tool="Bash", input={"command": "rm -rf /"})
    return each.model_copy(update={"permission": permission})


def test_a_request_is_allowed_and_denied_by_its_id() -> None:
    assert shown(asking(command="ls"))[0].allow(end_was_in_view=True) == RespondRequest(
        instance_id="spec_1_1_2", decision="allow", permission_id="4be0"
    )
    assert shown(asking(command="ls"))[0].deny() == RespondRequest(
        instance_id="spec_1_1_2", decision="deny", permission_id="4be0"
    )


def test_a_call_whose_end_was_not_in_view_is_not_allowed_but_may_be_denied() -> None:
    decisions, _ = shown(asking(command="ls"))
    with pytest.raises(NotDecidedError, match="Tab, then End, then a"):
        decisions.allow(end_was_in_view=False)
    assert decisions.deny().decision == "deny"


@pytest.mark.parametrize("decide", [allowed, Decisions.deny])
def test_a_request_that_came_up_just_before_the_key_is_not_decided_by_it(
    decide: Callable[[Decisions], RespondRequest],
) -> None:
    decisions, clock = shown(asking(command="ls"))
    decisions.show(needed(other(asking(), "5cf1")))
    clock.now += READ_S * 0.9
    decisions.key_came()
    with pytest.raises(NotDecidedError, match="came up just now"):
        decide(decisions)
    clock.now += READ_S
    decisions.key_came()
    assert decide(decisions).permission_id == "5cf1"


def test_a_request_that_was_covered_until_now_is_not_decided_before_it_is_read() -> None:
    decisions, clock = shown(asking(command="ls"))
    decisions.seen_anew()
    with pytest.raises(NotDecidedError, match="came up just now"):
        decisions.allow(end_was_in_view=True)
    clock.now += READ_S
    assert decisions.allow(end_was_in_view=True).permission_id == "4be0"


def test_a_request_whose_surroundings_change_needs_not_be_read_again() -> None:
    decisions, _ = shown(asking(command="ls"))
    decisions.show(needed(asking(command="ls").model_copy(update={"reason": "something else", "unread": 3})))
    assert decisions.allow(end_was_in_view=True).permission_id == "4be0"


def test_keys_of_a_paste_decide_nothing() -> None:
    decisions, clock = shown(asking(command="ls"))
    clock.now += PASTE_S / 2
    decisions.key_came()
    with pytest.raises(NotDecidedError, match="faster than anybody types"):
        decisions.allow(end_was_in_view=True)


def test_an_answer_that_is_under_way_is_not_given_twice_and_again_after_it_failed() -> None:
    decisions, _ = shown(asking(command="ls"))
    request = decisions.allow(end_was_in_view=True)
    with pytest.raises(NotDecidedError, match="is being answered"):
        decisions.deny()
    decisions.failed(request)
    assert decisions.deny().decision == "deny"


def test_nothing_is_decided_where_nothing_is_asked() -> None:
    failed = info(status=Status.FAILED, needs_attention=True, reason="It ended.")
    for each in (info(), failed):
        decisions, _ = shown(each)
        for decide in (partial(allowed, decisions), decisions.deny, partial(decisions.choose, 1)):
            with pytest.raises(NotDecidedError):
                decide()


def test_an_option_answers_a_question_in_its_words() -> None:
    decisions, _ = shown(questioning(question("Which database?", "SQLite", "Redis")))
    with pytest.raises(NotDecidedError, match="2 options"):
        decisions.choose(3)
    with pytest.raises(NotDecidedError, match="by its number"):
        decisions.allow(end_was_in_view=True)
    assert decisions.choose(2) == RespondRequest(
        instance_id="spec_1_1_2", decision="allow", permission_id="4be0", answers={"Which database?": "Redis"}
    )


def test_several_questions_are_answered_one_after_the_other_and_together() -> None:
    decisions, clock = shown(questioning(question("Which?", "A", "B"), question("Where?", "C", "D")))
    assert decisions.choose(1) is None
    with pytest.raises(NotDecidedError, match="came up just now"):
        decisions.choose(1)
    clock.now += 1
    request = decisions.choose(2)
    assert request is not None
    assert request.answers == {"Which?": "A", "Where?": "D"}


def test_an_option_of_a_dialog_is_named_by_its_words_and_deny_closes_it_both_of_this_dialog_alone() -> None:
    question = "Trust this directory?"
    each = dialog(question, "Yes", "No, exit")
    assert shown(each)[0].choose(2) == RespondRequest(instance_id="spec_1_1_1", option="No, exit", question=question)
    assert shown(each)[0].deny() == RespondRequest(instance_id="spec_1_1_1", decision="deny", question=question)
    with pytest.raises(NotDecidedError, match="by its number"):
        shown(each)[0].allow(end_was_in_view=True)


@pytest.mark.parametrize(
    "questions",
    [None, "what?", [], [{"question": "Which?"}], [{"question": 7, "options": [{"label": "x"}]}], ["?"]],
)
def test_a_question_of_an_unknown_form_is_shown_as_the_request_that_it_is(questions: Any) -> None:
    need = needed(asking(tool="AskUserQuestion", questions=questions))
    assert need is not None
    assert (need.questions, [name for name, _ in need.parts]) == ([], ["questions"])
