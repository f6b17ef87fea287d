"""A short-lived program that ends a team's actors in a Ray cluster that goes on: ``phalanx down`` runs it.

It does not touch agents: the host actors have ended those of their machines before.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
import ray.util

from actors.home import Home
from actors.ray_client import SUPERVISOR
from supervisor.boot import namespace_of

_RELEASE_S = 20.0


def end_actors(home: Home, address: str) -> int:
    """Returns the number of actors that it ended."""
    namespace = namespace_of(home, joined=True)
    ray.init(address=address, namespace=namespace, log_to_driver=False, configure_logging=False)
    names = [each["name"] for each in ray.util.list_named_actors(all_namespaces=True) if each["namespace"] == namespace]
    names.sort(key=lambda name: name != SUPERVISOR)  # first, because it would create the others again
    _release([name for name in names if name.startswith("host-")], namespace)
    for name in names:
        with suppress(ValueError):
            ray.kill(ray.get_actor(name, namespace=namespace), no_restart=True)
    return len(names)


def _release(hosts: Sequence[str], namespace: str) -> None:
    """Ends the tmux servers on the other hosts, as far as they can be asked."""
    calls: list[Any] = []
    for name in hosts:
        with suppress(ValueError):
            calls.append(ray.get_actor(name, namespace=namespace).release.remote())
    if calls:
        ray.wait(calls, num_returns=len(calls), timeout=_RELEASE_S)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m supervisor.leaving", description=__doc__.partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--address", required=True)
    given = parser.parse_args(arguments)
    try:
        end_actors(Home(given.home), given.address)
    except Exception as error:  # noqa: BLE001 - the outermost frame
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    os._exit(main())  # Ray's own exit takes long
