from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import Composer, Dialog, Screen
from actors.instance.delivery import (
    PROOF_LOOK_S,
    Act,
    Barred,
    Clear,
    Delivery,
    Done,
    Finish,
    Interrupted,
    Look,
    Lost,
    NotLanded,
    Paste,
    PressEnter,
    PromptRejected,
    Proved,
    Refused,
    Saw,
    Stimulus,
)
from actors.instance.evidence import DraftMatch
from actors.messages import MessageStatus

EMPTY = Screen(composer=Composer.EMPTY)
DRAFT = Screen(composer=Composer.DRAFT, draft="[Pasted text #1 +3 lines]")
DIALOG = Screen(composer=Composer.ABSENT, dialog=Dialog())
UNKNOWN = Screen(composer=Composer.ABSENT)
BUSY = Screen(composer=Composer.EMPTY, busy=True)
TYPED = Screen(composer=Composer.DRAFT, draft="q)")
PATIENCE_S = 5.0
SETTLE_S = 10.0
PASTED, ENTER, CLEARED = Done(Paste()), Done(PressEnter()), Done(Clear())


def made() -> Delivery:
    return Delivery(PATIENCE_S, SETTLE_S, "run phalanx attach i")


def ours(reported: bool = False) -> Saw:
    return Saw(DRAFT, DraftMatch.WHOLE, reported=reported)


def with_more() -> Saw:
    return Saw(TYPED, DraftMatch.WITH_MORE)


Steps = list[tuple[float, Stimulus]]
ENTERED: Steps = [(0.0, PASTED), (0.1, ours()), (0.1, ENTER)]


def run(*steps: tuple[float, Stimulus]) -> list[Act]:
    delivery = made()
    return [delivery.begin(), *(delivery.handle(stimulus, now) for now, stimulus in steps)]


def test_the_plain_way_is_paste_look_enter_proof() -> None:
    acts = run((0.0, PASTED), (0.02, ours()), (0.03, ENTER), (0.06, Proved()))
    assert [type(act) for act in acts] == [Paste, Look, PressEnter, Look, Finish]
    assert acts[-1] == Finish(MessageStatus.SUBMITTED)


def test_an_enter_that_was_swallowed_is_pressed_again_while_the_draft_is_seen() -> None:
    steps = ((0.0, PASTED), (0.02, ours()), (0.03, ENTER), (0.4, ours()), (2.1, ours()), (2.1, ENTER))
    acts = run(*steps)
    assert isinstance(acts[4], Look), "the agent may still take the first one"
    assert acts[5] == PressEnter()
    assert isinstance(acts[6], Look)


def test_enter_is_not_pressed_again_once_the_draft_is_gone() -> None:
    acts = run((0.0, PASTED), (0.02, ours()), (0.03, ENTER), (0.2, Saw(EMPTY)), (1.0, Saw(EMPTY)))
    assert PressEnter() not in acts[3:]


def test_no_key_is_pressed_while_a_dialog_is_up_and_the_message_is_held() -> None:
    acts = run((0.0, PASTED), (0.02, Saw(DIALOG)), (99.0, Saw(DIALOG)), (99.5, ours()))
    assert acts[2] == acts[3] or isinstance(acts[3], Look)
    assert all(isinstance(act, Look) and act.held for act in acts[2:4])
    assert acts[4] == PressEnter()


def test_an_input_box_that_is_only_drawn_anew_is_no_reason_to_report() -> None:
    acts = run((0.0, PASTED), (0.1, Saw(UNKNOWN)), (0.5, Saw(UNKNOWN)), (1.2, Saw(UNKNOWN)))
    assert [bool(act.held) for act in acts[2:] if isinstance(act, Look)] == [False, False, True]


def test_a_paste_that_never_shows_has_not_landed_and_may_be_repeated() -> None:
    acts = run((0.0, PASTED), (1.0, Saw(EMPTY)), (9.9, Saw(EMPTY)), (10.1, Saw(EMPTY)))
    assert isinstance(acts[-2], Look)
    assert acts[-1] == NotLanded()
    assert acts.count(Paste()) == 1


def test_an_agent_that_takes_no_enter_holds_the_message_and_is_tried_now_and_then() -> None:
    delivery = made()
    delivery.begin()
    act = delivery.handle(PASTED, 0.0)
    enters, now, words = 0, 0.0, ""
    while now < 60.0:
        act = delivery.handle(ours(), now)
        if act == PressEnter():
            enters += 1
            act = delivery.handle(ENTER, now)
        assert isinstance(act, Look)
        words = act.held or words
        now += act.after_s
    assert "takes no Enter: run phalanx attach i" in words
    assert 8 < enters < 25


def test_what_stands_in_the_box_beside_or_instead_of_ours_is_said_and_never_entered() -> None:
    for shown in (TYPED, replace(DRAFT, draft=f"{DRAFT.draft}q)")):
        acts = run((0.0, PASTED), (0.1, Saw(shown)), (1.2, Saw(shown)), (99.0, Saw(shown)), (99.5, ours()))
        assert PressEnter() not in acts[:-1]
        assert isinstance(acts[4], Look)
        assert acts[4].held.startswith(f"'{shown.draft}' stands in the agent's input box: run phalanx attach i")
        assert acts[-1] == PressEnter()


def test_a_draft_that_a_person_has_cleared_is_pasted_again_by_another_delivery() -> None:
    acts = run((0.0, PASTED), (0.1, Saw(TYPED)), (30.0, Saw(EMPTY)), (39.0, Saw(EMPTY)), (40.1, Saw(EMPTY)))
    assert acts[-1] == NotLanded()


def test_what_a_person_has_entered_for_us_is_waited_for_and_not_pasted_again() -> None:
    acts = run((0.0, PASTED), (0.1, Saw(TYPED)), (1.0, Saw(EMPTY, reported=True)), (5.9, Saw(EMPTY)), (6.1, Saw(EMPTY)))
    assert isinstance(acts[-2], Look)
    assert isinstance(acts[-1], Finish)
    assert acts[-1].status is MessageStatus.UNCONFIRMED


def test_what_the_agent_gave_back_is_left_to_who_took_it_back() -> None:
    back: list[tuple[float, Stimulus]] = [
        (0.0, PASTED),
        (0.1, ours()),
        (0.1, ENTER),
        (0.4, Saw(BUSY)),
        (1.0, ours(True)),
        (2.5, ours(True)),
    ]
    acts = run(*back, (60.0, ours(True)))
    assert acts.count(PressEnter()) == 1
    assert isinstance(acts[-1], Look)
    assert "given it back" in acts[-1].held
    assert run(*back, (60.0, Saw(EMPTY)), (70.1, Saw(EMPTY)))[-1] == NotLanded()
    assert run(*back, (60.0, Saw(BUSY)), (60.1, Proved()))[-1] == Finish(MessageStatus.SUBMITTED)


def test_what_the_agent_gave_back_is_known_with_what_a_person_has_typed_behind_it() -> None:
    for reported in (True, False):
        back: list[tuple[float, Stimulus]] = [*ENTERED, (0.4, Saw(EMPTY, reported=reported)), (1.0, with_more())]
        acts = run(*back, (60.0, with_more()))
        assert isinstance(acts[-1], Look)
        assert "given it back" in acts[-1].held
        assert run(*back, (60.0, Saw(EMPTY)), (70.1, Saw(EMPTY)))[-1] == NotLanded()
        assert run(*back, (60.0, Saw(BUSY)), (60.1, Proved()))[-1] == Finish(MessageStatus.SUBMITTED)


def test_what_a_person_types_behind_a_prompt_that_is_still_drawn_takes_nothing_back() -> None:
    acts = run(*ENTERED, (0.3, Saw(DRAFT, DraftMatch.WITH_MORE, reported=True)), (0.5, Saw(TYPED)), (5.6, Saw(TYPED)))
    assert not any(isinstance(act, Look) and act.held for act in acts)
    assert isinstance(acts[-1], Finish)


def test_what_came_back_and_is_entered_again_may_be_taken_again() -> None:
    again: Steps = [(1.0, with_more()), (4.0, ours()), (4.0, ENTER), (4.4, Saw(EMPTY)), (15.0, Saw(EMPTY))]
    acts = run(*ENTERED, (0.4, Saw(EMPTY)), *again)
    assert acts.count(PressEnter()) == 2
    assert isinstance(acts[-1], Finish), "it may still be on its way into the transcript"


def test_what_was_queued_behind_a_dialog_of_a_person_and_came_back_is_entered_again() -> None:
    queued: list[tuple[float, Stimulus]] = [(0.0, PASTED), (0.1, ours()), (0.1, ENTER), (0.4, Saw(EMPTY))]
    acts = run(*queued, (0.8, Saw(DIALOG)), (4.0, ours()), (4.0, ENTER), (4.3, Proved()))
    assert acts.count(PressEnter()) == 2
    assert acts[-1] == Finish(MessageStatus.SUBMITTED)


def test_a_prompt_that_is_only_still_drawn_while_a_hook_reports_it_counts_as_taken() -> None:
    taken: list[tuple[float, Stimulus]] = [
        (0.0, PASTED),
        (0.1, ours()),
        (0.1, ENTER),
        (0.2, ours(True)),
        (0.3, ours(True)),
    ]
    acts = run(*taken, (0.5, Saw(EMPTY)), (5.0, Saw(EMPTY)), (5.6, Saw(EMPTY)))
    assert acts.count(PressEnter()) == 1
    assert isinstance(acts[-1], Finish)
    assert acts[-1].status is MessageStatus.UNCONFIRMED


def test_a_prompt_that_is_drawn_for_as_long_as_the_hooks_of_a_user_run_counts_as_taken() -> None:
    drawn = Saw(replace(DRAFT, busy=True), DraftMatch.WHOLE, reported=True)
    acts = run((0.0, PASTED), (0.1, ours()), (0.1, ENTER), (0.4, drawn), (9.0, drawn), (30.0, drawn))
    assert not any(isinstance(act, Look) and act.held for act in acts)
    assert acts.count(PressEnter()) == 1


def test_what_a_person_types_while_the_proof_is_awaited_holds_nothing_back() -> None:
    acts = run((0.0, PASTED), (0.1, ours()), (0.1, ENTER), (0.4, Saw(BUSY)), (2.0, Saw(TYPED)), (5.5, Saw(TYPED)))
    assert not any(isinstance(act, Look) and act.held for act in acts)
    assert isinstance(acts[-1], Finish)


def test_a_refused_prompt_is_cleared_only_when_it_stands_there_alone() -> None:
    refused: list[tuple[float, Stimulus]] = [
        (0.0, PASTED),
        (0.1, ours()),
        (0.1, ENTER),
        (0.4, Refused("a hook says no")),
    ]
    given_back = run(*refused, (0.4, ours()), (0.5, CLEARED), (0.6, Saw(EMPTY)), (1.6, Saw(EMPTY)))
    assert [type(act) for act in given_back[-4:]] == [Clear, Look, Look, PromptRejected]
    late = run(*refused, (0.4, ours()), (0.5, CLEARED), (0.6, ours()), (1.0, ours()), (5.6, ours()))
    assert [act for act in late if isinstance(act, Clear)] == [late[-5], late[-1]], "twice in a second ends the agent"
    for shown in (EMPTY, TYPED):
        acts = run(*refused, (0.4, Saw(shown)), (1.5, Saw(shown)))
        assert Clear() not in acts
        assert acts[-1] == PromptRejected("a hook says no")


def test_an_interrupt_ends_what_the_transcript_never_shows() -> None:
    taken: list[tuple[float, Stimulus]] = [
        (0.0, PASTED),
        (0.1, ours()),
        (0.1, ENTER),
        (0.4, Saw(BUSY)),
        (0.5, Interrupted()),
    ]
    acts = run(*taken, (1.0, Saw(EMPTY)), (2.6, Saw(EMPTY)))
    assert isinstance(acts[-2], Look)
    assert isinstance(acts[-1], Finish)
    assert acts[-1].status is MessageStatus.FAILED
    assert run(*taken, (1.0, Proved()))[-1] == Finish(MessageStatus.SUBMITTED)


def test_patience_does_not_run_while_the_agent_is_seen_at_work() -> None:
    acts = run((0.0, PASTED), (0.1, ours()), (0.1, ENTER), (60.0, Saw(BUSY)), (61.0, Proved()))
    assert isinstance(acts[4], Look)
    assert acts[5] == Finish(MessageStatus.SUBMITTED)


def test_an_agent_that_dies_after_the_paste_leaves_doubt_and_before_it_none() -> None:
    before = run((0.0, Lost("gone", typed=False)))
    after = run((0.0, PASTED), (0.1, Lost("gone", typed=True)))
    assert before[-1] == Finish(MessageStatus.FAILED, "gone")
    assert after[-1] == Finish(MessageStatus.UNCONFIRMED, "gone")


MENU = Screen(composer=Composer.DRAFT, draft=DRAFT.draft, dialog=Dialog())
SIGHTS = st.sampled_from(
    [ours(), ours(True), with_more(), Saw(EMPTY, reported=True), *map(Saw, (EMPTY, BUSY, TYPED, DIALOG, UNKNOWN, MENU))]
)


def resume(*steps: tuple[float, Stimulus]) -> list[Act]:
    delivery = made()
    return [delivery.resume(0.0), *(delivery.handle(stimulus, now) for now, stimulus in steps)]


def test_a_resumed_delivery_enters_the_draft_that_it_finds() -> None:
    acts = resume((0.0, ours()), (0.0, ENTER), (0.1, Proved()))
    assert [type(act) for act in acts] == [Look, PressEnter, Look, Finish]


def test_a_resumed_delivery_does_not_enter_what_the_agent_had_taken_and_gave_back() -> None:
    assert PressEnter() not in resume(*((float(at), ours(True)) for at in range(60)))


def test_a_resumed_delivery_leaves_the_draft_of_somebody_else_alone() -> None:
    acts = resume(*((float(at), Saw(TYPED)) for at in range(60)))
    assert all(isinstance(act, Look) for act in acts)
    assert isinstance(acts[-1], Look)
    assert "'q)' stands in" in acts[-1].held


def test_a_resumed_delivery_that_finds_nothing_for_long_says_so_and_pastes_nothing() -> None:
    acts = resume((0.0, Saw(EMPTY)), (9.9, Saw(EMPTY)), (10.1, Saw(EMPTY)))
    assert acts[-1] == NotLanded()
    assert Paste() not in acts


def test_an_agent_at_work_or_a_dialog_may_hide_what_landed_so_the_search_begins_anew() -> None:
    for hiding in (BUSY, DIALOG, UNKNOWN):
        acts = resume((9.0, Saw(EMPTY)), (9.5, Saw(hiding)), (19.0, Saw(EMPTY)), (19.6, Saw(EMPTY)))
        assert NotLanded() not in acts[:-1]
        assert acts[-1] == NotLanded()


def test_a_batch_that_may_not_be_pasted_now_is_given_back_with_the_reason() -> None:
    assert run((0.0, Barred("cut off")))[-1] == NotLanded("cut off")


def test_a_draft_that_may_not_be_entered_now_is_held_with_the_reason_until_it_may() -> None:
    acts = run((0.0, PASTED), (0.1, ours()), (0.1, Barred("cut off")), (60.0, ours()), (60.0, ENTER))
    assert isinstance(acts[3], Look)
    assert acts[3].held == "cut off"
    assert acts[4] == PressEnter()
    assert acts[5] == Look(PROOF_LOOK_S)


ENDS = (Finish, NotLanded, PromptRejected)
EVENTS = st.sampled_from(["", "", "", "", "", "proof", "crash", "refusal", "interrupt", "bar"])


@given(st.lists(st.tuples(SIGHTS, st.floats(0.01, 3.0), EVENTS)), st.booleans())
def test_whatever_is_seen_and_whoever_crashes_the_guarantees_hold(
    looks: list[tuple[Saw, float, str]], pasted: bool
) -> None:
    """``crash``: the deliverer is gone, its successor knows whether the paste was done, and resumes or begins anew."""
    now, pastes = 0.0, 0
    delivery = made()
    act = delivery.resume(now) if pasted else delivery.begin()
    is_pasted = pasted
    may_have_landed = refused = False
    for saw, pause_s, event in looks:
        if isinstance(act, ENDS):
            break
        if event == "crash":
            delivery = made()
            act = delivery.resume(now) if is_pasted else delivery.begin()
            may_have_landed = refused = False
            continue
        if isinstance(act, Paste):
            pastes, is_pasted = pastes + 1, True
            act = delivery.handle(PASTED, now)
            continue
        now += pause_s
        seen: dict[str, Stimulus] = {"proof": Proved(), "refusal": Refused("no"), "interrupt": Interrupted()}
        stimulus: Stimulus = seen.get(event, saw)
        refused = refused or event == "refusal"
        act = delivery.handle(stimulus, now)
        if isinstance(act, PressEnter | Clear):
            assert isinstance(stimulus, Saw)
            assert stimulus.draft is DraftMatch.WHOLE, "a key only in answer to a look that showed our draft"
            assert stimulus.screen == DRAFT
            assert refused == isinstance(act, Clear)
            act = delivery.handle(Barred("now") if event == "bar" else Done(act), now)
        elif isinstance(act, Finish) and act.status is MessageStatus.SUBMITTED:
            assert event == "proof"
        elif isinstance(act, NotLanded):
            assert isinstance(stimulus, Saw)
            assert stimulus.screen == EMPTY
            assert not may_have_landed, "taken by the agent, and given back to nobody"
        if isinstance(stimulus, Saw) and stimulus.draft is not DraftMatch.OTHER:
            may_have_landed = False
        elif isinstance(stimulus, Saw) and stimulus.reported:
            may_have_landed = True
    assert pastes <= 1 - pasted


@given(st.booleans(), st.sampled_from([Saw(EMPTY), ours()]), st.booleans())
def test_an_idle_agent_brings_every_delivery_to_an_end_or_says_what_stands_in_the_way(
    resumed: bool, shown: Saw, enter_taken: bool
) -> None:
    delivery = made()
    act = delivery.resume(0.0) if resumed else delivery.begin()
    now = 0.0
    held: list[str] = []
    for _ in range(200):
        match act:
            case Paste():
                act = delivery.handle(PASTED, now)
            case PressEnter():
                shown = Saw(EMPTY) if enter_taken else shown
                act = delivery.handle(ENTER, now)
            case Look(after_s):
                held.append(act.held)
                now += max(after_s, 0.01)
                act = delivery.handle(shown, now)
            case _:
                break
    if shown.draft is DraftMatch.WHOLE:
        assert isinstance(act, Look | PressEnter)
        assert any(held[-10:])
    else:
        assert isinstance(act, ENDS)
        assert now < 3 * (PATIENCE_S + SETTLE_S)
