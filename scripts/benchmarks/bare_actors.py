"""A program that makes bare Ray actors; ``minimal_ray`` runs it in an environment with Ray alone.

It reads one command a line: a number makes that many actors and answers with the seconds; ``pids`` answers with the
process ids of all.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import ray


class Bare:
    async def pid(self) -> int:
        return os.getpid()


def main(directory: str) -> None:
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100_000_000,
        _temp_dir=directory,
        log_to_driver=False,
        namespace="bare",
    )
    actor_class: Any = ray.remote(Bare)
    actors: list[Any] = []
    print("=> 0", flush=True)
    for line in sys.stdin:
        if line.strip() == "pids":
            print("=>", json.dumps(ray.get([actor.pid.remote() for actor in actors], timeout=60)), flush=True)
            continue
        begun = time.perf_counter()
        new = [actor_class.options(num_cpus=0).remote() for _ in range(int(line))]
        ray.get([actor.pid.remote() for actor in new], timeout=300)
        actors += new
        print("=>", time.perf_counter() - begun, flush=True)
    ray.shutdown()


main(sys.argv[1])
