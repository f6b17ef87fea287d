from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.agents.claude_trust import approvals_of


def checkout(directory: Path, settings: Any) -> Path:
    (directory / ".claude").mkdir()
    text = settings if isinstance(settings, str) else json.dumps(settings)
    (directory / ".claude" / "settings.local.json").write_text(text)
    return directory


def test_what_a_person_has_approved_in_the_checkout_is_found_and_nothing_else(tmp_path: Path) -> None:
    settings = {
        "enabledMcpjsonServers": ["fs"],
        "hooks": {"Stop": []},
        "permissions": {"allow": ["Bash(make:*)"], "defaultMode": "bypassPermissions"},
        "env": {"A": "b"},
    }
    assert approvals_of(checkout(tmp_path, settings)) == {
        "enabledMcpjsonServers": ["fs"],
        "permissions": {"allow": ["Bash(make:*)"]},
    }


@pytest.mark.parametrize("settings", ["{", "[]", {"permissions": "all"}, {}])
def test_settings_that_cannot_be_read_approve_nothing(tmp_path: Path, settings: Any) -> None:
    assert approvals_of(checkout(tmp_path, settings)) == {}


def test_a_checkout_without_settings_of_its_own_approves_nothing(tmp_path: Path) -> None:
    assert approvals_of(tmp_path) == {}
