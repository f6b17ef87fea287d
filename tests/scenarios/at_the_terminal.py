"""People who look at an instance, type into it, scroll, resize and go away again."""

from __future__ import annotations

import asyncio
import json

from actors.messages import MessageStatus
from actors.status import Status
from tests.processes import command_of
from tests.scenarios.scenario import Skipped, expect, scenario
from tests.scenarios.stage import DRAFT_WORDS, Member, Stage, bash

TOUCH = bash("touch it-ran")
_HELD_FOR_S = 4.0
_CLASSIC = {"CLAUDE_CODE_NO_FLICKER": "0"}
"""Keeps newer versions from drawing on the terminal's alternate screen."""


async def _stays_held(member: Member, text: str = "while something is in the way") -> str:
    """A message that nothing may do anything with for a while. Returns its id."""
    sent = await member.send(text)
    await asyncio.sleep(_HELD_FOR_S)
    assert sent.message_id is not None
    return sent.message_id


def _input_box_is_seen(screen: str) -> bool:
    shown = [row for row in screen.splitlines() if row.strip()]
    return any(row.startswith("❯") for row in shown[-6:])


@scenario()
async def a_message_arrives_after_somebody_looked_with_phalanx_attach_and_detached(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited((200, 50), plain_tmux=False)
    await person.detaches()
    await member.takes("after the visit")


@scenario()
async def a_message_arrives_after_a_visit_where_claude_code_draws_as_it_did_before(stage: Stage) -> None:
    """Newer versions go back to their older way of drawing by themselves, after starts that came to no end."""
    member = await stage.member(env=_CLASSIC)
    await member.rests()
    for size in ((80, 24), (120, 40)):
        person = await member.is_visited(size)
        await member.takes(f"during a visit at {size}")
        await member.gets_a_draft(person)
        held = await member.send(f"beside a draft at {size}")
        await asyncio.sleep(_HELD_FOR_S)
        await person.presses("C-c")
        await member.holds(held)
        await person.detaches()
        await member.takes(f"after a visit at {size}")


@scenario()
async def messages_arrive_during_and_after_visits_at_80x24_100x30_120x40_and_250x80(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    for size in ((80, 24), (100, 30), (120, 40), (250, 80)):
        person = await member.is_visited(size)
        await member.takes(f"while somebody looks at {size}")
        await person.detaches()
        await member.takes(f"after a look at {size}")


@scenario()
async def at_80x24_a_person_sees_the_input_box_and_a_message_arrives_meanwhile(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited((80, 24), plain_tmux=False)
    await person.until(_input_box_is_seen, "the input box", 10)
    await member.takes("while somebody looks at 80x24")
    await person.until(
        lambda screen: "echo: while somebody looks at 80x24" in screen and _input_box_is_seen(screen),
        "the answer and the input box below it",
        10,
    )


@scenario()
async def at_80x24_a_person_sees_a_whole_permission_dialog_and_answers_it(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited((80, 24), plain_tmux=False)
    await member.send(TOUCH)
    await member.asks("Bash")
    await person.until(
        lambda screen: "touch it-ran" in screen and "1. Yes" in screen and "No" in screen, "the dialog", 10
    )
    await person.presses("Enter")
    await member.rests()
    expect((member.directory / "it-ran").exists(), "the person allowed the call and it did not run")
    await member.takes("after the person's answer")


@scenario()
async def what_a_person_denies_at_the_terminal_does_not_run_and_the_next_message_arrives(stage: Stage) -> None:
    member = await stage.member(TOUCH)
    await member.asks("Bash", 30)
    person = await member.is_visited((120, 40))
    await member.shows("1. Yes")
    held = await _stays_held(member)
    await person.presses("Escape")
    await member.rests()
    expect(not (member.directory / "it-ran").exists(), "approved: the call ran although the person denied it")
    expect(member.sent[held], "")
    await member.takes("after the person's answer")


@scenario()
async def half_a_line_that_a_person_typed_and_left_is_not_sent_and_is_told_in_words(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    await member.gets_a_draft(person)
    await person.detaches()
    await member.send("beside a draft")
    await member.says(*DRAFT_WORDS)
    again = await member.is_visited()
    await again.presses("C-c")


@scenario()
async def a_person_who_types_without_pause_while_messages_come_finds_every_letter_and_nothing_was_sent(
    stage: Stage,
) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()

    async def lead() -> None:
        for number in range(4):
            await member.send(f"order {number} while a person types")
            await asyncio.sleep(0.7)

    leading = asyncio.create_task(lead())
    typed = ""
    for number in range(40):
        word = f"w{number:02}"
        typed += word
        await person.types(word)
        await asyncio.sleep(0.05)
    await leading
    await asyncio.sleep(2)
    in_the_box = "".join((await member.screen()).split())
    submitted = member.conversations.mentions("w0") + member.conversations.mentions("w1")
    expect(not submitted, f"submitted for a person: {[text[-200:] for text in submitted]}")
    expect(typed[-60:] in in_the_box, f"what the person typed does not stand in the box; {await member.describes()}")
    await person.presses("C-c")


@scenario()
async def slash_exit_that_a_person_typed_without_enter_is_not_run_by_a_message(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    await person.types("/exit")
    await member.shows("❯ /exit")
    await _stays_held(member)
    info = await member.info()
    expect(info.status is Status.READY, f"the command of the person was run; {await member.describes()}")
    await person.presses("C-c")


@scenario()
async def a_shell_command_that_a_person_typed_without_enter_is_not_run_by_a_message(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    await person.types("!touch it-ran")
    await member.shows("touch it-ran")
    await _stays_held(member)
    expect(not (member.directory / "it-ran").exists(), "approved: the person's shell command was run")
    await member.says(*DRAFT_WORDS, "shell", "bash", "!")
    await person.presses("C-c", "BSpace")


@scenario()
async def a_draft_that_stood_before_a_permission_dialog_is_not_sent_after_it(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    await member.send("@@slow 4\n" + TOUCH)
    await member.works()
    await member.gets_a_draft(person)
    await member.asks("Bash", 30)
    await member.send("behind a dialog and a draft")
    await member.answers("deny", message="no")
    await asyncio.sleep(_HELD_FOR_S)
    await member.says(*DRAFT_WORDS)
    await person.presses("C-c")


@scenario()
async def two_people_at_terminals_of_different_sizes_do_not_keep_a_message_away(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    small = await member.is_visited((80, 24))
    await member.is_visited((200, 50))
    await member.takes("for two who look")
    await small.detaches()
    await member.takes("for the one who stayed")


@scenario()
async def messages_arrive_once_while_a_terminal_is_resized_again_and_again(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited((120, 40))

    async def drag() -> None:
        for step in range(40):
            await person.resizes(60 + 7 * (step % 17), 20 + 3 * (step % 11))
            await asyncio.sleep(0.1)

    dragging = asyncio.create_task(drag())
    for number in range(4):
        await member.takes(f"order {number} during a resize")
    await dragging
    await member.takes("after the resize")


@scenario()
async def a_message_arrives_although_somebody_scrolls_back_with_the_wheel(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited((100, 30))
    await person.scrolls("up", 5)
    sent = await member.send("while somebody scrolls")
    await member.holds_or_says(sent, "scroll", "copy mode")
    await person.scrolls("down", 30)
    await member.holds(sent)


@scenario()
async def a_message_waits_for_copy_mode_in_words_or_arrives_through_it(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited((120, 40))
    await person.presses("C-b", "[")
    sent = await member.send("while somebody copies")
    await member.holds_or_says(sent, "scroll", "copy mode")
    await person.presses("q")
    await member.holds(sent)


@scenario()
async def a_terminal_that_is_closed_in_mid_delivery_takes_no_message_along(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    for number in range(3):
        person = await member.is_visited((100, 30))
        sent = await member.send(f"order {number} for a window that is closed")
        await asyncio.sleep(0.05 * number)
        await person.closes_the_window()
        member.people.remove(person)
        await member.holds(sent)


@scenario()
async def a_person_presses_escape_twice_and_the_rewind_menu_holds_a_message_in_words(stage: Stage) -> None:
    await _hidden_behind(stage, ["Escape", "Escape"], "Rewind", ["Escape"])


@scenario()
async def a_person_opens_the_whole_transcript_with_ctrl_o_and_a_message_waits_in_words(stage: Stage) -> None:
    await _hidden_behind(stage, ["C-o"], "detailed transcript", ["C-o"])


@scenario()
async def a_person_searches_the_history_with_ctrl_r_and_a_message_waits_in_words(stage: Stage) -> None:
    await _hidden_behind(stage, ["C-r"], "earch", ["Escape"])


@scenario()
async def a_menu_of_commands_that_a_person_opened_holds_a_message_in_words(stage: Stage) -> None:
    await _hidden_behind(stage, ["/"], "/", ["C-c"])


async def _hidden_behind(stage: Stage, keys: list[str], words: str, back: list[str]) -> None:
    """Something that a person opened stands before the input box: a message waits, in words, and arrives afterwards."""
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    await person.presses(*keys)
    await member.shows(words)
    await asyncio.sleep(1)
    sent = await member.send("behind what a person opened")
    await member.holds_or_says(sent)
    await person.presses(*back)
    await member.holds(sent)


@scenario()
async def a_draft_that_a_person_stashed_with_ctrl_s_is_never_sent_with_a_message(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    for number in range(4):
        await member.gets_a_draft(person)
        await person.presses("C-s")
        await member.shows("tash")
        first = await member.send(f"beside a stash, {number}")
        await member.holds(first)
        await asyncio.sleep(1.5)  # it comes back into the box
        await person.presses("C-c")
        await asyncio.sleep(1.2)  # a second Ctrl-C would end the agent


@scenario()
async def a_person_who_presses_left_at_the_empty_prompt_takes_nothing_away_from_the_lead(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    await person.presses("Left")
    await asyncio.sleep(2)
    sent = await member.send("after a Left")
    if not await member.holds_or_says(sent):
        await person.presses("Right", "Escape")
    await member.holds(sent)
    commands = [command_of(each) for each in await asyncio.to_thread(member.processes)]
    daemons = [command for command in commands if "daemon" in " ".join(command)]
    expect(not daemons, f"a daemon of Claude's carries the instance's mark and will be ended with it: {daemons}")


@scenario()
async def a_person_who_cycles_the_modes_with_shift_tab_keeps_no_message_away(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    for number in range(5):
        await person.presses("BTab")
        await asyncio.sleep(0.5)
        await member.takes(f"after {number + 1} times Shift-Tab")


@scenario()
async def ctrl_c_twice_ends_the_agent_and_the_list_says_so(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    await person.presses("C-c", "C-c")
    await member.says("ended", "exit", "left")
    await member.restart()
    await member.takes("to one that is back")


@scenario()
async def an_agent_that_a_person_suspended_with_ctrl_z_says_so_and_takes_messages_after_a_restart(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    await person.presses("C-z")
    await asyncio.sleep(1)
    sent = await member.send("to one that was suspended")
    if not await member.holds_or_says(sent, "stopped", "suspended", "Ctrl-Z"):
        await member.restart()
    await member.holds(sent)


@scenario()
async def what_a_person_sends_and_what_the_lead_sends_stand_in_the_conversation_once_each(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    for number in range(3):
        await person.types(f"a question of the person, number {number}")
        await member.shows(f"❯ a question of the person, number {number}")
        await person.presses("Enter")
        await member.takes(f"an order beside it, number {number}")
    said = [each.text for each in member.conversations.said()]
    for number in range(3):
        times = sum(f"a question of the person, number {number}" in text for text in said)
        expect(times == 1, f"what the person sent stands {times} times in the conversation")


@scenario()
async def a_turn_that_a_person_stops_with_escape_is_over_and_the_next_message_arrives(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    await member.send(bash("python3 -c 'import time; time.sleep(30)'"))
    await member.asks("Bash", 30)
    await member.answers("allow")
    await member.works()
    await member.shows(lambda screen: "unning" in screen or "ctrl+b" in screen)
    await person.presses("Escape")
    await member.rests(10)
    await member.takes("and now this")


@scenario()
async def a_message_that_a_person_took_back_with_escape_is_not_sent_together_with_the_next(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()
    first = await member.send("@@slow 30\nthis is taken back")
    await member.holds(first)
    await asyncio.sleep(0.5)
    await person.presses("Escape")
    await asyncio.sleep(2)
    sent = await member.send("the next one")
    if not await member.holds_or_says(sent, *DRAFT_WORDS):
        await person.presses("C-c")
    await member.holds(sent)


@scenario()
async def enter_that_a_person_presses_while_a_message_is_pasted_doubles_nothing(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited()

    async def presses() -> None:
        for _ in range(25):
            await person.presses("Enter")

    pressing = asyncio.create_task(presses())
    for number in range(4):
        sent = await member.send(f"order {number} among Enters", wait_s=20)
        await member.holds(sent)
    await pressing


@scenario()
async def a_message_of_a_megabyte_arrives_while_somebody_is_attached(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    await member.is_visited((80, 24))
    text = "0123456789abcdef" * 62_000
    sent = await member.send(text, wait_s=60)
    await member.holds(sent, 60)
    expect(sent.status is MessageStatus.SUBMITTED, f"its receipt is {sent.status}: {sent.reason}")
    found = [each.text for each in member.conversations.said() if str(sent.message_id) in each.text]
    expect(text in found[0], "the text in the conversation is another one")


@scenario()
async def vim_mode_keeps_no_message_away_and_takes_none_for_commands(stage: Stage) -> None:
    user = stage.another_user()
    config = json.loads((user / ".claude.json").read_text())
    (user / ".claude.json").write_text(json.dumps({**config, "editorMode": "vim"}))
    member = await stage.member(user_home=user)
    await member.rests()
    await member.takes("in vim's insert mode")
    person = await member.is_visited()
    if "INSERT" not in await member.screen():
        raise Skipped("this version does not take vim mode from its configuration")
    await person.presses("Escape")
    await member.shows(lambda screen: "INSERT" not in screen)
    sent = await member.send("dd in vim's normal mode")
    if not await member.holds_or_says(sent, "vim", *DRAFT_WORDS):
        await person.presses("i")
    await member.holds(sent)
