"""The Ray actors of instances: made, found and ended by name.

An actor has the name of whom it was made for, and keeps it when a spare agent becomes an instance's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from actors.agents.catalog import AgentCatalog
from actors.instance.instance import Instance, InstanceConfig
from actors.ray_client import ActorProxy, actor_class, actor_names, end_actor, make_actor, meet, on_host
from actors.remote import remote_call

START_S = 120.0
"""Many actors that start at once on few cores wait for each other."""
SlotsOf = Callable[[str], int]
_PREFIX = "instance-"

InstanceActor = actor_class(type("InstanceServer", (Instance,), {}))


class InstanceProxy(ActorProxy):
    """Calls an ``InstanceActor``; errors call it by its own name until it is an instance's."""

    def __init__(self, name: str, actor: Any) -> None:
        super().__init__(actor, Instance, f"The actor of {name}", _PREFIX + name)

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        self._called = f"The actor of {config.instance_id}"
        return str(await self._ask(remote_call(Instance, "adopt"), "adopt", config, pane_id, pid))


class RayInstances:
    """Finds, makes and ends instance actors by their names, so that a supervisor that came back has them all."""

    def __init__(self, catalog: AgentCatalog, own_address: str = "", slots: SlotsOf = lambda _address: 0) -> None:
        """``own_address``: in a cluster, the host on which actors are that name no other one (``NAME@ADDRESS``).

        ``slots``: how many an actor takes on the host with this address.
        """
        self._catalog = catalog
        self._own_address = own_address
        self._slots = slots

    async def create(self, name: str) -> Instance:
        """The actor of this name, made if there is none; returns when it answers."""
        address = name.partition("@")[2] or self._own_address
        options = on_host(address, self._slots(address)) if address else {}
        actor = await make_actor(InstanceActor, _PREFIX + name, self._catalog, **options)
        await meet(actor, f"The actor {name}", START_S)
        return cast("Instance", InstanceProxy(name, actor))

    async def running(self) -> tuple[str, ...]:
        """The names of all that there are."""
        return tuple(name.removeprefix(_PREFIX) for name in await actor_names(_PREFIX))

    async def destroy(self, name: str) -> None:
        """Ends the actor for good; no-op when there is none. The agent that it follows is not touched."""
        await end_actor(_PREFIX + name)
