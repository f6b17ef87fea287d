"""A supervisor that goes away and comes back, or does not, under the calls of its clients."""

from __future__ import annotations

import asyncio
import socket as sockets
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from actors.errors import InvalidRequestError, TeamNotRunningError, UnavailableError
from actors.home import Home
from supervisor.api.requests import InterruptRequest, ListRequest, Request, SendRequest, WaitRequest
from supervisor.api.results import ListResult, Result, SendResult, WaitResult
from supervisor.api.verbs import Caller
from supervisor.rpc import client as client_module
from supervisor.rpc import connection as attempt_module
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.server import Gateway
from supervisor.team.file import read_team, write_team
from tests.integration.rpc.conftest import ScriptedVerbs, status_result

pytestmark = pytest.mark.usefixtures("head")
SEND = SendRequest(instance_id="spec_1", message="hello")
NOTHING = ListResult(needs_attention=[], counts={}, instances=[])


class Supervisors:
    """One after the other in the same home. The first call of each verb that ``hang`` names is never answered."""

    def __init__(self, home: Home, verbs: ScriptedVerbs) -> None:
        self.home = home
        self.verbs = verbs
        self.called = asyncio.Event()
        self.gateway: Gateway | None = None

    async def start(self) -> None:
        self.gateway = Gateway(self.home.gateway_socket, self.verbs)
        await self.gateway.start()

    async def crash(self) -> None:
        """Its socket stays, as after kill -9."""
        if self.gateway is not None:
            await self.gateway.stop()
            self.gateway = None
        self.home.gateway_socket.unlink(missing_ok=True)
        with sockets.socket(sockets.AF_UNIX) as dead:
            dead.bind(str(self.home.gateway_socket))

    def hang_once(self, verb: str, result: Result) -> None:
        async def answer(request: Request, caller: Caller) -> Result:
            caller.progress(len(self.verbs.calls), 2, "on the way")
            if len(self.verbs.calls) == 1:
                self.called.set()
                await asyncio.sleep(60)
            return result

        self.verbs.answers[verb] = answer

    async def until_called(self) -> None:
        await asyncio.wait_for(self.called.wait(), 5)


@pytest.fixture
async def supervisors(home: Home, verbs: ScriptedVerbs) -> AsyncIterator[Supervisors]:
    made = Supervisors(home, verbs)
    await made.start()
    yield made
    if made.gateway is not None:
        await made.gateway.stop()


@pytest.fixture
async def client(home: Home, supervisors: Supervisors) -> AsyncIterator[SupervisorClient]:
    async with await SupervisorClient.connect(home) as made:
        yield made


async def test_a_first_connection_waits_for_a_supervisor_that_starts_anew(supervisors: Supervisors) -> None:
    await supervisors.crash()
    connecting = asyncio.create_task(SupervisorClient.connect(supervisors.home))
    await asyncio.sleep(0.1)
    assert not connecting.done()
    await supervisors.start()

    async with await asyncio.wait_for(connecting, 5) as client:
        assert await client.status() == status_result()


async def test_that_wait_is_bounded(supervisors: Supervisors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CONNECT_PATIENCE_S", 0.1)
    await supervisors.crash()

    with pytest.raises(TeamNotRunningError, match="phalanx up"):
        await SupervisorClient.connect(supervisors.home)


async def test_a_first_connection_does_not_wait_for_a_ray_that_is_gone(
    supervisors: Supervisors, head: subprocess.Popen[bytes]
) -> None:
    await supervisors.crash()
    head.kill()
    head.wait()

    with pytest.raises(TeamNotRunningError, match=r"was lost\. `phalanx up` brings it back"):
        await asyncio.wait_for(SupervisorClient.connect(supervisors.home), 1)


async def test_a_message_whose_connection_was_lost_is_sent_again_under_the_same_id(
    client: SupervisorClient, supervisors: Supervisors
) -> None:
    sent = SendResult(success=True, instance_id="spec_1", message_id="m1")
    supervisors.hang_once("send", sent)
    told: list[int] = []
    sending = asyncio.create_task(client.send(SEND, lambda done, _total, _what: told.append(done)))
    await supervisors.until_called()

    await supervisors.crash()
    await asyncio.sleep(0.1)
    await supervisors.start()

    assert await asyncio.wait_for(sending, 5) == sent
    first, second = (request for _, request, _ in supervisors.verbs.calls)
    assert isinstance(first, SendRequest)
    assert first == second
    assert first.request_id
    assert told[-1] == 2


async def test_every_call_has_an_id_of_its_own_unless_the_caller_gave_one(
    client: SupervisorClient, verbs: ScriptedVerbs
) -> None:
    async def answer(request: Request, caller: Caller) -> Result:
        return SendResult(success=True, instance_id="spec_1", message_id="m1")

    verbs.answers["send"] = answer
    for request in (SEND, SEND, SEND.model_copy(update={"request_id": "mine"})):
        await client.send(request)

    one, other, given = (getattr(request, "request_id", None) for _, request, _ in verbs.calls)
    assert given == "mine"
    assert len({one, other, given, None}) == 4


async def test_a_wait_that_is_made_again_waits_only_for_what_is_left(
    client: SupervisorClient, supervisors: Supervisors
) -> None:
    supervisors.hang_once("wait", WaitResult(reached=True, instances=[]))
    waiting = asyncio.create_task(client.wait(WaitRequest(instance_ids=["spec_1"], timeout_seconds=30)))
    await supervisors.until_called()
    await asyncio.sleep(0.2)

    await supervisors.crash()
    await supervisors.start()

    assert (await asyncio.wait_for(waiting, 5)).reached
    again = supervisors.verbs.calls[1][1]
    assert isinstance(again, WaitRequest)
    assert 25 < again.timeout_seconds < 29.9


async def test_a_deed_that_cannot_be_known_again_is_not_done_twice(
    client: SupervisorClient, supervisors: Supervisors
) -> None:
    supervisors.hang_once("interrupt", status_result())
    interrupting = asyncio.create_task(client.interrupt(InterruptRequest(instance_id="spec_1")))
    await supervisors.until_called()

    await supervisors.crash()
    await supervisors.start()

    with pytest.raises(UnavailableError, match="not known"):
        await interrupting
    assert len(supervisors.verbs.calls) == 1


async def test_calls_under_way_learn_at_once_that_their_team_is_brought_down(
    client: SupervisorClient, supervisors: Supervisors
) -> None:
    supervisors.hang_once("list", NOTHING)
    listing = asyncio.create_task(client.list(ListRequest()))
    await supervisors.until_called()
    team = read_team(supervisors.home)
    assert team is not None
    write_team(supervisors.home, replace(team, ending=True))

    await supervisors.crash()

    with pytest.raises(TeamNotRunningError, match="No team runs"):
        await asyncio.wait_for(listing, 2)


async def test_a_team_whose_ray_is_gone_too_is_waited_for_by_the_calls_under_way(
    client: SupervisorClient, supervisors: Supervisors, head: subprocess.Popen[bytes]
) -> None:
    supervisors.hang_once("list", NOTHING)
    listing = asyncio.create_task(client.list(ListRequest()))
    await supervisors.until_called()
    head.kill()
    head.wait()
    await supervisors.crash()
    await asyncio.sleep(0.2)
    assert not listing.done()

    await supervisors.start()

    assert await asyncio.wait_for(listing, 5) == NOTHING


async def test_a_team_that_stays_away_is_not_waited_for_for_ever(
    client: SupervisorClient, supervisors: Supervisors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "RETURN_PATIENCE_S", 0.2)
    supervisors.hang_once("send", status_result())
    sending = asyncio.create_task(client.send(SEND))
    await supervisors.until_called()

    await supervisors.crash()

    with pytest.raises(UnavailableError, match="not known"):
        await asyncio.wait_for(sending, 5)


async def test_closing_ends_calls_that_would_be_made_again(client: SupervisorClient, supervisors: Supervisors) -> None:
    supervisors.hang_once("list", NOTHING)
    listing = asyncio.create_task(client.list(ListRequest()))
    await supervisors.until_called()

    await client.close()

    with pytest.raises(UnavailableError, match="was lost"):
        await asyncio.wait_for(listing, 2)


async def test_a_refusal_is_never_repeated(client: SupervisorClient, supervisors: Supervisors) -> None:
    async def answer(request: Request, caller: Caller) -> Result:
        raise InvalidRequestError("No.")

    supervisors.verbs.answers["send"] = answer

    with pytest.raises(InvalidRequestError):
        await client.send(SEND)
    assert len(supervisors.verbs.calls) == 1


async def test_who_waits_for_the_loss_learns_of_it(client: SupervisorClient, supervisors: Supervisors) -> None:
    await client.status()
    watching = asyncio.create_task(client.until_lost())
    await asyncio.sleep(0)
    assert not watching.done()

    await supervisors.crash()

    await asyncio.wait_for(watching, 2)
    await supervisors.start()
    await client.open()
    assert not client.closed


async def test_a_supervisor_that_drops_every_call_is_not_called_for_ever(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "limit_s", lambda *_: 0.5)
    calls = 0

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        await reader.read(1)
        writer.close()

    server = await asyncio.start_unix_server(drop, home.gateway_socket)
    async with server, await SupervisorClient.connect(home) as client:
        with pytest.raises(UnavailableError, match="no answer"):
            await asyncio.wait_for(client.list(ListRequest()), 5)

    assert 1 < calls < 50
