"""Clears away what terminated instances have left: when a person asks (``gc``), and by itself after a while.

By itself goes who was terminated a day ago, and of more than two hundred those that were terminated first, unless those
that they led live: their records and private directories, and their worktrees as far as nothing in them would be lost.
What stays for a reason is tried again later. Until then they can be read like others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from actors.errors import FencedError, PhalanxError
from supervisor.api import requests, results
from supervisor.api.verbs import Caller, Handler
from supervisor.backoff import Tries
from supervisor.recovering.collecting import Collecting
from supervisor.team.registry import Member
from supervisor.team.roll import Roll

logger = logging.getLogger(__name__)

KEPT_S = 86_400.0
KEPT = 200
EVERY_S = 600.0
_AGAIN_S = 3600.0
_MOST_S = 86_400.0


class ClearingDesk:
    """A ``Desk``. All in the supervisor's event loop."""

    def __init__(self, roll: Roll, collecting: Collecting) -> None:
        self._roll = roll
        self._collecting = collecting
        self._tries = Tries[str](_AGAIN_S, _MOST_S)
        self._clearing: asyncio.Task[None] | None = None

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"gc": self.gc}

    async def begin(self) -> None:
        self._clearing = asyncio.create_task(self._clear(), name="clear away who was terminated long ago")

    async def end(self) -> None:
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.gather(self._clearing, return_exceptions=True)

    async def gc(self, request: requests.GcRequest, caller: Caller) -> results.GcResult:
        items = await self._collecting.collect(dry_run=request.dry_run)
        return results.GcResult(dry_run=request.dry_run, items=items)

    async def _clear(self) -> None:
        """For ever; ends when another supervisor has the state."""
        while True:
            await asyncio.sleep(EVERY_S)
            for member in self._due():
                try:
                    await self._dismiss(member)
                except FencedError:
                    return
                except PhalanxError as error:
                    logger.warning("%s cannot be cleared away now: %s", member.record.instance_id, error)

    def _due(self) -> Sequence[Member]:
        """Who was terminated long ago, or before many others; first who was so first."""
        stopped = sorted(filter(_is_stopped, self._roll.registry), key=lambda member: member.record.ended_at)
        late, many, now = time.time() - KEPT_S, len(stopped) - KEPT, asyncio.get_running_loop().time()
        return [
            member
            for number, member in enumerate(stopped)
            if (number < many or member.record.ended_at < late)
            and self._tries.may(member.record.instance_id, now)
            and not any(below.alive for below in self._roll.registry.children(member.record.instance_id))
        ]

    async def _dismiss(self, member: Member) -> None:
        instance_id = member.record.instance_id
        await self._roll.confirm()
        item = await self._collecting.dismiss(member)
        if item.kept and instance_id in self._roll.registry:
            self._tries.failed(instance_id, asyncio.get_running_loop().time())
            logger.info("%s, which was terminated, stays for now: %s", instance_id, item.kept)
            return
        self._tries.worked(instance_id)
        saved = f"; its work is in {item.saved_ref} of {item.repository}" if item.saved_ref else ""
        logger.info("%s, which was terminated, is cleared away%s", instance_id, saved)


def _is_stopped(member: Member) -> bool:
    return member.terminated and not member.turn.locked()
