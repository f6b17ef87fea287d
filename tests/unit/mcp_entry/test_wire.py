"""Lines between a client and the entry, over real descriptors: none is torn, lost or waited for in vain."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from mcp.shared.message import SessionMessage

from mcp_entry.stdio import LineReader, LineWriter

pytestmark = pytest.mark.real_time
LARGE = 300_000
"""More than a pipe holds."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):  # the test has closed it
            os.close(end)


def said(number: int, text: str = "") -> SessionMessage:
    return SessionMessage(types.JSONRPCNotification(jsonrpc="2.0", method=f"m{number}", params={"text": text}))


def line(number: int, text: str = "") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": f"m{number}", "params": {"text": text}}).encode() + b"\n"


def method_of(item: SessionMessage | Exception) -> str:
    assert isinstance(item, SessionMessage)
    assert isinstance(item.message, types.JSONRPCNotification)
    return item.message.method


async def all_of(reader: LineReader) -> list[str]:
    return [method_of(item) async for item in reader]


async def read_lines(descriptor: int, size: int = 1 << 16) -> list[str]:
    """The methods of all lines up to the end, read in a thread."""

    def read() -> bytes:
        return b"".join(iter(lambda: os.read(descriptor, size), b""))

    data = await asyncio.to_thread(read)
    return [json.loads(each)["method"] for each in data.splitlines()]


async def test_lines_come_in_order_however_they_are_cut_up(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    reader = LineReader(source)
    data = b"".join(line(number) for number in range(20))
    for begin in range(0, len(data), 7):
        os.write(sink, data[begin : begin + 7])
    os.close(sink)

    assert await all_of(reader) == [f"m{number}" for number in range(20)]


async def test_a_last_line_without_its_end_is_a_line(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    os.write(sink, line(1) + line(2).rstrip(b"\n"))
    os.close(sink)

    assert await all_of(LineReader(source)) == ["m1", "m2"]


async def test_a_line_that_is_larger_than_a_pipe_comes_whole(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    reader = LineReader(source)
    writing = asyncio.create_task(asyncio.to_thread(os.write, sink, line(1, "x" * LARGE)))

    item = await reader.receive()

    assert isinstance(item, SessionMessage)
    assert len(item.message.model_dump_json()) > LARGE
    await writing


async def test_what_is_no_message_comes_as_an_error_and_the_next_line_as_it_is(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    os.write(sink, b'no json\n\xff\xfe\n{"jsonrpc": "2.0"}\n' + line(1))
    reader = LineReader(source)

    assert all([isinstance(await reader.receive(), Exception) for _ in range(3)])
    assert method_of(await reader.receive()) == "m1"


async def test_who_is_cancelled_while_it_waits_takes_no_line_along(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    reader = LineReader(source)
    waiting = asyncio.create_task(reader.receive())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    os.write(sink, line(1))

    assert method_of(await reader.receive()) == "m1"


@pytest.mark.parametrize("content", [b"", line(1)])
async def test_a_file_is_read_to_its_end(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "calls"
    path.write_bytes(content)
    with path.open("rb") as file:
        assert await all_of(LineReader(file.fileno())) == ["m1"][: len(content)]


async def test_messages_of_many_senders_stay_whole_lines_while_the_client_reads_slowly(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    writer = LineWriter(sink)
    reading = asyncio.create_task(read_lines(source, 1000))
    await asyncio.gather(*(writer.send(said(number, "x" * 20_000)) for number in range(50)))
    os.close(sink)

    assert await reading == [f"m{number}" for number in range(50)]


async def test_a_sender_that_is_cancelled_in_the_middle_of_a_line_leaves_it_whole(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    writer = LineWriter(sink)
    sending = asyncio.create_task(writer.send(said(1, "x" * LARGE)))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    reading = asyncio.create_task(read_lines(source))
    await writer.send(said(2))
    os.close(sink)

    assert await reading == ["m1", "m2"]


async def test_a_client_that_does_not_read_holds_up_its_own_answers_and_nothing_else(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    writer = LineWriter(sink)
    sending = asyncio.create_task(writer.send(said(1, "x" * LARGE)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not sending.done()

    os.close(source)
    with pytest.raises(anyio.BrokenResourceError):
        await sending
    with pytest.raises(anyio.BrokenResourceError):
        await writer.send(said(2))


async def test_a_socket_is_as_good_as_a_pipe() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = LineWriter(ours.fileno())
        reading = asyncio.create_task(read_lines(theirs.fileno()))
        await asyncio.gather(*(writer.send(said(number, "x" * LARGE)) for number in range(3)))
        ours.shutdown(socket.SHUT_WR)
        assert await reading == ["m0", "m1", "m2"]
        theirs.sendall(line(1))
        theirs.shutdown(socket.SHUT_WR)
        assert await all_of(LineReader(ours.fileno())) == ["m1"]
