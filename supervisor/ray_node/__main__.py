"""``python -m supervisor.ray_node head|worker|stop``: the commands of ``cluster.yaml`` on a host.

When a command fails, the reason goes to stderr and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from actors.errors import PhalanxError
from supervisor.ray_node.node import start_node, stop_node
from supervisor.settings import home_from


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/host", description="Ray on this host of a cluster.")
    commands = parser.add_subparsers(dest="command", required=True)
    head = commands.add_parser("head", help="starts Ray's head")
    head.add_argument("--autoscaling-config", type=Path, help="as the cluster launcher gives it")
    head.set_defaults(address="")
    worker = commands.add_parser("worker", help="starts Ray and joins the head's")
    worker.add_argument("--address", required=True, help="ADDRESS:PORT of the head")
    worker.set_defaults(autoscaling_config=None)
    for starts in (head, worker):
        starts.add_argument("--slots", type=int, help="instances that the host has room for; default: by its memory")
        starts.add_argument("--labels", default="", help="KEY=VALUE,… by which a spawn may choose the host")
    commands.add_parser("stop", help="ends the team that was brought up here, and Ray")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    home = home_from(os.environ)
    try:
        if given.command == "stop":
            notes = stop_node(home)
            print("\n".join([*notes, "Nothing of the team and of its Ray runs on this host."]))
        else:
            output = start_node(
                home,
                os.environ,
                head_address=given.address,
                autoscaling_config=given.autoscaling_config,
                slots=given.slots,
                labels=given.labels,
            )
            print(output)
    except PhalanxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
