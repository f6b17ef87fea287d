"""The pool as a subject of the supervisor: what keeps it begins and ends with the team."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.desk import Handler
from supervisor.performance.figures import PoolFigures, Stock
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

    @property
    def figures(self) -> PoolFigures:
        return PoolFigures(actors=Stock(ready=self._stock.ready, wanted=self._stock.size))

    async def begin(self) -> None:
        self._stock.begin(self._roll.confirm)

    async def end(self) -> None:
        await self._stock.end()
