"""Instances on a host that is drained or lost, over one fake of all that moves them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from actors.errors import InvalidRequestError, UnavailableError
from actors.instance.reports import Report
from actors.messages import Message, Receipt
from actors.nodes import Node
from actors.worktrees.model import Workspace
from supervisor.cluster.migration import Drainer, Failover, WorkSync
from supervisor.cluster.scheduler import FENCE_S, Placement, PlacementCancelledError, PlacementRequest
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.calls import CallLog
from tests.fakes.hosts import workspace
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, add_member


class FakeMigration:
    """Scheduler, router, factory, adopter, lifecycle and actors in one. Everybody goes from ``source`` to ``target``.

    ``log`` tells in which order what was done; each call takes ``call_s``.
    """

    call_s = 0.1

    def __init__(self, source: str, target: Placement) -> None:
        self.store = MemoryStore()
        self.team = Team(self.store)
        self.log = CallLog()
        self.source = source
        self._target = target
        self.hosts = [target.host, source]
        self._missing_since: dict[str, float] = {}
        self.drained: set[str] = set()
        self.away: set[str] = set()
        self.places: dict[str, str] = {}
        self.ray_is_away = False
        self.refusal: Callable[[PlacementRequest], str] = lambda _: ""
        """Why no host ever takes the instance."""
        self.full: Callable[[PlacementRequest], bool] = lambda _: False
        self.wanted: list[Mapping[str, str]] = []
        self.cancelled_waits = 0
        self.snapshot = READY
        self.receipts: tuple[Receipt, ...] = ()
        """Snapshot and receipts are in the first report of each instance that is followed."""
        self.before_report: Callable[[], Awaitable[None]] | None = None
        self.in_copies: set[str] = set()
        """Ids of messages that the copies of conversations show."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.hosts)

    async def nodes(self) -> tuple[Node, ...]:
        if self.ray_is_away:
            raise UnavailableError("Ray does not answer")
        missing = {self.source} - set(self.hosts)
        self._missing_since = {name: self._missing_since.get(name, time.monotonic()) for name in missing}
        return tuple(Node(name=name, address=name, slots=4) for name in self.hosts)

    def may_be_replaced(self, host: str, heard_at: float | None) -> bool:
        if host in self.hosts:
            return False
        return time.monotonic() - (self._missing_since[host] if heard_at is None else heard_at) >= FENCE_S

    @asynccontextmanager
    async def placed(self, wanted: PlacementRequest, still: Callable[[], bool]) -> AsyncIterator[Placement]:
        refusal = self.refusal(wanted)
        if refusal:
            raise InvalidRequestError(refusal)
        while self.full(wanted):
            await asyncio.sleep(2)
            if not still():
                self.cancelled_waits += 1
                raise PlacementCancelledError
        self.wanted.append(wanted.labels)
        yield self._target

    async def _call(self, text: str) -> None:
        await asyncio.sleep(self.call_s)
        self.log.call(text)

    async def sync_transcript(self, instance_id: str, path: str) -> None:
        await self._call(f"sync transcript of {instance_id}")

    async def sync_work(self, workspace: Workspace, *, uncommitted: bool) -> str:
        await self._call(f"sync {'all' if uncommitted else 'commits'} of {workspace.directory.name}")
        return ""

    async def shown_in_copy(self, instance_id: str, path: str, ids: Collection[str]) -> set[str]:
        return self.in_copies & set(ids)

    async def prepare_on_new_host(self, instance_id: str, workspace: Workspace, path: str) -> Workspace:
        await self._call(f"prepare {instance_id} on {self.places[instance_id]}")
        return workspace

    async def remove_left_behind(self, host: str, place: str, workspace: Workspace) -> str:
        await self._call(f"clear {host}")
        return ""

    async def end_agent(self, place: str, session: str, grace_s: float) -> None:
        await self._call("end")

    async def destroy(self, name: str) -> None:
        await self._call(f"destroy {name}")

    async def actor(self, record: InstanceRecord) -> Any:
        return self

    async def adopt(self, record: InstanceRecord, port: Any) -> None:
        self.log.call("adopt")
        self.follow(record.instance_id)

    async def start_again(self, member: Member) -> None:
        name = member.record.instance_id
        try:
            await self._call(f"start {name} on {member.record.host}")
        except UnavailableError as error:
            await self.team.mark_ended(member, InstanceStage.FAILED, str(error))
            raise
        await self.team.save(name, stage=InstanceStage.RUNNING)
        member.snapshot = READY
        self.follow(name)

    async def resume(self, member: Member) -> None:
        if member.record.resumable:
            await self.start_again(member)

    def follow(self, instance_id: str) -> None:
        this: Any = self
        self.team.links.follow(instance_id, this, "i", this)

    async def reports(self, after: int, timeout_s: float, incarnation: str = "", answer: int = 0) -> Report:
        if after >= 0:
            await asyncio.sleep(1000)
        if self.before_report is not None:
            await self.before_report()
        return Report(incarnation="i", sequence=1, snapshot=self.snapshot, receipts=self.receipts)

    async def deliver(self, messages: Sequence[Message]) -> None:
        """The tests say themselves what becomes of these."""

    async def on_unreachable(self, instance_id: str, reason: str) -> None:
        """It was left on purpose."""

    async def on_report(self, instance_id: str, report: Report) -> None:
        """The tests set the snapshot themselves."""

    async def add_member(self, number: int = 1, **changes: Any) -> Member:
        """An instance on the source."""
        name = f"spec_0_0_{number}"
        given = {"host": self.source, "actor": f"{name}@10.0.0.9", "workspace": workspace(name), **changes}
        member = await add_member(self.team, number, **given)
        self.places[name] = member.record.host
        return member


class DrainScene(FakeMigration):
    """The host ``old`` is drained, and ``new`` takes its instances."""

    def __init__(self) -> None:
        super().__init__("old", Placement(host="new", address="10.0.0.2", own=False))
        self.drained = {"old"}
        this: Any = self
        self.drainer = Drainer(self.team, this, this, this, this, this)

    async def add_followed(self, **changes: Any) -> Member:
        member = await self.add_member(**changes)
        self.follow(FIRST)
        return member


class FailoverScene(FakeMigration):
    """The host ``worker`` may be lost, and ``head`` takes its instances."""

    def __init__(self) -> None:
        super().__init__("worker", Placement(host="head", address="10.0.0.1", own=True))
        this: Any = self
        self.failover = Failover(self.team, this, this, this, this)


class WorkSyncScene(FakeMigration):
    """Work comes home from ``worker``: what is not committed ``every_s``."""

    def __init__(self, every_s: float) -> None:
        super().__init__("worker", Placement(host="head", address="10.0.0.1", own=True))
        this: Any = self
        self.work_sync = WorkSync(self.team, this, every_s)
