"""What instances ask for: permissions, questions, plans. Each is shown until it is answered, and only ``respond`` or a
person answers it.
"""

from __future__ import annotations

import asyncio

from actors.messages import MessageStatus
from actors.status import Status
from tests.scenarios.scenario import Skipped, expect, scenario
from tests.scenarios.stage import Stage, bash, tool

_HELD_FOR_S = 4.0
TOUCH = bash("touch it-ran")


def _in_the_background(prompt: str) -> str:
    """A subagent that goes on when the turn has ended."""
    kind = {"subagent_type": "general-purpose", "run_in_background": True}
    return tool("Agent", description="work", prompt=prompt, **kind)


@scenario()
async def a_background_subagent_that_asks_after_the_turn_is_shown_and_answered(stage: Stage) -> None:
    member = await stage.member(_in_the_background(f"@@slow 3\n{TOUCH}"))
    await member.asks("Bash", 30)
    sent = await member.send("while the subagent waits")
    await asyncio.sleep(_HELD_FOR_S)
    asked = await member.asks("Bash")
    expect(not (member.directory / "it-ran").exists(), "approved: the subagent's call ran although nobody answered")
    await member.answers("allow", permission_id=asked.permission_id)
    await member.holds(sent)
    await member.rests()
    expect((member.directory / "it-ran").exists(), f"the call was allowed and did not run; {await member.describes()}")


@scenario()
async def a_background_subagent_that_is_denied_after_the_turn_runs_nothing(stage: Stage) -> None:
    member = await stage.member(_in_the_background(f"@@slow 2\n{TOUCH}"))
    await member.asks("Bash", 30)
    await asyncio.sleep(_HELD_FOR_S)
    asked = await member.asks("Bash")
    await member.answers("deny", permission_id=asked.permission_id, message="no")
    await member.takes("after the answer", 30)
    expect(not (member.directory / "it-ran").exists(), "approved: the subagent's call ran although it was denied")


@scenario()
async def a_message_beside_a_permission_dialog_presses_no_key_and_arrives_after_the_answer(stage: Stage) -> None:
    member = await stage.member(TOUCH)
    await member.asks("Bash", 30)
    sent = await member.send("1", wait_s=5)
    expect(sent.status is MessageStatus.BLOCKED, f"its receipt is {sent.status}: {sent.reason}")
    expect("Bash" in (sent.reason or ""), f"the receipt does not say what is in the way: {sent.reason}")
    await asyncio.sleep(_HELD_FOR_S)
    expect(not (member.directory / "it-ran").exists(), "approved: the call ran although nobody answered")
    await member.answers("deny", message="use no tools")
    await member.holds(sent)


@scenario()
async def a_write_of_100_kb_is_shown_until_it_is_answered(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    path = member.directory / "big.txt"
    text = "\n".join(f"line {number} of a long file" for number in range(4000))
    await member.send(tool("Write", file_path=str(path), content=text))
    await member.asks("Write", 30)
    sent = await member.send("beside a long file")
    for _ in range(6):
        await asyncio.sleep(1)
        await member.asks("Write", 0.5)
    expect(not path.exists(), "approved: the file was written although nobody answered")
    await member.answers("allow")
    await member.holds(sent, 40)
    expect(path.exists(), "the call was allowed and did not run")


@scenario()
async def two_requests_at_once_are_answered_one_by_one(stage: Stage) -> None:
    outside = [stage.directory / f"outside{number}.txt" for number in range(2)]
    for path in outside:
        path.write_text("text")
    member = await stage.member("\n".join(tool("Read", file_path=str(path)) for path in outside))
    first = await member.asks("Read", 30)
    await member.answers("allow", permission_id=first.permission_id)
    await asyncio.sleep(2)
    second = await member.asks("Read")
    expect(second.permission_id != first.permission_id, "the answered request is still shown")
    await member.answers("deny", permission_id=second.permission_id, message="no")
    await member.rests()
    await member.takes("after both")


@scenario()
async def a_person_answers_one_of_two_requests_and_the_lead_the_other(stage: Stage) -> None:
    outside = [stage.directory / f"there{number}.txt" for number in range(2)]
    for path in outside:
        path.write_text("text")
    member = await stage.member("\n".join(tool("Read", file_path=str(path)) for path in outside))
    await member.asks("Read", 30)
    person = await member.is_visited((100, 30))
    await member.shows("1. Yes")
    await asyncio.sleep(1)
    await person.presses("1")
    await asyncio.sleep(4)
    await member.asks("Read")
    await member.answers("deny", message="no")
    await member.rests()
    await member.takes("after both")


@scenario()
async def a_question_is_answered_through_respond(stage: Stage) -> None:
    question = {
        "question": "Which colour?",
        "header": "Colour",
        "multiSelect": False,
        "options": _options("Red", "Blue"),
    }
    member = await stage.member(tool("AskUserQuestion", questions=[question]))
    await member.asks("AskUserQuestion", 30)
    await member.answers("allow", message="Blue")
    await member.said('"Which colour?"="Blue"')


@scenario()
async def two_questions_are_answered_through_respond_each_by_its_own_answer(stage: Stage) -> None:
    questions = [
        {"question": "Which colour?", "header": "Colour", "multiSelect": False, "options": _options("Red", "Blue")},
        {"question": "Which size?", "header": "Size", "multiSelect": False, "options": _options("Small", "Large")},
    ]
    member = await stage.member(tool("AskUserQuestion", questions=questions))
    asked = await member.asks("AskUserQuestion", 30)
    expect(len(asked.input["questions"]) == 2, f"the request does not show both questions: {asked.input}")
    await member.answers("allow", answers={"Which colour?": "Blue", "Which size?": "Large"})
    await member.said('"Which colour?"="Blue"', '"Which size?"="Large"')


def _options(*labels: str) -> list[dict[str, str]]:
    return [{"label": label, "description": f"Take {label}"} for label in labels]


@scenario()
async def a_plan_is_shown_and_allowed_through_respond(stage: Stage) -> None:
    member = await stage.member(tool("ExitPlanMode", plan="1. Think\n2. Do"), permission_mode="plan")
    await member.asks("ExitPlanMode", 30)
    await member.answers("allow")
    await member.rests()
    await member.takes("after the plan")


@scenario()
async def a_plan_is_denied_through_respond_and_the_agent_stays_in_plan_mode(stage: Stage) -> None:
    member = await stage.member(tool("ExitPlanMode", plan="1. Think\n2. Do"), permission_mode="plan")
    await member.asks("ExitPlanMode", 30)
    await member.answers("deny", message="think again")
    await member.rests()
    await member.takes("after the plan")
    await member.shows("plan mode")


@scenario()
async def a_spawn_without_a_mode_asks_before_it_acts(stage: Stage) -> None:
    member = await stage.member(TOUCH, permission_mode=None)
    await member.asks("Bash", 30)
    expect(not (member.directory / "it-ran").exists(), "approved: the call ran although nobody was asked")
    await member.answers("deny", message="no")


@scenario()
async def an_instance_can_be_started_in_every_mode_of_claude_code(stage: Stage) -> None:
    for mode in ("acceptEdits", "plan", "dontAsk", "manual"):
        if mode == "manual" and not stage.is_at_least("2.1.330"):
            continue
        member = await stage.member(permission_mode=mode)
        await member.rests()
        await member.takes(f"in the mode {mode}")


@scenario()
async def an_instance_that_may_do_everything_starts_without_a_question(stage: Stage) -> None:
    member = await stage.member(bash("touch it-ran"), permission_mode="bypassPermissions", env={"IS_SANDBOX": "1"})
    await member.rests()
    expect((member.directory / "it-ran").exists(), "the call did not run")
    await member.takes("in the mode bypassPermissions")


@scenario()
async def a_gateway_that_cannot_check_actions_is_told_in_words_in_mode_auto(stage: Stage) -> None:
    if not stage.is_at_least("2.1.330"):
        raise Skipped("this version asks nothing in mode auto when its check fails")
    member = await stage.member(permission_mode="auto")
    await member.rests()
    sent = await member.send(bash("curl -s http://127.0.0.1:9/; touch it-ran"))
    info = await member.says("auto", within_s=20)
    expect(not (member.directory / "it-ran").exists(), "approved: the call ran although nobody answered")
    expect(info.dialog and info.dialog.options, f"no option is offered; {await member.describes()}")
    assert info.dialog is not None
    await member.answers(option=info.dialog.options[0])
    await member.holds(sent)
    await member.says("Do you want to proceed?")
    info = await member.info()
    expect(info.dialog and "No" in info.dialog.options, f"the call cannot be declined; {await member.describes()}")
    await member.answers(option="No")
    await member.takes("after the answer", 40)
    expect(not (member.directory / "it-ran").exists(), "approved: the call ran although it was declined")


@scenario()
async def a_request_outlives_a_restart_of_nobody_and_is_shown_for_as_long_as_it_waits(stage: Stage) -> None:
    member = await stage.member(TOUCH)
    first = await member.asks("Bash", 30)
    for _ in range(15):
        await asyncio.sleep(1)
        again = await member.asks("Bash", 0.5)
        expect(again.permission_id == first.permission_id, "another request is shown")
    info = await member.info()
    expect(info.status is Status.WAITING_PERMISSION and info.needs_attention, await member.describes())
    await member.answers("allow")
    await member.rests()
    expect((member.directory / "it-ran").exists(), "the call was allowed and did not run")
