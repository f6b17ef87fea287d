"""How the agents are started: their options, settings and environment."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.agents import claude_servers, hook
from actors.agents.base import Agent, AgentStart, LaunchRequest
from actors.agents.catalog import AgentCatalog
from actors.agents.claude import ClaudeAgent, settings_text, start_options
from actors.agents.names import AGENT_NAMES
from actors.errors import InvalidRequestError, SettingsError
from actors.marks import TEAM_SERVER

CATALOG = AgentCatalog(claude_command="claude", python="/usr/bin/python3", demo_start_s=1.5)
SESSION = "3733f530-410c-4841-bfdc-aaf88d841a14"
REQUEST = LaunchRequest(
    instance_id="spec_1",
    session_id=SESSION,
    resume=False,
    instance_directory=Path("/home/i"),
    system_prompt="You are --a specialist.",
    environment={"ANTHROPIC_API_KEY": "secret", "DISABLE_AUTOUPDATER": "0"},
)

TOOLS: dict[str, Any] = {"token": "t0ken", "team_url": "http://127.0.0.1:4000/mcp"}


def settings(python: str = "python", **changes: Any) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(settings_text(python, replace(REQUEST, **changes)))
    return read


def test_an_unknown_agent_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(InvalidRequestError, match="claude or demo"):
        CATALOG.named("codex")


def test_each_name_of_an_agent_makes_that_agent() -> None:
    assert tuple(CATALOG.named(name).name for name in AGENT_NAMES) == AGENT_NAMES


@pytest.mark.parametrize("agent", [CATALOG.named(name) for name in AGENT_NAMES], ids=lambda agent: agent.name)
def test_a_launch_holds_no_secret_in_its_command_line_and_writes_only_into_the_instances_directory(
    agent: Agent,
) -> None:
    launch = agent.launch(REQUEST)

    assert launch.environment["ANTHROPIC_API_KEY"] == "secret"
    assert "secret" not in " ".join(launch.argv)
    assert all(path.is_relative_to(REQUEST.instance_directory) for path in launch.files)
    assert launch.environment["DISABLE_AUTOUPDATER"] == "0", "what a caller sets wins over our own"


def test_the_demo_takes_the_options_and_settings_of_claude_and_is_told_its_directory_and_delay() -> None:
    claude, demo = (CATALOG.named(name).launch(REQUEST) for name in ("claude", "demo"))

    options = claude.argv[1:]
    assert demo.argv[-len(options) :] == options
    assert demo.files == claude.files
    assert demo.environment["PHALANX_DEMO_DIRECTORY"] == "/home/i"
    assert demo.environment["PHALANX_DEMO_START_S"] == "1.5"


def test_before_a_start_claude_trusts_its_directories_and_takes_on_what_was_approved_and_the_demo_needs_nothing(
    tmp_path: Path,
) -> None:
    approved = {"enabledMcpjsonServers": ["fs"]}
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.local.json").write_text(json.dumps(approved))
    start = AgentStart(
        agent="claude", session_name="s", working_directory=tmp_path, trusted_directories=(tmp_path,), request=REQUEST
    )
    environment = {"HOME": str(tmp_path)}

    assert CATALOG.named("demo").prepare(start, environment) == REQUEST
    assert not (tmp_path / ".claude.json").exists()
    assert CATALOG.named("claude").prepare(start, environment) == replace(REQUEST, approvals=approved)
    assert list(json.loads((tmp_path / ".claude.json").read_text())["projects"]) == [str(tmp_path)]


@pytest.mark.parametrize(
    ("team", "own", "direct"),
    [
        ({}, {}, "127.0.0.1"),
        ({"NO_PROXY": "intern.example,10.0.0.0/8"}, {}, "intern.example,10.0.0.0/8,127.0.0.1"),
        ({"no_proxy": "a b"}, {}, "a b,127.0.0.1"),
        ({"NO_PROXY": "a", "no_proxy": "b"}, {}, "a,b,127.0.0.1"),
        ({"NO_PROXY": "a", "no_proxy": "a"}, {"NO_PROXY": "c"}, "c,a,127.0.0.1"),
        ({"NO_PROXY": "127.0.0.1"}, {"no_proxy": ""}, "127.0.0.1"),
    ],
)
def test_calls_of_the_team_pass_by_the_users_proxy_which_would_see_the_token(
    tmp_path: Path, team: dict[str, str], own: dict[str, str], direct: str
) -> None:
    request = replace(REQUEST, environment={"HTTP_PROXY": "http://proxy.example:3128", **own}, **TOOLS)
    start = AgentStart(
        agent="claude", session_name="s", working_directory=tmp_path, trusted_directories=(), request=request
    )
    claude = CATALOG.named("claude")
    environment = {"HOME": str(tmp_path), **team}

    launched = claude.launch(claude.prepare(start, environment)).environment

    assert launched["NO_PROXY"] == launched["no_proxy"] == direct
    assert launched["HTTP_PROXY"] == "http://proxy.example:3128"
    without = claude.prepare(replace(start, request=replace(request, team_url="")), environment)
    assert without.environment == request.environment


def test_the_command_of_claude_may_hold_arguments() -> None:
    launch = ClaudeAgent("env 'A B=c' claude --debug", "python").launch(REQUEST)

    assert launch.argv[:4] == ("env", "A B=c", "claude", "--debug")


@pytest.mark.parametrize("command", ["", "  ", "claude 'x"])
def test_a_command_that_is_none_is_refused_in_words(command: str) -> None:
    with pytest.raises(SettingsError):
        ClaudeAgent(command, "python").launch(REQUEST)


@pytest.mark.parametrize(
    ("changes", "first", "last"),
    [
        ({}, ("--session-id", SESSION), ("--permission-mode", "default")),
        ({"resume": True}, ("--resume", SESSION), ("--permission-mode", "default")),
        ({"permission_mode": "manual"}, ("--session-id", SESSION), ("--permission-mode", "default")),
        (
            {"model": "claude-opus-4-8[1m]", "permission_mode": "acceptEdits"},
            ("--session-id", SESSION),
            ("--model", "claude-opus-4-8[1m]", "--permission-mode", "acceptEdits"),
        ),
    ],
)
def test_a_first_start_names_the_session_a_restart_resumes_it_and_model_and_mode_are_passed_on(
    changes: dict[str, Any], first: tuple[str, ...], last: tuple[str, ...]
) -> None:
    common = ("--settings", "/home/i/settings.json", "--append-system-prompt", "You are --a specialist.")
    assert start_options(replace(REQUEST, **changes)) == (*first, *common, *last)


def test_an_agent_without_a_role_gets_no_system_prompt() -> None:
    assert "--append-system-prompt" not in start_options(replace(REQUEST, system_prompt=""))


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


@pytest.mark.parametrize(
    ("mode", "own"),
    [
        (None, {"disableAutoMode": "disable"}),
        ("default", {"disableAutoMode": "disable"}),
        ("manual", {"disableAutoMode": "disable"}),
        ("plan", {}),
        ("auto", {"skipAutoPermissionPrompt": True}),
        ("bypassPermissions", {"skipDangerousModePermissionPrompt": True}),
    ],
)
def test_only_who_asked_for_a_mode_is_not_warned_of_it(mode: str | None, own: dict[str, Any]) -> None:
    names = ("disableAutoMode", "skipAutoPermissionPrompt", "skipDangerousModePermissionPrompt")
    read = settings(permission_mode=mode)
    assert {name: read[name] for name in names if name in read} == own


def test_hooks_of_ours_run_whatever_the_user_has_switched_off_approvals_hold_and_an_agent_is_no_lead() -> None:
    read = settings(approvals={"enabledMcpjsonServers": ["fs"], "hooks": {}})
    assert read["disableAllHooks"] is False
    assert read["enabledMcpjsonServers"] == ["fs"]
    assert read["deniedMcpServers"] == [{"serverName": "phalanx"}]
    assert read["enabledPlugins"] == {"phalanx@phalanx": False}


def test_every_event_runs_the_hook_program_in_place_of_the_shell() -> None:
    hooks = settings("/py thon", instance_directory=Path("/in'st"))["hooks"]

    assert set(hooks) >= {"SessionStart", "UserPromptSubmit", "PermissionRequest", "Stop", "StopFailure", "SessionEnd"}
    of_tools = {event for event, (group,) in hooks.items() if group.get("matcher") == "*"}
    assert of_tools == {"PermissionRequest", "PostToolUse", "PostToolUseFailure"}
    for event, (group,) in hooks.items():
        (run,) = group["hooks"]
        assert shlex.split(run["command"]) == ["exec", "/py thon", "-I", "-S", hook.__file__, "/in'st", event]


def test_a_permission_request_may_wait_for_weeks_but_not_longer_than_a_timer_can() -> None:
    assert 14 * 86_400 < settings()["hooks"]["PermissionRequest"][0]["hooks"][0]["timeout"] < 2**31 / 1000


@pytest.mark.parametrize("agent", [CATALOG.named(name) for name in AGENT_NAMES], ids=lambda agent: agent.name)
def test_the_tools_of_the_team_stand_in_a_file_of_their_own_with_the_token(agent: Agent) -> None:
    launch = agent.launch(replace(REQUEST, **TOOLS))
    file = REQUEST.instance_directory / "mcp.json"

    assert launch.argv[launch.argv.index("--mcp-config") + 1] == str(file)
    assert json.loads(launch.files[file]) == {
        "mcpServers": {
            TEAM_SERVER: {
                "type": "http",
                "url": "http://127.0.0.1:4000/mcp",
                "headers": {"Authorization": "Bearer t0ken"},
                "alwaysLoad": True,
            }
        }
    }
    assert "t0ken" not in " ".join((*launch.argv, *launch.environment.values()))


@pytest.mark.parametrize("lacks", ["token", "team_url"])
def test_an_agent_without_a_token_or_a_place_to_call_gets_no_tools_of_the_team(lacks: str) -> None:
    launch = CATALOG.named("claude").launch(replace(REQUEST, **{**TOOLS, lacks: ""}))
    assert "--mcp-config" not in launch.argv
    assert [path.name for path in launch.files] == ["settings.json"]
    assert "permissions" not in settings(**{**TOOLS, lacks: ""})


@pytest.mark.parametrize("allowed", [["Bash(ls)"], "nonsense"], ids=str)
def test_the_tools_of_the_team_pass_without_a_question_beside_what_was_approved(allowed: Any) -> None:
    rules = settings(approvals={"permissions": {"allow": allowed, "deny": ["Read(.env)"]}}, **TOOLS)["permissions"]
    kept = allowed if isinstance(allowed, list) else []
    assert rules == {"allow": [*kept, f"mcp__{TEAM_SERVER}__*"], "deny": ["Read(.env)"]}


def test_of_the_users_servers_an_agent_gets_all_none_or_those_that_are_named() -> None:
    assert "allowedMcpServers" not in settings(**TOOLS)
    assert "--strict-mcp-config" not in start_options(replace(REQUEST, **TOOLS))
    assert "--strict-mcp-config" in start_options(replace(REQUEST, mcp_servers=(), **TOOLS))
    assert settings(mcp_servers=(), **TOOLS)["allowedMcpServers"] == [{"serverName": TEAM_SERVER}]
    named = settings(mcp_servers=("github", "db"), **TOOLS)["allowedMcpServers"]
    assert [each["serverName"] for each in named] == ["github", "db", TEAM_SERVER]
    assert "--strict-mcp-config" not in start_options(replace(REQUEST, mcp_servers=("github",), **TOOLS))


@pytest.fixture
def start(tmp_path: Path) -> AgentStart:
    """In a worktree of a checkout; the user's own configuration is in ``user``."""
    checkout, worktree = tmp_path / "checkout", tmp_path / "trees" / "spec_1"
    for directory in (checkout, worktree, tmp_path / "user"):
        directory.mkdir(parents=True)
    local: dict[str, Any] = {
        str(checkout): {"mcpServers": {"of-checkout": {}}},
        "/elsewhere": {"mcpServers": {"of-another": {}}},
    }
    config = {"mcpServers": {"of-user": {}}, "projects": local}
    (tmp_path / "user" / ".claude.json").write_text(json.dumps(config))
    (worktree / ".mcp.json").write_text(json.dumps({"mcpServers": {"of-project": {}}}))
    return AgentStart(
        agent="claude",
        session_name="s",
        working_directory=worktree,
        trusted_directories=(tmp_path / "trees", checkout),
        request=REQUEST,
    )


def checked(start: AgentStart, *names: str) -> None:
    user = start.trusted_directories[-1].parent / "user"
    request = replace(start.request, mcp_servers=names)
    CATALOG.named("claude").check(replace(start, request=request), {"HOME": str(user)})


def test_servers_of_the_user_of_the_checkout_and_of_the_project_can_be_named(start: AgentStart) -> None:
    checked(start)
    checked(start, "of-user", "of-checkout", "of-project")


def test_a_server_that_is_nowhere_is_refused_with_those_that_there_are(start: AgentStart) -> None:
    there = "of-checkout, of-project, of-user"
    with pytest.raises(InvalidRequestError, match=f"mcpServers names of-another, x, .* has {re.escape(there)}"):
        checked(start, "of-user", "x", "of-another")


def test_files_that_cannot_be_understood_hold_no_servers(start: AgentStart) -> None:
    user = start.trusted_directories[-1].parent / "user" / ".claude.json"
    user.write_text('{"mcpServers": ["of-user"], "projects": 3}')
    (start.working_directory / ".mcp.json").write_text("{")
    with pytest.raises(InvalidRequestError, match="it has none"):
        checked(start, "of-user")


@pytest.mark.parametrize(
    "file", [("managed-mcp.json", "{}"), ("managed-settings.json", '{"disableSideloadFlags": true}')], ids=str
)
def test_where_an_organisation_forbids_given_servers_claude_starts_without_them(
    start: AgentStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: tuple[str, str]
) -> None:
    managed = tmp_path / "managed"
    managed.mkdir()
    monkeypatch.setattr(claude_servers, "MANAGED_DIRECTORY", managed)
    agent, environment = CATALOG.named("claude"), {"HOME": str(tmp_path / "user")}
    given = replace(start, request=replace(REQUEST, mcp_servers=(), **TOOLS))
    options = {"--mcp-config", "--strict-mcp-config"}
    assert options <= {*agent.launch(agent.prepare(given, environment)).argv}
    (managed / file[0]).write_text(file[1])
    assert not options & {*agent.launch(agent.prepare(given, environment)).argv}
