"""The two ways of calling tmux: its own program, and without it; what holds for the one must hold for the other."""

from __future__ import annotations

import asyncio
import os
import signal
import socket as sockets
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.errors import PaneGoneError, TerminalError
from actors.tmux.client import CLIENT_ENVIRONMENT, TmuxClient, ask, client_command
from actors.tmux.pane import Pane, paste_name
from actors.tmux.protocol import FrameKind, FrameReader, command_frame, identification
from actors.tmux.server import TmuxServer
from tests.integration.tmux.conftest import OpenReader, hung, until

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEADER = struct.Struct("=IIII")
OF_A_TERMINAL = {100, 104, 105, 110}
"""Kinds of frames about flags in short form, terminal and environment, which a client without them need not send."""


@asynccontextmanager
async def strange_server(socket: Path, serve: Serve) -> AsyncIterator[list[int]]:
    """Stands in for a tmux of another kind. Gives the calls that it got."""
    calls: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(len(calls))
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_unix_server(answer, socket):
        yield calls


async def commanded(reader: asyncio.StreamReader) -> list[tuple[int, bytes]]:
    """The frames of a client up to its command, by number."""
    frames: list[tuple[int, bytes]] = []
    while not frames or frames[-1][0] != FrameKind.COMMAND:
        number, length, _, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
        frames.append((number, await reader.readexactly((length & 0xFFFF) - HEADER.size)))
    return frames


async def test_what_is_said_is_what_the_program_says(home: Path) -> None:
    heard: list[tuple[int, bytes]] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await commanded(reader))

    words = ("display-message", "-p", "a b;", "")
    async with strange_server(home / "tmux.sock", listen):
        program = await asyncio.create_subprocess_exec(
            *client_command(home / "tmux.sock"), *words, env=CLIENT_ENVIRONMENT, cwd="/", stderr=asyncio.subprocess.PIPE
        )
        await program.communicate()
    pid, flags = struct.pack("=i", program.pid), dict(heard)[FrameKind.IDENTIFY_LONGFLAGS]
    ours = {frame.kind: frame.data for frame in FrameReader().feed(identification() + command_frame(words))}

    assert struct.unpack("=Q", flags)[0] & struct.unpack("=Q", ours[FrameKind.IDENTIFY_LONGFLAGS])[0], (
        "both speak UTF-8"
    )
    said = {**ours, FrameKind.IDENTIFY_CLIENTPID: pid, FrameKind.IDENTIFY_LONGFLAGS: flags}
    assert said == {number: data for number, data in heard if number not in OF_A_TERMINAL}


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server of another version."""
    await commanded(reader)
    writer.write(HEADER.pack(FrameKind.VERSION, HEADER.size, 9, 1))


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says first what is understood and then what is not."""
    await commanded(reader)
    writer.write(HEADER.pack(FrameKind.READ_OPEN, HEADER.size + 8, 8, 1) + bytes(8))
    writer.write(HEADER.pack(9999, HEADER.size, 8, 1))


async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await commanded(reader)


@pytest.mark.parametrize(
    ("serve", "calls", "words"), [(refuse, 2, "version mismatch"), (babble, 1, "could not be called")]
)
async def test_the_host_s_call_is_made_by_the_program_for_a_server_of_another_version_and_else_once(
    home: Path, serve: Serve, calls: int, words: str
) -> None:
    async with strange_server(home / "tmux.sock", serve) as made:
        with pytest.raises(TerminalError, match=words):
            await asyncio.to_thread(TmuxServer(home / "tmux.sock").rename_session, "one", "other")
    assert len(made) == calls


async def test_a_server_of_another_version_is_called_by_the_program_from_then_on(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmux = TmuxClient(home / "tmux.sock")
    async with strange_server(home / "tmux.sock", refuse) as calls:
        for expected in (2, 3):
            with pytest.raises(TerminalError, match="protocol version mismatch"):
                await tmux.run("list-sessions")
            assert len(calls) == expected
    assert [record.message for record in caplog.records if "own program" in record.message] == caplog.messages[:1]


@pytest.mark.parametrize("serve", [babble, leave])
async def test_a_server_that_is_not_understood_or_ends_in_the_midst_is_not_given_the_same_commands_again(
    home: Path, serve: Serve
) -> None:
    async with strange_server(home / "tmux.sock", serve) as calls:
        with pytest.raises(TerminalError, match="did not answer") as failure:
            await TmuxClient(home / "tmux.sock").run("list-sessions")
        assert len(calls) == 1
    assert not isinstance(failure.value, PaneGoneError), "something may have been done"


async def test_a_server_killed_in_the_midst_of_a_paste_is_told_at_once(
    server: TmuxServer, open_reader: OpenReader
) -> None:
    reader = await open_reader("agent").ready()
    with hung(server) as pid:
        paste = asyncio.create_task(reader.pane.paste("x" * 1_000_000))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(TerminalError):
            await asyncio.wait_for(paste, 5)


async def test_more_calls_at_once_than_the_server_queues_are_all_answered(server: TmuxServer, tmux: TmuxClient) -> None:
    with hung(server):
        calls = [asyncio.create_task(tmux.run("display-message", "-p", str(number))) for number in range(300)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*calls) == [f"{number}\n" for number in range(300)]


def test_the_host_s_call_waits_while_the_server_s_queue_is_full(home: Path) -> None:
    path = home / "tmux.sock"
    with (
        ThreadPoolExecutor() as pool,
        sockets.socket(sockets.AF_UNIX) as server,
        sockets.socket(sockets.AF_UNIX) as one,
    ):
        server.bind(str(path))
        server.listen(0)
        one.connect(str(path))
        with pytest.raises(TerminalError, match="did not answer within"):
            ask(path, ("list-sessions",), home, 0.2)
        call = pool.submit(ask, path, ("list-sessions",), home, 10.0)
        for _ in ("one", "call"):
            line, _ = server.accept()
            line.close()
        with pytest.raises(TerminalError, match="has ended"):
            call.result(10.0)


async def test_sessions_that_come_and_go_while_many_type_and_look_harm_nobody(
    server: TmuxServer, open_reader: OpenReader, home: Path
) -> None:
    readers = [await open_reader(f"agent_{number}").ready() for number in range(4)]
    coming_and_going = asyncio.Event()

    async def churn() -> None:
        for turn in range(10):
            await asyncio.to_thread(server.open_session, f"churn_{turn}", ["true", "x"], home)
            await asyncio.to_thread(server.close_session, f"churn_{turn}")
        coming_and_going.set()

    async def work(pane: Pane) -> int:
        count = 0
        while not coming_and_going.is_set():
            await pane.press("Enter")
            await pane.capture()
            count += 1
        return count

    working = asyncio.gather(*(work(reader.pane) for reader in readers))
    await churn()
    counts = await working
    wanted = [b"\r" * count for count in counts]
    await until(lambda: [reader.received() for reader in readers] == wanted)


async def test_a_paste_that_was_asked_for_is_not_carried_out_later(open_reader: OpenReader) -> None:
    reader = await open_reader("agent").ready()
    name = paste_name()
    assert not await reader.pane.has_pasted(name)
    with pytest.raises(PaneGoneError):
        await reader.pane.paste("late", name)
    await reader.pane.paste("next")
    assert await reader.pasted() == b"next"
