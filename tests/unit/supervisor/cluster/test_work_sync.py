from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.errors import UnavailableError
from actors.messages import Message
from actors.status import Status
from actors.worktrees.model import Workspace
from supervisor.cluster.migration import WorkSync
from supervisor.store import keys
from supervisor.team.registry import Member
from supervisor.team.team import Team
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member, outgoing, receipt

EVERY_S = 60.0


class Scene:
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

    async def add_member(self, number: int = 1, home: str | None = "/repository/.git") -> Member:
        directory = Path(f"/w/spec_0_0_{number}")
        workspace = Workspace(mode="isolated", directory=directory, home=Path(home) if home else None)
        member = await add_member(
            self.team, number, host="worker", actor=f"spec_0_0_{number}@10.0.0.2", workspace=workspace
        )
        member.snapshot = replace(READY, status=Status.BUSY)
        return member

    def work(self) -> list[str]:
        return [each for each in self.carried if not each.endswith("conversation")]


async def played(test: Callable[[Scene], Awaitable[None]], every_s: float = EVERY_S) -> None:
    scene = Scene()
    hosts: Any = scene
    work_sync = WorkSync(scene.team, hosts, every_s)
    work_sync.begin()
    try:
        await test(scene)
    finally:
        await work_sync.end()


async def test_what_was_committed_comes_home_when_a_turn_ends_once_for_each_turn() -> None:
    async def test(scene: Scene) -> None:
        member = await scene.add_member()
        await asyncio.sleep(5)
        assert scene.carried == []
        for turn in range(3):
            member.snapshot = replace(READY, since=2.0 + turn)
            await asyncio.sleep(5)
        assert scene.work() == ["spec_0_0_1 commits"] * 3
        assert scene.carried.count("spec_0_0_1 conversation") == 3

    await played(test)


async def test_what_is_not_committed_comes_home_at_the_interval_also_in_the_middle_of_a_turn() -> None:
    async def test(scene: Scene) -> None:
        await scene.add_member()
        await asyncio.sleep(EVERY_S * 3 + 10)
        assert scene.work() == ["spec_0_0_1 all"] * 3

    await played(test)


async def test_without_an_interval_only_what_is_committed_comes_home() -> None:
    async def test(scene: Scene) -> None:
        member = await scene.add_member()
        member.snapshot = READY
        await asyncio.sleep(1000)
        assert scene.work() == ["spec_0_0_1 commits"]

    await played(test, every_s=0.0)


async def test_what_could_not_be_carried_is_tried_again_soon() -> None:
    async def test(scene: Scene) -> None:
        member = await scene.add_member()
        scene.away = True
        member.snapshot = READY
        await asyncio.sleep(10)
        assert scene.work() == []
        scene.away = False
        await asyncio.sleep(3)
        assert scene.work() == ["spec_0_0_1 commits"]

    await played(test)


async def test_one_instance_is_carried_once_at_a_time_and_holds_up_no_other() -> None:
    async def test(scene: Scene) -> None:
        scene.takes_s = 300
        for number in (1, 2, 3):
            (await scene.add_member(number)).snapshot = READY
        await asyncio.sleep(200)
        assert scene.most_at_once == 3
        await asyncio.sleep(200)
        assert sorted(scene.work()) == [f"spec_0_0_{number} commits" for number in (1, 2, 3)]

    await played(test)


async def test_who_is_on_this_machine_is_just_being_restarted_or_has_ended_is_not_carried() -> None:
    async def test(scene: Scene) -> None:
        (await scene.add_member(1, home=None)).snapshot = READY
        (await scene.add_member(2)).snapshot = replace(READY, status=Status.STOPPED)
        restarting = await scene.add_member(3)
        restarting.snapshot = READY
        async with restarting.turn:
            await asyncio.sleep(EVERY_S * 2)
            assert scene.carried == []

    await played(test)


async def test_a_message_is_kept_until_the_conversation_that_came_home_shows_it() -> None:
    async def test(scene: Scene) -> None:
        member, outbox = await scene.add_member(), scene.team.outbox
        sent = [
            each for each in outbox.check([outgoing("one"), outgoing("two")], "lead", 1.0) if isinstance(each, Message)
        ]
        await outbox.accept(sent)
        await outbox.take_receipts([receipt(message) for message in sent])
        for turn, shown in enumerate(sent):
            scene.at_home.add(shown.id)
            member.snapshot = replace(READY, since=2.0 + turn)
            await asyncio.sleep(5)
            left = [message.id for message in sent[turn + 1 :]]
            assert list(await scene.store.load(keys.MESSAGE_PREFIX)) == list(map(keys.message, left))

    await played(test)
