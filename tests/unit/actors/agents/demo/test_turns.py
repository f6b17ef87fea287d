from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.agents.demo.display import Display
from actors.agents.demo.loop import EventLoop
from actors.agents.demo.options import read_options
from actors.agents.demo.records import HookRunner, TranscriptWriter
from actors.agents.demo.turns import TurnRunner, answer_to, directives_in
from tests.standin.team_tools import TeamToolsStandIn


@pytest.fixture
def display(tmp_path: Path) -> Display:
    environment = {"PHALANX_DEMO_DIRECTORY": str(tmp_path), "PHALANX_DEMO_WORK_S": "0.001"}
    options = read_options(["--session-id", "s"], environment, tmp_path)
    transcript = TranscriptWriter(tmp_path / "s.jsonl", "s", tmp_path)
    return Display(options, EventLoop(), HookRunner(options, transcript.path), transcript)


def choose(display: Display, option: int | None) -> None:
    assert display.dialog
    display.dialog.choose(option)


def played(display: Display, prompt: str, *options: int | None) -> list[str]:
    """What is said in the turn that answers ``prompt``, whose dialogs are answered with these options."""
    turns = TurnRunner(display, lambda: display.loop.stop(0))
    turns.begin([prompt])
    for number, option in enumerate(options, 1):
        display.loop.later(number / 50, lambda option=option: choose(display, option))  # type: ignore[misc]
    display.loop.run()
    assert (display.busy, display.dialog) == (False, None)
    return [text for _, text in display.conversation]


def test_only_a_line_of_its_own_is_a_directive() -> None:
    assert directives_in(["say @@demo crash 1\n @@demo busy 1\n@@demonstrate"]) == []
    assert directives_in(["@@demo ask\n\n@@demo busy 2", "@@demo ask"]) == [("ask", ""), ("busy", "2"), ("ask", "")]


def test_the_answer_counts_messages_by_their_headers() -> None:
    prompts = ["[phalanx msg_1 from lead]\none\n\n[phalanx msg_2 from spec_1]\ntwo", "[phalanx msg_3 from lead]\nthree"]

    assert answer_to(prompts) == "demo: received 3 message(s): three"
    assert answer_to(["hello"]) == "demo: received 1 message(s): hello"


@pytest.mark.parametrize(
    ("line", "result"),
    [
        *((line, f"@@demo {line.split()[0]} is not understood") for line in ("dance", "busy soon", "dialog Bash {")),
        *((line, f"@@demo {line.split()[0]} is not understood") for line in ("commit", "crash x", "team list {}")),
        ("busy 0.001", ""),
        ("swallow-enter", ""),
    ],
)
def test_a_directive_is_carried_out_or_not_understood_and_the_turn_goes_on(
    display: Display, line: str, result: str
) -> None:
    results = f"\nresult: {result}\nresult: {result}" if result else ""
    assert played(display, f"thanks\n@@demo {line}\n@@demo {line}") == [f"demo: received 1 message(s): thanks{results}"]
    assert display.swallow_enter is (line == "swallow-enter")


@pytest.mark.parametrize(
    "file", ["{above}/new", "../new", ".git/hooks/new", "link/new", "link-to-file", ".", "{here}/.git/new"]
)
def test_nothing_is_written_outside_of_the_working_directory(tmp_path: Path, file: str) -> None:
    here = tmp_path / "here"
    (here / ".git/hooks").mkdir(parents=True)
    (here / "link").symlink_to(tmp_path)
    (here / "link-to-file").symlink_to(tmp_path / "new")
    environment = {"PHALANX_DEMO_DIRECTORY": str(tmp_path), "PHALANX_DEMO_WORK_S": "0.001"}
    options = read_options(["--session-id", "s"], environment, here)
    transcript = TranscriptWriter(tmp_path / "s.jsonl", "s", here)
    display = Display(options, EventLoop(), HookRunner(options, transcript.path), transcript)

    said = played(display, f"@@demo commit {file.format(above=tmp_path, here=here)} text")

    assert said == ["demo: received 1 message(s): \nresult: @@demo commit is not understood"]
    assert not list(tmp_path.rglob("new"))


def test_a_tool_that_is_allowed_runs_and_a_menu_gives_what_was_chosen(display: Display, tmp_path: Path) -> None:
    said = played(display, '@@demo dialog Bash {"command": "ls"}\n@@demo ask\nthanks', 0, 1)
    answer = "demo: received 1 message(s): thanks\nresult: Bash ran\nresult: That one"
    assert said == ["Bash(ls)", "Bash ran", answer]
    assert '"command": "ls"' in (tmp_path / "ran.jsonl").read_text()


@pytest.mark.parametrize("option", [2, None])
def test_a_tool_that_is_rejected_ends_the_turn(display: Display, tmp_path: Path, option: int | None) -> None:
    said = played(display, "@@demo dialog\nthanks", option)
    assert said == ["Bash()", "Interrupted · What should Claude do instead?"]
    assert not (tmp_path / "ran.jsonl").exists()


@pytest.mark.parametrize(("kind", "status"), [("rate_limit", "429"), ("api", "500")])
def test_a_failing_turn_ends_as_an_api_error(display: Display, kind: str, status: str) -> None:
    (said,) = played(display, f"@@demo fail {kind}\n@@demo crash 1")
    assert said.startswith("API Error")
    assert f'"apiErrorStatus":{status}' in display.transcript.path.read_text()


def with_tools(display: Display, tools: TeamToolsStandIn) -> None:
    """From now on the demo has these."""
    config = display.options.directory / "mcp.json"
    server = {"type": "http", "url": tools.url, "headers": {"Authorization": f"Bearer {tools.token}"}}
    config.write_text(json.dumps({"mcpServers": {"phalanx-team": server}}))
    display.options = display.options._replace(mcp_config=config)


def test_a_tool_of_the_team_is_called_with_the_token_and_what_is_queued_meanwhile_becomes_part_of_the_turn(
    display: Display,
) -> None:
    with TeamToolsStandIn("t0ken") as tools:
        with_tools(display, tools)
        display.queued.append("and this")
        said = played(display, '@@demo team send {"message": "hi"}\nthanks')
    assert said == [
        'mcp__phalanx-team__send({"message": "hi"})',
        'done: {"message": "hi"}',
        "and this",
        'demo: received 1 message(s): thanks\nresult: done: {"message": "hi"}',
    ]
    assert [(call["name"], call["arguments"]) for call in tools.calls] == [("send", {"message": "hi"})]
    assert "t0ken" not in display.transcript.path.read_text()


def test_what_the_team_refuses_is_the_result_and_an_error(display: Display) -> None:
    with TeamToolsStandIn("t0ken") as tools:
        with_tools(display, tools)
        tools.token = "another"
        said = played(display, "@@demo team list")
    assert "401" in said[1]
    assert '"is_error":true' in display.transcript.path.read_text()


def test_a_call_of_the_team_that_is_under_way_can_be_interrupted(display: Display) -> None:
    with TeamToolsStandIn("t0ken") as tools:
        with_tools(display, tools)
        tools.__exit__()  # so it is made again and again
        turns = TurnRunner(display, lambda: None)
        turns.begin(["@@demo team list"])
        display.loop.later(0.3, turns.interrupt)
        display.loop.later(0.6, lambda: display.loop.stop(0))
        display.loop.run()
        tools.__enter__()
    assert [text for _, text in display.conversation] == [
        "mcp__phalanx-team__list({})",
        "Interrupted · What should Claude do instead?",
    ]
    assert display.busy is False
