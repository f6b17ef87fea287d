from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from actors.agents.base import Launch
from actors.agents.launcher import LAUNCH_NAME, built_environment, main, write_launch


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "instances" / "spec_1"


def written(directory: Path) -> tuple[str, ...]:
    launch = Launch(argv=("agent", "-x"), environment={"KEY": "secret"}, files={directory / "settings.json": "{}"})
    return write_launch(directory, launch, Path("/work dir"), python="/py")


def test_the_environment_loses_names_and_prefixes_and_gains_additions() -> None:
    own = {"PATH": "/bin", "RAY_X": "1", "RAY_Y": "2", "CLAUDECODE": "1", "CLAUDE_CONFIG_DIR": "/c"}

    built = built_environment(own, ["RAY_*", "CLAUDECODE", "ABSENT"], {"PATH": "/opt", "NEW": "n"})

    assert built == {"PATH": "/opt", "CLAUDE_CONFIG_DIR": "/c", "NEW": "n"}


def test_the_command_of_the_pane_holds_no_secret(directory: Path) -> None:
    command = written(directory)

    assert command[:3] == ("/py", "-I", "-S")
    assert command[4] == str(directory / LAUNCH_NAME)
    assert "secret" not in " ".join(command)
    assert json.loads((directory / LAUNCH_NAME).read_text())["environment"] == {"KEY": "secret"}


def test_all_that_is_written_is_readable_by_its_user_only(directory: Path) -> None:
    written(directory)

    assert mode(directory) == 0o700
    assert {mode(path) for path in directory.iterdir()} == {0o600}
    assert (directory / "knock").is_fifo()


def test_a_second_launch_replaces_the_first_and_closes_what_was_open(directory: Path) -> None:
    written(directory)
    (directory / "settings.json").write_text("x" * 1000)
    (directory / "settings.json").chmod(0o644)
    directory.chmod(0o755)
    written(directory)

    assert (directory / "settings.json").read_text() == "{}"
    assert (mode(directory), mode(directory / "settings.json")) == (0o700, 0o600)


def test_an_agent_started_by_a_claude_does_not_take_itself_for_its_child(directory: Path) -> None:
    written(directory)
    plan = json.loads((directory / LAUNCH_NAME).read_text())

    own = {"CLAUDECODE": "1", "CLAUDE_CODE_SESSION_ID": "s", "CLAUDE_CODE_USE_BEDROCK": "1"}
    assert built_environment(own, plan["remove"], {}) == {"CLAUDE_CODE_USE_BEDROCK": "1"}


@pytest.mark.parametrize("text", [None, "{", b"\xff".decode("latin-1")])
def test_a_launch_file_that_is_none_is_reported_in_the_pane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    if text is not None:
        (tmp_path / "launch.json").write_text(text)

    assert main(str(tmp_path / "launch.json")) == 126
    assert capsys.readouterr().out.startswith("phalanx: the launch file cannot be read")
