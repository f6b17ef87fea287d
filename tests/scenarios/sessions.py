"""Commands that people type into an instance: it goes on with another name, another conversation or another model, and
the lead's messages still arrive, also after a restart.
"""

from __future__ import annotations

import asyncio

from actors.status import Status
from tests.people import Person
from tests.scenarios.scenario import expect, scenario
from tests.scenarios.stage import Member, Stage

_NO_DOUBLE_S = 2.0
"""Two Escapes within a second open the menu of Rewind."""


async def _with_a_person(stage: Stage) -> tuple[Member, Person]:
    member = await stage.member()
    await member.rests()
    return member, await member.is_visited((120, 40))


async def _runs(member: Member, person: Person, command: str) -> None:
    """A person types the command and presses Enter once its menu has come up."""
    await person.types(command)
    await member.shows(command)
    await asyncio.sleep(0.5)
    await person.presses("Enter")
    await asyncio.sleep(1.5)


async def _asks_and_restarts(member: Member) -> None:
    await member.rests()
    await member.send('@@tool Bash {"command": "touch it-ran", "description": "touch"}')
    await member.asks("Bash", 20)
    await member.answers("deny", message="no")
    await member.rests()
    await member.restart()
    await member.takes("after the restart")


@scenario()
async def after_a_person_typed_rename_messages_arrive_and_a_restart_goes_on_with_the_conversation(stage: Stage) -> None:
    member, person = await _with_a_person(stage)
    await _runs(member, person, "/rename builder")
    await member.takes("after the rename")
    await member.rests()
    restarted = await member.restart()
    expect(restarted.resumed, "the restart began an empty conversation")
    await member.takes("after the restart")


@scenario()
async def after_a_person_typed_clear_messages_arrive_in_the_fresh_conversation(stage: Stage) -> None:
    member, person = await _with_a_person(stage)
    await _runs(member, person, "/clear")
    await member.takes("after the clear")
    await member.rests()
    await member.takes("and one more")


@scenario()
async def a_restart_after_clear_goes_on_with_the_conversation_after_the_clear(stage: Stage) -> None:
    member, person = await _with_a_person(stage)
    await _runs(member, person, "/clear")
    await member.takes("only this is remembered")
    await member.rests()
    restarted = await member.restart()
    await member.takes("after the restart")
    await member.said("echo: after the restart")
    asked = str(stage.api.requests_with("after the restart")[-1]["messages"])
    expect(
        "only this is remembered" in asked, f"the conversation after the clear is gone (resumed: {restarted.resumed})"
    )
    expect("echo: hello" not in asked, "the conversation before the clear came back")


@scenario()
async def a_restart_right_after_clear_starts_again(stage: Stage) -> None:
    member, person = await _with_a_person(stage)
    await _runs(member, person, "/clear")
    await asyncio.sleep(1)
    await member.restart()
    await member.takes("after the restart")


@scenario()
async def after_a_person_typed_compact_messages_arrive(stage: Stage) -> None:
    member, person = await _with_a_person(stage)
    await _runs(member, person, "/compact")
    await member.takes("after the compaction", 40)
    await member.rests()


@scenario()
async def after_a_person_resumed_an_earlier_conversation_messages_arrive_and_requests_are_shown(stage: Stage) -> None:
    member, person = await _with_a_person(stage)
    await _runs(member, person, "/clear")
    await member.takes("in the second conversation")
    await member.rests()
    await _runs(member, person, "/resume")
    await member.shows(lambda screen: "Resume" in screen and "ago" in screen)
    await person.presses("Down")
    await asyncio.sleep(0.5)
    await person.presses("Enter")
    await asyncio.sleep(3)
    await member.takes("after the resume")
    await _asks_and_restarts(member)


@scenario()
async def after_a_person_typed_branch_messages_arrive_and_requests_are_shown(stage: Stage) -> None:
    member, person = await _with_a_person(stage)
    await _runs(member, person, "/branch")
    await asyncio.sleep(2)
    await member.takes("after the branch")
    await _asks_and_restarts(member)


@scenario()
async def a_dialog_of_model_that_a_person_left_open_holds_a_message_in_words(stage: Stage) -> None:
    await _left_open(stage, "/model", "model")


@scenario()
async def a_dialog_of_config_that_a_person_left_open_holds_a_message_in_words(stage: Stage) -> None:
    await _left_open(stage, "/config", "Esc to")


@scenario()
async def a_dialog_of_permissions_that_a_person_left_open_holds_a_message_in_words(stage: Stage) -> None:
    await _left_open(stage, "/permissions", "ermission")


@scenario()
async def a_page_of_help_that_a_person_left_open_holds_a_message_in_words(stage: Stage) -> None:
    await _left_open(stage, "/help", "elp")


async def _left_open(stage: Stage, command: str, words: str) -> None:
    member, person = await _with_a_person(stage)
    await _runs(member, person, command)
    await member.shows(words)
    sent = await member.send("behind a dialog")
    if not await member.holds_or_says(sent):
        expect("behind a dialog" not in await member.screen(), f"it was typed into; {await member.describes()}")
    await person.presses("Escape")
    await asyncio.sleep(_NO_DOUBLE_S)
    if not member.conversations.times()[str(sent.message_id)]:
        await person.presses("Escape")
    await member.holds(sent)


@scenario()
async def an_agent_that_a_person_left_with_exit_says_so_and_comes_back_with_its_conversation(stage: Stage) -> None:
    member, person = await _with_a_person(stage)
    await _runs(member, person, "/exit")
    info = await member.says("ended", "exit", "left")
    expect(info.status in {Status.FAILED, Status.STOPPED}, f"its status is {info.status}")
    restarted = await member.restart()
    expect(restarted.resumed, "the restart began an empty conversation")
    await member.takes("to one that is back")


@scenario()
async def a_shell_command_that_a_person_runs_keeps_no_message_away(stage: Stage) -> None:
    member, person = await _with_a_person(stage)
    await person.types("!sleep 3; echo done")
    await member.shows("! sleep 3; echo done")
    await person.presses("Enter")
    await member.takes("beside a shell command", 30)
    await member.rests()


@scenario()
async def commands_that_start_nothing_leave_the_instance_ready(stage: Stage) -> None:
    member, person = await _with_a_person(stage)
    for command in ("/cost", "/nonsense-that-is-none"):
        await _runs(member, person, command)
        await person.presses("Escape")
        await member.takes(f"after {command[1:]}")
    await member.rests()


@scenario()
async def dialogs_of_status_mcp_agents_and_memory_that_a_person_opens_hold_messages_in_words(stage: Stage) -> None:
    await _one_after_the_other(stage, "/status", "/mcp", "/agents", "/memory")


@scenario()
async def dialogs_of_hooks_theme_login_and_rewind_that_a_person_opens_hold_messages_in_words(stage: Stage) -> None:
    await _one_after_the_other(stage, "/hooks", "/theme", "/login", "/rewind")


async def _one_after_the_other(stage: Stage, *commands: str) -> None:
    member, person = await _with_a_person(stage)
    for command in commands:
        await _runs(member, person, command)
        sent = await member.send(f"behind {command[1:]}")
        await member.holds_or_says(sent)
        for _ in range(4):
            if (await member.info()).needs_attention:
                await person.presses("Escape")
            elif member.conversations.times()[str(sent.message_id)]:
                break
            await asyncio.sleep(_NO_DOUBLE_S)
        await member.holds(sent)
        await member.rests()
