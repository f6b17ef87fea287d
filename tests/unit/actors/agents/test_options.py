from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.agents import hook
from actors.agents.base import LaunchRequest
from actors.agents.claude import settings_text, start_options
from actors.errors import InvalidRequestError

SESSION = "3733f530-410c-4841-bfdc-aaf88d841a14"
TOOL_EVENTS = {"PermissionRequest", "PostToolUse", "PostToolUseFailure"}
REQUEST = LaunchRequest(
    instance_id="spec_1",
    session_id=SESSION,
    resume=False,
    instance_directory=Path("/home/i"),
    system_prompt="You are --a specialist.",
)


def test_a_first_start_names_the_session_and_a_restart_resumes_it() -> None:
    common = ("--settings", "/home/i/settings.json", "--append-system-prompt", "You are --a specialist.")
    mode = ("--permission-mode", "default")

    assert start_options(REQUEST) == ("--session-id", SESSION, *common, *mode)
    assert start_options(replace(REQUEST, resume=True)) == ("--resume", SESSION, *common, *mode)


def test_model_and_permission_mode_are_passed_on() -> None:
    options = start_options(replace(REQUEST, model="claude-opus-4-8[1m]", permission_mode="acceptEdits"))

    assert options[-4:] == ("--model", "claude-opus-4-8[1m]", "--permission-mode", "acceptEdits")


@pytest.mark.parametrize("given", [None, "default", "manual"])
def test_an_agent_asks_unless_told_otherwise_in_the_word_that_every_version_takes(given: str | None) -> None:
    request = replace(REQUEST, permission_mode=given)
    assert start_options(request)[-2:] == ("--permission-mode", "default")
    assert json.loads(settings_text("/python", request))["disableAutoMode"] == "disable"


def test_hooks_of_ours_run_whatever_the_user_has_switched_off_and_approvals_of_the_project_hold() -> None:
    request = replace(REQUEST, permission_mode="auto", approvals={"enabledMcpjsonServers": ["fs"], "hooks": {}})
    settings = json.loads(settings_text("/python", request))
    assert settings["disableAllHooks"] is False
    assert settings["enabledMcpjsonServers"] == ["fs"]
    assert "SessionStart" in settings["hooks"]
    assert settings["skipAutoPermissionPrompt"] is True
    assert "disableAutoMode" not in settings


@pytest.mark.parametrize(
    "change",
    [
        {"model": "--dangerously-skip-permissions"},
        {"model": ""},
        {"model": "a b"},
        {"model": "a\n"},
        {"permission_mode": "-p"},
        {"permission_mode": "plan --x"},
        {"session_id": "--help"},
        {"session_id": SESSION + "\n"},
        {"system_prompt": "x" * 100_001},
        {"system_prompt": "a\0b"},
    ],
)
def test_a_value_that_could_be_something_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        start_options(replace(REQUEST, **change))


def test_every_event_runs_the_hook_program_in_place_of_the_shell() -> None:
    hooks = json.loads(settings_text("/py thon", replace(REQUEST, instance_directory=Path("/in'st"))))["hooks"]

    assert set(hooks) >= {"SessionStart", "UserPromptSubmit", "PermissionRequest", "Stop", "StopFailure", "SessionEnd"}
    assert {event for event, (group,) in hooks.items() if group.get("matcher") == "*"} == TOOL_EVENTS
    for event, (group,) in hooks.items():
        (run,) = group["hooks"]
        assert shlex.split(run["command"]) == ["exec", "/py thon", "-I", "-S", hook.__file__, "/in'st", event]


def test_a_permission_request_may_wait_for_weeks_but_not_longer_than_a_timer_can() -> None:
    hooks = json.loads(settings_text("python", REQUEST))["hooks"]

    assert 14 * 86_400 < hooks["PermissionRequest"][0]["hooks"][0]["timeout"] * 1000 / 1000 < 2**31 / 1000


def test_an_agent_is_kept_from_starting_the_server_that_would_make_it_a_lead() -> None:
    assert json.loads(settings_text("python", REQUEST))["deniedMcpServers"] == [{"serverName": "phalanx"}]


@pytest.mark.parametrize(("mode", "skips"), [(None, False), ("plan", False), ("bypassPermissions", True)])
def test_only_who_asked_for_no_permissions_is_not_warned_about_them(mode: str | None, skips: bool) -> None:
    settings = json.loads(settings_text("python", replace(REQUEST, permission_mode=mode)))
    assert settings.get("skipDangerousModePermissionPrompt", False) is skips
