"""Fakes of instance actors and of the factory that makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from actors.errors import UnavailableError
from actors.instance.inbox import BatchLimits
from actors.instance.instance import Instance, InstanceConfig
from actors.instance.reports import InstanceSnapshot, Report
from actors.messages import Message, Receipt
from actors.status import Status
from tests.fakes.calls import CallLog

READY = InstanceSnapshot(status=Status.READY, since=1.0)


class FakeInstance(Instance):
    """An instance that keeps what it is given. ``trouble`` may raise in place of taking messages over."""

    def __init__(self, trouble: Callable[[], None] = lambda: None) -> None:
        self._trouble = trouble
        self.gate = asyncio.Event()
        self.gate.set()
        self.configs: list[InstanceConfig] = []
        """Those of its adoptions."""
        self.limits: list[BatchLimits] = []
        self.hold = ""
        self.given: list[str] = []
        """Ids in the order in which they came first, as an instance knows them."""
        self.handed: list[list[str]] = []
        self.withdrawn: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.answers: asyncio.Queue[Report | Exception] = asyncio.Queue()
        self.asked: list[tuple[int, str]] = []
        self.confirmed: list[int] = []
        """The number of the answer that each ask confirms."""
        self.waits_s: list[float] = []
        self.incarnation = "first"

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        self.configs.append(config)
        return self.incarnation

    async def tune(self, limits: BatchLimits, hold: str = "") -> None:
        self._trouble()
        self.limits.append(limits)
        self.hold = hold

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

    async def reports(self, after: int, timeout_s: float, incarnation: str = "", answer: int = 0) -> Report:
        self.asked.append((after, incarnation))
        self.confirmed.append(answer)
        self.waits_s.append(timeout_s)
        said = await self.answers.get()
        if isinstance(said, Exception):
            raise said
        return said

    def tells(
        self,
        sequence: int,
        *receipts: Receipt,
        snapshot: InstanceSnapshot = READY,
        incarnation: str = "first",
        answer: int = 0,
    ) -> None:
        """The next call of ``reports`` answers this."""
        report = Report(incarnation=incarnation, sequence=sequence, snapshot=snapshot, receipts=receipts, answer=answer)
        self.answers.put_nowait(report)

    def is_silent(self) -> None:
        """The next call of ``reports`` is not answered."""
        self.answers.put_nowait(UnavailableError("no answer"))

    async def expect_end(self, coming_back: bool = False) -> None:
        """Nothing changes."""


class FakeInstances:
    """An ``InstanceFactory``."""

    def __init__(self, log: CallLog | None = None) -> None:
        self.log = log or CallLog()
        self.names: set[str] = set()

    async def create(self, name: str) -> Instance:
        self.names.add(name)
        return FakeInstance()

    async def running(self) -> tuple[str, ...]:
        return tuple(self.names)

    async def destroy(self, name: str) -> None:
        self.log.call(f"destroy {name}")
        self.names.discard(name)


class FakeListener:
    """A ``ReportListener`` that notes what it is told. ``refusals`` are raised by the next reports or searches."""

    def __init__(self, found: FakeInstance | None = None) -> None:
        self.found = found or FakeInstance()
        self.taken: list[int] = []
        self.silences: list[str] = []
        self.searches = 0
        self.refusals: list[Exception] = []
        self.lost: list[Exception] = []

    async def on_report(self, instance_id: str, report: Report) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.taken.append(report.sequence)

    async def on_unreachable(self, instance_id: str, reason: str) -> None:
        self.silences.append(reason)

    async def find_again(self, instance_id: str) -> tuple[Instance, str]:
        self.searches += 1
        if self.lost:
            raise self.lost.pop(0)
        return self.found, self.found.incarnation
