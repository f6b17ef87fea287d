from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from actors.agents import claude_trust
from actors.agents.claude_trust import config_file, ensure_trusted
from actors.errors import AgentError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home)}


@pytest.fixture
def parent(home: Path) -> Path:
    (home / "trees").mkdir()
    return home / "trees"


def config(home: Path) -> Any:
    return json.loads((home / ".claude.json").read_text())


def accepted(**more: Any) -> dict[str, Any]:
    return {**more, "hasTrustDialogAccepted": True}


def test_without_a_file_only_the_trust_is_written(home: Path, environment: dict[str, str], parent: Path) -> None:
    ensure_trusted(parent, environment)

    assert config(home) == {"projects": {str(parent): accepted()}}
    assert stat.S_IMODE((home / ".claude.json").stat().st_mode) == 0o600


def test_everything_else_in_the_file_is_kept(home: Path, environment: dict[str, str], parent: Path) -> None:
    before = {"a": [1.5, None, "\u2028\ud800"], "projects": {"/x": {"y": 1}, str(parent): {"allowedTools": ["Bash"]}}}
    (home / ".claude.json").write_text(json.dumps(before))
    (home / ".claude.json").chmod(0o640)
    ensure_trusted(parent, environment)

    projects = {"/x": {"y": 1}, str(parent): accepted(allowedTools=["Bash"])}
    assert config(home) == {**before, "projects": projects}
    assert stat.S_IMODE((home / ".claude.json").stat().st_mode) == 0o640


def test_a_trusted_directory_leaves_the_file_as_it_is(home: Path, environment: dict[str, str], parent: Path) -> None:
    text = json.dumps({"projects": {str(parent): accepted()}}, indent=7)
    (home / ".claude.json").write_text(text)
    before = (home / ".claude.json").stat().st_mtime_ns
    ensure_trusted(parent, environment)

    assert (home / ".claude.json").read_text() == text
    assert (home / ".claude.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("text", ["", "{", "not json", "[]", '{"projects": []}', "\xff"])
def test_a_file_that_is_none_is_reported_and_never_overwritten(
    home: Path, environment: dict[str, str], parent: Path, text: str
) -> None:
    (home / ".claude.json").write_text(text, encoding="latin-1")

    with pytest.raises(AgentError, match="move it away"):
        ensure_trusted(parent, environment)
    assert (home / ".claude.json").read_text(encoding="latin-1") == text
    assert [path.name for path in home.iterdir() if path.is_file()] == [".claude.json"]


def test_the_directory_is_trusted_under_its_real_path(home: Path, environment: dict[str, str], parent: Path) -> None:
    (home / "link").symlink_to(parent)
    ensure_trusted(home / "link", environment)

    assert list(config(home)["projects"]) == [str(parent)]


def test_a_file_that_is_a_link_stays_one(home: Path, environment: dict[str, str], parent: Path) -> None:
    (home / "dotfiles.json").write_text("{}")
    (home / ".claude.json").symlink_to("dotfiles.json")
    ensure_trusted(parent, environment)

    assert (home / ".claude.json").is_symlink()
    assert config(home)["projects"]


def test_the_file_is_the_one_that_this_environments_claude_uses(home: Path) -> None:
    own = {"HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / "c")}

    assert config_file({"HOME": str(home)}) == home / ".claude.json"
    assert config_file(own) == home / "c" / ".claude.json"
    (home / "c").mkdir()
    (home / "c" / ".config.json").write_text("{}")
    assert config_file(own) == home / "c" / ".config.json"


def test_a_lock_that_was_left_behind_does_not_hold(home: Path, environment: dict[str, str], parent: Path) -> None:
    lock = home / ".claude.json.lock"
    lock.mkdir()
    os.utime(lock, (time.time() - 60, time.time() - 60))
    ensure_trusted(parent, environment)

    assert config(home)["projects"]
    assert not lock.exists()


def test_a_lock_that_was_left_behind_before_the_clock_was_set_back_does_not_hold_either(
    home: Path, environment: dict[str, str], parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claude_trust, "_STALE_LOCK_S", 0.05)
    lock = home / ".claude.json.lock"
    lock.mkdir()
    os.utime(lock, (time.time() + 3600, time.time() + 3600))
    ensure_trusted(parent, environment)

    assert config(home)["projects"]
    assert not lock.exists()


def test_a_lock_that_is_held_is_respected(
    home: Path, environment: dict[str, str], parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claude_trust, "_LOCK_PATIENCE_S", 0.05)
    (home / ".claude.json.lock").mkdir()

    with pytest.raises(AgentError, match="held by another program"):
        ensure_trusted(parent, environment)
    assert not (home / ".claude.json").exists()
    assert (home / ".claude.json.lock").exists()


def test_what_undoes_the_trust_again_and_again_is_reported(
    home: Path, environment: dict[str, str], parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claude_trust, "_replace", lambda path, config: path.write_text("{}"))

    with pytest.raises(AgentError, match="keeps undoing"):
        ensure_trusted(parent, environment)


def test_a_home_that_cannot_be_written_is_reported_in_words(home: Path, parent: Path) -> None:
    (home / "file").write_text("")

    with pytest.raises(AgentError, match="cannot be changed"):
        ensure_trusted(parent, {"HOME": str(home / "file" / "below")})
