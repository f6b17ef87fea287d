"""``python -m supervisor.ray_node head|worker|stop``: the commands of ``cluster.yaml`` on a host.

When a command fails, the reason goes to stderr and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from actors.errors import PhalanxError
from actors.nodes import slots_for
from supervisor.ray_node.node import NodeOptions, start_node, stop_node
from supervisor.settings import home_from

_CPUS = 8
"""Ray keeps as many idle workers as it is told CPUs; our actors ask for no CPU."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/host", description="Ray on this host of a cluster.")
    commands = parser.add_subparsers(dest="command", required=True)
    head = commands.add_parser("head", help="starts Ray's head")
    head.add_argument("--autoscaling-config", type=Path, help="as the cluster launcher gives it")
    worker = commands.add_parser("worker", help="starts Ray and joins the head's")
    worker.add_argument("--address", required=True, help="ADDRESS:PORT of the head")
    for starts in (head, worker):
        starts.add_argument("--slots", type=int, help="instances that the host has room for; default: by its memory")
        starts.add_argument("--labels", default="", help="KEY=VALUE,… by which a spawn may choose the host")
    commands.add_parser("stop", help="ends the team that was brought up here, and Ray")
    return parser


def _options(given: argparse.Namespace, temporary: Path) -> NodeOptions:
    head = given.command == "head"
    return NodeOptions(
        head_address="" if head else given.address,
        autoscaling_config=given.autoscaling_config.absolute() if head and given.autoscaling_config else None,
        cpus=min(len(os.sched_getaffinity(0)), _CPUS),
        slots=given.slots or slots_for(psutil.virtual_memory().total),
        name=socket.gethostname(),
        labels=given.labels,
        temporary=temporary,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    home = home_from(os.environ)
    try:
        if given.command == "stop":
            notes = stop_node(home)
            print("\n".join([*notes, "Nothing of the team and of its Ray runs on this host."]))
        else:
            print(start_node(home, _options(given, home.node_directory), os.environ))
    except PhalanxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
