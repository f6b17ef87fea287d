"""What a test asks the Ray of a cluster, from a host of it."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

from tests.cluster.rig import RigHost
from tests.cluster.rig.commands import RigError

_NODES = """
import json, ray
ray.init(address="127.0.0.1:6390".replace("127.0.0.1", ADDRESS), log_to_driver=False, configure_logging=False)
print("ANSWER" + json.dumps([node for node in ray.nodes() if node["Alive"]]))
"""
_SLOTS = """
import ray
ray.init(address=ADDRESS + ":6390", log_to_driver=False, configure_logging=False)
print("ANSWER" + str(ray.cluster_resources()["claude_slot"] - ray.available_resources().get("claude_slot", 0.0)))
"""
_POLL_S = 0.5


def python_on(host: RigHost, program: str, timeout_s: float = 60.0) -> str:
    """What the program printed that runs there with Phalanx's environment."""
    words = ("env", "RAY_AUTH_MODE=token", "PYTHONPATH=phalanx", "phalanx/.venv/bin/python", "-c", program)
    return host.ssh(*words, timeout_s=timeout_s)


_PHALANX = "from mcp_entry.cli import main; main()"


def phalanx(head: RigHost, *words: str, directory: str = "project", timeout_s: float = 120.0) -> Any:
    """What ``phalanx WORDS --json`` answered on the head, in a directory below its home."""
    environment = (f"PHALANX_RAY_ADDRESS={head.address}:6390", "PHALANX_AGENT=demo", "PYTHONPATH=../phalanx")
    program = ("../phalanx/.venv/bin/python", "-c", _PHALANX)
    command = shlex.join(("env", "PHALANX_SAVE_INTERVAL_S=2", *environment, *program, *words, "--json"))
    return json.loads(head.ssh("sh", "-c", f"cd {directory} && {command} 2>/dev/null", timeout_s=timeout_s))


def living_nodes(head: RigHost) -> dict[str, dict[str, Any]]:
    """Ray's nodes by their hosts' names."""
    said = python_on(head, f"ADDRESS = {head.address!r}\n{_NODES}")
    nodes = json.loads(said.partition("ANSWER")[2].splitlines()[0])
    return {node["NodeManagerHostname"]: node for node in nodes}


def taken_slots(head: RigHost) -> float:
    """Of all hosts, as Ray counts them."""
    said = python_on(head, f"ADDRESS = {head.address!r}\n{_SLOTS}")
    return float(said.partition("ANSWER")[2].splitlines()[0])


def wait_for_nodes(head: RigHost, count: int, timeout_s: float) -> dict[str, dict[str, Any]]:
    """The nodes once there are as many; those that there are when that lasts too long."""
    deadline = time.monotonic() + timeout_s
    nodes: dict[str, dict[str, Any]] = {}
    while len(nodes) != count and time.monotonic() < deadline:
        try:
            nodes = living_nodes(head)
        except RigError:
            time.sleep(_POLL_S)
    return nodes


def wait_for_nodes_with(head: RigHost, resource: str, count: int, timeout_s: float) -> list[float]:
    """How much of the resource each node offers, least first, once there are as many that do."""
    deadline = time.monotonic() + timeout_s
    while True:
        said = python_on(head, f"ADDRESS = {head.address!r}\n{_NODES}")
        nodes = json.loads(said.partition("ANSWER")[2].splitlines()[0])
        offered = sorted(node["Resources"][resource] for node in nodes if resource in node["Resources"])
        if len(offered) >= count or time.monotonic() > deadline:
            return offered
        time.sleep(_POLL_S)


def programs_on(host: RigHost) -> str:
    """The command lines of all that runs there."""
    return host.inside("ps", "-e", "-o", "args=")


def wait_without(host: RigHost, words: str, timeout_s: float) -> bool:
    """Whether nothing whose command line holds ``words`` runs there any more, within the time."""
    deadline = time.monotonic() + timeout_s
    while words in programs_on(host):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
