"""A client on a host where the supervisor is not: over a relay it has what it would have at the gateway itself."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.errors import InvalidRequestError, TeamNotRunningError, UnavailableError
from actors.home import Home, away_words, led_team_from
from actors.host.relay import PIECE_BYTES, Relay, RelayServer
from actors.sockets import pack
from supervisor.api.requests import InterruptRequest, ListRequest, Request, SendRequest
from supervisor.api.results import Result, SendResult
from supervisor.api.verbs import Caller
from supervisor.rpc import client as client_module
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.relayed import RelayedConnections
from supervisor.rpc.server import Gateway
from tests.integration.rpc.conftest import NOTHING, SEND, SENT, WAIT, WAITED, Held, ScriptedVerbs, gives, soon

HEAD = "10.0.0.1"


class Counted(RelayedConnections):
    """Remembers the largest piece."""

    largest = 0

    async def push(self, name: str, data: bytes) -> None:
        self.largest = max(self.largest, len(data))
        await super().push(name, data)

    async def pull(self, name: str) -> bytes | None:
        data = await super().pull(name)
        self.largest = max(self.largest, len(data or b""))
        return data


class Worker:
    """A host that is led from another, with its relay."""

    def __init__(self, home: Home, far: Counted) -> None:
        self.home = home
        self.far = far
        self.head_is_away = False
        self.relay = Relay(home.gateway_socket, self._open)

    async def restart(self) -> None:
        """As when Ray starts the host's actor again."""
        await self.relay.stop()
        self.relay = Relay(self.home.gateway_socket, self._open)
        await self.relay.start()

    async def _open(self) -> tuple[RelayServer, str]:
        if self.head_is_away:
            raise TeamNotRunningError(away_words(HEAD))
        return self.far, await self.far.open()


@pytest.fixture
async def worker(short_tmp: Path, home: Home, gateway: Gateway) -> AsyncIterator[Worker]:
    there = Home(short_tmp / "w")
    there.create()
    led_team_from(there, HEAD)
    worker = Worker(there, Counted(home.gateway_socket, pull_s=0.1))
    await worker.relay.start()
    yield worker
    await worker.relay.stop()


@pytest.fixture
async def away(worker: Worker) -> AsyncIterator[SupervisorClient]:
    async with await SupervisorClient.connect(worker.home, "far") as client:
        yield client


async def test_calls_progress_and_refusals_come_through(verbs: ScriptedVerbs, away: SupervisorClient) -> None:
    async def answer(request: Request, caller: Caller) -> Result:
        for done in range(3):
            caller.progress(done, 3, f"step {done}")
            await asyncio.sleep(0.2)
        return WAITED

    verbs.answers |= {"wait": answer, "list": gives(InvalidRequestError("not like this"))}
    told: list[int] = []

    assert await away.wait(WAIT, lambda done, *_: told.append(done)) == WAITED
    assert told == [0, 1, 2]
    with pytest.raises(InvalidRequestError, match="not like this"):
        await away.list(ListRequest())
    assert {sender for _, _, sender in verbs.calls} == {"far"}


async def test_large_messages_go_in_pieces_that_stay_out_of_the_object_store(
    worker: Worker, verbs: ScriptedVerbs, away: SupervisorClient
) -> None:
    async def answer(request: Request, caller: Caller) -> Result:
        assert isinstance(request, SendRequest)
        return SendResult(success=True, instance_id="spec_1", message_id=request.message)

    verbs.answers["send"] = answer
    text = "ä line\n" * 400_000

    sent = await away.send(SendRequest(instance_id="spec_1", message=text))

    assert sent.message_id == text
    assert 0 < worker.far.largest <= PIECE_BYTES


async def test_many_clients_and_calls_do_not_disturb_each_other(worker: Worker, verbs: ScriptedVerbs) -> None:
    clients = [await SupervisorClient.connect(worker.home, f"far{number}") for number in range(20)]
    await asyncio.gather(*(client.status() for client in clients for _ in range(20)))
    await asyncio.gather(*(client.close() for client in clients))

    senders = [sender for _, _, sender in verbs.calls]
    assert {sender: senders.count(sender) for sender in senders} == {f"far{number}": 20 for number in range(20)}


async def test_nobody_else_can_connect(worker: Worker) -> None:
    assert stat.S_IMODE(worker.home.gateway_socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(worker.home.root.stat().st_mode) == 0o700


async def test_a_call_whose_relay_dies_is_made_again_with_the_same_id(
    worker: Worker, verbs: ScriptedVerbs, away: SupervisorClient
) -> None:
    verbs.answers["send"] = held = Held(SENT)
    sending = asyncio.create_task(away.send(SEND))
    await held.begun()

    await worker.restart()

    assert await soon(sending) == SENT
    ids = [request.request_id for _, request, _ in verbs.calls if isinstance(request, SendRequest)]
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_a_deed_that_cannot_be_repeated_is_told_as_not_known(
    worker: Worker, verbs: ScriptedVerbs, away: SupervisorClient
) -> None:
    verbs.answers["interrupt"] = held = Held(NOTHING)
    interrupting = asyncio.create_task(away.interrupt(InterruptRequest(instance_id="spec_1")))
    await held.begun()

    await worker.restart()

    with pytest.raises(UnavailableError, match="not known"):
        await soon(interrupting)


async def test_who_calls_while_the_head_is_away_is_told_so(worker: Worker, verbs: ScriptedVerbs) -> None:
    worker.head_is_away = True
    async with await SupervisorClient.connect(worker.home, "far") as client:
        with pytest.raises(TeamNotRunningError, match=f"led from {HEAD}"):
            await client.list(ListRequest())

    worker.head_is_away = False
    async with await SupervisorClient.connect(worker.home, "far") as client:
        await client.status()
    assert [verb for verb, _, _ in verbs.calls] == ["status"]


async def test_a_lost_call_that_finds_the_head_away_waits_for_it_and_then_does_not_know(
    worker: Worker, verbs: ScriptedVerbs, away: SupervisorClient
) -> None:
    verbs.answers["send"] = held = Held(SENT)
    sending = asyncio.create_task(away.send(SEND))
    await held.begun()

    worker.head_is_away = True
    await worker.restart()

    with pytest.raises(UnavailableError, match="not known"):
        await soon(sending)


async def test_without_a_relay_the_host_says_where_its_team_is_led(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CONNECT_PATIENCE_S", 0.2)
    await worker.relay.stop()

    with pytest.raises(TeamNotRunningError, match=f"led from {HEAD}"):
        await SupervisorClient.connect(worker.home, "far")


async def test_a_first_connection_waits_for_a_relay_that_is_just_being_made(worker: Worker) -> None:
    await worker.relay.stop()
    connecting = asyncio.create_task(SupervisorClient.connect(worker.home, "far"))
    await asyncio.sleep(0.05)

    await worker.relay.start()

    client = await soon(connecting)
    await client.status()
    await client.close()


async def test_the_connection_of_a_relay_that_has_died_is_let_go_and_what_only_looked_is_cancelled(
    home: Home, gateway: Gateway, verbs: ScriptedVerbs
) -> None:
    verbs.answers["list"] = held = Held(NOTHING)
    far = RelayedConnections(home.gateway_socket, lease_s=0.2, pull_s=0.05)
    name = await far.open()
    await far.push(name, pack({"hello": {"sender": "far", "version": "1"}}))
    await far.push(name, pack({"id": 1, "verb": "list", "params": {}}))

    await held.cancelled()

    with pytest.raises(UnavailableError):
        await far.pull(name)


async def test_a_client_that_goes_on_asking_for_answers_is_kept(home: Home, gateway: Gateway) -> None:
    lease_s = 1.0
    far = RelayedConnections(home.gateway_socket, lease_s=lease_s, pull_s=0.1)
    name = await far.open()
    await far.push(name, pack({"hello": {"sender": "far", "version": "1"}}))
    begun = time.monotonic()

    while time.monotonic() < begun + 1.5 * lease_s:
        assert await far.pull(name) is not None

    await far.close(name)


async def test_what_the_gateway_says_last_arrives_before_the_connection_ends(worker: Worker) -> None:
    reader, writer = await asyncio.open_unix_connection(worker.home.gateway_socket)
    writer.write(pack({"no": "hello"}))

    said = await soon(reader.read())

    assert b"must be a hello" in said
    writer.close()


async def test_a_second_relay_does_not_take_the_socket_of_one_that_answers(worker: Worker) -> None:
    second = Relay(worker.home.gateway_socket, worker._open)
    with pytest.raises(UnavailableError, match="Another team"):
        await second.start()

    async with await SupervisorClient.connect(worker.home, "far") as client:
        await client.status()


async def test_a_supervisor_that_only_just_starts_is_no_connection_yet(short_tmp: Path) -> None:
    with pytest.raises(UnavailableError, match="only just starting"):
        await RelayedConnections(short_tmp / "nobody.sock").open()
