"""What somebody sees and can do who is attached to an instance: the status line, and the key to who needs somebody.

The client is a real one, in a pane of another tmux server.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.tmux.client import TmuxClient
from actors.tmux.server import TmuxServer

NAMES = ("spec_0_0_1", "spec_0_0_10", "spec_0_0_2", "mgr_0_3")
WITHIN_S = 10.0


class Attached:
    """A client of ``server``, and the terminal in which it runs."""

    def __init__(self, terminal: TmuxClient, server: TmuxClient) -> None:
        self._terminal = terminal
        self._server = server

    async def asks_for_the_next(self) -> None:
        """Ctrl-b n. tmux takes for pasted what comes within a millisecond, so the second key waits for the first."""
        await self._press("C-b", "1")
        await self._press("n", "0")

    async def _press(self, key: str, prefix: str) -> None:
        """Presses the key and waits until tmux awaits another one (``prefix`` is 1) or none (0)."""
        await self._terminal.run("send-keys", "-t", "=person:", key)
        deadline = time.monotonic() + WITHIN_S
        while (await self._server.run("list-clients", "-F", "#{client_prefix}")).strip() != prefix:
            assert time.monotonic() < deadline, key

    async def line(self) -> str:
        """The status line."""
        screen = await self._terminal.run("capture-pane", "-p", "-t", "=person:")
        return screen.rstrip("\n").rpartition("\n")[2]

    async def is_at(self) -> str:
        return (await self._server.run("list-clients", "-F", "#{client_session}")).strip()

    async def program_ends(self) -> None:
        """The one of the session that is looked at."""
        pid = await self._server.run("display-message", "-p", "-t", f"={await self.is_at()}:", "#{pane_pid}")
        os.kill(int(pid), signal.SIGKILL)

    async def until(self, condition: Callable[[str, str], bool]) -> tuple[str, str]:
        """Session and status line, once they are so."""
        deadline = time.monotonic() + WITHIN_S
        while not condition(*(seen := (await self.is_at(), await self.line()))):
            assert time.monotonic() < deadline, seen
        return seen


@pytest.fixture
def sessions(server: TmuxServer, home: Path) -> tuple[str, ...]:
    for name in NAMES:
        server.open_session(name, ["sh", "-c", f"echo I am {name}; exec sleep 600"], home)
    return NAMES


@pytest.fixture
def attached(
    server: TmuxServer, sessions: tuple[str, ...], home: Path, environment: dict[str, str]
) -> Iterator[Attached]:
    terminals = TmuxServer(home / "outer.sock")
    try:
        terminals.start({**environment, "TERM": "xterm-256color"})
        attach = [
            "env",
            "-u",
            "TMUX",
            "tmux",
            "-u",
            "-S",
            str(home / "tmux.sock"),
            "attach-session",
            "-t",
            f"={sessions[0]}",
        ]
        terminals.open_session("person", attach, home)
        yield Attached(TmuxClient(home / "outer.sock", 10.0), TmuxClient(home / "tmux.sock", 10.0))
    finally:
        terminals.stop()


async def test_the_line_says_where_one_is_and_nothing_else_while_nobody_needs_somebody(attached: Attached) -> None:
    _, line = await attached.until(lambda _at, line: NAMES[0] in line)
    assert line.strip() == f"{NAMES[0]} · Ctrl-b d leaves it"
    await attached.asks_for_the_next()
    await attached.until(lambda _at, line: "Nobody here needs you." in line)


async def test_who_looks_at_a_program_that_ends_is_told_so_and_how_it_starts_again(attached: Attached) -> None:
    await attached.until(lambda _at, line: "leaves it" in line)
    await attached.program_ends()
    _, line = await attached.until(lambda _at, line: "has ended" in line)
    assert line.strip() == f"{NAMES[0]} · has ended: phalanx restart {NAMES[0]} · Ctrl-b d leaves it"


async def test_who_needs_somebody_is_seen_at_once_and_the_key_goes_from_one_to_the_next(
    server: TmuxServer, attached: Attached
) -> None:
    await attached.until(lambda at, _line: at == NAMES[0])
    server.show_needing("3 need you: a, b, +1", [NAMES[1], NAMES[2], NAMES[3]])
    _, line = await attached.until(lambda _at, line: "need you" in line)
    assert line.rstrip().endswith("3 need you: a, b, +1 · Ctrl-b n")
    for wanted in (NAMES[1], NAMES[2], NAMES[3], NAMES[1]):
        await attached.asks_for_the_next()
        await attached.until(lambda at, line, wanted=wanted: at == wanted and wanted in line)  # type: ignore[misc]
    server.show_needing("1 needs you: a", [NAMES[2]])
    for _ in range(2):
        await attached.asks_for_the_next()
        await attached.until(lambda at, _line: at == NAMES[2])
    server.show_needing("", [])
    await attached.until(lambda _at, line: "you" not in line)


async def test_sessions_that_are_not_there_are_left_out_of_the_round(server: TmuxServer, attached: Attached) -> None:
    await attached.until(lambda at, _line: at == NAMES[0])
    server.show_needing("2 need you: x, y", ["spec_0_0_9", NAMES[2]])
    await attached.asks_for_the_next()
    await attached.until(lambda at, _line: at == NAMES[2])
    server.show_needing("1 needs you: x", ["spec_0_0_9"])
    _, line = await attached.until(lambda _at, line: "1 needs you" in line)
    assert "Ctrl-b n" not in line


async def test_names_are_shown_as_they_are_and_never_run_or_styled(
    server: TmuxServer, attached: Attached, home: Path
) -> None:
    words = f"1 needs you: #(touch {home}/ran) #[fg=red]#{{pid}} %H #,}};"
    server.show_needing(words, [NAMES[0]])
    _, line = await attached.until(lambda _at, line: "needs you" in line)
    assert "#[fg=red]#{pid} %H #,};" in line
    assert not (home / "ran").exists()


async def test_without_a_server_nothing_is_shown_and_nothing_fails(home: Path) -> None:
    TmuxServer(home / "none.sock").show_needing("1 needs you: x", ["spec_0_0_1"])
    assert not (home / "none.sock").exists()


async def test_windows_keep_their_size_while_nobody_is_attached(
    server: TmuxServer, home: Path, tmux: TmuxClient
) -> None:
    server.open_session("agent", ["sleep", "600"], home)
    size = "#{window_width}x#{window_height}"
    before = await tmux.run("display-message", "-p", "-t", "=agent:", size)
    server.show_needing("1 needs you: x", ["agent"])
    assert await tmux.run("display-message", "-p", "-t", "=agent:", size) == before
