from __future__ import annotations

from pathlib import Path

import pytest

from actors.errors import PaneGoneError, SettingsError, TerminalError
from actors.tmux.client import CLIENT_ENVIRONMENT, client_command, refusal, tmux_program


@pytest.mark.parametrize("path", ["/" + "x" * 107, "/" + "é" * 54])
def test_a_socket_path_over_107_bytes_is_refused_with_the_remedy(path: str) -> None:
    with pytest.raises(SettingsError, match=r"108|109.*bytes.*PHALANX_HOME"):
        client_command(Path(path))


def test_a_socket_path_of_107_bytes_is_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _put_tmux_on_path(monkeypatch, tmp_path)
    assert client_command(Path("/" + "x" * 106))[-1] == "/" + "x" * 106


def test_a_missing_tmux_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TerminalError, match=r"tmux not found: install it .* apt-get install tmux"):
        tmux_program()


def test_a_client_never_starts_a_server_and_speaks_utf_8(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tmux = _put_tmux_on_path(monkeypatch, tmp_path)
    assert client_command(Path("/s")) == (str(tmux), "-N", "-u", "-S", "/s")


def test_a_client_gets_nothing_of_the_callers_environment() -> None:
    assert CLIENT_ENVIRONMENT.keys() == {"LANG", "TERM"}


@pytest.mark.parametrize(
    "said",
    [
        "can't find pane: %99\n",
        "no current target\n",
        "no server running on /tmp/s\n",
        "error connecting to /tmp/s (No such file or directory)\n",
    ],
)
def test_a_command_that_reached_nobody_is_told_as_a_pane_that_is_gone(said: str) -> None:
    assert isinstance(refusal(said), PaneGoneError)


@pytest.mark.parametrize(
    "said",
    ["server exited unexpectedly\n", "error connecting to /tmp/s (Permission denied)\n", "command too long\n", ""],
)
def test_any_other_refusal_leaves_open_what_happened(said: str) -> None:
    error = refusal(said)
    assert type(error) is TerminalError
    assert said.strip() in str(error)


def _put_tmux_on_path(monkeypatch: pytest.MonkeyPatch, directory: Path) -> Path:
    tmux = directory / "tmux"
    tmux.touch(0o755)
    monkeypatch.setenv("PATH", str(directory))
    return tmux
