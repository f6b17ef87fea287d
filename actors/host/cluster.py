"""Ray's view of the cluster for the supervisor: its hosts, their actors, and the autoscaler."""

from __future__ import annotations

from typing import Any

import ray
import ray.autoscaler.sdk
import ray.util

from actors.agents.catalog import AgentCatalog
from actors.home import Home, TeamIdentity
from actors.host.actor import start_other_host
from actors.host.host import Host
from actors.nodes import SLOT, Node, named
from actors.ray_client import end_actor, in_thread


class RayCluster:
    """The ``ClusterPort`` on Ray."""

    def __init__(self, home: Home, catalog: AgentCatalog, team_id: str) -> None:
        self._home = home
        self._catalog = catalog
        self._leader = TeamIdentity(team_id=team_id, address=own_address())
        self._offering: frozenset[str] = frozenset()

    async def nodes(self) -> tuple[Node, ...]:
        """The hosts on which Ray runs. Raises ``UnavailableError`` when Ray does not answer."""
        ask: Any = ray.nodes
        listed: Any = await in_thread(ask, "Ray, asked for its hosts,")
        nodes = named([node for node in listed if node["Alive"]])
        self._offering = frozenset(node.address for node in nodes if node.slots is not None)
        return nodes

    def slots(self, address: str) -> int:
        """How many slots an instance takes there: 1 if the host offered any when ``nodes`` last looked."""
        return int(address in self._offering)

    async def connect(self, node: Node) -> Host:
        return await start_other_host(_actor_name(node.name), node.address, self._home, self._catalog, self._leader)

    async def leave(self, node: str) -> None:
        await end_actor(_actor_name(node))

    async def want_slots(self, count: int) -> None:
        bundles = [{SLOT: 1}] * count
        await in_thread(lambda: ray.autoscaler.sdk.request_resources(bundles=bundles), "Ray's autoscaler")


def own_address() -> str:
    """Ray's address of this host."""
    address: Any = ray.util.get_node_ip_address
    return str(address())


def _actor_name(node: str) -> str:
    return f"host-{node}"
