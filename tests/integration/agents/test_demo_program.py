"""What the demo can be told to do, seen through the same parsers as the real program."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from actors.agents.base import Composer, EntryKind, EventKind
from actors.agents.permissions import answer
from tests.integration.agents.rig import DemoRig

HEADER = "[phalanx msg_1 from lead]\n"


def log(rig: DemoRig) -> list[dict[str, object]]:
    return [json.loads(line) for line in (rig.instance_directory / "demo-log.jsonl").read_text().split("\n") if line]


async def git(rig: DemoRig, *arguments: str) -> str:
    command = ("git", "-C", str(rig.cwd), *arguments)
    said = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True, timeout=20)
    return str(said.stdout)


async def allow(demo: DemoRig) -> None:
    asked = await demo.event(EventKind.PERMISSION_REQUESTED)
    answer(demo.instance_directory, asked.request_id, demo.decide(asked, allow=True, message=""))


def prompts(rig: DemoRig) -> list[object]:
    return [line["prompt"] for line in log(rig) if "prompt" in line]


@pytest.mark.parametrize("line", ["日本 x\u2028\\", "line\n"])
async def test_a_megabyte_arrives_whole_and_leaves_the_demo_usable(demo: DemoRig, line: str) -> None:
    await demo.ready()
    text = HEADER + line * (1_000_000 // len(line.encode()))
    assert (await demo.submit(text)).text == text + "\n"
    await demo.event(EventKind.TURN_ENDED)
    await demo.shows_empty_composer()

    assert (await demo.submit(HEADER + "short")).text == HEADER + "short"


async def swallows_an_enter(demo: DemoRig) -> None:
    await demo.paste(HEADER + "hello")
    await demo.pane.press("Enter")
    assert (await demo.screen()).composer is Composer.DRAFT


async def test_a_swallowed_enter_leaves_the_draft_and_the_next_one_submits(demo: DemoRig) -> None:
    await demo.ready(PHALANX_DEMO_FAULTS="swallow-first-enter")
    await swallows_an_enter(demo)
    await demo.pane.press("Enter")
    await demo.event(EventKind.TURN_ENDED)
    await demo.submit(HEADER + "@@demo swallow-enter")
    await demo.event(EventKind.TURN_ENDED, 2)
    await swallows_an_enter(demo)

    assert prompts(demo) == [HEADER + "hello", HEADER + "@@demo swallow-enter"]


async def test_the_start_takes_as_long_as_it_is_told_and_keeps_early_text_but_not_early_enters(demo: DemoRig) -> None:
    begun = time.monotonic()
    demo.start({"PHALANX_DEMO_START_S": "0.7"})
    await demo.pane.paste("early")
    await demo.pane.press("Enter")
    assert demo.events() == []
    screen = await demo.shows(lambda screen: screen.composer is not Composer.ABSENT)

    assert time.monotonic() - begun > 0.7
    assert (screen.composer, screen.draft) == (Composer.DRAFT, "early")
    assert demo.kinds() == [EventKind.SESSION_STARTED]


async def test_a_slow_start_says_that_it_has_started_before_it_can_be_typed_to(demo: DemoRig) -> None:
    demo.start({"PHALANX_DEMO_FAULTS": "start-slow=0.5"})
    await demo.event(EventKind.SESSION_STARTED)

    assert (await demo.screen()).composer is Composer.ABSENT
    await demo.shows_empty_composer()


async def test_an_exit_at_the_start_leaves_its_words_and_its_status(demo: DemoRig) -> None:
    demo.start({"PHALANX_DEMO_FAULTS": "exit-at-start=7"})
    state = await demo.ended()

    assert state.exit_status in {7, None}
    assert "exits at its start" in await demo.pane.capture()
    assert demo.events() == []


async def test_a_question_of_trust_stops_the_start_until_it_is_answered(demo: DemoRig) -> None:
    demo.start({"PHALANX_DEMO_FAULTS": "trust-dialog"})
    screen = await demo.shows(lambda screen: screen.dialog)
    assert "trust" in screen.trouble
    assert demo.events() == []

    await demo.pane.press("Enter")
    await demo.shows_empty_composer()
    await demo.event(EventKind.SESSION_STARTED)


async def test_a_crash_ends_it_without_a_word(demo: DemoRig) -> None:
    await demo.ready()
    await demo.submit(HEADER + "@@demo crash 9")
    state = await demo.ended()

    assert state.exit_status in {9, None}
    assert EventKind.SESSION_ENDED not in demo.kinds()


async def test_a_menu_is_a_dialog_without_any_event(demo: DemoRig) -> None:
    await demo.ready()
    await demo.submit(HEADER + "@@demo ask")
    await demo.shows_dialog()
    assert demo.kinds()[-1] is EventKind.PROMPT_SUBMITTED

    await demo.pane.press("Enter")
    answered = await demo.event(EventKind.TURN_ENDED)
    assert "This one" in answered.text


async def test_escape_twice_on_an_empty_input_box_opens_a_menu(demo: DemoRig) -> None:
    await demo.ready()
    for _ in range(2):
        await demo.pane.press("Escape")
    await demo.shows_dialog()
    await demo.pane.press("Escape")
    await demo.shows_empty_composer()


async def test_a_commit_stands_in_the_repository(demo: DemoRig) -> None:
    await git(demo, "init", "-q")
    await demo.ready()
    await demo.submit(HEADER + "@@demo commit notes/a.txt $(touch no) some words")
    await demo.event(EventKind.TURN_ENDED)

    assert await git(demo, "show", "HEAD:notes/a.txt") == "$(touch no) some words\n"
    assert not (demo.cwd / "no").exists()


async def test_a_message_that_is_entered_while_a_tool_waits_becomes_part_of_the_turn_without_a_hook(
    demo: DemoRig,
) -> None:
    await demo.ready()
    await demo.submit(f"{HEADER}{demo.work(0.5)}\n{demo.use_tool('ls')}")
    await demo.paste("[2]\ntwo")
    await demo.pane.press("Enter")
    await allow(demo)
    await demo.event(EventKind.TURN_ENDED)

    assert len(demo.events(EventKind.PROMPT_SUBMITTED)) == 1
    assert [entry.text for entry in demo.entries(EntryKind.QUESTION)][1:] == ["[2]\ntwo"]


@pytest.mark.parametrize("command", ["!touch no", "/exit"])
async def test_a_text_that_begins_like_a_command_is_lost(demo: DemoRig, command: str) -> None:
    await demo.ready()
    await demo.pane.paste(command)
    await demo.shows(lambda screen: screen.composer is not Composer.EMPTY)
    await demo.pane.press("Enter")
    await demo.shows_empty_composer()

    assert demo.kinds() == [EventKind.SESSION_STARTED]
    assert log(demo)[0]["command"] == command
    assert not (demo.cwd / "no").exists()


async def _scenario(demo: DemoRig) -> list[dict[str, object]]:
    """The raw events of a turn with a tool, without what differs from run to run."""
    await demo.submit(f"{HEADER}{demo.use_tool('ls')}\nthanks")
    await allow(demo)
    await demo.event(EventKind.TURN_ENDED)
    await demo.shows_empty_composer()
    lines = (demo.instance_directory / "events.jsonl").read_bytes().split(b"\n")
    varying = {"phalanx_at", "phalanx_pid", "phalanx_request_id", "session_id", "transcript_path", "tool_use_id"}
    return [{k: v for k, v in json.loads(line).items() if k not in varying} for line in lines if line]


async def test_events_are_the_same_whether_hooks_are_processes_or_not(demo: DemoRig, tmp_path: Path) -> None:
    await demo.ready()
    without = await _scenario(demo)
    (demo.instance_directory / "events.jsonl").unlink()
    demo.session_id = demo.session_id[:-1] + ("0" if demo.session_id[-1] != "0" else "1")
    await demo.ready(PHALANX_DEMO_HOOK_PROCESSES="1")

    assert await _scenario(demo) == without


async def test_an_idle_demo_does_not_run_at_all(demo: DemoRig) -> None:
    await demo.ready()
    process = psutil.Process(demo.pid)
    await demo.submit(HEADER + "hello")
    await demo.event(EventKind.TURN_ENDED)
    await demo.shows_empty_composer()
    before = process.num_ctx_switches().voluntary, process.cpu_times()
    await asyncio.sleep(1)

    assert (process.num_ctx_switches().voluntary, process.cpu_times()) == before
