"""The store refuses, or says that another supervisor has the team."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from actors.errors import FencedError, StoreError
from actors.home import Home
from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api import requests
from supervisor.api.requests import Request, ShutdownRequest, StatusRequest
from supervisor.store.sqlite import SqliteStore
from tests.integration.supervisor.asking import specialist
from tests.integration.supervisor.deeds import BUSY, agents, listed, receipt_of, send, settle, spawn, terminate, texts
from tests.integration.supervisor.lives import Team, disagreements


class Refusing:
    """A real store; while ``error`` is set, it refuses every write."""

    def __init__(self, home: Home) -> None:
        self._store = SqliteStore(home.state_file)
        self.error: Exception | None = None
        self.health = self._store.health
        self.refused = asyncio.Event()

    async def open(self) -> int:
        return await self._store.open()

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        if self.error is not None:
            self.refused.set()
            raise self.error
        await self._store.save(records, delete)

    async def load(self, prefix: str) -> dict[str, bytes]:
        return await self._store.load(prefix)

    async def close(self) -> None:
        await self._store.close()


@pytest.fixture
def store(team: Team) -> Refusing:
    return Refusing(team.home)


async def test_what_cannot_be_stored_is_refused_and_everything_works_when_there_is_room_again(
    team: Team, store: Refusing
) -> None:
    life = await team.first_life(store=store)
    first = await spawn(life, team)
    await settle(life, first)
    pid = agents(team)[first].pid
    store.error = StoreError("no space left")
    for deed in (
        send(life, first, "refused", request_id="m1"),
        spawn(life, team, "refused", requestId="s1"),
        life.call("restart", requests.RestartRequest(instance_id=first)),
        life.call("shutdown", ShutdownRequest()),
        life.call("gc", requests.GcRequest()),
    ):
        with pytest.raises(StoreError, match="no space left"):
            await deed
    refused = await terminate(life, first)
    assert refused.error is not None
    assert (refused.error.code, refused.error.message) == ("store", "no space left")
    assert agents(team)[first].pid == pid
    store.error = None
    await life.supervisor._recovery.reconcile()
    assert await disagreements(team, life) == []
    assert list(await listed(life)) == [first]
    (sent,) = await send(life, first, "taken", request_id="m2")
    (again,) = await send(life, first, "refused", request_id="m1")
    second = await spawn(life, team, "refused", requestId="s1")
    await settle(life, first, second)
    assert texts(team, first) == ["hello", "taken", "refused"]
    assert receipt_of(life, sent).status is receipt_of(life, again).status is MessageStatus.SUBMITTED
    assert (await terminate(life, first)).error is None
    assert await disagreements(team, life) == []


async def test_a_receipt_that_could_not_be_stored_comes_again(team: Team, store: Refusing) -> None:
    life = await team.first_life(store=store)
    first = await spawn(life, team)
    await settle(life, first)
    (sent,) = await send(life, first, "one")
    store.error = StoreError("no space left")
    await asyncio.wait_for(store.refused.wait(), 10)
    store.error = None
    await settle(life, first)
    assert receipt_of(life, sent).status is MessageStatus.SUBMITTED
    assert texts(team, first) == ["hello", "one"]


async def test_a_supervisor_that_was_replaced_does_nothing_any_more_and_harms_nobody(
    team: Team, store: Refusing
) -> None:
    life = await team.first_life(store=store)
    first, second = await spawn(life, team), await spawn(life, team, BUSY)
    await settle(life, first)
    before = agents(team)
    store.error = FencedError("another supervisor has the state")
    assert not (await life.supervisor._recovery.reconcile()) or await disagreements(team, life) == []
    asked: list[tuple[str, Request]] = [
        ("restart", requests.RestartRequest(instance_id=first)),
        ("terminate", requests.TerminateRequest(instance_id=first)),
        ("shutdown", ShutdownRequest()),
        ("gc", requests.GcRequest()),
        ("resume", requests.ResumeRequest()),
        ("interrupt", requests.InterruptRequest(instance_id=second)),
        ("send", requests.SendRequest(instance_id=first, message="refused")),
        ("spawn", specialist(team.repository)),
        ("list", requests.ListRequest()),
        ("read", requests.ReadRequest(instance_id=first)),
        ("status", StatusRequest()),
    ]
    for verb, request in asked:
        with pytest.raises(FencedError):
            await life.call(verb, request)
    store.error = None
    with pytest.raises(FencedError):
        await life.call("list", requests.ListRequest())
    assert agents(team) == before
    assert {entry.name for entry in team.home.worktrees.iterdir()} == {first, second}

    life = await team.next_life()
    assert await disagreements(team, life) == []
    assert agents(team) == before
    assert texts(team, first) == ["hello"]


async def test_a_spawn_whose_supervisor_is_replaced_in_the_middle_belongs_to_the_other(
    team: Team, store: Refusing
) -> None:
    life = await team.first_life(store=store, PHALANX_SPAWN_TIMEOUT_S="2")
    spawning = asyncio.create_task(spawn(life, team, requestId="s1"))
    for _ in range(500):
        if agents(team):
            break
        await asyncio.sleep(0.02)
    store.error = FencedError("another supervisor has the state")
    with pytest.raises(FencedError):
        await spawning
    pids = {agent.pid for agent in agents(team).values()}
    assert len(pids) == 1
    store.error = None
    life = await team.next_life()
    await spawn(life, team, requestId="s1")
    assert await disagreements(team, life) == []
    infos = await listed(life)
    assert [info.status for info in infos.values()] != [Status.FAILED]
