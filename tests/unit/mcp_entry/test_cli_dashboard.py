"""``phalanx dashboard``: whom it opens a browser for, what it prints, and when it does not."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.errors import TeamNotRunningError
from actors.home import Home
from mcp_entry.cli.session import system_context
from mcp_entry.web.sign_in import use_link
from tests.fakes.terminal import Terminal

PORT = 20_123
LINK = re.compile(rf"http://127\.0\.0\.1:{PORT}/sign-in\?once=([\w-]{{43}})")


@pytest.fixture
def home(short_tmp: Path) -> Home:
    home = Home(short_tmp)
    home.web_file.write_text(json.dumps({"port": PORT}))
    return home


@pytest.fixture
def serving(home: Home) -> Iterator[None]:
    """The endpoint's process takes connections."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home.web_socket))
        listener.listen()
        yield


@pytest.fixture
def terminal(home: Home) -> Terminal:
    terminal = Terminal()
    terminal.environment["PHALANX_HOME"] = str(home.root)
    return terminal


@pytest.mark.usefixtures("serving")
def test_it_opens_the_browser_signed_in_and_does_not_print_the_link(terminal: Terminal, home: Home) -> None:
    terminal.has_browser = True
    ended = terminal("dashboard")
    assert ended.exit_code == 0
    (opened,) = terminal.browsed
    assert (found := LINK.fullmatch(opened))
    assert found[1] not in ended.output
    assert use_link(home, found[1])


@pytest.mark.usefixtures("serving")
def test_without_a_display_it_prints_the_link_in_one_line_and_how_to_come_from_another_machine(
    terminal: Terminal,
) -> None:
    ended = terminal("dashboard")
    assert LINK.fullmatch(ended.stdout.splitlines()[0])
    assert f"ssh -N -L {PORT}:127.0.0.1:{PORT} THIS_HOST" in ended.stdout


@pytest.mark.usefixtures("serving")
def test_url_prints_the_link_alone_and_opens_nothing(terminal: Terminal) -> None:
    terminal.has_browser = True
    first, second = (terminal("dashboard", "--url").stdout for _ in range(2))
    assert LINK.fullmatch(first.strip())
    assert first != second
    assert LINK.fullmatch(json.loads(terminal("dashboard", "--json").stdout)["url"])
    assert terminal.browsed == []


def test_without_a_team_it_says_so_and_makes_no_link(terminal: Terminal, home: Home) -> None:
    terminal.client = TeamNotRunningError("No team runs in /home. Start one with `phalanx up`.")
    ended = terminal("dashboard")
    assert ended.exit_code == 1
    assert "`phalanx up`" in ended.stderr
    assert not home.web_sessions.exists()


def test_while_the_page_is_not_served_it_says_so(terminal: Terminal, home: Home) -> None:
    ended = terminal("dashboard")
    assert ended.exit_code == 1
    assert "`phalanx doctor`" in ended.stderr
    assert not home.web_sessions.exists()


@pytest.mark.usefixtures("serving")
def test_on_a_host_that_is_led_from_elsewhere_it_names_that_host(terminal: Terminal, home: Home) -> None:
    home.leader_file.write_text("10.0.0.7")
    ended = terminal("dashboard")
    assert ended.exit_code == 1
    assert "10.0.0.7" in ended.stderr
    assert not home.web_sessions.exists()


def test_where_only_the_terminal_could_show_it_no_browser_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not system_context().browse("http://127.0.0.1:1/")
