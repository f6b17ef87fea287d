"""Spare instance actors: processes that follow no agent yet, because to start the process is what costs.

``AgentStarter`` takes one for each instance; ``Recovery`` reports those that an earlier supervisor left. The key is the
address of the host, which stands in the actor's name; it is empty for the supervisor's own host. A dead one may be
handed out: ``InstanceFactory.create`` with its name makes another in its place.
"""

from __future__ import annotations

import secrets

from actors.errors import PhalanxError
from supervisor.pool.pool import Pool, Spare, SpareMaker
from supervisor.ports import InstanceFactory

PREFIX = "spare_"
"""Of the names of spare actors; no instance's id begins so."""
ActorPool = Pool[str, None]


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
        return (
            ""
            if await (await self._factory.create(spare.name)).vacant()
            else "it follows an agent that no instance has"
        )

    async def end(self, spare: Spare[str, None]) -> None:
        await self._factory.destroy(spare.name)
