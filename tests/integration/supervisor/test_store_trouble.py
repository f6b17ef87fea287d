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
from tests.integration.supervisor.calls import (
    BUSY,
    agents,
    listed,
    receipt_of,
    send,
    settle,
    spawn,
    specialist,
    terminate,
    texts,
)
from tests.integration.supervisor.runs import RestartableTeam, disagreements


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
def store(team: RestartableTeam) -> Refusing:
    return Refusing(team.home)


async def test_what_cannot_be_stored_is_refused_and_everything_works_when_there_is_room_again(
    team: RestartableTeam, store: Refusing
) -> None:
    run = await team.start_compared(store=store)
    first = await spawn(run, team)
    await settle(run, first)
    pid = agents(team)[first].pid
    store.error = StoreError("no space left")
    for call in (
        send(run, first, "refused", request_id="m1"),
        spawn(run, team, "refused", requestId="s1"),
        run.call("restart", requests.RestartRequest(instance_id=first)),
        run.call("shutdown", ShutdownRequest()),
        run.call("gc", requests.GcRequest()),
    ):
        with pytest.raises(StoreError, match="no space left"):
            await call
    refused = await terminate(run, first)
    assert refused.error is not None
    assert (refused.error.code, refused.error.message) == ("store", "no space left")
    assert agents(team)[first].pid == pid
    store.error = None
    await run.recovery.reconcile()
    assert await disagreements(team, run) == []
    assert list(await listed(run)) == [first]
    (sent,) = await send(run, first, "taken", request_id="m2")
    (again,) = await send(run, first, "refused", request_id="m1")
    second = await spawn(run, team, "refused", requestId="s1")
    await settle(run, first, second)
    assert texts(team, first) == ["hello", "taken", "refused"]
    assert receipt_of(run, sent).status is receipt_of(run, again).status is MessageStatus.SUBMITTED
    assert (await terminate(run, first)).error is None
    assert await disagreements(team, run) == []


async def test_a_receipt_that_could_not_be_stored_comes_again(team: RestartableTeam, store: Refusing) -> None:
    run = await team.start_compared(store=store)
    first = await spawn(run, team)
    await settle(run, first)
    (sent,) = await send(run, first, "one")
    store.error = StoreError("no space left")
    await asyncio.wait_for(store.refused.wait(), 10)
    store.error = None
    await settle(run, first)
    assert receipt_of(run, sent).status is MessageStatus.SUBMITTED
    assert texts(team, first) == ["hello", "one"]


async def test_a_supervisor_that_was_replaced_does_nothing_any_more_and_harms_nobody(
    team: RestartableTeam, store: Refusing
) -> None:
    run = await team.start_compared(store=store)
    first, second = await spawn(run, team), await spawn(run, team, BUSY)
    await settle(run, first)
    before = agents(team)
    store.error = FencedError("another supervisor has the state")
    assert not (await run.recovery.reconcile()) or await disagreements(team, run) == []
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
            await run.call(verb, request)
    store.error = None
    with pytest.raises(FencedError):
        await run.call("list", requests.ListRequest())
    assert agents(team) == before
    assert {entry.name for entry in team.home.worktrees.iterdir()} == {first, second}

    run = await team.restart()
    assert await disagreements(team, run) == []
    assert agents(team) == before
    assert texts(team, first) == ["hello"]


async def test_a_spawn_whose_supervisor_is_replaced_in_the_middle_belongs_to_the_other(
    team: RestartableTeam, store: Refusing
) -> None:
    run = await team.start_compared(store=store, PHALANX_SPAWN_TIMEOUT_S="2")
    spawning = asyncio.create_task(spawn(run, team, requestId="s1"))
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
    run = await team.restart()
    await spawn(run, team, requestId="s1")
    assert await disagreements(team, run) == []
    infos = await listed(run)
    assert [info.status for info in infos.values()] != [Status.FAILED]
