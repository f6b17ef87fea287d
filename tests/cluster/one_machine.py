"""Two Rays on one machine, by Ray's own ``Cluster``: what ``test_one_machine`` looks at. Prints one line of JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray.util
from ray.cluster_utils import Cluster

from actors.agents.catalog import AgentCatalog
from actors.home import Home
from actors.host.cluster import RayCluster, own_address
from actors.instance.actor import RayInstances
from supervisor.cluster.scheduler import HostScheduler, PlacementRequest
from supervisor.team.links import InstanceLinks
from supervisor.team.registry import Registry

WORKER = "127.0.0.2"
_STORE = 80_000_000
_SOON_S = 5.0


def _begin() -> tuple[Any, Any]:
    common: dict[str, Any] = {"num_cpus": 1, "object_store_memory": _STORE}
    make: Any = Cluster
    cluster = make(
        initialize_head=True,
        head_node_args={
            **common,
            "resources": {"claude_slot": 1},
            "labels": {"phalanx/host": "head"},
            "include_dashboard": False,
        },
    )
    labels = {"phalanx/host": "worker", "disk": "fast"}
    worker = cluster.add_node(**common, node_ip_address=WORKER, resources={"claude_slot": 2}, labels=labels)
    ray.init(address=cluster.address, namespace="phalanx", log_to_driver=False, configure_logging=False)
    return cluster, worker


async def _look(cluster: Any, worker: Any, home: Home) -> dict[str, Any]:
    catalog = AgentCatalog(claude_command="claude", python=sys.executable)
    hosts = RayCluster(home, catalog, "team")
    own: Any = None
    scheduler = HostScheduler("head", own, hosts, Registry(), InstanceLinks())
    nodes = await scheduler.nodes()
    seen: dict[str, Any] = {"hosts": {each.name: [each.address, each.slots, dict(each.labels)] for each in nodes}}
    seen["placed"] = await _place(scheduler)
    head = own_address()
    instances = RayInstances(catalog, head, hosts.slots)
    for name in ("one", f"two@{WORKER}", f"three@{WORKER}"):
        await instances.create(name)
    seen["slots left"] = await _once(_slots_left, {head: 0.0, WORKER: 0.0})
    late = asyncio.create_task(instances.create(f"four@{WORKER}"))
    done, _ = await asyncio.wait([late], timeout=_SOON_S)
    seen["a fourth had to wait"] = not done
    await instances.destroy(f"two@{WORKER}")
    await late
    seen["instances"] = list(await instances.running())
    await asyncio.to_thread(cluster.remove_node, worker)
    seen["hosts afterwards"] = await _until_one(hosts)
    return seen


async def _place(scheduler: HostScheduler) -> list[str]:
    """Where three go one after another, each with its slot kept, and one that asks for a label."""
    found = []
    for wanted in (PlacementRequest(), PlacementRequest(labels={"disk": "fast"}), PlacementRequest()):
        found.append(await scheduler.placed(wanted).__aenter__())
    return [placement.host for placement in found]


def _slots_left() -> dict[str, float]:
    """By the host's address."""
    asking: Any = ray
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in asking.nodes()}
    left = asking._private.state.available_resources_per_node()
    return {addresses[node]: resources.get("claude_slot", 0.0) for node, resources in left.items()}


async def _once(look: Callable[[], dict[str, float]], expected: dict[str, float]) -> dict[str, float]:
    """What is seen once that is as expected, or at last: what Ray tells of its resources comes a moment later."""
    deadline = asyncio.get_running_loop().time() + _SOON_S
    while (seen := look()) != expected and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.2)
    return seen


async def _until_one(hosts: RayCluster) -> list[str]:
    async with asyncio.timeout(60):
        while len(left := await hosts.nodes()) > 1:  # noqa: ASYNC110 - Ray tells nobody
            await asyncio.sleep(0.2)
    return [node.name for node in left]


def main() -> None:
    directory = sys.argv[1]
    cluster, worker = _begin()
    try:
        seen = asyncio.run(_look(cluster, worker, Home(Path(directory) / "home")))
        print("SEEN" + json.dumps(seen), flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
