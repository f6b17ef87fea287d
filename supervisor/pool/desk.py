"""The pool as a subject of the supervisor: what keeps it begins and ends with the team."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.desk import Handler
from supervisor.pool.stock import ActorStock
from supervisor.roll import Roll


class PoolDesk:
    """A ``Desk``."""

    def __init__(self, stock: ActorStock, roll: Roll) -> None:
        self._stock = stock
        self._roll = roll

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {}

    async def begin(self) -> None:
        self._stock.begin(self._roll.confirm)

    async def end(self) -> None:
        await self._stock.end()
