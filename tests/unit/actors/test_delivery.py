from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import Composer, Screen
from actors.delivery import Act, Delivery, Finish, Look, Lost, Paste, Pasted, Pressed, PressEnter, Proved, Saw, Stimulus
from actors.messages import MessageStatus

EMPTY = Screen(composer=Composer.EMPTY)
DRAFT = Screen(composer=Composer.DRAFT, draft="[Pasted text #1 +3 lines]")
DIALOG = Screen(composer=Composer.ABSENT, dialog=True)
UNKNOWN = Screen(composer=Composer.ABSENT)
BUSY = Screen(composer=Composer.EMPTY, busy=True)
PATIENCE_S = 5.0


def run(*steps: tuple[float, Stimulus]) -> list[Act]:
    delivery = Delivery(PATIENCE_S)
    return [delivery.begin(), *(delivery.handle(stimulus, now) for now, stimulus in steps)]


def test_the_plain_way_is_paste_look_enter_proof() -> None:
    acts = run((0.0, Pasted()), (0.02, Saw(DRAFT)), (0.03, Pressed()), (0.06, Proved()))
    assert [type(act) for act in acts] == [Paste, Look, PressEnter, Look, Finish]
    assert acts[-1] == Finish(MessageStatus.SUBMITTED)


def test_an_enter_that_was_swallowed_is_pressed_again_while_the_draft_is_seen() -> None:
    acts = run((0.0, Pasted()), (0.02, Saw(DRAFT)), (0.03, Pressed()), (0.2, Saw(DRAFT)), (0.2, Pressed()))
    assert acts[4] == PressEnter()
    assert isinstance(acts[5], Look)


def test_enter_is_not_pressed_again_once_the_draft_is_gone() -> None:
    acts = run((0.0, Pasted()), (0.02, Saw(DRAFT)), (0.03, Pressed()), (0.2, Saw(EMPTY)), (1.0, Saw(EMPTY)))
    assert PressEnter() not in acts[3:]


def test_no_key_is_pressed_while_a_dialog_is_up_and_the_message_is_held() -> None:
    acts = run((0.0, Pasted()), (0.02, Saw(DIALOG)), (99.0, Saw(DIALOG)), (99.5, Saw(DRAFT)))
    assert acts[2] == acts[3] or isinstance(acts[3], Look)
    assert all(isinstance(act, Look) and act.held for act in acts[2:4])
    assert acts[4] == PressEnter()


def test_an_input_box_that_is_only_drawn_anew_is_no_reason_to_report() -> None:
    acts = run((0.0, Pasted()), (0.1, Saw(UNKNOWN)), (0.5, Saw(UNKNOWN)), (1.2, Saw(UNKNOWN)))
    assert [bool(act.held) for act in acts[2:] if isinstance(act, Look)] == [False, False, True]


def test_a_paste_that_never_shows_is_unconfirmed_and_not_repeated() -> None:
    acts = run((0.0, Pasted()), (1.0, Saw(EMPTY)), (6.0, Saw(EMPTY)))
    assert isinstance(acts[-1], Finish)
    assert acts[-1].status is MessageStatus.UNCONFIRMED
    assert acts.count(Paste()) == 1


def test_an_enter_that_is_never_taken_ends_unconfirmed_and_says_where_the_text_is() -> None:
    acts = run((0.0, Pasted()), (0.1, Saw(DRAFT)), (0.1, Pressed()), (5.2, Saw(DRAFT)))
    assert isinstance(acts[-1], Finish)
    assert "input box" in acts[-1].reason


def test_patience_does_not_run_while_the_agent_is_seen_at_work() -> None:
    acts = run((0.0, Pasted()), (0.1, Saw(DRAFT)), (0.1, Pressed()), (60.0, Saw(BUSY)), (61.0, Proved()))
    assert isinstance(acts[4], Look)
    assert acts[5] == Finish(MessageStatus.SUBMITTED)


def test_an_agent_that_dies_after_the_paste_leaves_doubt_and_before_it_none() -> None:
    before = run((0.0, Lost("gone", typed=False)))
    after = run((0.0, Pasted()), (0.1, Lost("gone", typed=True)))
    assert before[-1] == Finish(MessageStatus.FAILED, "gone")
    assert after[-1] == Finish(MessageStatus.UNCONFIRMED, "gone")


SCREENS = st.sampled_from([EMPTY, DRAFT, DIALOG, UNKNOWN, BUSY])


@given(st.lists(st.tuples(SCREENS, st.floats(0.01, 3.0), st.booleans())))
def test_whatever_the_screen_shows_the_guarantees_hold(looks: list[tuple[Screen, float, bool]]) -> None:
    delivery = Delivery(PATIENCE_S)
    acts: list[Act] = [delivery.begin()]
    now = 0.0
    act = delivery.handle(Pasted(), now)
    for screen, pause_s, proved in looks:
        if isinstance(act, Finish):
            break
        now += pause_s
        stimulus: Stimulus = Proved() if proved else Saw(screen)
        act = delivery.handle(stimulus, now)
        acts.append(act)
        if act == PressEnter():
            assert stimulus == Saw(DRAFT), "a key only in answer to a look that showed our draft"
            act = delivery.handle(Pressed(), now)
        if isinstance(act, Finish) and act.status is MessageStatus.SUBMITTED:
            assert proved
    assert acts.count(Paste()) == 1
