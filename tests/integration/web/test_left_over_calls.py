"""Calls that are under way when the endpoint's process is killed: the next one makes them, each once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

import psutil
import pytest

from actors.errors import RefusedError
from actors.home import Home
from actors.host.endpoint import GREETING, TeamEndpoint
from actors.host.open_calls import ID_BYTES, MOST_CALLS, OpenCall, give, readable, receive, send
from actors.sockets import listen
from actors.status import Status
from supervisor.api.requests import IdentifyRequest, Request, Role, SendRequest
from supervisor.api.results import IdentifyResult, InterruptResult, Result
from supervisor.api.verbs import Caller
from tests.integration.rpc.conftest import ScriptedVerbs, gives
from tests.integration.web.conftest import SENT, TOKEN, exchange, port_of, request, send_message, the_process, until

pytestmark = pytest.mark.timeout(300)
_WITHIN_S = 200.0


class Killing:
    """The answer to ``send``: kills the process that asks, the first times; then the message is sent."""

    def __init__(self, home: Home, kills: int = 1) -> None:
        self._home = home
        self._kills = kills
        self.asked: list[SendRequest] = []

    async def __call__(self, request: Request, _caller: Caller) -> Result:
        assert isinstance(request, SendRequest)
        self.asked.append(request)
        if len(self.asked) <= self._kills:
            the_process(self._home).kill()
            await asyncio.Event().wait()
        return SENT


async def _send(port: int, *messages: bytes) -> Sequence[tuple[int, str]]:
    return await asyncio.gather(*(exchange(port, each, _WITHIN_S) for each in messages))


def _is_sent(answer: tuple[int, str]) -> bool:
    status, text = answer
    return status == 200 and json.loads(text)["result"]["structuredContent"]["messageId"] == "m1"


@pytest.mark.parametrize("tool_use", ["toolu_1", ""])
async def test_a_call_that_a_killed_process_takes_along_is_only_slow_and_is_the_same_request(
    endpoint: TeamEndpoint, home: Home, verbs: ScriptedVerbs, tool_use: str
) -> None:
    verbs.answers["send"] = killing = Killing(home)
    port = port_of(await endpoint.ensure())
    (answer,) = await _send(port, send_message("x" * 1_000_000, tool_use))
    assert _is_sent(answer), answer
    first, again = killing.asked
    assert first.request_id
    assert first == again


async def test_each_of_many_calls_gets_its_own_answer_and_leaves_no_file_open(
    endpoint: TeamEndpoint, home: Home, verbs: ScriptedVerbs
) -> None:
    begun: list[str] = []

    async def send(request: Request, _caller: Caller) -> Result:
        assert isinstance(request, SendRequest)
        begun.append(request.message)
        if len(begun) <= 20:
            if len(begun) == 20:
                the_process(home).kill()
            await asyncio.Event().wait()
        return SENT.model_copy(update={"message_id": request.message})

    verbs.answers["send"] = send
    port = port_of(await endpoint.ensure())
    before = psutil.Process().num_fds()
    answers = await _send(port, *(send_message(str(number), f"toolu_{number}") for number in range(20)))
    told = [json.loads(text)["result"]["structuredContent"]["messageId"] for _, text in answers]
    assert told == [str(number) for number in range(20)]
    await until(lambda: psutil.Process().num_fds() <= before + 4)  # the listening socket, and connections to the next


async def test_what_must_not_be_done_twice_is_not_and_the_answer_says_so(
    endpoint: TeamEndpoint, home: Home, verbs: ScriptedVerbs
) -> None:
    asked: list[Request] = []

    async def identify(request: Request, _caller: Caller) -> Result:
        assert isinstance(request, IdentifyRequest)
        return IdentifyResult(instance_id="mgr_1", role=Role.MANAGER)

    async def interrupt(request: Request, _caller: Caller) -> Result:
        asked.append(request)
        if len(asked) == 1:
            the_process(home).kill()
            await asyncio.Event().wait()
        return InterruptResult(instance_id="spec_1", interrupted=True, status=Status.READY)

    verbs.answers |= {"identify": identify, "interrupt": interrupt}
    port = port_of(await endpoint.ensure())
    params = {"name": "interrupt", "arguments": {"instanceId": "spec_1"}}
    call = request({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
    ((status, text),) = await _send(port, call)
    assert status == 200
    answer: dict[str, Any] = json.loads(text)
    assert answer["id"] == 7
    assert answer["result"]["isError"]
    assert "look with list what became of it" in answer["result"]["content"][0]["text"]
    assert len(asked) == 1


async def test_a_new_keeper_learns_of_the_calls_that_are_under_way(
    orphan: subprocess.Popen[bytes], home: Home, verbs: ScriptedVerbs
) -> None:
    begun, asked = asyncio.Event(), []

    async def send(request: Request, _caller: Caller) -> Result:
        assert isinstance(request, SendRequest)
        asked.append(request)
        begun.set()
        if len(asked) == 1:
            await asyncio.Event().wait()
        return SENT

    verbs.answers["send"] = send
    port = json.loads(home.web_file.read_text())["port"]
    call = asyncio.create_task(exchange(port, send_message("It is done.", "toolu_1"), _WITHIN_S))
    await begun.wait()
    endpoint = TeamEndpoint(home)
    files = psutil.Process().num_fds()
    await endpoint.ensure()
    await until(lambda: psutil.Process().num_fds() >= files + 4)  # channel, listening socket and the two of the call
    orphan.kill()
    assert _is_sent(await call)
    assert len(asked) == 2
    assert asked[0] == asked[1]
    await endpoint.end()


async def test_a_keeper_that_was_away_gives_back_what_was_answered_meanwhile_and_it_is_not_done_again(
    orphan: subprocess.Popen[bytes], home: Home, verbs: ScriptedVerbs
) -> None:
    go_on, asked = asyncio.Event(), []

    async def send(request: Request, _caller: Caller) -> Result:
        asked.append(request)
        await go_on.wait()
        return SENT

    verbs.answers["send"] = send
    port = json.loads(home.web_file.read_text())["port"]
    call = asyncio.create_task(exchange(port, send_message("It is done.", "toolu_1"), _WITHIN_S))
    with await _keeper(home) as channel:
        held = await receive(channel)
    assert isinstance(held, OpenCall)
    go_on.set()
    assert _is_sent(await call)
    with await _keeper(home) as channel:
        await give(channel, held)
        assert await receive(channel) == held.call_id
    held.close()
    assert len(asked) == 1


async def test_all_calls_that_a_keeper_holds_are_given_to_a_process_that_is_slow_to_read_them(home: Home) -> None:
    """This test is the process."""
    private, agent = listen(home.web_socket), socket.socket()
    private.setblocking(False)
    loop = asyncio.get_running_loop()
    ids = [number.to_bytes(ID_BYTES, "big") for number in range(MOST_CALLS)]
    calls = [OpenCall.made(each, agent.fileno(), b"POST") for each in ids]
    endpoint = TeamEndpoint(home)
    with private, agent:
        endpoint.begin()
        with await _process(private, agent) as channel:
            for call in calls:
                await give(channel, call)
                call.close()
            await until(lambda: psutil.Process().num_fds() >= 2 * MOST_CALLS)
        with await _process(private, agent) as channel:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await loop.create_future()
            given = [await receive(channel) for _ in ids]
        for each in given:
            assert isinstance(each, OpenCall)
            each.close()
        assert sorted(each.call_id for each in given if isinstance(each, OpenCall)) == ids
        home.web_socket.unlink()
    await endpoint.end()


async def _keeper(home: Home) -> socket.socket:
    """A connection to the process, as the host's actor has one."""
    channel = socket.socket(socket.AF_UNIX)
    channel.setblocking(False)
    await asyncio.get_running_loop().sock_connect(channel, str(home.web_socket))
    await readable(channel)
    greeting, files, _, _ = socket.recv_fds(channel, len(GREETING), 1)
    assert greeting == GREETING
    for file in files:
        os.close(file)
    return channel


async def _process(private: socket.socket, listener: socket.socket) -> socket.socket:
    """The connection of the host's actor to the process that listens at ``private``."""
    channel, _ = await asyncio.get_running_loop().sock_accept(private)
    await send(channel, GREETING, [listener.fileno()])
    return channel


async def test_without_a_keeper_the_connection_ends_at_once(
    orphan: subprocess.Popen[bytes], home: Home, verbs: ScriptedVerbs
) -> None:
    verbs.answers["send"] = Killing(home)
    port = json.loads(home.web_file.read_text())["port"]
    assert await exchange(port, send_message("It is done.", "toolu_1"), 30.0) == (0, "")


async def test_a_call_that_kills_each_process_is_given_up_and_others_are_served(
    endpoint: TeamEndpoint, home: Home, verbs: ScriptedVerbs
) -> None:
    verbs.answers["send"] = killing = Killing(home, kills=100)
    port = port_of(await endpoint.ensure())
    assert await _send(port, send_message("It is done.", "toolu_1")) == [(0, "")]
    assert len(killing.asked) == 4
    verbs.answers["send"] = gives(SENT)
    (answer,) = await _send(port, send_message("It is done.", "toolu_2"))
    assert _is_sent(answer), answer


async def test_whose_token_was_taken_back_meanwhile_is_refused(
    endpoint: TeamEndpoint, home: Home, verbs: ScriptedVerbs
) -> None:
    killing = Killing(home)
    known = hashlib.sha256(TOKEN.encode()).hexdigest()

    async def identify(request: Request, _caller: Caller) -> Result:
        assert isinstance(request, IdentifyRequest)
        if killing.asked or request.token_hash != known:
            raise RefusedError("The team knows no living instance by this token: nothing was done.")
        return IdentifyResult(instance_id="spec_1", role=Role.SPECIALIST)

    verbs.answers |= {"identify": identify, "send": killing}
    port = port_of(await endpoint.ensure())
    ((status, _),) = await _send(port, send_message("It is done.", "toolu_1"))
    assert status == 401
    assert len(killing.asked) == 1


async def test_requests_are_in_no_file_of_the_disk(endpoint: TeamEndpoint, home: Home, verbs: ScriptedVerbs) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def send(_request: Request, _caller: Caller) -> Result:
        begun.set()
        await go_on.wait()
        return SENT

    verbs.answers["send"] = send
    port = port_of(await endpoint.ensure())
    call = asyncio.create_task(exchange(port, send_message("a secret message", "toolu_1"), _WITHIN_S))
    await begun.wait()
    files = [path for path in home.root.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"a secret message" in path.read_bytes()]
    go_on.set()
    assert _is_sent(await call)
