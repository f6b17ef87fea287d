"""A supervisor that goes away and comes back, or does not, under the calls of its clients."""

from __future__ import annotations

import asyncio
import socket as sockets
import subprocess
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from actors.errors import InvalidRequestError, TeamNotRunningError, UnavailableError
from actors.files import FileLock
from actors.home import Home
from supervisor.api.requests import InterruptRequest, ListRequest, SendRequest, WaitRequest
from supervisor.api.results import Result
from supervisor.rpc import client as client_module
from supervisor.rpc import connection as connection_module
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.server import Gateway
from supervisor.team.file import read_team, write_team
from tests.integration.rpc.conftest import NOTHING, SEND, SENT, STATUS, WAITED, Held, ScriptedVerbs, gives, soon

_T = TypeVar("_T")
pytestmark = pytest.mark.usefixtures("head")


class Supervisors:
    """One after the other in the same home."""

    def __init__(self, home: Home, verbs: ScriptedVerbs) -> None:
        self.home = home
        self.verbs = verbs
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

    async def hang_once(self, verb: str, result: Result, call: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """This call, which has reached the first supervisor and is never answered by it."""
        self.verbs.answers[verb] = held = Held(result)
        calling = asyncio.create_task(call)
        await held.begun()
        return calling


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

    async with await soon(connecting) as client:
        assert await client.status() == STATUS


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
        await soon(SupervisorClient.connect(supervisors.home), 1)


async def test_while_a_team_is_brought_up_a_new_client_is_told_to_wait_for_that(
    supervisors: Supervisors, head: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    await supervisors.crash()
    head.kill()
    head.wait()
    monkeypatch.setattr(client_module, "CONNECT_PATIENCE_S", 0.1)
    bringing_up = FileLock(supervisors.home.lock_file)
    assert bringing_up.try_acquire()
    with pytest.raises(TeamNotRunningError, match="is just being brought up: wait until that is done"):
        await SupervisorClient.connect(supervisors.home)
    bringing_up.release()
    with pytest.raises(TeamNotRunningError, match="was lost"):
        await SupervisorClient.connect(supervisors.home)


async def test_a_message_whose_connection_was_lost_is_sent_again_under_the_same_id(
    client: SupervisorClient, supervisors: Supervisors
) -> None:
    told: list[int] = []
    sending = await supervisors.hang_once(
        "send", SENT, client.send(SEND, lambda done, _total, _what: told.append(done))
    )

    await supervisors.crash()
    await asyncio.sleep(0.1)
    await supervisors.start()

    assert await soon(sending) == SENT
    first, second = (request for _, request, _ in supervisors.verbs.calls)
    assert isinstance(first, SendRequest)
    assert first == second
    assert first.request_id
    assert told[-1] == 2


async def test_every_call_has_an_id_of_its_own_unless_the_caller_gave_one(
    client: SupervisorClient, verbs: ScriptedVerbs
) -> None:
    verbs.answers["send"] = gives(SENT)
    for request in (SEND, SEND, SEND.model_copy(update={"request_id": "mine"})):
        await client.send(request)

    one, other, given = (getattr(request, "request_id", None) for _, request, _ in verbs.calls)
    assert given == "mine"
    assert len({one, other, given, None}) == 4


async def test_a_wait_that_is_made_again_waits_only_for_what_is_left(
    client: SupervisorClient, supervisors: Supervisors
) -> None:
    waiting = await supervisors.hang_once(
        "wait", WAITED, client.wait(WaitRequest(instance_ids=["spec_1"], timeout_seconds=30))
    )
    await asyncio.sleep(0.2)

    await supervisors.crash()
    await supervisors.start()

    assert await soon(waiting) == WAITED
    again = supervisors.verbs.calls[1][1]
    assert isinstance(again, WaitRequest)
    assert 25 < again.timeout_seconds < 29.9


async def test_a_deed_that_cannot_be_known_again_is_not_done_twice(
    client: SupervisorClient, supervisors: Supervisors
) -> None:
    interrupting = await supervisors.hang_once(
        "interrupt", STATUS, client.interrupt(InterruptRequest(instance_id="spec_1"))
    )

    await supervisors.crash()
    await supervisors.start()

    with pytest.raises(UnavailableError, match="not known"):
        await interrupting
    assert len(supervisors.verbs.calls) == 1


async def test_calls_under_way_learn_at_once_that_their_team_is_brought_down(
    client: SupervisorClient, supervisors: Supervisors
) -> None:
    listing = await supervisors.hang_once("list", NOTHING, client.list(ListRequest()))
    team = read_team(supervisors.home)
    assert team is not None
    write_team(supervisors.home, replace(team, ending=True))

    await supervisors.crash()

    with pytest.raises(TeamNotRunningError, match="No team runs"):
        await soon(listing, 2)


async def test_a_team_whose_ray_is_gone_too_is_waited_for_by_the_calls_under_way(
    client: SupervisorClient, supervisors: Supervisors, head: subprocess.Popen[bytes]
) -> None:
    listing = await supervisors.hang_once("list", NOTHING, client.list(ListRequest()))
    head.kill()
    head.wait()
    await supervisors.crash()
    await asyncio.sleep(0.2)
    assert not listing.done()

    await supervisors.start()

    assert await soon(listing) == NOTHING


async def test_a_team_that_stays_away_is_not_waited_for_for_ever(
    client: SupervisorClient, supervisors: Supervisors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "RETURN_PATIENCE_S", 0.2)
    sending = await supervisors.hang_once("send", STATUS, client.send(SEND))

    await supervisors.crash()

    with pytest.raises(UnavailableError, match="not known"):
        await soon(sending)


async def test_closing_ends_calls_that_would_be_made_again(client: SupervisorClient, supervisors: Supervisors) -> None:
    listing = await supervisors.hang_once("list", NOTHING, client.list(ListRequest()))

    await client.close()

    with pytest.raises(UnavailableError, match="was lost"):
        await soon(listing, 2)


async def test_a_refusal_is_never_repeated(client: SupervisorClient, supervisors: Supervisors) -> None:
    supervisors.verbs.answers["send"] = gives(InvalidRequestError("No."))

    with pytest.raises(InvalidRequestError):
        await client.send(SEND)
    assert len(supervisors.verbs.calls) == 1


async def test_who_waits_for_the_loss_or_the_return_learns_of_it(
    client: SupervisorClient, supervisors: Supervisors
) -> None:
    await client.status()
    await client.until_connected()
    watching = asyncio.create_task(client.until_lost())
    await asyncio.sleep(0)
    assert not watching.done()

    await supervisors.crash()

    await soon(watching, 2)
    returning = asyncio.create_task(client.until_connected())
    await supervisors.start()
    await client.open()
    await soon(returning)
    assert not client.closed


async def test_a_supervisor_that_drops_every_call_is_not_called_for_ever(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "limit_s", lambda *_: 0.5)
    calls = 0

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        await reader.read(1)
        writer.close()

    server = await asyncio.start_unix_server(drop, home.gateway_socket)
    async with server, await SupervisorClient.connect(home) as client:
        with pytest.raises(UnavailableError, match="no answer"):
            await soon(client.list(ListRequest()))

    assert 1 < calls < 50
