"""What the tests of the supervisor's core stand on: records, a store that fails on request, a mere instance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.errors import FencedError, StoreError, UnavailableError
from actors.host.load import HostLoad
from actors.instance.inbox import BatchLimits
from actors.instance.instance import Instance, InstanceConfig
from actors.instance.reports import InstanceSnapshot, Report
from actors.messages import Message, MessageStatus, Receipt
from actors.status import Status
from supervisor.api.requests import BatchMessage, Role
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from tests.memory_store import MemoryStore

READY = InstanceSnapshot(status=Status.READY, since=1.0)


def record(number: int = 1, **changes: Any) -> InstanceRecord:
    fields: dict[str, Any] = {
        "instance_id": f"spec_0_0_{number}",
        "number": number,
        "executive": 0,
        "manager": 0,
        "role": Role.SPECIALIST,
        "parent_id": None,
        "name": None,
        "agent": "demo",
        "session_id": "s",
        "created_at": 1.0,
        "work_dir": Path("/project"),
        "stage": InstanceStage.RUNNING,
        **changes,
    }
    return InstanceRecord(**fields)


def load(available_mb: int) -> HostLoad:
    return HostLoad(
        host="here",
        cpus=2,
        load_1m=0.0,
        cpu_busy_s=0.0,
        cpu_total_s=1.0,
        memory_total_bytes=8_000_000_000,
        memory_available_bytes=available_mb * 1_000_000,
        disk_available_bytes=10_000_000_000,
    )


def outgoing(text: str = "hello", instance_id: str = "spec_0_0_1") -> BatchMessage:
    return BatchMessage(instance_id=instance_id, message=text)


def receipt(message: Message, status: MessageStatus = MessageStatus.SUBMITTED, reason: str = "") -> Receipt:
    return Receipt(message_id=message.id, instance_id=message.instance_id, status=status, at=2.0, reason=reason)


async def recruit(team: Team, number: int = 1, **changes: Any) -> Member:
    """A running instance that the store knows."""
    member = team.registry.restore(record(number, **changes), now=1.0)
    member.snapshot = READY
    await team.save(member.record.instance_id)
    return member


async def turns(count: int = 20) -> None:
    """Lets every task go as far as it can by itself."""
    for _ in range(count):
        await asyncio.sleep(0)


class TroubledStore(MemoryStore):
    """``error`` is raised by every save, ``held`` keeps saves waiting; ``written`` tells what was saved."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.writes_all_the_same = False
        self.saves = 0

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        if self.error is not None:
            if self.writes_all_the_same:
                await super().save(records, delete)
            raise self.error
        self.saves += 1
        await super().save(records, delete)

    def fails(self, text: str = "no space left") -> None:
        self.error = StoreError(text)

    def is_fenced(self) -> None:
        self.error = FencedError("another supervisor has the state")


class StandInInstance(Instance):
    """An instance that keeps what it is given. ``trouble`` may raise in place of taking messages over."""

    def __init__(self, trouble: Callable[[], None] = lambda: None) -> None:
        self._trouble = trouble
        self.gate = asyncio.Event()
        self.gate.set()
        self.limits: list[BatchLimits] = []
        self.given: list[str] = []
        """Ids in the order in which they came first, as an instance knows them."""
        self.handed: list[list[str]] = []
        self.withdrawn: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.answers: asyncio.Queue[Report | Exception] = asyncio.Queue()
        self.asked: list[tuple[int, str]] = []
        self.incarnation = "first"

    async def vacant(self) -> bool:
        return True

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        return self.incarnation

    async def tune(self, limits: BatchLimits) -> None:
        self._trouble()
        self.limits.append(limits)

    async def deliver(self, messages: Sequence[Message]) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            self._trouble()
            self.handed.append([message.id for message in messages])
            self.given.extend(message.id for message in messages if message.id not in self.given)
        finally:
            self.at_once -= 1

    async def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        self.withdrawn.extend(message_ids)

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report:
        self.asked.append((after, incarnation))
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def tells(
        self, sequence: int, *receipts: Receipt, snapshot: InstanceSnapshot = READY, incarnation: str = "first"
    ) -> None:
        self.answers.put_nowait(
            Report(incarnation=incarnation, sequence=sequence, snapshot=snapshot, receipts=tuple(receipts))
        )

    def is_silent(self) -> None:
        self.answers.put_nowait(UnavailableError("no answer"))

    async def expect_end(self, coming_back: bool = False) -> None:
        """It is no failure."""
