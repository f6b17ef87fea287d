from __future__ import annotations

from pathlib import Path

import pytest

from actors.errors import SettingsError
from actors.home import Home, read_environment, write_environment


@pytest.fixture
def home(short_tmp: Path) -> Home:
    made = Home(short_tmp / "h")
    made.create()
    return made


def test_what_was_written_is_read_by_its_user_alone(home: Home) -> None:
    write_environment(home, {"PATH": "/bin", "KEY": "sk-1"})
    assert read_environment(home) == {"PATH": "/bin", "KEY": "sk-1"}
    assert home.environment_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", [None, "", "{", "[]", '{"PATH": 1}', "\udcff"])
def test_a_lost_or_damaged_file_is_told_with_what_to_do_and_without_its_content(home: Home, damage: str | None) -> None:
    if damage is not None:
        home.environment_file.write_bytes(damage.encode(errors="surrogateescape"))
    with pytest.raises(SettingsError, match=r"environment.json.*cannot be read.*phalanx up --resume"):
        read_environment(home)
