"""What anybody on the machine can do to the endpoint: it answers in words, stays up and keeps its memory."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from actors.home import Home
from actors.host.endpoint import TeamEndpoint
from mcp_entry.web import protocol
from supervisor.api.requests import Request
from supervisor.api.results import ConversationEntry, ReadResult, Result
from supervisor.api.verbs import Caller
from tests.integration.rpc.conftest import ScriptedVerbs
from tests.integration.web.conftest import (
    LIST_TOOLS,
    TOKEN,
    exchange,
    port_of,
    read_answer,
    request,
    send_message,
    the_process,
)

_MOST_GROWTH_BYTES = 60_000_000


@pytest.fixture
async def port(endpoint: TeamEndpoint, home: Home) -> int:
    """Of an endpoint that has started."""
    port = port_of(await endpoint.ensure())
    assert (await exchange(port, request(LIST_TOOLS)))[0] == 200
    return port


async def _is_well(port: int) -> None:
    status, answer = await exchange(port, send_message("It is done."), within_s=10.0)
    assert status == 200
    assert "isError" not in json.loads(answer)["result"]


def _most_memory(home: Home) -> int:
    """That it ever had, in bytes."""
    status = Path(f"/proc/{the_process(home).pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _memory(home: Home) -> int:
    return int(the_process(home).memory_info().rss)


async def test_a_header_of_a_megabyte_is_refused(port: int, home: Home) -> None:
    before = _memory(home)
    for header in ("X-Long: " + "x" * (1 << 20), "Authorization: Bearer " + "x" * (1 << 20)):
        status, _ = await exchange(port, request(LIST_TOOLS, [header]))
        assert status in (0, 400)
    assert (await exchange(port, b"x" * (1 << 20)))[0] in (0, 400)
    assert _memory(home) - before < _MOST_GROWTH_BYTES
    await _is_well(port)


async def test_a_thousand_connections_that_say_nothing_keep_nobody_out_and_are_dropped(port: int, home: Home) -> None:
    before = _memory(home)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1000)]
    try:
        await _is_well(port)
        assert _memory(home) - before < _MOST_GROWTH_BYTES
        async with asyncio.timeout(protocol.HEAD_S + 10):
            for reader, _ in opened:
                with suppress(ConnectionError):
                    assert await reader.read() == b""
    finally:
        for _, writer in opened:
            writer.close()
    await _is_well(port)


async def test_a_thousand_calls_at_once_are_answered_or_told_that_there_are_too_many(port: int, home: Home) -> None:
    before = _memory(home)
    statuses = [status for status, _ in await asyncio.gather(*(exchange(port, send_message("x")) for _ in range(1000)))]
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) >= 32
    assert _memory(home) - before < _MOST_GROWTH_BYTES
    await _is_well(port)


async def test_a_head_that_never_ends_is_dropped(port: int) -> None:
    _, writer = opened = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(protocol.HEAD_S + 10):
        with suppress(ConnectionError):
            writer.write(b"POST /mcp HTTP/1.1\r\n")
            while not opened[0].at_eof():
                writer.write(b"X: y\r\n")
                await writer.drain()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await opened[0].read(1)
    writer.close()
    await _is_well(port)


@pytest.mark.parametrize("token", [TOKEN, "x" * 43])
async def test_a_body_of_a_hundred_megabytes_is_refused(port: int, home: Home, token: str) -> None:
    before = _memory(home)
    head = request(LIST_TOOLS, token=token).partition(b"\r\nContent-Length")[0]
    for length in (b"Content-Length: 104857600", b"Transfer-Encoding: chunked"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionError):
            writer.write(head.replace(b"{port}", str(port).encode()) + b"\r\n" + length + b"\r\n\r\n")
            for _ in range(100):
                writer.write((b"100000\r\n" if b"chunked" in length else b"") + b"x" * (1 << 20) + b"\r\n")
                await writer.drain()
        async with asyncio.timeout(30):
            status, _ = await read_answer(reader)
        writer.close()
        assert status in (0, 401, 413)
    assert _memory(home) - before < _MOST_GROWTH_BYTES
    await _is_well(port)


async def test_what_somebody_without_a_token_sends_is_not_kept(port: int, home: Home) -> None:
    most_before = _most_memory(home)
    head = request(LIST_TOOLS, token="x" * 43).partition(b"\r\nContent-Length")[0]
    head = head.replace(b"{port}", str(port).encode())
    part = b"x" * (1 << 20)

    async def send() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"\r\nContent-Length: 4000000\r\n\r\n" + part * 3)
        await writer.drain()
        async with asyncio.timeout(30):
            status, _ = await read_answer(reader)
        writer.close()
        return status

    assert set(await asyncio.gather(*(send() for _ in range(50)))) == {401}
    assert _most_memory(home) - most_before < _MOST_GROWTH_BYTES
    await _is_well(port)


async def test_who_does_not_read_a_long_answer_holds_nothing_up(port: int, home: Home, verbs: ScriptedVerbs) -> None:
    entry = ConversationEntry(kind="answer", at="2026-11-01T10:00:01.000Z", text="x" * 30_000)

    async def read(_request: Request, _caller: Caller) -> Result:
        return ReadResult(instance_id="mgr_1", source="conversation", entries=[entry], cursor="1")

    verbs.answers["read"] = read
    params = {"name": "read", "arguments": {"instanceId": "mgr_1"}}
    asked = request({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    before = _memory(home)
    opened = []
    for _ in range(30):
        opened.append(await asyncio.open_connection("127.0.0.1", port, limit=1))
        opened[-1][1].write(asked.replace(b"{port}", str(port).encode()))
        await opened[-1][1].drain()
    await _is_well(port)
    assert _memory(home) - before < _MOST_GROWTH_BYTES
    for _, writer in opened:
        writer.close()
    await _is_well(port)


async def test_what_is_no_http_ends_its_connection_only(port: int) -> None:
    for data in (
        b"\x00" * 1000,
        b"\x16\x03\x01\x02\x00",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"POST \xff HTTP/9\r\n\r\n",
    ):
        status, _ = await exchange(port, data)
        assert status in (0, 400)
    await _is_well(port)


async def test_it_listens_on_the_loopback_interface_only(port: int, home: Home) -> None:
    addresses = {
        connection.laddr.ip
        for connection in the_process(home).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}
