from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import Composer, Dialog, Screen
from actors.messages import MessageStatus
from actors.messaging.delivery import (
    Act,
    Delivery,
    Finish,
    Look,
    Lost,
    NotLanded,
    Paste,
    Pasted,
    Pressed,
    PressEnter,
    Proved,
    Saw,
    Stimulus,
)

EMPTY = Screen(composer=Composer.EMPTY)
DRAFT = Screen(composer=Composer.DRAFT, draft="[Pasted text #1 +3 lines]")
DIALOG = Screen(composer=Composer.ABSENT, dialog=Dialog())
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


MENU = Screen(composer=Composer.DRAFT, draft=DRAFT.draft, dialog=Dialog())
SCREENS = st.sampled_from([EMPTY, DRAFT, DIALOG, UNKNOWN, BUSY, MENU])


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


SETTLE_S = 10.0


def resume(*steps: tuple[float, Stimulus]) -> list[Act]:
    delivery = Delivery(PATIENCE_S)
    return [delivery.resume(SETTLE_S, 0.0), *(delivery.handle(stimulus, now) for now, stimulus in steps)]


def test_a_resumed_delivery_enters_the_draft_that_it_finds() -> None:
    acts = resume((0.0, Saw(DRAFT)), (0.0, Pressed()), (0.1, Proved()))
    assert [type(act) for act in acts] == [Look, PressEnter, Look, Finish]


def test_a_resumed_delivery_leaves_the_draft_of_somebody_else_alone() -> None:
    acts = resume(*((float(at), Saw(DRAFT, foreign=True)) for at in range(60)))
    assert all(isinstance(act, Look) for act in acts)
    assert isinstance(acts[-1], Look)
    assert "typing" in acts[-1].held


def test_a_resumed_delivery_that_finds_nothing_for_long_says_so_and_pastes_nothing() -> None:
    acts = resume((0.0, Saw(EMPTY)), (9.9, Saw(EMPTY)), (10.1, Saw(EMPTY)))
    assert acts[-1] == NotLanded()
    assert Paste() not in acts


def test_an_agent_at_work_or_a_dialog_may_hide_what_landed_so_the_search_begins_anew() -> None:
    for hiding in (BUSY, DIALOG, UNKNOWN):
        acts = resume((9.0, Saw(EMPTY)), (9.5, Saw(hiding)), (19.0, Saw(EMPTY)), (19.6, Saw(EMPTY)))
        assert NotLanded() not in acts[:-1]
        assert acts[-1] == NotLanded()


ENDS = (Finish, NotLanded)


@given(
    st.lists(st.tuples(SCREENS, st.booleans(), st.floats(0.01, 3.0), st.sampled_from(["", "", "", "proof", "crash"]))),
    st.booleans(),
)
def test_crashed_and_resumed_at_any_point_the_guarantees_hold(
    looks: list[tuple[Screen, bool, float, str]], pasted: bool
) -> None:
    """``crash``: the courier is gone, its successor knows whether the paste was done, and resumes or begins anew."""
    now, pastes, absences = 0.0, 0, 0
    delivery = Delivery(PATIENCE_S)
    act = delivery.resume(SETTLE_S, now) if pasted else delivery.begin()
    is_pasted = pasted
    quiet_since: float | None = None
    for screen, foreign, pause_s, event in looks:
        if isinstance(act, ENDS):
            break
        if event == "crash":
            delivery = Delivery(PATIENCE_S)
            act = delivery.resume(SETTLE_S, now) if is_pasted else delivery.begin()
            quiet_since = None
            continue
        if isinstance(act, Paste):
            pastes, is_pasted = pastes + 1, True
            act = delivery.handle(Pasted(), now)
            continue
        now += pause_s
        stimulus: Stimulus = Proved() if event == "proof" else Saw(screen, foreign)
        quiet = stimulus in {Saw(EMPTY), Saw(EMPTY, foreign=True)}
        quiet_since = (now if quiet_since is None else quiet_since) if quiet else None
        act = delivery.handle(stimulus, now)
        if act == PressEnter():
            assert isinstance(stimulus, Saw)
            assert stimulus.screen == DRAFT
            act = delivery.handle(Pressed(), now)
        elif isinstance(act, Finish) and act.status is MessageStatus.SUBMITTED:
            assert event == "proof"
        elif isinstance(act, NotLanded):
            absences += 1
            assert quiet_since is not None
    assert pastes <= 1 - pasted
    assert absences <= 1


@given(st.booleans(), st.sampled_from([EMPTY, DRAFT]), st.booleans())
def test_an_idle_agent_brings_every_delivery_to_an_end(resumed: bool, shown: Screen, enter_taken: bool) -> None:
    delivery = Delivery(PATIENCE_S)
    act = delivery.resume(SETTLE_S, 0.0) if resumed else delivery.begin()
    now = 0.0
    for _ in range(200):
        match act:
            case Paste():
                act = delivery.handle(Pasted(), now)
            case PressEnter():
                shown = EMPTY if enter_taken else shown
                act = delivery.handle(Pressed(), now)
            case Look(after_s):
                now += max(after_s, 0.01)
                act = delivery.handle(Saw(shown), now)
            case _:
                break
    assert isinstance(act, ENDS)
    assert now < 3 * (PATIENCE_S + SETTLE_S)
