"""Spare instance actors: processes that follow nobody yet, because to start one is what costs.

By the address of the host, which stands in the actor's name; empty for the supervisor's own host. ``ColdStart`` takes
one for each instance, ``Recovery`` tells which ones an earlier supervisor has left. One that has died may be given:
``InstanceFactory.create`` of its name makes another in its place.
"""

from __future__ import annotations

import secrets

from actors.errors import PhalanxError
from supervisor.pool.pool import Pool, Spare, SpareMaker
from supervisor.ports import InstanceFactory

ActorPool = Pool[str, None]
PREFIX = "spare_"
"""Names of spare actors begin so; no instance's id does."""


def spare_actor(name: str) -> Spare[str, None]:
    address = name.partition("@")[2]
    return Spare(name=name, key=address, host=address, content=None)


class ActorMaker(SpareMaker[str, None]):
    what = "spare actor"

    def __init__(self, factory: InstanceFactory) -> None:
        self._factory = factory

    def new_name(self, key: str) -> str:
        return PREFIX + secrets.token_hex(4) + (f"@{key}" if key else "")

    async def make(self, name: str, key: str) -> Spare[str, None]:
        try:
            await self._factory.create(name)
        except PhalanxError:
            if key:
                await self._factory.destroy(name)
            raise
        return spare_actor(name)

    async def recognise(self, spare: Spare[str, None]) -> str:
        return "" if await (await self._factory.create(spare.name)).vacant() else "it follows an agent of nobody"

    async def end(self, spare: Spare[str, None]) -> None:
        await self._factory.destroy(spare.name)
