from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import Composer, Dialog, Screen
from actors.instance.delivery import (
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
BEGUN: Steps = [(0.0, PASTED)]
ENTERED: Steps = [*BEGUN, (0.1, ours()), (0.1, ENTER)]
BACK: Steps = [*ENTERED, (0.4, Saw(BUSY)), (1.0, ours(True)), (2.5, ours(True))]
"""The agent has taken the prompt, and it stands in the box again."""
BACK_WITH_MORE: Steps = [*ENTERED, (0.4, Saw(EMPTY)), (1.0, with_more())]
REFUSED: Steps = [*ENTERED, (0.4, Refused("a hook says no"))]
INTERRUPTED: Steps = [*ENTERED, (0.4, Saw(BUSY)), (0.5, Interrupted())]
STILL_DRAWN = Saw(replace(DRAFT, busy=True), DraftMatch.WHOLE, reported=True)
BEHIND_DRAWN = Saw(DRAFT, DraftMatch.WITH_MORE, reported=True)
SUBMITTED, UNCONFIRMED, FAILED = MessageStatus.SUBMITTED, MessageStatus.UNCONFIRMED, MessageStatus.FAILED
NOT_LANDED, WAITS, ENTER_NOW = "not landed", "waits", "enter"


def run(*steps: tuple[float, Stimulus], resumed: bool = False) -> list[Act]:
    delivery = made()
    begun = delivery.resume(0.0) if resumed else delivery.begin()
    return [begun, *(delivery.handle(stimulus, now) for now, stimulus in steps)]


def outcome(act: Act) -> object:
    """What the last act comes to: a status, words for why the message is held, or what is done next."""
    match act:
        case Finish(status):
            return status
        case NotLanded():
            return NOT_LANDED
        case Look(_, held):
            return held or WAITS
        case PressEnter():
            return ENTER_NOW
    return act


@pytest.mark.parametrize(
    ("steps", "enters", "end"),
    [
        pytest.param([*ENTERED, (0.2, Proved())], 1, SUBMITTED, id="the plain way"),
        pytest.param([*ENTERED, (0.4, ours())], 1, WAITS, id="the agent may still take the first Enter"),
        pytest.param([*ENTERED, (0.4, ours()), (2.2, ours())], 2, ENTER_NOW, id="an Enter that was swallowed"),
        pytest.param(
            [*ENTERED, (0.2, Saw(EMPTY)), (1.0, Saw(EMPTY))], 1, WAITS, id="the draft is gone: no second Enter"
        ),
        pytest.param([*BEGUN, (1.0, Saw(EMPTY)), (9.9, Saw(EMPTY))], 0, WAITS, id="a paste may show late"),
        pytest.param([*BEGUN, (1.0, Saw(EMPTY)), (10.1, Saw(EMPTY))], 0, NOT_LANDED, id="a paste that never shows"),
        pytest.param(
            [*BEGUN, (0.1, Saw(TYPED)), (30.0, Saw(EMPTY)), (39.0, Saw(EMPTY)), (40.1, Saw(EMPTY))],
            0,
            NOT_LANDED,
            id="a person has cleared the draft",
        ),
        pytest.param(
            [*BEGUN, (0.1, Saw(TYPED)), (1.0, Saw(EMPTY, reported=True)), (5.9, Saw(EMPTY)), (6.1, Saw(EMPTY))],
            0,
            UNCONFIRMED,
            id="a person has entered it for us",
        ),
        pytest.param([*BACK, (60.0, Saw(EMPTY)), (70.1, Saw(EMPTY))], 1, NOT_LANDED, id="given back, and deleted"),
        pytest.param([*BACK, (60.0, Saw(BUSY)), (60.1, Proved())], 1, SUBMITTED, id="given back, entered by a person"),
        pytest.param([*BACK_WITH_MORE, (60.0, Saw(EMPTY)), (70.1, Saw(EMPTY))], 1, NOT_LANDED, id="with more, deleted"),
        pytest.param([*BACK_WITH_MORE, (60.0, Saw(BUSY)), (60.1, Proved())], 1, SUBMITTED, id="with more, entered"),
        pytest.param(
            [*BACK_WITH_MORE, (4.0, ours()), (4.0, ENTER), (4.4, Saw(EMPTY)), (15.0, Saw(EMPTY))],
            2,
            UNCONFIRMED,
            id="came back, is entered again and may be taken again",
        ),
        pytest.param(
            [*ENTERED, (0.4, Saw(EMPTY)), (0.8, Saw(DIALOG)), (4.0, ours()), (4.0, ENTER), (4.3, Proved())],
            2,
            SUBMITTED,
            id="queued behind a dialog of a person, and came back",
        ),
        pytest.param(
            [*ENTERED, (0.2, ours(True)), (0.3, ours(True)), (0.5, Saw(EMPTY)), (5.0, Saw(EMPTY)), (5.6, Saw(EMPTY))],
            1,
            UNCONFIRMED,
            id="still drawn while a hook reports it: taken",
        ),
        pytest.param(
            [*ENTERED, (0.4, STILL_DRAWN), (9.0, STILL_DRAWN), (30.0, STILL_DRAWN)],
            1,
            WAITS,
            id="drawn for as long as the hooks of a user run: taken",
        ),
        pytest.param([*ENTERED, (60.0, Saw(BUSY))], 1, WAITS, id="patience does not run while the agent works"),
        pytest.param([*INTERRUPTED, (1.0, Saw(EMPTY))], 1, WAITS, id="interrupted: it may still be written"),
        pytest.param([*INTERRUPTED, (1.0, Saw(EMPTY)), (2.6, Saw(EMPTY))], 1, FAILED, id="interrupted, never written"),
        pytest.param([*INTERRUPTED, (1.0, Proved())], 1, SUBMITTED, id="interrupted, but written"),
        pytest.param([(0.0, Lost("gone", typed=False))], 0, FAILED, id="lost before the paste"),
        pytest.param([*BEGUN, (0.1, Lost("gone", typed=True))], 0, UNCONFIRMED, id="lost after the paste"),
        pytest.param([(0.0, Barred("cut off"))], 0, NOT_LANDED, id="may not be pasted now"),
        pytest.param([*BEGUN, (0.1, ours()), (0.1, Barred("cut off"))], 1, "cut off", id="may not be entered now"),
        pytest.param(
            [*BEGUN, (0.1, ours()), (0.1, Barred("cut off")), (60.0, ours())], 2, ENTER_NOW, id="may be entered again"
        ),
    ],
)
def test_what_a_delivery_comes_to(steps: Steps, enters: int, end: object) -> None:
    acts = run(*steps)
    assert (acts.count(PressEnter()), outcome(acts[-1])) == (enters, end)
    assert acts.count(Paste()) == 1


@pytest.mark.parametrize(
    "steps",
    [
        [*ENTERED, (0.4, Saw(BUSY)), (2.0, Saw(TYPED)), (5.5, Saw(TYPED))],
        [*ENTERED, (0.3, BEHIND_DRAWN), (0.5, Saw(TYPED)), (5.6, Saw(TYPED))],
    ],
    ids=["while the proof is awaited", "behind a prompt that is still drawn"],
)
def test_what_a_person_types_holds_nothing_back(steps: Steps) -> None:
    acts = run(*steps)
    assert not any(isinstance(act, Look) and act.held for act in acts)
    assert outcome(acts[-1]) is UNCONFIRMED


@pytest.mark.parametrize(
    ("shown", "words", "soon"),
    [
        (Saw(DIALOG), "a dialog is up", True),
        (Saw(UNKNOWN), "not visible", False),
        (Saw(TYPED), "'q)' stands in the agent's input box: run phalanx attach i", False),
        (Saw(replace(DRAFT, draft="ours q)"), DraftMatch.WITH_MORE), "'ours q)' stands in the agent's input", False),
    ],
    ids=["dialog", "no box", "draft of a person", "more behind ours"],
)
def test_what_stands_in_the_way_is_said_when_it_lasts_and_gets_no_key(shown: Saw, words: str, soon: bool) -> None:
    told = [
        words in str(outcome(act))
        for act in run(*BEGUN, (0.1, shown), (0.35, shown), (0.45, shown), (1.2, shown), (99.0, shown))[2:]
    ]
    assert told == [False, False, soon, True, True]
    assert outcome(run(*BEGUN, (0.1, shown), (99.0, shown), (99.5, ours()))[-1]) == ENTER_NOW


@pytest.mark.parametrize("back", [[*BACK, (60.0, ours(True))], [*BACK_WITH_MORE, (60.0, with_more())]])
@pytest.mark.parametrize("shown", [Saw(EMPTY), Saw(EMPTY, reported=True)])
def test_what_the_agent_gave_back_is_left_to_who_took_it_back(back: Steps, shown: Saw) -> None:
    acts = run(*[(at, shown if stimulus == Saw(EMPTY) else stimulus) for at, stimulus in back])
    assert acts.count(PressEnter()) == 1
    assert "given it back" in str(outcome(acts[-1]))


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


MENU = Screen(composer=Composer.DRAFT, draft=DRAFT.draft, dialog=Dialog())
SIGHTS = st.sampled_from(
    [ours(), ours(True), with_more(), Saw(EMPTY, reported=True), *map(Saw, (EMPTY, BUSY, TYPED, DIALOG, UNKNOWN, MENU))]
)


@pytest.mark.parametrize(
    ("steps", "end"),
    [
        pytest.param([(0.0, ours()), (0.0, ENTER), (0.1, Proved())], SUBMITTED, id="enters the draft that it finds"),
        pytest.param([(at, Saw(TYPED)) for at in range(60)], "'q)' stands in", id="leaves another draft alone"),
        pytest.param([(at, ours(True)) for at in range(60)], "given it back", id="enters nothing that was given back"),
        pytest.param([(0.0, Saw(EMPTY)), (9.9, Saw(EMPTY))], WAITS, id="looks for long"),
        pytest.param([(0.0, Saw(EMPTY)), (10.1, Saw(EMPTY))], NOT_LANDED, id="finds nothing"),
        *(
            pytest.param([(9.0, Saw(EMPTY)), (9.5, Saw(hiding)), (19.0, Saw(EMPTY)), *more], end, id=f"{name}, {end}")
            for hiding, name in ((BUSY, "at work"), (DIALOG, "dialog"), (UNKNOWN, "no box"))
            for more, end in (([], WAITS), ([(19.6, Saw(EMPTY))], NOT_LANDED))
        ),
    ],
)
def test_a_resumed_delivery_looks_and_pastes_nothing(steps: Steps, end: object) -> None:
    acts = run(*steps, resumed=True)
    assert Paste() not in acts
    assert acts.count(PressEnter()) == (end is SUBMITTED)
    assert outcome(acts[-1]) == end or str(end) in str(outcome(acts[-1]))


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
