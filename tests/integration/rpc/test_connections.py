"""The socket itself, and clients that behave badly or go away."""

from __future__ import annotations

import asyncio
import socket as sockets
import stat
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from actors.errors import InvalidRequestError, SettingsError, TeamNotRunningError, UnavailableError
from actors.home import Home
from actors.sockets import FrameError, pack, read_frame
from supervisor.api.requests import Request
from supervisor.api.results import Result, SendResult
from supervisor.api.verbs import VERBS, Caller, ignore_progress
from supervisor.rpc import server
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.connection import GatewayConnection
from supervisor.rpc.server import Gateway
from tests.integration.rpc.conftest import SEND, SENT, STATUS, WAIT, WAITED, Held, ScriptedVerbs, soon

HELLO = pack({"hello": {"sender": "raw", "version": "1"}})


async def spoken_to(home: Home, *parts: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(home.gateway_socket)
    for part in parts:
        writer.write(part)
    await writer.drain()
    return reader, writer


async def all_frames(reader: asyncio.StreamReader) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    while (frame := await soon(read_frame(reader))) is not None:
        found.append(frame)
    return found


async def test_only_the_user_can_connect(home: Home, gateway: Gateway) -> None:
    assert stat.S_IMODE(home.gateway_socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    assert [path.name for path in home.root.glob("phalanx.sock*")] == ["phalanx.sock"]


async def test_a_stale_socket_is_replaced(home: Home, verbs: ScriptedVerbs) -> None:
    with sockets.socket(sockets.AF_UNIX) as dead:
        dead.bind(str(home.gateway_socket))
    gateway = Gateway(home.gateway_socket, verbs)

    await gateway.start()

    async with await SupervisorClient.connect(home) as client:
        assert await client.status() == STATUS
    await gateway.stop()
    assert not home.gateway_socket.exists()


async def test_the_socket_of_a_gateway_that_answers_is_not_taken(
    home: Home, gateway: Gateway, client: SupervisorClient, verbs: ScriptedVerbs
) -> None:
    second = Gateway(home.gateway_socket, verbs)

    with pytest.raises(UnavailableError, match="phalanx down"):
        await second.start()
    await second.stop()

    assert await client.status() == STATUS
    assert home.gateway_socket.is_socket()


async def test_something_else_in_the_place_of_the_socket_is_left_alone(home: Home, verbs: ScriptedVerbs) -> None:
    home.gateway_socket.write_text("mine")

    with pytest.raises(SettingsError, match="not a socket"):
        await Gateway(home.gateway_socket, verbs).start()

    assert home.gateway_socket.read_text() == "mine"


async def test_stopping_leaves_the_socket_of_a_successor(home: Home, gateway: Gateway, verbs: ScriptedVerbs) -> None:
    home.gateway_socket.unlink()
    successor = Gateway(home.gateway_socket, verbs)
    await successor.start()

    await gateway.stop()

    async with await SupervisorClient.connect(home) as client:
        assert await client.status() == STATUS
    await successor.stop()


@pytest.mark.parametrize("sender", ["", "-x", "a b", "x" * 65, "../x", "a\nb", "é"])
async def test_a_sender_that_could_forge_a_header_line_is_refused(home: Home, gateway: Gateway, sender: str) -> None:
    client = await SupervisorClient.connect(home, sender)

    with pytest.raises(InvalidRequestError, match="sender"):
        await client.status()
    await client.close()


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack(">I", 2_000_000_000),
        struct.pack(">I", 3) + b"\xc1\xc1\xc1",
        struct.pack(">I", 1) + b"\x01",
        pack({"nothing": 1}),
        pack({"id": "one", "verb": "status", "params": {}}),
        pack({"id": 1, "verb": 7, "params": {}}),
        pack({"id": 5, "verb": "wait", "params": {"instanceIds": ["spec_1"]}}) * 2,
        pack({"id": 6, "verb": "status", "params": {}, "token": "t"}),
        pack({"id": 7, "verb": "as_instance", "as": "status", "params": {}}),
    ],
    ids=["length", "no msgpack", "no map", "no call", "id", "verb", "id twice", "token of a user", "no token"],
)
async def test_a_bad_frame_ends_its_own_connection_only(
    home: Home, client: SupervisorClient, verbs: ScriptedVerbs, bad: bytes
) -> None:
    verbs.answers["wait"] = Held(WAITED)
    reader, writer = await spoken_to(home, HELLO, bad)

    (told,) = await all_frames(reader)

    assert told["error"]["code"] == "frame"
    writer.close()
    assert await client.status() == STATUS


async def test_a_version_that_knows_no_tokens_finds_no_verb_in_a_call_that_has_one(home: Home) -> None:
    """It would do the call as the user's."""
    called: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()

    async def older(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_frame(reader)
        called.set_result(await read_frame(reader) or {})
        writer.close()

    async with await asyncio.start_unix_server(older, home.gateway_socket):
        connection = await GatewayConnection.open(home.gateway_socket, {"sender": "endpoint"})
        with pytest.raises(ConnectionError):
            await connection.call(VERBS["status"], {}, ignore_progress, 5.0, "t0ken")
        await connection.close()

    frame = await called
    assert frame["token"] == "t0ken"
    assert frame["verb"] not in VERBS


async def test_a_call_in_the_name_of_an_instance_brings_its_token(
    home: Home, gateway: Gateway, verbs: ScriptedVerbs
) -> None:
    tokens: list[str | None] = []

    async def status(_request: Request, caller: Caller) -> Result:
        tokens.append(caller.token)
        return STATUS

    verbs.answers["status"] = status
    connection = await GatewayConnection.open(home.gateway_socket, {"sender": "endpoint"})
    for token in ("t0ken", None):
        await connection.call(VERBS["status"], {}, ignore_progress, 5.0, token)
    await connection.close()
    assert tokens == ["t0ken", None]


@pytest.mark.parametrize("first", [pack({"id": 1, "verb": "status"}), pack({"hello": 1}), pack({"hello": {}})])
async def test_nothing_is_done_without_a_hello(
    home: Home, gateway: Gateway, verbs: ScriptedVerbs, first: bytes
) -> None:
    reader, writer = await spoken_to(home, first, pack({"id": 2, "verb": "status", "params": {}}))

    (told,) = await all_frames(reader)

    assert "error" in told
    assert verbs.calls == []
    writer.close()


async def test_a_client_that_says_nothing_is_let_go(
    home: Home, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HELLO_TIMEOUT_S", 0.1)
    reader, writer = await spoken_to(home)

    (told,) = await all_frames(reader)

    assert told["error"]["code"] == "frame"
    writer.close()


async def test_when_the_client_goes_away_what_changes_something_is_finished_and_the_rest_cancelled(
    home: Home, gateway: Gateway, verbs: ScriptedVerbs
) -> None:
    verbs.answers |= {"send": (deed := Held(SENT)), "wait": (look := Held(WAITED))}
    client = await SupervisorClient.connect(home)
    calls = [asyncio.create_task(client.send(SEND)), asyncio.create_task(client.wait(WAIT))]
    await deed.begun()
    await look.begun()

    await client.close()

    await look.cancelled()
    deed.go_on.set()
    await deed.done()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 2


async def test_a_client_that_does_not_read_neither_blocks_others_nor_stays(
    home: Home, client: SupervisorClient, verbs: ScriptedVerbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRITE_TIMEOUT_S", 0.3)

    async def large(request: Request, caller: Caller) -> Result:
        for done in range(1000):
            caller.progress(done, 1000, "x" * 10_000)
            await asyncio.sleep(0)
        return SendResult(success=True, instance_id="spec_1", reason="x" * 5_000_000)

    verbs.answers["send"] = large
    params = {"instanceId": "spec_1", "message": "x"}
    calls = [pack({"id": number, "verb": "send", "params": params}) for number in range(10)]
    reader, writer = await spoken_to(home, HELLO, *calls)
    transport = writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()

    for _ in range(20):
        assert await soon(client.status(), 2) == STATUS
        await asyncio.sleep(0.05)

    assert len(verbs.calls) == 10 + 20
    transport.resume_reading()
    answered = []
    with suppress(ConnectionError, FrameError):  # the frame under way may be cut off
        while (frame := await soon(read_frame(reader))) is not None:
            answered += [frame["id"]] if "result" in frame else []
    assert len(answered) < 2
    writer.close()


async def test_no_team_is_told_with_its_remedy(home: Home, short_tmp: Any) -> None:
    with pytest.raises(TeamNotRunningError, match="phalanx up"):
        await SupervisorClient.connect(home)
    with pytest.raises(TeamNotRunningError, match="phalanx up"):
        await SupervisorClient.connect(Home(short_tmp / "nowhere"))


async def test_without_a_team_a_lost_connection_fails_the_calls_under_way_and_the_next_call_opens_another(
    home: Home, verbs: ScriptedVerbs
) -> None:
    verbs.answers["send"] = held = Held(SENT)
    first = Gateway(home.gateway_socket, verbs)
    await first.start()
    client = await SupervisorClient.connect(home)
    call = asyncio.create_task(client.send(SEND))
    await held.begun()

    await first.stop()

    with pytest.raises(UnavailableError, match="not known"):
        await call
    assert client.closed
    second = Gateway(home.gateway_socket, verbs)
    await second.start()
    assert await client.status() == STATUS
    assert not client.closed
    await client.close()
    await second.stop()
