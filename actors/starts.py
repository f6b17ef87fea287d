"""What is being made on a host for instances whose spawn is under way, and what is made no more.

The host's actor keeps one ``Starts`` and shares it with its ``TransferService``. A call whose caller was killed or has
given up goes on in its thread, and one that was sent just before may come late. So the undo of a spawn first calls
``withdraw``. Promise: when that returns, nothing is being made for the instance by this process, and nothing will be.
All methods belong to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from actors.errors import UnavailableError, WrongStateError

_MOST_KNOWN = 10_000
"""Ids are never given again, and a call comes late by seconds."""
_Made = TypeVar("_Made")


class Starts:
    def __init__(self) -> None:
        self._under_way: dict[str, set[asyncio.Task[object]]] = {}
        self._withdrawn: dict[str, None] = {}

    def check(self, instance_id: str) -> None:
        """Raises ``WrongStateError`` when the spawn was withdrawn."""
        if instance_id in self._withdrawn:
            raise WrongStateError(f"The spawn of {instance_id} was undone: nothing is made for it any more.")

    async def make(self, instance_id: str, making: Callable[[], Awaitable[_Made]]) -> _Made:
        """What ``making`` returns; it runs to its end also when this call is cancelled. Raises as ``check``."""
        self.check(instance_id)

        async def made() -> _Made:
            return await making()

        task = asyncio.create_task(made(), name=f"make {instance_id}")
        self._under_way.setdefault(instance_id, set()).add(task)
        task.add_done_callback(lambda _: self._ended(instance_id, task))
        return await asyncio.shield(task)

    def _ended(self, instance_id: str, task: asyncio.Task[object]) -> None:
        _ = task.cancelled() or task.exception()  # its caller may be gone
        left = self._under_way[instance_id]
        left.discard(task)
        if not left:
            del self._under_way[instance_id]

    async def withdraw(self, instance_id: str, patience_s: float) -> None:
        """Raises ``UnavailableError`` when what is being made takes longer; then call it again."""
        self._withdrawn[instance_id] = None
        if len(self._withdrawn) > _MOST_KNOWN:
            del self._withdrawn[next(iter(self._withdrawn))]
        if under_way := self._under_way.get(instance_id):
            _, left = await asyncio.wait(under_way, timeout=patience_s)
            if left:
                raise UnavailableError(f"Something is still being made for {instance_id}: try again.")
