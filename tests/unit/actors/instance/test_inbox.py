from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.instance.inbox import BatchLimits, Inbox
from actors.messages import Message

LIMITS = BatchLimits(size=3, delay_s=0.1)


def message(number: int, *, immediate: bool = False, text: str = "x") -> Message:
    return Message(
        id=f"msg_{number}", instance_id="spec_0_0_1", sender="lead", text=text, immediate=immediate, accepted_at=0.0
    )


def ids(batch: tuple[Message, ...]) -> list[str]:
    return [m.id for m in batch]


def test_a_single_message_goes_at_once_after_a_quiet_time() -> None:
    inbox = Inbox(LIMITS)
    for at in (10.0, 10.2):
        inbox.offer([message(1)], now=at)
        assert ids(inbox.take(at)) == ["msg_1"]


def test_what_one_call_brings_goes_at_once_and_together() -> None:
    inbox = Inbox(LIMITS)
    inbox.offer([message(1), message(2)], now=10.0)
    assert ids(inbox.take(10.0)) == ["msg_1", "msg_2"]


def test_a_message_that_came_soon_after_another_waits_the_delay_for_companions() -> None:
    inbox = Inbox(LIMITS)
    inbox.offer([message(1)], now=10.0)
    assert ids(inbox.take(10.0)) == ["msg_1"]
    inbox.offer([message(2)], now=10.05)
    assert inbox.take(10.14) == ()
    inbox.offer([message(3)], now=10.14)
    assert ids(inbox.take(10.15)) == ["msg_2", "msg_3"]


def test_what_has_waited_while_the_agent_worked_does_not_wait_for_a_late_companion() -> None:
    inbox = Inbox(LIMITS)
    inbox.offer([message(1)], now=10.0)
    inbox.offer([message(2)], now=15.0)
    assert ids(inbox.take(15.0)) == ["msg_1", "msg_2"]


def test_a_full_batch_goes_at_once() -> None:
    inbox = Inbox(LIMITS)
    for number in range(4):
        inbox.offer([message(number)], now=10.0)
    assert ids(inbox.take(10.0)) == ["msg_0", "msg_1", "msg_2"]
    assert inbox.take(10.0) == ()


def test_an_immediate_message_takes_what_is_queued_before_it_along_in_order() -> None:
    inbox = Inbox(LIMITS)
    inbox.offer([message(1)], now=10.0)
    inbox.offer([message(2, immediate=True)], now=10.01)
    assert ids(inbox.take(10.01)) == ["msg_1", "msg_2"]


def test_texts_that_together_are_too_long_go_in_several_pastes() -> None:
    inbox = Inbox(BatchLimits(size=10, delay_s=0.0, bytes=10))
    for number in range(3):
        inbox.offer([message(number, text="é" * 4)], now=0.0)
    assert [ids(inbox.take(0.0)) for _ in range(3)] == [["msg_0"], ["msg_1"], ["msg_2"]]


def test_draining_leaves_nothing_behind() -> None:
    inbox = Inbox(LIMITS)
    inbox.offer([message(1)], now=0.0)
    assert ids(inbox.drain()) == ["msg_1"]
    assert len(inbox) == 0
    assert inbox.due_at() is None


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 0.2))), st.integers(1, 5))
def test_every_message_leaves_exactly_once_and_in_order(arrivals: list[tuple[bool, float]], size: int) -> None:
    inbox = Inbox(BatchLimits(size=size, delay_s=0.1))
    now = 0.0
    left: list[str] = []
    for number, (immediate, pause_s) in enumerate(arrivals):
        now += pause_s
        inbox.offer([message(number, immediate=immediate)], now)
        batch = inbox.take(now)
        assert len(batch) <= size
        left += ids(batch)
    while batch := inbox.take(now + 1.0):
        left += ids(batch)
    assert left == [f"msg_{number}" for number in range(len(arrivals))]


STEP = st.one_of(
    st.tuples(st.just("offer"), st.integers(0, 30), st.booleans()),
    st.tuples(st.just("take"), st.integers(0, 0), st.booleans()),
    st.tuples(st.just("drain"), st.integers(0, 0), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 20), st.booleans()),
)
"""What is done; its number is the bytes of an offer or the hundredths of a second of a pause; the flag says
``immediate`` of an offer and whether what was taken is put back."""


@given(st.lists(STEP), st.integers(1, 4), st.integers(1, 60))
def test_whatever_happens_nothing_is_lost_doubled_overtaken_or_too_large(
    steps: list[tuple[str, int, bool]], size: int, limit_bytes: int
) -> None:
    limits = BatchLimits(size=size, delay_s=0.1, bytes=limit_bytes)
    inbox, now = Inbox(limits), 0.0
    offered: list[str] = []
    left: list[str] = []
    for what, number, flag in steps:
        if what == "offer":
            offered.append(f"msg_{len(offered)}")
            inbox.offer([message(len(offered) - 1, immediate=flag, text="x" * number)], now)
        elif what == "wait":
            now += number / 100
        else:
            taken = inbox.take(now) if what == "take" else inbox.drain()
            if what == "take":
                assert taken or (inbox.due_at() or now + 1.0) > now
                assert len(taken) <= size
                assert len(taken) <= 1 or sum(len(m.text) for m in taken) <= limit_bytes
            if flag and taken:
                inbox.put_back(taken)
                due_at = inbox.due_at()
                assert due_at is not None
                assert due_at <= now
            else:
                left += ids(taken)
        assert left + ids(tuple(inbox)) == offered
        assert len(inbox) == len(offered) - len(left)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), min_size=1))
def test_nobody_waits_longer_than_the_delay_and_only_who_came_soon_after_another_waits(
    calls: list[tuple[int, int]],
) -> None:
    delay_s = 0.125  # as all times here a sum of powers of two, so that no comparison depends on rounding
    inbox, now, oldest = Inbox(BatchLimits(size=100, delay_s=delay_s)), 0.0, 0.0
    for number, (count, pause) in enumerate(calls):
        now += pause / 64
        oldest = oldest if len(inbox) else now
        inbox.offer([message(number)] * count, now)
        soon = number > 0 and pause / 64 < delay_s
        assert inbox.due_at() == (oldest + delay_s if soon else oldest)
        inbox.take(now)


def test_what_is_withdrawn_goes_and_the_rest_keeps_its_order() -> None:
    inbox = Inbox(LIMITS)
    inbox.offer([message(1), message(2), message(3)], now=10.0)
    assert ids(inbox.remove({"msg_2", "msg_9"})) == ["msg_2"]
    assert ids(inbox.drain()) == ["msg_1", "msg_3"]
