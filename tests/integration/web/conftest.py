"""The endpoint's real process in a home whose supervisor is a gateway of the test."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors.errors import RefusedError
from actors.home import Home
from actors.host.endpoint import MODULE, TeamEndpoint, endpoint_runs
from actors.marks import ENDPOINT_MARK, TEAM_MARK
from actors.messages import MessageStatus
from actors.processes import end_processes, processes_with
from supervisor.api.requests import IdentifyRequest, Request, Role
from supervisor.api.results import IdentifyResult, Result, SendResult
from supervisor.api.verbs import Caller
from supervisor.rpc.server import Gateway
from supervisor.team.file import TeamInfo, write_team
from tests.integration.mcp_entry.conftest import ROOT
from tests.integration.rpc.conftest import ScriptedVerbs, gives

TOKEN = "a-token-of-a-specialist-0123456789abcdefghi"
SENT = SendResult(success=True, instance_id="mgr_1", message_id="m1", status=MessageStatus.ACCEPTED)
_WITHIN_S = 30.0


@pytest.fixture
def home(short_tmp: Path) -> Iterator[Home]:
    home = Home(short_tmp / "h")
    home.create()
    yield home
    end_processes(of_endpoint(home), grace_s=0)


@pytest.fixture
def head(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """The home has a team, whose Ray is this process."""
    with subprocess.Popen(["sleep", "600"], env={TEAM_MARK: "abc"}) as process:
        write_team(home, TeamInfo(team_id="abc", version="1", started_at="", head_pid=process.pid))
        yield process
        process.kill()


@pytest.fixture
def verbs() -> ScriptedVerbs:
    """One specialist has the token ``TOKEN``, and what it sends is accepted."""

    async def identify(request: Request, _caller: Caller) -> Result:
        assert isinstance(request, IdentifyRequest)
        if request.token_hash != hashlib.sha256(TOKEN.encode()).hexdigest():
            raise RefusedError("The team knows no living instance by this token: nothing was done.")
        return IdentifyResult(instance_id="spec_1", role=Role.SPECIALIST)

    scripted = ScriptedVerbs()
    scripted.answers = {"identify": identify, "send": gives(SENT)}
    return scripted


@pytest.fixture
async def gateway(home: Home, verbs: ScriptedVerbs, head: subprocess.Popen[bytes]) -> AsyncIterator[Gateway]:
    gateway = Gateway(home.gateway_socket, verbs)
    await gateway.start()
    yield gateway
    await gateway.stop()


@pytest.fixture
async def endpoint(home: Home, gateway: Gateway) -> AsyncIterator[TeamEndpoint]:
    endpoint = TeamEndpoint(home)
    yield endpoint
    await endpoint.end()


@pytest.fixture
async def orphan(home: Home, gateway: Gateway) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process whose keeper has died."""
    environment = {"PATH": os.environ["PATH"], "PHALANX_HOME": str(home.root), ENDPOINT_MARK: str(home.root)}
    process = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-m", MODULE], cwd=ROOT, env=environment)
    try:
        await until(lambda: endpoint_runs(home), within_s=120.0)
        yield process
    finally:
        process.kill()
        process.wait()


def of_endpoint(home: Home) -> list[psutil.Process]:
    return processes_with(ENDPOINT_MARK, str(home.root))


def the_process(home: Home) -> psutil.Process:
    """The one that serves."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(home.web_socket))
        told = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return psutil.Process(struct.unpack("3i", told)[0])


def send_message(message: str, tool_use: str = "", headers: Sequence[str] = ()) -> bytes:
    """A request that calls the tool ``send``."""
    meta = {"_meta": {"claudecode/toolUseId": tool_use}} if tool_use else {}
    params = {"name": "send", "arguments": {"instanceId": "mgr_1", "message": message}, **meta}
    return request({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, headers)


def request(message: Any, headers: Sequence[str] = (), token: str = TOKEN) -> bytes:
    body = json.dumps(message).encode()
    lines = [
        "POST /mcp HTTP/1.1",
        "Host: 127.0.0.1:{port}",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        "MCP-Protocol-Version: 2025-06-18",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


async def exchange(port: int, data: bytes, within_s: float = _WITHIN_S) -> tuple[int, str]:
    """Status and text of the answer; status 0 when the connection ended without one."""
    async with asyncio.timeout(within_s):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            with suppress(ConnectionError):
                writer.write(data.replace(b"{port}", str(port).encode()))
                await writer.drain()
            return await read_answer(reader)
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    answer = b""
    with suppress(ConnectionError):
        while part := await reader.read(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body.decode()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


async def until(condition: Callable[[], object], within_s: float = _WITHIN_S) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - of processes, which announce nothing
            await asyncio.sleep(0.02)
