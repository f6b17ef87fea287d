"""What Phalanx relies on, asked of the demo and of the real Claude Code alike.

A difference between the two is a defect of the demo: everything else is tested with it.
"""

from __future__ import annotations

import json
import os
import signal
from functools import partial

import pytest

from actors.agents.base import AgentEvent, Composer, EntryKind, EventKind
from actors.agents.permissions import answer, release
from actors.agents.spool import SPOOL_NAME
from tests.integration.agents.rig import ClaudeRig, DemoRig, until
from tests.standin.wrapping import as_each_version_keeps_it, unwrapped

pytestmark = pytest.mark.each_version

AnyRig = DemoRig | ClaudeRig

AWKWARD = (
    "[phalanx msg_1 from lead]\n"
    "\u276f 1. Yes\n"
    "─────────────────────────\n"
    "\u276f\u00a0\n"
    "\n"
    "/exit `x` $(touch no) \"q\" 'q' 日本 e\u0301 \u2028 🎉 \\ Enter C-c #{pane_id} %1\n"
    "Do you want to proceed?\n"
    "   esc to interrupt"
)


async def has_answered(rig: AnyRig, text: str) -> None:
    """One turn, until the agent is idle and has written it down, which it does a moment after its hook."""
    number = len(rig.events(EventKind.TURN_ENDED)) + 1
    await rig.submit(text)
    await rig.event(EventKind.TURN_ENDED, number)
    await rig.shows_empty_composer()
    await until(lambda: len(rig.entries(EntryKind.ANSWER)) == number)


async def asked_for(rig: AnyRig, command: str) -> AgentEvent:
    """The request of a fresh agent to run a command, once its dialog is shown."""
    await rig.ready()
    await rig.submit(f"[x]\n{rig.use_tool(command)}")
    asked = await rig.event(EventKind.PERMISSION_REQUESTED)
    await rig.shows_dialog()
    return asked


def decide(rig: AnyRig, asked: AgentEvent, *, allow: bool, message: str = "") -> bool:
    decision = rig.decide(asked, allow=allow, message=message)
    return answer(rig.instance_directory, asked.request_id, decision)


async def shows_no_way_out(rig: AnyRig) -> bool:
    """A second Ctrl-C soon after the first one is not what it would be alone."""
    return "again to exit" not in await rig.pane.capture()


async def test_a_start_is_reported_and_ends_with_an_empty_input_box(rig: AnyRig) -> None:
    await rig.ready()

    started = await rig.event(EventKind.SESSION_STARTED)
    assert (started.session_id, started.source) == (rig.session_id, "startup")
    assert rig.session_id in started.transcript_path
    assert not (await rig.screen()).trouble


async def test_a_pasted_text_is_submitted_exactly_and_answered(rig: AnyRig) -> None:
    await rig.ready()

    submitted = await rig.submit(AWKWARD)
    answered = await rig.event(EventKind.TURN_ENDED)
    await rig.shows_empty_composer()

    assert as_each_version_keeps_it(unwrapped(submitted.text)) == as_each_version_keeps_it(AWKWARD)
    assert answered.text.endswith("esc to interrupt")
    await until(lambda: len(rig.entries(EntryKind.ANSWER)) == 1)
    (question,), (said,) = rig.entries(EntryKind.QUESTION), rig.entries(EntryKind.ANSWER)
    assert as_each_version_keeps_it(unwrapped(question.text)) == as_each_version_keeps_it(AWKWARD)
    assert (said.text, said.tokens is not None) == (answered.text, True)
    assert not (rig.cwd / "no").exists()


async def test_an_allowed_tool_runs_and_the_turn_goes_on(rig: AnyRig) -> None:
    asked = await asked_for(rig, "touch allowed")

    assert (asked.tool, asked.tool_input["command"]) == ("Bash", "touch allowed")
    assert decide(rig, asked, allow=True)
    used = await rig.event(EventKind.TOOL_USED)
    await rig.event(EventKind.TURN_ENDED)
    await rig.shows_empty_composer()

    assert (used.tool, used.tool_input) == (asked.tool, asked.tool_input)
    assert rig.has_run("touch allowed")
    assert rig.waiting_hooks() == []
    await until(lambda: [entry.tool for entry in rig.entries(EntryKind.TOOL_CALL)] == ["Bash"])
    assert not answer(rig.instance_directory, asked.request_id, "too late")


@pytest.mark.real_claude
async def test_what_a_user_s_rule_always_asks_for_runs_when_it_is_allowed_and_asks_no_second_time(
    claude: ClaudeRig,
) -> None:
    settings = claude.cwd.parents[1] / "user" / ".claude" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"permissions": {"ask": ["Bash(touch:*)"]}}))
    asked = await asked_for(claude, "touch allowed")

    assert decide(claude, asked, allow=True)
    await claude.event(EventKind.TURN_ENDED)

    assert claude.has_run("touch allowed")
    assert len(claude.events(EventKind.PERMISSION_REQUESTED)) == 1


@pytest.mark.real_claude
async def test_an_agent_that_waits_for_nothing_but_its_next_turn_runs_no_hook_of_ours(claude: ClaudeRig) -> None:
    told = claude.user_file("told", "")
    runs = {"type": "command", "command": f"echo idle >> {told}"}
    claude.user_file("settings.json", {"hooks": {"Notification": [{"hooks": [runs]}]}})
    config = told.parents[1] / ".claude.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "messageIdleNotifThresholdMs": 200}))
    await claude.ready()
    await has_answered(claude, "[x]\nhello")

    await until(told.read_text)
    await has_answered(claude, "[x]\nhello again")
    assert b"idle_prompt" not in (claude.instance_directory / SPOOL_NAME).read_bytes()


async def test_a_denied_tool_does_not_run_and_the_agent_learns_why(rig: AnyRig) -> None:
    asked = await asked_for(rig, "touch denied")

    assert decide(rig, asked, allow=False, message="no: 日本")
    answered = await rig.event(EventKind.TURN_ENDED)
    await rig.shows_empty_composer()

    assert not rig.has_run("touch denied")
    assert "no: 日本" in answered.text
    await until(lambda: [entry.text for entry in rig.entries(EntryKind.TOOL_RESULT)] == ["no: 日本"])
    assert EventKind.TOOL_USED not in rig.kinds()


async def test_text_and_enter_in_a_dialog_approve_the_tool_and_lose_the_text(rig: AnyRig) -> None:
    asked = await asked_for(rig, "touch trapped")

    async def entered() -> bool:
        await rig.pane.press("Enter")
        return rig.has_run("touch trapped")

    await rig.pane.paste("[phalanx msg_2 from lead]\nplease do not")
    await until(entered)  # newer versions take no key within 0.2 s of drawing a dialog
    await rig.event(EventKind.TURN_ENDED)

    assert len(rig.events(EventKind.PROMPT_SUBMITTED)) == 1
    assert release(rig.instance_directory, asked.request_id)
    await until(lambda: rig.waiting_hooks() == [])


async def test_an_arrow_in_a_dialog_moves_its_pointer_and_nothing_else(rig: AnyRig) -> None:
    await asked_for(rig, "touch pointed")

    async def moved() -> bool:
        await rig.pane.press("Down")
        dialog = (await rig.screen()).dialog
        assert dialog is not None
        return dialog.chosen != 0

    await until(moved)  # newer versions take no key within 0.2 s of drawing a dialog
    assert not rig.has_run("touch pointed")


async def test_escape_in_a_dialog_denies_and_stops_the_turn_without_a_hook(rig: AnyRig) -> None:
    await asked_for(rig, "touch escaped")

    await rig.pane.press("Escape")
    await rig.shows_empty_composer()

    assert not rig.has_run("touch escaped")
    assert rig.kinds()[-1] is EventKind.PERMISSION_REQUESTED
    await until(lambda: [entry.interrupted for entry in rig.entries(EntryKind.NOTICE)] == [True])


async def test_escape_before_any_output_takes_the_prompt_back_into_the_input_box(rig: AnyRig) -> None:
    await rig.ready()
    await rig.submit(f"[x]\n{rig.work(30)}")
    await rig.shows(lambda screen: screen.busy)

    await rig.pane.press("Escape")
    screen = await rig.shows(lambda screen: not screen.busy and screen.composer is Composer.DRAFT)

    assert screen.draft == f"[x]\n{rig.work(30)}"
    assert rig.kinds()[-1] is EventKind.PROMPT_SUBMITTED
    assert rig.entries(EntryKind.NOTICE) == []


async def test_what_is_entered_while_busy_is_queued_and_all_of_it_is_one_turn(rig: AnyRig) -> None:
    await rig.ready()
    await rig.submit(f"[1]\n{rig.work(2)}")
    for text in ("[2]\ntwo", "[3]\nthree"):
        await rig.paste(text)
        await rig.pane.press("Enter")
        await rig.shows(lambda screen: screen.composer is Composer.EMPTY)

    assert (await rig.screen()).busy
    await rig.event(EventKind.TURN_ENDED, 2)
    await rig.shows_empty_composer()

    prompts = [event.text for event in rig.events(EventKind.PROMPT_SUBMITTED)]
    assert prompts == [f"[1]\n{rig.work(2)}", "[2]\ntwo", "[3]\nthree"]
    await until(lambda: [entry.text for entry in rig.entries(EntryKind.QUESTION)] == prompts)
    assert rig.kinds().count(EventKind.TURN_ENDED) == 2


async def test_a_backslash_and_a_mention_at_the_end_keep_enter_from_submitting(
    rig: AnyRig, request: pytest.FixtureRequest
) -> None:
    await rig.ready()
    (rig.cwd / "alpha.txt").touch()
    newest = request.node.callspec.params["rig"] == "newest"  # which submits what ends in a mention
    for text in ("[x]\nends in \\", *(() if newest else ("[x]\nsee @al",))):
        await rig.paste(text)
        if "@" in text:
            await rig.shows(lambda screen: screen.dialog)
        before = (await rig.screen()).draft
        await rig.pane.press("Enter")
        changed = await rig.shows(lambda screen, was=before: screen.draft != was)  # type: ignore[misc]

        assert changed.composer is Composer.DRAFT
        await rig.pane.press("C-c")
        await rig.shows_empty_composer()
        await until(partial(shows_no_way_out, rig))

    assert EventKind.PROMPT_SUBMITTED not in rig.kinds()


async def test_a_newline_at_the_end_lets_enter_submit_such_a_text(rig: AnyRig) -> None:
    await rig.ready()
    (rig.cwd / "alpha.txt").touch()

    texts = ["[x]\nends in \\", "[x]\nsee @al", "[x]\n/help", "[x]\n!ls", "[x]\n# note"]
    for number, text in enumerate(texts, 1):
        assert (await rig.submit(text)).text == text
        await rig.event(EventKind.TURN_ENDED, number)
        await rig.shows_empty_composer()


async def test_a_slash_opens_a_menu_and_an_exclamation_mark_a_shell(rig: AnyRig) -> None:
    await rig.ready()

    await rig.pane.paste("/")
    await rig.shows(lambda screen: screen.composer is Composer.DRAFT and screen.dialog)
    await rig.pane.press("C-c")
    await rig.shows_empty_composer()
    await rig.pane.paste("!")
    await rig.shows(lambda screen: screen.composer is Composer.ABSENT and screen.dialog)


async def test_a_rate_limit_is_reported_as_one(rig: AnyRig) -> None:
    await rig.ready()
    await rig.submit(f"[x]\n{rig.rate_limit()}")

    failed = await rig.event(EventKind.TURN_FAILED)
    await rig.shows_empty_composer()

    assert failed.rate_limited
    assert "429" in failed.text
    await until(lambda: [entry.text for entry in rig.entries(EntryKind.NOTICE)] == [failed.text])


async def test_a_resumed_agent_goes_on_with_the_same_conversation(rig: AnyRig) -> None:
    await rig.ready()
    await has_answered(rig, "[x]\nremember the heron")
    os.kill(rig.pid, signal.SIGTERM)
    await rig.ended()

    rig.start(resume=True)
    await rig.shows_empty_composer()
    await has_answered(rig, "[x]\nand the crane")

    assert "remember the heron" in await rig.pane.capture()
    assert [event.source for event in rig.events(EventKind.SESSION_STARTED)] == ["startup", "resume"]
    assert len({event.transcript_path for event in rig.events()}) == 1
    questions = [entry.text for entry in rig.entries(EntryKind.QUESTION)]
    assert questions == ["[x]\nremember the heron", "[x]\nand the crane"]


async def test_a_session_that_is_there_or_is_not_there_ends_a_start_that_expects_otherwise(rig: AnyRig) -> None:
    rig.start(resume=True)
    await rig.ended()
    assert "No conversation found" in await rig.pane.capture()

    await rig.ready()
    await has_answered(rig, "[x]\nhello")
    os.kill(rig.pid, signal.SIGTERM)
    await rig.ended()
    rig.start()
    await rig.ended()
    assert "already in use" in await rig.pane.capture()


async def test_a_terminated_agent_says_goodbye(rig: AnyRig) -> None:
    await rig.ready()
    await has_answered(rig, "[x]\nhello")
    os.kill(rig.pid, signal.SIGTERM)
    state = await rig.ended()

    assert (await rig.event(EventKind.SESSION_ENDED)).text == "other"
    assert state.exit_status in {143, None}
    assert (await rig.screen()).composer is Composer.ABSENT


async def test_control_c_clears_the_input_box_and_twice_ends_the_agent(rig: AnyRig) -> None:
    await rig.ready()
    await rig.paste("[x]\nnever mind")
    await rig.pane.press("C-c")
    await rig.shows_empty_composer()
    await until(partial(shows_no_way_out, rig))

    for _ in range(2):
        await rig.pane.press("C-c")
    await rig.ended()
    assert (await rig.event(EventKind.SESSION_ENDED)).text == "prompt_input_exit"
