from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from actors.home import Home
from actors.marks import TEAM_MARK
from supervisor.runtime.environment import RAY_SETTINGS, agent_environment, own_virtual_environment, ray_environment

HOME = Home(Path("/h"))


@pytest.mark.parametrize(
    "name",
    [
        "RAY_ADDRESS",
        "REDIS_HOST",
        "PHALANX_HOME",
        "PHALANX_TEAM",
        "TMUX",
        "TMUX_PANE",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_WORK_TREE",
        "COLUMNS",
        "CLAUDECODE",
        "CLAUDE_CODE_ENTRYPOINT",
        "CLAUDE_CODE_SSE_PORT",
        "CLAUDE_CODE_SESSION_ID",
        "CLAUDE_CODE_CHILD_SESSION",
        "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
        "CLAUDE_PROJECT_DIR",
        "CLAUDE_BG_SOURCE",
        "TRACEPARENT",
    ],
)
def test_what_belongs_to_others_does_not_reach_the_agents(name: str) -> None:
    assert agent_environment({name: "x"}, {}, "t1") == {TEAM_MARK: "t1"}


@pytest.mark.parametrize(
    "name",
    [
        "HOME",
        "PATH",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "CLAUDE_CONFIG_DIR",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "PHALANX_DEMO_FAULTS",
        "HTTPS_PROXY",
        "SSH_AUTH_SOCK",
        "VIRTUAL_ENV",
        "GIT_EDITOR",
    ],
)
def test_what_is_the_users_reaches_the_agents(name: str) -> None:
    assert agent_environment({name: "true"}, {}, "t1") == {name: "true", TEAM_MARK: "t1"}


def test_our_own_virtual_environment_is_none_of_the_agents() -> None:
    assert own_virtual_environment() == Path(sys.prefix).resolve()
    activated = {"VIRTUAL_ENV": sys.prefix, "VIRTUAL_ENV_PROMPT": "(.venv)", "PATH": f"{sys.prefix}/bin:/usr/bin::/bin"}
    assert agent_environment(activated, {}, "t1") == {"PATH": "/usr/bin::/bin", TEAM_MARK: "t1"}


def test_a_virtual_environment_of_the_user_stays_first_on_the_path_even_beside_ours() -> None:
    caller = {"VIRTUAL_ENV": "/project/.venv", "PATH": f"/project/.venv/bin:{sys.prefix}/bin:/bin"}
    made = agent_environment(caller, {}, "t1")
    assert (made["VIRTUAL_ENV"], made["PATH"]) == ("/project/.venv", "/project/.venv/bin:/bin")


def test_an_environment_that_phalanx_was_only_installed_into_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/project/.venv")
    caller = {"VIRTUAL_ENV": "/project/.venv", "PATH": "/project/.venv/bin:/bin"}
    assert agent_environment(caller, {}, "t1") == {**caller, TEAM_MARK: "t1"}


def test_the_path_of_the_settings_wins() -> None:
    made = agent_environment({"PATH": "/bin"}, {"PATH": f"{sys.prefix}/bin"}, "t1")
    assert made["PATH"] == f"{sys.prefix}/bin"


def test_the_editor_that_claude_gives_its_children_is_left_behind_with_the_rest_of_it() -> None:
    assert agent_environment({"CLAUDECODE": "1", "GIT_EDITOR": "true"}, {}, "t1") == {TEAM_MARK: "t1"}
    assert agent_environment({"CLAUDECODE": "1", "GIT_EDITOR": "vi"}, {}, "t1")["GIT_EDITOR"] == "vi"


def test_settings_add_to_the_agents_environment_but_cannot_take_the_mark_away() -> None:
    made = agent_environment({"LANG": "C"}, {"LANG": "de_DE.UTF-8", "NEW": "1", TEAM_MARK: "x"}, "t1")

    assert made == {"LANG": "de_DE.UTF-8", "NEW": "1", TEAM_MARK: "t1"}


def test_ray_gets_no_secret_and_nothing_that_leads_it_elsewhere() -> None:
    caller = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "ANTHROPIC_API_KEY": "sk",
        "http_proxy": "p",
        "RAY_ADDRESS": "a",
        "PYTHONPATH": "/evil",
        "PHALANX_HOME": "/other",
        "MAX_CONCURRENT_SPAWNS": "7",
    }

    made = ray_environment(caller, HOME, "t1")

    assert made.keys().isdisjoint({"ANTHROPIC_API_KEY", "http_proxy", "RAY_ADDRESS"})
    assert (made["PATH"], made["LC_ALL"], made["MAX_CONCURRENT_SPAWNS"]) == ("/bin", "C", "7")
    assert (made["PHALANX_HOME"], made[TEAM_MARK]) == ("/h", "t1")
    assert (made["RAY_AUTH_MODE"], made["RAY_AUTH_TOKEN_PATH"]) == ("token", "/h/ray-token")
    assert "/evil" not in made.get("PYTHONPATH", "")


def ray_knows(setting: str) -> bool:
    """Whether the raylet has a setting of this name. Ray takes no notice of a variable that it does not know."""
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    return b"\0" + setting.encode() + b"\0" in (Path(spec.origin).parent / "core/src/ray/raylet/raylet").read_bytes()


OF_RAYS_PYTHON = {"AUTH_MODE", "ENABLE_UV_RUN_RUNTIME_ENV", "ROTATION_MAX_BYTES", "ROTATION_BACKUP_COUNT"}


def test_ray_knows_each_setting_that_it_is_given() -> None:
    settings = {name.removeprefix("RAY_") for name in RAY_SETTINGS if name.startswith("RAY_")} - OF_RAYS_PYTHON

    assert settings >= {"worker_niceness", "event_stats"}
    assert [setting for setting in settings if not ray_knows(setting)] == []
    assert not ray_knows("worker_friendliness")
