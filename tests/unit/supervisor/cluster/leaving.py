"""Instances on a host that is drained, and all that the drainer works with, in one stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.errors import InvalidRequestError, UnavailableError
from actors.instance.reports import Report
from actors.messages import Message, Receipt
from actors.nodes import Node
from actors.worktrees.model import Workspace
from supervisor.cluster.migration import Drainer
from supervisor.cluster.scheduler import Placement, PlacementCancelledError
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from tests.memory_store import MemoryStore
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.stand_ins import READY, recruit

FIRST = "spec_0_0_1"


def workspace(home: str | None = "/repository/.git") -> Workspace:
    return Workspace(
        mode="isolated",
        directory=Path("/w") / FIRST,
        worktree=Path("/w") / FIRST,
        git_directory=Path("/mirror"),
        branch=f"phalanx/{FIRST}",
        home=Path(home) if home else None,
    )


class World:
    """Roster, hosts, factory, adoption and closing in one; ``deeds`` tells in which order what was done."""

    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.deeds: list[str] = []
        self.drained = {"old"}
        self.places: dict[str, str] = {}
        self.seen = READY
        self.told: tuple[Receipt, ...] = ()
        self.trouble: dict[str, Exception] = {}
        self.full = False
        self.room = asyncio.Event()
        self.room.set()
        self.wanted: list[Mapping[str, str]] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        this: Any = self
        self.drainer = Drainer(self.team, this, this, this, this, this)

    async def do(self, deed: str) -> None:
        await asyncio.sleep(0.1)
        name = deed.partition(" ")[0]
        if name in self.trouble:
            raise self.trouble[name]
        self.deeds.append(deed)

    async def nodes(self) -> tuple[Any, ...]:
        return tuple(Node(name=name, address=name, slots=1) for name in ("old", "new"))

    @asynccontextmanager
    async def placed(self, wanted: Any, still: Callable[[], bool]) -> AsyncIterator[Placement]:
        if self.full:
            raise InvalidRequestError("no other host takes it")
        while not self.room.is_set():
            await asyncio.sleep(2)
            if not still():
                raise PlacementCancelledError
        self.wanted.append(wanted.labels)
        yield Placement(host="new", address="10.0.0.2", own=False)

    async def sync_transcript(self, instance_id: str, path: str) -> None:
        await self.do("conversation")

    async def sync_work(self, given: Workspace, *, uncommitted: bool) -> str:
        assert uncommitted
        await self.do("work")
        return ""

    async def prepare_on_new_host(self, instance_id: str, given: Workspace, path: str) -> Workspace:
        await self.do(f"settle on {self.places[instance_id]}")
        return given

    async def remove_left_behind(self, host: str, place: str, given: Workspace) -> str:
        await self.do(f"clear {host}")
        return ""

    async def end_agent(self, place: str, session: str, grace_s: float) -> None:
        await self.do("end")

    async def destroy(self, name: str) -> None:
        await self.do(f"destroy {name}")

    async def actor(self, record: InstanceRecord) -> Any:
        return self

    async def adopt(self, record: InstanceRecord, port: Any) -> None:
        self.deeds.append("adopt")
        self.follow(record.instance_id)

    async def start_again(self, member: Member) -> None:
        try:
            await self.do(f"start on {member.record.host}")
        except UnavailableError as error:
            await self.team.mark_ended(member, InstanceStage.FAILED, str(error))
            raise
        await self.lives(member)

    async def resume(self, member: Member) -> None:
        if member.record.resumable:
            await self.start_again(member)

    async def lives(self, member: Member) -> None:
        await self.team.save(member.record.instance_id, stage=InstanceStage.RUNNING)
        member.snapshot = READY
        self.follow(member.record.instance_id)

    def follow(self, instance_id: str) -> None:
        this: Any = self
        self.team.members.follow(instance_id, this, "i", this)

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report:
        if after >= 0:
            await asyncio.sleep(1000)
        if self.meanwhile is not None:
            await self.meanwhile()
        return Report(incarnation="i", sequence=1, snapshot=self.seen, receipts=self.told)

    async def deliver(self, messages: Sequence[Message]) -> None:
        """The tests say themselves what becomes of these."""

    async def on_unreachable(self, instance_id: str, reason: str) -> None:
        """It was left on purpose."""

    async def recruit(self, **changes: Any) -> Member:
        given = {"host": "old", "actor": f"{FIRST}@1", "workspace": workspace(), **changes}
        member = await recruit(self.team, 1, **given)
        self.places[FIRST] = member.record.host
        self.follow(FIRST)
        return member


def played(test: Callable[[World], Awaitable[None]]) -> None:
    async def play() -> None:
        world = World()
        world.drainer.begin()
        try:
            await test(world)
        finally:
            await world.drainer.end()
            await world.team.members.leave_all()

    virtual_time.run(play)
