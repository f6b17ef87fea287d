"""A client in control mode at a real tmux: what it must not disturb, what must not disturb it, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from actors.errors import TerminalError
from actors.terminal import control
from actors.terminal.pane import Pane, Tmux
from actors.terminal.server import TerminalServer
from tests.integration.terminal.conftest import Reader, ended, shown, until
from tests.integration.terminal.test_typing import tmux_clients


@pytest.fixture
async def reader(server: TerminalServer, tmux: Tmux, home: Path) -> AsyncIterator[Reader]:
    reader = await Reader(server, tmux, "agent", home, control=True).ready()
    yield reader
    await reader.pane.close()


async def test_many_commands_take_one_process(reader: Reader) -> None:
    await reader.pane.capture()
    (client,) = tmux_clients()
    for _ in range(3):
        await reader.pane.capture()
        await reader.pane.press("Escape")
    assert tmux_clients() == [client]
    await until(lambda: reader.received() == b"\x1b" * 3)


async def test_who_is_idle_holds_no_process(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LINGER_S", 0.05)
    await reader.pane.capture()
    await until(lambda: not tmux_clients())
    await reader.pane.press("Escape")
    await until(lambda: reader.received() == b"\x1b")


async def test_the_window_of_a_person_who_looks_on_stays_as_it_is(reader: Reader, tmux: Tmux) -> None:
    pane_id = reader.info.pane_id
    await tmux.run("split-window", "-t", pane_id)
    before = await tmux.run("list-panes", "-a", "-F", "#{pane_id} #{pane_active} #{pane_width}x#{pane_height}")
    await reader.pane.paste("text")
    assert await tmux.run("list-panes", "-a", "-F", "#{pane_id} #{pane_active} #{pane_width}x#{pane_height}") == before
    assert f"{pane_id} 0" in before, "the person's pane was the active one"


async def test_a_screen_that_looks_like_an_answer_of_tmux_is_read_as_it_stands(
    server: TerminalServer, tmux: Tmux, home: Path
) -> None:
    forged = "\n".join(f"%end {int(time.time())} {number} 1\n%begin 1 {number} 1\n%exit" for number in range(270, 285))
    (home / "screen").write_text(forged)
    program = "print(open('screen').read(), flush=True); import time; time.sleep(1000)"
    pane = Pane(tmux, server.open_session("agent", [sys.executable, "-c", program], home, rows=100).pane_id, home)
    try:
        assert (await shown(pane, "%exit")).rstrip() == forged
        assert not await pane.has_pasted("phalanx-" + "0" * 32)
    finally:
        await pane.close()


async def test_a_client_that_is_killed_is_replaced(reader: Reader) -> None:
    await reader.pane.capture()
    (client,) = tmux_clients()
    client.kill()
    await until(lambda: not tmux_clients())
    with suppress(TerminalError):
        await reader.pane.capture()  # it may be the one that finds out
    await reader.pane.paste("text")
    assert await reader.pasted() == b"text"


async def test_what_hangs_in_a_server_when_its_client_dies_is_not_typed_later(
    server: TerminalServer, reader: Reader, home: Path
) -> None:
    pane = reader.seen_by(Tmux(home / "tmux.sock", timeout_s=0.2))
    await pane.capture()
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        for call in (pane.paste("never"), pane.press("Enter")):
            with pytest.raises(TerminalError):
                await call
    finally:
        os.kill(pid, signal.SIGCONT)
    await reader.pane.press("Escape")
    await until(lambda: reader.received() != b"")
    assert reader.received() == b"\x1b"
    assert not list(reader.directory.iterdir())
    await pane.close()


async def test_a_successor_takes_away_what_a_killed_actor_would_have_typed(reader: Reader, tmux: Tmux) -> None:
    left = reader.directory / "phalanx-0.content"
    left.write_text("never")
    Pane(tmux, reader.info.pane_id, reader.directory)
    assert not left.exists()


async def test_a_directory_whose_name_tmux_would_expand_is_not_given_to_it(
    server: TerminalServer, tmux: Tmux, home: Path
) -> None:
    directory = home / "#(touch pwned)"
    directory.mkdir()
    reader = await Reader(server, tmux, "agent", home, control=False).ready()
    pane = Pane(tmux, reader.info.pane_id, directory)
    await pane.paste("text")
    assert await reader.pasted() == b"text"
    assert not tmux_clients()
    assert not (Path("/") / "pwned").exists()


async def test_without_room_for_its_content_a_paste_takes_the_other_way(reader: Reader) -> None:
    reader.directory.rmdir()
    await reader.pane.paste("text")
    assert await reader.pasted() == b"text"
    reader.directory.mkdir()


async def test_a_client_ends_with_the_session(reader: Reader, server: TerminalServer) -> None:
    await reader.pane.capture()
    (client,) = tmux_clients()
    server.close_session("agent")
    psutil.wait_procs([client], timeout=10)
    with pytest.raises(TerminalError):
        await reader.pane.capture()


async def test_a_program_that_has_ended_is_not_typed_to(server: TerminalServer, tmux: Tmux, home: Path) -> None:
    pane = Pane(tmux, server.open_session("agent", ["sh", "-c", "exit 3"], home).pane_id, home)
    await ended(pane)
    for call in (pane.paste("text"), pane.press("Enter")):
        with pytest.raises(TerminalError, match="has ended"):
            await call
    assert await tmux.run("list-buffers") == ""
    assert server.is_running()
    await pane.close()
