from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.errors import UnavailableError
from actors.messages import Message
from actors.status import Status
from actors.worktrees.model import Workspace
from supervisor.cluster import migration as carrier_module
from supervisor.cluster.migration import WorkSync
from supervisor.store import keys
from supervisor.team.registry import Member
from supervisor.team.team import Team
from tests.memory_store import MemoryStore
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.stand_ins import READY, outgoing, receipt, recruit

EVERY_S = 60.0


class World:
    """The hosts: tells when what was carried."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.team = Team(self.store)
        self.carried: list[str] = []
        self.takes_s = 0.1
        self.at_once = self.most_at_once = 0
        self.away = False
        self.at_home: set[str] = set()

    async def sync_transcript(self, instance_id: str, path: str) -> None:
        self.carried.append(f"{instance_id} conversation")

    async def shown_in_copy(self, instance_id: str, path: str, ids: Collection[str]) -> set[str]:
        return self.at_home & set(ids)

    async def sync_work(self, workspace: Workspace, *, uncommitted: bool = False) -> str:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes_s)
            if self.away:
                raise UnavailableError("the host is away")
            self.carried.append(f"{workspace.directory.name} {'all' if uncommitted else 'commits'}")
        finally:
            self.at_once -= 1
        return ""

    async def recruit(self, number: int = 1, home: str | None = "/repository/.git") -> Member:
        directory = Path(f"/w/spec_0_0_{number}")
        workspace = Workspace(mode="isolated", directory=directory, home=Path(home) if home else None)
        member = await recruit(
            self.team, number, host="worker", actor=f"spec_0_0_{number}@10.0.0.2", workspace=workspace
        )
        member.snapshot = replace(READY, status=Status.BUSY)
        return member

    def work(self) -> list[str]:
        return [each for each in self.carried if not each.endswith("conversation")]


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_module, "time", virtual_time.clock())


def played(test: Callable[[World], Awaitable[None]], every_s: float = EVERY_S) -> None:
    async def play() -> None:
        world = World()
        hosts: Any = world
        work_sync = WorkSync(world.team, hosts, every_s)
        work_sync.begin()
        try:
            await test(world)
        finally:
            await work_sync.end()

    virtual_time.run(play)


def test_what_was_committed_comes_home_when_a_turn_ends_once_for_each_turn() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        await asyncio.sleep(5)
        assert world.carried == []
        for turn in range(3):
            member.snapshot = replace(READY, since=2.0 + turn)
            await asyncio.sleep(5)
        assert world.work() == ["spec_0_0_1 commits"] * 3
        assert world.carried.count("spec_0_0_1 conversation") == 3

    played(test)


def test_what_is_not_committed_comes_home_at_the_interval_also_in_the_middle_of_a_turn() -> None:
    async def test(world: World) -> None:
        await world.recruit()
        await asyncio.sleep(EVERY_S * 3 + 10)
        assert world.work() == ["spec_0_0_1 all"] * 3

    played(test)


def test_without_an_interval_only_what_is_committed_comes_home() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        member.snapshot = READY
        await asyncio.sleep(1000)
        assert world.work() == ["spec_0_0_1 commits"]

    played(test, every_s=0.0)


def test_what_could_not_be_carried_is_tried_again_soon() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        world.away = True
        member.snapshot = READY
        await asyncio.sleep(10)
        assert world.work() == []
        world.away = False
        await asyncio.sleep(3)
        assert world.work() == ["spec_0_0_1 commits"]

    played(test)


def test_one_instance_is_carried_once_at_a_time_and_holds_up_no_other() -> None:
    async def test(world: World) -> None:
        world.takes_s = 300
        for number in (1, 2, 3):
            (await world.recruit(number)).snapshot = READY
        await asyncio.sleep(200)
        assert world.most_at_once == 3
        await asyncio.sleep(200)
        assert sorted(world.work()) == [f"spec_0_0_{number} commits" for number in (1, 2, 3)]

    played(test)


def test_who_is_on_this_machine_is_just_being_restarted_or_has_ended_is_not_carried() -> None:
    async def test(world: World) -> None:
        (await world.recruit(1, home=None)).snapshot = READY
        (await world.recruit(2)).snapshot = replace(READY, status=Status.STOPPED)
        restarting = await world.recruit(3)
        restarting.snapshot = READY
        async with restarting.turn:
            await asyncio.sleep(EVERY_S * 2)
            assert world.carried == []

    played(test)


def test_a_message_is_kept_until_the_conversation_that_came_home_shows_it() -> None:
    async def test(world: World) -> None:
        member, outbox = await world.recruit(), world.team.outbox
        sent = [
            each for each in outbox.check([outgoing("one"), outgoing("two")], "lead", 1.0) if isinstance(each, Message)
        ]
        await outbox.accept(sent)
        await outbox.take_receipts([receipt(message) for message in sent])
        for turn, shown in enumerate(sent):
            world.at_home.add(shown.id)
            member.snapshot = replace(READY, since=2.0 + turn)
            await asyncio.sleep(5)
            left = [message.id for message in sent[turn + 1 :]]
            assert list(await world.store.load(keys.MESSAGE_PREFIX)) == list(map(keys.message, left))

    played(test)
