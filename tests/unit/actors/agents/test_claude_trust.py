from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.agents import claude_trust
from actors.agents.claude_trust import approvals_of, config_file, ensure_trusted
from actors.errors import AgentError

Trust = Callable[[], None]


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    (tmp_path / "trees").mkdir()
    return tmp_path / "trees"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The file of the Claude whose HOME is ``tmp_path``."""
    return tmp_path / ".claude.json"


@pytest.fixture
def trust(tmp_path: Path, parent: Path) -> Trust:
    return lambda: ensure_trusted(parent, {"HOME": str(tmp_path)})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def accepted(**more: Any) -> dict[str, Any]:
    return {**more, "hasTrustDialogAccepted": True}


def test_without_a_file_only_the_trust_is_written(config: Path, parent: Path, trust: Trust) -> None:
    trust()
    assert json.loads(config.read_text()) == {"projects": {str(parent): accepted()}}
    assert mode(config) == 0o600


def test_everything_else_in_the_file_is_kept_and_a_trusted_directory_changes_nothing(
    config: Path, parent: Path, trust: Trust
) -> None:
    before = {"a": [1.5, None, "\u2028\ud800"], "projects": {"/x": {"y": 1}, str(parent): {"allowedTools": ["Bash"]}}}
    config.write_text(json.dumps(before))
    config.chmod(0o640)
    trust()
    projects = {"/x": {"y": 1}, str(parent): accepted(allowedTools=["Bash"])}
    assert json.loads(config.read_text()) == {**before, "projects": projects}
    assert mode(config) == 0o640

    written = config.stat().st_mtime_ns
    trust()
    assert config.stat().st_mtime_ns == written


@pytest.mark.parametrize("text", ["", "{", "not json", "[]", '{"projects": []}', "\xff"])
def test_a_file_that_is_none_is_reported_and_never_overwritten(config: Path, trust: Trust, text: str) -> None:
    config.write_text(text, encoding="latin-1")

    with pytest.raises(AgentError, match="move it away"):
        trust()
    assert config.read_text(encoding="latin-1") == text
    assert [path.name for path in config.parent.iterdir() if path.is_file()] == [".claude.json"]


def test_the_directory_is_trusted_under_its_real_path_and_a_file_that_is_a_link_stays_one(
    config: Path, parent: Path
) -> None:
    (parent / "link").symlink_to(parent)
    config.with_name("dotfiles.json").write_text("{}")
    config.symlink_to("dotfiles.json")
    ensure_trusted(parent / "link", {"HOME": str(config.parent)})

    assert config.is_symlink()
    assert list(json.loads(config.read_text())["projects"]) == [str(parent)]


def test_the_file_is_the_one_that_this_environments_claude_uses(tmp_path: Path) -> None:
    own = {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "c")}

    assert config_file({"HOME": str(tmp_path)}) == tmp_path / ".claude.json"
    assert config_file(own) == tmp_path / "c" / ".claude.json"
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".config.json").write_text("{}")
    assert config_file(own) == tmp_path / "c" / ".config.json"


@pytest.mark.parametrize(
    ("age_s", "stale_s"),
    [(60.0, 10.0), pytest.param(-3600.0, 0.05, id="from before the clock was set back")],
)
def test_a_lock_that_was_left_behind_does_not_hold(
    config: Path, trust: Trust, monkeypatch: pytest.MonkeyPatch, age_s: float, stale_s: float
) -> None:
    monkeypatch.setattr(claude_trust, "_STALE_LOCK_S", stale_s)
    lock = config.with_name(".claude.json.lock")
    lock.mkdir()
    os.utime(lock, (time.time() - age_s, time.time() - age_s))
    trust()

    assert json.loads(config.read_text())["projects"]
    assert not lock.exists()


def test_a_lock_that_is_held_is_respected(config: Path, trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claude_trust, "_LOCK_PATIENCE_S", 0.05)
    config.with_name(".claude.json.lock").mkdir()

    with pytest.raises(AgentError, match="held by another program"):
        trust()
    assert not config.exists()
    assert config.with_name(".claude.json.lock").exists()


def test_what_undoes_the_trust_again_and_again_is_reported(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claude_trust, "_replace", lambda path, config: path.write_text("{}"))

    with pytest.raises(AgentError, match="keeps undoing"):
        trust()


def test_a_home_that_cannot_be_written_is_reported_in_words(parent: Path) -> None:
    (parent / "file").write_text("")

    with pytest.raises(AgentError, match="cannot be changed"):
        ensure_trusted(parent, {"HOME": str(parent / "file" / "below")})


@pytest.mark.parametrize(
    ("settings", "approved"),
    [
        (
            {
                "enabledMcpjsonServers": ["fs"],
                "hooks": {"Stop": []},
                "permissions": {"allow": ["Bash(make:*)"], "defaultMode": "bypassPermissions"},
                "env": {"A": "b"},
            },
            {"enabledMcpjsonServers": ["fs"], "permissions": {"allow": ["Bash(make:*)"]}},
        ),
        ([], {}),
        ({}, {}),
        ({"permissions": "all"}, {}),
    ],
)
def test_what_a_person_has_approved_in_the_checkout_is_found_and_nothing_else(
    tmp_path: Path, settings: Any, approved: dict[str, Any]
) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.local.json").write_text(json.dumps(settings))
    assert approvals_of(tmp_path) == approved


def test_settings_that_are_missing_or_cannot_be_read_approve_nothing(tmp_path: Path) -> None:
    assert approvals_of(tmp_path) == {}
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.local.json").write_text("{")
    assert approvals_of(tmp_path) == {}
