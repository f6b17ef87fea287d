"""What ``scripts/demo`` decides and checks beside the team itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.demo_team import DemoFailed, agent_environment, expect_nothing_left


def user(home: Path, *, onboarded: bool) -> dict[str, str]:
    home.mkdir()
    (home / ".claude.json").write_text(json.dumps({"hasCompletedOnboarding": onboarded}))
    return {"HOME": str(home), "PATH": "/usr/bin"}


def test_an_account_of_a_claude_that_was_set_up_is_used(tmp_path: Path) -> None:
    given = {**user(tmp_path / "user", onboarded=True), "CLAUDE_CODE_OAUTH_TOKEN": "t", "PHALANX_CLAUDE_COMMAND": "sh"}
    with agent_environment("claude", tmp_path, given) as environment:
        assert environment == given


@pytest.mark.parametrize(("onboarded", "key"), [(True, ""), (False, "sk-ant-of-somebody")])
def test_without_an_account_or_first_start_claude_talks_to_the_stand_in_and_nobody_else(
    tmp_path: Path, onboarded: bool, key: str
) -> None:
    given = {
        **user(tmp_path / "user", onboarded=onboarded),
        "ANTHROPIC_API_KEY": key,
        "ANTHROPIC_MODEL": "some",
        "CLAUDE_CONFIG_DIR": str(tmp_path / "user"),
    }
    with agent_environment("claude", tmp_path, given) as environment:
        assert environment["HOME"] != given["HOME"]
        assert environment["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
        assert environment["ANTHROPIC_API_KEY"] not in ("", key)
        assert environment.keys().isdisjoint({"ANTHROPIC_MODEL", "CLAUDE_CONFIG_DIR"})


def test_a_process_that_is_left_in_the_home_fails_the_demo_by_name(tmp_path: Path) -> None:
    expect_nothing_left(tmp_path, None)
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE) as left:
        with pytest.raises(DemoFailed, match=str(left.pid)):
            expect_nothing_left(tmp_path, None)
        left.kill()
    expect_nothing_left(tmp_path, None)
