from __future__ import annotations

from pathlib import Path

import pytest

from actors.agents.demo.options import DemoOptions, UsageError, read_options

DIRECTORY = {"PHALANX_DEMO_DIRECTORY": "/i"}


def options(*arguments: str, **environment: str) -> DemoOptions:
    return read_options(arguments, {**DIRECTORY, **environment}, Path("/w"))


def test_the_options_of_a_first_start_and_of_a_restart_are_read() -> None:
    first = options("--session-id", "s", "--settings", "/s.json", "--append-system-prompt", "--x", "--model", "m")
    again = options("--resume", "s", "--permission-mode", "plan")

    assert (first.session_id, first.resume, first.settings) == ("s", False, Path("/s.json"))
    assert (again.session_id, again.resume, again.permission_mode) == ("s", True, "plan")


def test_the_tools_of_the_team_are_found_by_their_configuration() -> None:
    given = options("--session-id", "s", "--strict-mcp-config", "--mcp-config", "/mcp.json")
    assert (given.mcp_config, given.session_id) == (Path("/mcp.json"), "s")
    assert options("--session-id", "s").mcp_config is None


def test_the_environment_sets_delays_and_faults() -> None:
    read = options(
        "--resume",
        "s",
        PHALANX_DEMO_START_S="1.5",
        PHALANX_DEMO_FAULTS="swallow-first-enter,start-slow=2,exit-at-start=3",
        PHALANX_DEMO_HOOK_PROCESSES="1",
    )

    assert (read.start_s, read.hook_processes) == (1.5, True)
    assert read.faults == {"swallow-first-enter": "", "start-slow": "2", "exit-at-start": "3"}


@pytest.mark.parametrize("arguments", [("--session-id",), ("--session-id", "s", "-p", "x"), ("hello",), ()])
def test_an_unknown_option_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        options(*arguments)
