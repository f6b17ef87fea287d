"""How long a call may take, when it may be made again, and as what."""

from __future__ import annotations

import pytest

from supervisor.api.requests import (
    BatchMessage,
    EventsRequest,
    InterruptRequest,
    ListRequest,
    OptimizeSettingsRequest,
    Request,
    Role,
    SendBatchRequest,
    SendRequest,
    SpawnBatchRequest,
    SpawnRequest,
    WaitRequest,
)
from supervisor.api.verbs import VERBS
from supervisor.rpc.connection import RETURN_PATIENCE_S, RetryState, completed, limit_s

ONE = SpawnRequest(role=Role.SPECIALIST, work_dir="/w", context="c")
SEND = SendRequest(instance_id="spec_1", message="hello")
WAIT = WaitRequest(instance_ids=["spec_1"], timeout_seconds=100)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def retry_state(clock: Clock, verb: str, request: Request) -> RetryState:
    return RetryState(VERBS[verb], request.model_dump(mode="json", by_alias=True, exclude_defaults=True), clock)


@pytest.mark.parametrize(
    ("verb", "request_", "was_sent", "may"),
    [
        ("list", ListRequest(), True, True),
        ("send", SEND, True, True),
        ("optimize_settings", OptimizeSettingsRequest(cache_size=7), True, True),
        ("events", EventsRequest(), True, True),
        ("interrupt", InterruptRequest(instance_id="spec_1"), True, False),
        ("interrupt", InterruptRequest(instance_id="spec_1"), False, True),
    ],
)
def test_only_what_does_no_harm_is_made_again(
    clock: Clock, verb: str, request_: Request, was_sent: bool, may: bool
) -> None:
    call = retry_state(clock, verb, request_)

    call.connection_lost(was_sent=was_sent)

    assert call.may_be_repeated is may


def test_time_in_which_the_team_is_away_is_not_the_calls_own_but_bounded(clock: Clock) -> None:
    call = retry_state(clock, "send", SEND)
    call.connection_lost(was_sent=True)
    for away_s in (RETURN_PATIENCE_S - 10, 10):
        assert call.may_be_repeated
        with call.waiting_for_the_team():
            clock.now += away_s

    assert call.left_s == 30.0
    assert call.patience_s == 0
    assert not call.may_be_repeated


def test_a_long_call_may_outlive_more_than_one_loss_but_waits_no_longer_at_once(clock: Clock) -> None:
    call = retry_state(clock, "wait", WAIT.model_copy(update={"timeout_seconds": 1000}))
    call.connection_lost(was_sent=True)
    with call.waiting_for_the_team():
        clock.now += 50

    assert call.patience_s == RETURN_PATIENCE_S


def test_a_wait_is_asked_again_for_what_is_left_of_it(clock: Clock) -> None:
    call = retry_state(clock, "wait", WAIT)
    assert call.params()["timeoutSeconds"] == 100
    clock.now += 40
    call.connection_lost(was_sent=True)
    with call.waiting_for_the_team():
        clock.now += 7

    assert call.params()["timeoutSeconds"] == pytest.approx(60)
    clock.now += 80
    assert 0 < call.params()["timeoutSeconds"] < 1


def test_a_deed_that_does_not_wait_is_asked_again_as_it_was(clock: Clock) -> None:
    call = retry_state(clock, "send", SEND)
    before = call.params()
    clock.now += 5
    call.connection_lost(was_sent=True)

    assert call.params() == before
    assert before["requestId"]


def test_a_look_never_takes_effect(clock: Clock) -> None:
    look, deed = retry_state(clock, "list", ListRequest()), retry_state(clock, "send", SEND)
    for call in (look, deed):
        call.connection_lost(was_sent=True)

    assert (look.may_have_taken_effect, deed.may_have_taken_effect) == (False, True)


@pytest.mark.parametrize(
    ("verb", "request_", "least_s", "most_s"),
    [
        ("list", ListRequest(), 10, 60),
        ("interrupt", InterruptRequest(instance_id="spec_1"), 30, 120),
        ("wait", WaitRequest(instance_ids=["spec_1"], timeout_seconds=600), 610, 660),
        ("send", SendRequest(instance_id="spec_1", message="x", timeout_seconds=600), 10, 60),
        ("send", SendRequest(instance_id="spec_1", message="x", timeout_seconds=600, wait=True), 610, 660),
        (
            "send_batch",
            SendBatchRequest(messages=[BatchMessage(instance_id="spec_1", message="x")], timeout_seconds=5, wait=True),
            15,
            60,
        ),
        ("spawn", ONE, 300, 1800),
        ("spawn_batch", SpawnBatchRequest(instances=[ONE] * 50), 50 * 90, 50 * 300),
    ],
)
def test_a_call_waits_longer_than_the_supervisor_may_take_but_not_for_ever(
    verb: str, request_: Request, least_s: float, most_s: float
) -> None:
    arguments = request_.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    assert least_s <= limit_s(VERBS[verb], completed(VERBS[verb], arguments)) <= most_s


@pytest.mark.parametrize("members", ['[{"role": "manager"}]', [{}], "nonsense", None, 7])
@pytest.mark.parametrize("timeout", ["soon", None, -1, 10**400, "5", float("nan")])
def test_arguments_that_no_request_takes_bound_a_call_all_the_same(members: object, timeout: object) -> None:
    for name in ("spawn_batch", "send", "wait", "drain"):
        arguments = {"instances": members, "timeoutSeconds": timeout, "wait": "yes"}
        assert 30 <= limit_s(VERBS[name], completed(VERBS[name], arguments)) <= 6000
