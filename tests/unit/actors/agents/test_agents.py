from __future__ import annotations

from pathlib import Path

import pytest

from actors.agents.base import Agent, LaunchRequest
from actors.agents.catalog import AgentCatalog, DemoAgent
from actors.agents.claude import ClaudeAgent
from actors.errors import InvalidRequestError, SettingsError

CATALOG = AgentCatalog(claude_command="claude", python="/usr/bin/python3", demo_start_s=1.5)
REQUEST = LaunchRequest(
    instance_id="spec_1",
    session_id="3733f530-410c-4841-bfdc-aaf88d841a14",
    resume=False,
    instance_directory=Path("/home/i"),
    system_prompt="rules",
    environment={"ANTHROPIC_API_KEY": "secret", "DISABLE_AUTOUPDATER": "0"},
)


@pytest.mark.parametrize("name", ["claude", "demo"])
def test_an_agent_is_found_by_its_name(name: str) -> None:
    assert CATALOG.named(name).name == name


def test_an_unknown_agent_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(InvalidRequestError, match="claude or demo"):
        CATALOG.named("codex")


@pytest.mark.parametrize("agent", [CATALOG.named("claude"), CATALOG.named("demo")], ids=lambda agent: agent.name)
def test_a_launch_holds_no_secret_in_its_command_line_and_writes_only_into_the_instances_directory(
    agent: Agent,
) -> None:
    launch = agent.launch(REQUEST)

    assert launch.environment["ANTHROPIC_API_KEY"] == "secret"
    assert "secret" not in " ".join(launch.argv)
    assert all(path.is_relative_to(REQUEST.instance_directory) for path in launch.files)


def test_both_agents_take_the_same_options_and_settings() -> None:
    claude, demo = (CATALOG.named(name).launch(REQUEST) for name in ("claude", "demo"))

    options = claude.argv[1:]
    assert demo.argv[-len(options) :] == options
    assert demo.files == claude.files


def test_the_command_of_claude_may_hold_arguments() -> None:
    launch = ClaudeAgent("env 'A B=c' claude --debug", "python").launch(REQUEST)

    assert launch.argv[:4] == ("env", "A B=c", "claude", "--debug")


@pytest.mark.parametrize("command", ["", "  ", "claude 'x"])
def test_a_command_that_is_none_is_refused_in_words(command: str) -> None:
    with pytest.raises(SettingsError):
        ClaudeAgent(command, "python").launch(REQUEST)


def test_what_a_caller_sets_wins_over_our_own_additions() -> None:
    assert ClaudeAgent("claude", "python").launch(REQUEST).environment["DISABLE_AUTOUPDATER"] == "0"


def test_the_demo_is_told_its_directory_and_its_delay() -> None:
    environment = DemoAgent("python", 1.5).launch(REQUEST).environment

    assert environment["PHALANX_DEMO_DIRECTORY"] == "/home/i"
    assert environment["PHALANX_DEMO_START_S"] == "1.5"
