"""Tells every other host of the cluster to end its Ray: a short-lived program that ``stop`` on the head runs first.

Its argument is the "address:port" of the head. A Ray that loses its head ends by itself after a minute, but leaves
helpers behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ASKED_S = 20.0


@ray.remote(num_cpus=0, max_retries=0)
def _stop_here() -> None:
    """Detached, because the process that ends Ray must not be below it, nor for a moment in the group of this worker,
    which Ray kills when this has returned."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = ("setsid", "--fork", sys.executable, "-P", "-m", "supervisor.ray_node", "stop")
    subprocess.run(
        command,
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        timeout=ASKED_S,
        check=True,
        start_new_session=True,
    )


def main(arguments: Sequence[str]) -> int:
    """Returns the number of hosts that did not answer."""
    (address,) = arguments
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    nodes: Any = ray.nodes
    own = ray.get_runtime_context().get_node_id()
    others = [node["NodeID"] for node in nodes() if node["Alive"] and node["NodeID"] != own]
    asked = [
        _stop_here.options(scheduling_strategy=NodeAffinitySchedulingStrategy(other, soft=False)).remote()
        for other in others
    ]
    _, silent = ray.wait(asked, num_returns=len(asked), timeout=ASKED_S) if asked else ([], [])
    return len(silent)


if __name__ == "__main__":
    # Ray's own exit takes long, and the head is about to end.
    os._exit(main(sys.argv[1:]))
