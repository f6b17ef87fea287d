"""Asks for the list again and again, like an impatient operator: when does it answer, and does it ever tell a wrong
story? A team that is recovering may be silent; it may not say that a living instance is gone or has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass

from actors.errors import PhalanxError
from actors.home import Home
from supervisor.api.requests import ListRequest
from supervisor.api.results import ListResult
from supervisor.rpc.client import SupervisorClient
from tests.chaos.ledger import Ledger, Probe

_EVERY_S = 0.2
_ANSWER_S = 3.0
_SHOWN = 3
_DEAD = frozenset({"failed", "stopped"})


@dataclass(slots=True, kw_only=True)
class Prober:
    home: Home
    ledger: Ledger
    instance_ids: Collection[str]
    passing: Collection[str] = ()
    """The names of instances that members start and end meanwhile."""
    last: ListResult | None = None
    """The newest answer; None while nobody answers."""
    last_asked_at: float = 0.0
    """When it was asked for; seconds since the epoch."""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.probe()
            await asyncio.sleep(_EVERY_S)

    async def probe(self) -> ListResult | None:
        asked_at = time.time()
        self.last, self.last_asked_at = await self._list(), asked_at
        complaint = self._complaint_of(self.last) if self.last else ""
        if complaint:
            self.ledger.note("list is wrong", complaint=complaint)
        self.ledger.probes.append(
            Probe(asked_at=asked_at, answered_at=time.time(), answered=self.last is not None, complaint=complaint)
        )
        return self.last

    async def _list(self) -> ListResult | None:
        with contextlib.suppress(PhalanxError, TimeoutError, OSError):
            async with asyncio.timeout(_ANSWER_S), await SupervisorClient.connect(self.home, "prober") as client:
                return await client.list(ListRequest())
        return None

    def sees_everybody(self, since: float) -> bool:
        """All are there and alive, by an answer that was asked for after ``since`` (seconds since the epoch)."""
        return self.last is not None and self.last_asked_at >= since and not self._complaint_of(self.last)

    def sees_everybody_idle(self, since: float) -> bool:
        """And nothing is under way any more."""
        if self.last is None or not self.sees_everybody(since):
            return False
        return all(each.status == "ready" and not each.queued_messages for each in self.last.instances)

    def _complaint_of(self, listed: ListResult) -> str:
        lasting = [each for each in listed.instances if each.name not in self.passing]
        there = {each.instance_id for each in lasting}
        dead = [f"{each.instance_id} is {each.status}: {each.reason}" for each in lasting if each.status in _DEAD]
        missing = sorted(set(self.instance_ids) - there)
        foreign = sorted(there - set(self.instance_ids))
        parts = (
            f"{len(missing)} are not listed: {', '.join(missing[:_SHOWN])}" if missing else "",
            f"never spawned: {', '.join(foreign)}" if foreign else "",
            "; ".join(dead),
        )
        return "; ".join(part for part in parts if part)
