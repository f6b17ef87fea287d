"""Opening and closing sessions, with a real tmux."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.errors import InvalidRequestError, PaneGoneError, TerminalError
from actors.tmux.client import TmuxClient
from actors.tmux.server import TmuxServer
from tests.integration.tmux.conftest import hung
from tests.people import PtyPerson, attach_command


def test_a_session_that_was_given_up_does_not_open_late(server: TmuxServer, home: Path) -> None:
    with hung(server), pytest.raises(TerminalError, match="did not answer"):
        TmuxServer(home / "tmux.sock", timeout_s=0.2).open_session("late", ["sleep", "1000"], home)
    next_one = server.open_session("next", ["sleep", "1000"], home)
    assert open_panes(server) == [next_one.pane_id]


def test_names_that_begin_alike_are_not_confused(server: TmuxServer, home: Path) -> None:
    longer = server.open_session("spec_1_10", ["sleep", "1000"], home)
    server.close_session("spec_1_1")
    server.close_session("spec")
    assert open_panes(server) == [longer.pane_id]
    shorter = server.open_session("spec_1_1", ["sleep", "1000"], home)
    server.close_session("spec_1_10")
    assert open_panes(server) == [shorter.pane_id]


def test_closing_what_is_not_there_does_nothing(server: TmuxServer, home: Path) -> None:
    server.close_session("nobody")
    TmuxServer(home / "nowhere.sock").close_session("nobody")


def test_a_name_in_use_is_refused_and_its_session_untouched(server: TmuxServer, home: Path) -> None:
    first = server.open_session("agent", ["sleep", "1000"], home)
    with pytest.raises(TerminalError, match="duplicate session: agent"):
        server.open_session("agent", ["sleep", "1000"], home)
    assert open_panes(server) == [first.pane_id]


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a:b", "=a", "../x", "a\n", "#{pid}", "ä", "$1"])
def test_a_bad_name_is_refused_in_words(server: TmuxServer, home: Path, name: str) -> None:
    for use_it in (lambda: server.open_session(name, ["true", "x"], home), lambda: server.close_session(name)):
        with pytest.raises(InvalidRequestError, match="not a session name"):
            use_it()


@pytest.mark.parametrize("argv", [[], [""], ["-x"], ["A=B"], ["A=B", "c"]])
def test_a_command_without_a_program_and_a_missing_directory_are_refused(
    server: TmuxServer, home: Path, argv: list[str]
) -> None:
    with pytest.raises(InvalidRequestError, match="name of a program"):
        server.open_session("agent", argv, home)
    with pytest.raises(InvalidRequestError, match="not a directory"):
        server.open_session("agent", ["sleep", "1"], home / "missing")


def test_a_command_too_long_for_tmux_is_refused_and_opens_nothing(server: TmuxServer, home: Path) -> None:
    with pytest.raises(TerminalError, match="too long"):
        server.open_session("agent", ["sleep", "1" * 17_000], home)
    assert open_panes(server) == []


async def test_opening_without_a_server_starts_none(home: Path) -> None:
    server = TmuxServer(home / "tmux.sock")
    with pytest.raises(PaneGoneError, match="phalanx up"):
        server.open_session("agent", ["sleep", "1000"], home)
    assert not server.is_running()


async def test_the_window_has_the_size_of_a_person_who_looks_and_its_own_when_they_leave(
    server: TmuxServer, tmux: TmuxClient, home: Path
) -> None:
    info = server.open_session("agent", ["sleep", "1000"], home)

    async def has(*sizes: str) -> None:
        async with asyncio.timeout(10):
            while await size(tmux, info.pane_id) not in sizes:  # noqa: ASYNC110 - tmux tells nobody
                await asyncio.sleep(0.01)

    await has("200x50")
    with PtyPerson(attach_command(home / "tmux.sock", "agent"), 40, 10):
        await has("40x9")  # the last row is the status line
    await has("200x50", "201x50")


def open_panes(server: TmuxServer) -> list[str]:
    return [agent.pane_id for agent in server.agents()]


async def size(tmux: TmuxClient, pane_id: str) -> str:
    return (await tmux.run("display-message", "-p", "-t", pane_id, "#{pane_width}x#{pane_height}")).strip()
