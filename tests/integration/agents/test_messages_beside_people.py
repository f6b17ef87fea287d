"""A person at the terminal of an agent that messages go to: nothing of theirs is sent or lost, and no message is."""

from __future__ import annotations

import asyncio

import pytest

from actors.agents.base import Composer, EntryKind, EventKind
from actors.instance.responding import Reply
from actors.messages import Message, MessageStatus, Receipt
from actors.status import Status
from actors.tmux.pane import Pane
from tests.integration.agents.pastes import around_pastes
from tests.integration.agents.rig import until
from tests.integration.agents.succession import (
    BLOCKED,
    SUBMITTED,
    AnyRig,
    Team,
    message,
    only_claude,
)

ONE, TWO, THREE = message(1, "the first message"), message(2, "two\nlines\nand\nmore"), message(3, "the last one")


def last(team: Team, one: Message) -> Receipt | None:
    told = [receipt for receipt in team.receipts if receipt.message_id == one.id]
    return told[-1] if told else None


async def held(team: Team, one: Message, words: str) -> None:
    def is_held() -> bool:
        receipt = last(team, one)
        return receipt is not None and receipt.status is BLOCKED and words in receipt.reason

    try:
        await until(is_held)
    except AssertionError:
        raise AssertionError(f"{last(team, one)}\n{await team.rig.pane.capture()}") from None


def prompts(rig: AnyRig) -> list[str]:
    return [event.text for event in rig.events(EventKind.PROMPT_SUBMITTED)]


async def test_what_a_person_has_begun_to_type_is_quoted_and_holds_messages_until_it_is_gone(team: Team) -> None:
    await team.start()
    await team.rig.keys("-l", "q)")
    await team.rig.shows(lambda screen: screen.draft == "q)")
    await team.successor([ONE])
    await held(team, ONE, "'q)' stands in the agent's input box: run phalanx attach spec_1")

    await team.rig.keys("C-c")
    await team.told([ONE], SUBMITTED)
    await team.shows_each_once([ONE])


@pytest.mark.parametrize(
    ("text", "typed", "then", "altered"),
    [
        pytest.param(ONE, "q)", ["BSpace", "BSpace"], False, id="deletes it"),
        pytest.param(TWO, "q)", ["BSpace", "BSpace"], False, id="deletes it behind a collapsed draft"),
        pytest.param(ONE, "q)", ["C-c"], False, id="clears all, ours too"),
        pytest.param(ONE, "and hurry", ["Enter"], True, id="sends all"),
    ],
)
async def test_what_a_person_types_behind_our_draft_is_never_sent_by_us_and_the_message_arrives_whatever_they_do(
    team: Team, text: Message, typed: str, then: list[str], altered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.start()
    instance = await team.successor([])
    with monkeypatch.context() as slow:
        type_behind_the_next_paste(slow, team.rig, typed)
        await instance.deliver([text])
        await held(team, text, f"{typed}' stands in the agent's input box")
    assert prompts(team.rig) == []

    for key in then:
        await team.rig.keys(key)
    await team.told([text], SUBMITTED)
    receipt = last(team, text)
    assert receipt is not None
    assert not (altered and receipt.exact), (prompts(team.rig), await team.rig.pane.capture())
    await team.shows_each_once([text])


def type_behind_the_next_paste(patch: pytest.MonkeyPatch, rig: AnyRig, words: str) -> None:
    async def somebody_types(_pane: Pane) -> None:
        await rig.shows(lambda screen: screen.composer is Composer.DRAFT)
        await rig.keys("-l", words)
        await rig.shows(lambda screen: words in screen.draft)

    around_pastes(patch.setattr, after=somebody_types)


@only_claude
async def test_a_view_that_hides_our_draft_is_closed_through_respond_and_the_message_arrives(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.start()
    instance = await team.successor([])

    async def somebody_opens_a_view(_pane: Pane) -> None:
        await team.rig.shows(lambda screen: screen.composer is Composer.DRAFT)
        await team.rig.keys("C-o")
        await team.rig.shows_dialog()

    with monkeypatch.context() as slow:
        around_pastes(slow.setattr, after=somebody_opens_a_view)
        await instance.deliver([ONE])
        await held(team, ONE, "a dialog is up")
    await instance.respond(Reply(allow=False))
    await team.told([ONE], SUBMITTED)
    await team.shows_each_once([ONE])


@only_claude
async def test_a_prompt_that_a_person_takes_back_is_theirs_and_is_pasted_again_once_they_have_deleted_it(
    team: Team,
) -> None:
    user_hook(team.rig, "sleep 20")
    await team.start()
    await team.successor([ONE])
    await until(lambda: len(prompts(team.rig)) == 1)
    await team.rig.shows(lambda screen: screen.composer is Composer.EMPTY)
    await team.rig.keys("Escape")
    await team.rig.shows(lambda screen: screen.composer is Composer.DRAFT)
    await held(team, ONE, "given it back")
    assert not any(receipt.status is SUBMITTED for receipt in team.receipts)

    user_hook(team.rig, "")
    await team.rig.keys("C-c")
    await team.told([ONE], SUBMITTED)
    assert team.in_transcript() == [ONE.id]


def user_hook(rig: AnyRig, action: str) -> None:
    """What the user's own hook for prompts does."""
    program = rig.user_file("hook.sh", f"#!/bin/sh\nsaid=$(cat)\n{action}\nexit 0\n")
    command = {"type": "command", "command": str(program)}
    rig.user_file("settings.json", {"hooks": {"UserPromptSubmit": [{"hooks": [command]}]}})


REFUSALS = {
    "status": "echo 'not that: policy 7' >&2; exit 2",
    "decision": """echo '{"decision":"block","reason":"not that: policy 7"}'; exit 0""",
}


@only_claude
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_message_that_the_user_s_hook_refuses_fails_in_its_words_and_the_others_arrive(
    team: Team, refusal: str
) -> None:
    user_hook(team.rig, f'case "$said" in *FORBIDDEN*) {refusal};; esac')
    await team.start()
    forbidden = message(5, "this is FORBIDDEN")
    batch = [ONE, forbidden, THREE]
    await team.successor(batch)
    await team.told([forbidden], MessageStatus.FAILED)
    try:
        await team.told([ONE, THREE], SUBMITTED)
    except AssertionError:
        raise AssertionError(f"{team.receipts}\n{await team.rig.pane.capture()}") from None

    assert "not that: policy 7" in next(r.reason for r in team.receipts if r.status is MessageStatus.FAILED)
    assert not any(r.message_id == forbidden.id and r.status is SUBMITTED for r in team.receipts)
    await until(lambda: team.in_transcript() == [ONE.id, THREE.id])
    await team.rig.shows_empty_composer()
    await until(lambda: team.status is Status.READY)


async def test_a_receipt_comes_when_the_transcript_holds_the_message_and_not_before(team: Team) -> None:
    await team.start()
    instance = await team.successor([])
    for number in range(3):
        one = message(30 + number, f"number {number}")
        await instance.deliver([one])
        await team.told([one], SUBMITTED)
        assert one.id in team.in_transcript()
        receipt = last(team, one)
        assert receipt is not None
        assert receipt.exact
        await until(lambda: team.status is Status.READY)


@only_claude
async def test_in_vim_mode_messages_arrive_in_insert_and_in_normal_mode(team: Team) -> None:
    team.rig.user_file("settings.json", {"editorMode": "vim"})
    await team.start()
    instance = await team.successor([ONE])
    await team.told([ONE], SUBMITTED)
    await team.shows_each_once([ONE])
    await team.rig.keys("Escape")
    await instance.deliver([TWO])
    await team.told([TWO], SUBMITTED)
    await team.shows_each_once([ONE, TWO])


@only_claude
async def test_an_enter_that_the_user_has_bound_to_something_else_holds_the_message_in_words(team: Team) -> None:
    bound = {"context": "Chat", "bindings": {"enter": "chat:newline"}}
    team.rig.user_file("keybindings.json", {"bindings": [bound]})
    await team.start()
    await team.successor([ONE])
    await held(team, ONE, "takes no Enter")
    assert prompts(team.rig) == []


async def test_a_message_that_is_taller_than_a_small_window_arrives(team: Team) -> None:
    await team.start()
    await team.rig.pane._tmux.run("resize-window", "-t", team.rig.pane_id, "-x", "80", "-y", "24")
    await asyncio.sleep(0.5)
    tall = message(7, "The quick brown fox jumps over the lazy dog, " * 15 + "end.")
    await team.successor([tall])
    await team.told([tall], SUBMITTED)
    await team.shows_each_once([tall])
    (entry,) = team.rig.entries(EntryKind.QUESTION)
    assert entry.text.rstrip() == f"[phalanx {tall.id} from lead]\n{tall.text}"
