from __future__ import annotations

from pathlib import Path

import pytest

from actors.errors import PaneGoneError, SettingsError, TerminalError
from actors.tmux.client import CLIENT_ENVIRONMENT, client_command, refusal, tmux_program


@pytest.fixture
def tmux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only program on the PATH; it is not there yet."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "tmux"


@pytest.mark.parametrize("path", ["/" + "x" * 107, "/" + "é" * 54])
def test_a_socket_path_over_107_bytes_is_refused_with_the_remedy(path: str) -> None:
    with pytest.raises(SettingsError, match=r"108|109.*bytes.*PHALANX_HOME"):
        client_command(Path(path))


def test_a_client_never_starts_a_server_speaks_utf_8_and_gets_nothing_of_the_callers_environment(tmux: Path) -> None:
    tmux.touch(0o755)
    longest = "/" + "x" * 106
    assert client_command(Path(longest)) == (str(tmux), "-N", "-u", "-S", longest)
    assert CLIENT_ENVIRONMENT.keys() == {"LANG", "TERM"}


@pytest.mark.usefixtures("tmux")
def test_a_missing_tmux_is_told_with_the_way_to_get_it() -> None:
    with pytest.raises(TerminalError, match=r"tmux not found: install it .* apt-get install tmux"):
        tmux_program()


@pytest.mark.parametrize(
    ("said", "gone"),
    [
        ("can't find pane: %99\n", True),
        ("no current target\n", True),
        ("no server running on /tmp/s\n", True),
        ("error connecting to /tmp/s (No such file or directory)\n", True),
        ("server exited unexpectedly\n", False),
        ("error connecting to /tmp/s (Permission denied)\n", False),
        ("command too long\n", False),
        ("", False),
    ],
)
def test_only_a_command_that_reached_nobody_is_told_as_a_pane_that_is_gone(said: str, gone: bool) -> None:
    error = refusal(said)
    assert isinstance(error, PaneGoneError) is gone
    assert gone or said.strip() in str(error)
