"""Instances on a host that is lost, and all that the mover works with, in one stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.errors import InvalidRequestError, UnavailableError
from actors.nodes import Node
from actors.worktrees.model import Workspace
from supervisor.cluster.migration import Failover
from supervisor.cluster.scheduler import FENCE_S, Placement, PlacementCancelledError, PlacementRequest
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.stand_ins import READY, TroubledStore, recruit

FIRST, SECOND = "spec_0_0_1", "spec_0_0_2"


class World:
    """Roster, hosts, factory and closing in one; ``deeds`` tells in which order what was done."""

    def __init__(self) -> None:
        self.store = TroubledStore()
        self.team = Team(self.store)
        self.deeds: list[str] = []
        self.there = ["head", "worker"]
        self.missing_since: dict[str, float] = {}
        self.places: dict[str, str] = {}
        self.away: set[str] = set()
        self.trouble: Callable[[str], bool] = lambda _: False
        self.gcs_away = False
        self.fits: Callable[[PlacementRequest], bool] = lambda _: True
        self.room = asyncio.Event()
        self.room.set()
        """Of hosts with labels."""
        self.given_up = 0
        """Waits for room that were ended because nobody needs it any more."""
        self.at_home: set[str] = set()
        """Ids of messages that the copies of conversations show."""
        this: Any = self
        self.failover = Failover(self.team, this, this, this, this)

    async def do(self, deed: str) -> None:
        await asyncio.sleep(0.1)
        if self.trouble(deed):
            raise UnavailableError(f"not now: {deed}")
        self.deeds.append(deed)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.there)

    def may_be_replaced(self, host: str) -> bool:
        return asyncio.get_running_loop().time() - self.missing_since[host] >= FENCE_S

    async def nodes(self) -> tuple[Node, ...]:
        if self.gcs_away:
            raise UnavailableError("Ray does not answer")
        now = asyncio.get_running_loop().time()
        self.missing_since = {
            name: self.missing_since.get(name, now) for name in ("head", "worker") if name not in self.there
        }
        return tuple(Node(name=name, address=name, slots=4) for name in self.there)

    @asynccontextmanager
    async def placed(self, wanted: PlacementRequest, still: Callable[[], bool]) -> AsyncIterator[Placement]:
        if not self.fits(wanted):
            raise InvalidRequestError(f"none is {wanted.words}")
        while wanted.labels and not self.room.is_set():
            await asyncio.sleep(2)
            if not still():
                self.given_up += 1
                raise PlacementCancelledError
        yield Placement(host="head", address="10.0.0.1", own=True)

    async def prepare_on_new_host(self, instance_id: str, given: Workspace, path: str) -> Workspace:
        await self.do(f"settle {instance_id} on {self.places[instance_id]}")
        return given

    async def shown_in_copy(self, instance_id: str, path: str, ids: Collection[str]) -> set[str]:
        return self.at_home & set(ids)

    async def destroy(self, name: str) -> None:
        await self.do(f"destroy {name}")

    async def resume(self, member: Member) -> None:
        if member.record.resumable:
            await self.do(f"start {member.record.instance_id}")
            await self.team.save(member.record.instance_id, stage=InstanceStage.RUNNING)
            member.snapshot = READY

    async def recruit(self, number: int = 1, **changes: Any) -> Member:
        name = f"spec_0_0_{number}"
        workspace = Workspace(mode="isolated", directory=Path("/w") / name, home=Path("/repository/.git"))
        given = {"host": "worker", "actor": f"{name}@10.0.0.2", "workspace": workspace, **changes}
        member = await recruit(self.team, number, **given)
        self.places[name] = member.record.host
        return member


def played(test: Callable[[World], Awaitable[None]]) -> None:
    async def play() -> None:
        world = World()
        world.failover.begin()
        try:
            await test(world)
        finally:
            await world.failover.end()

    virtual_time.run(play)
