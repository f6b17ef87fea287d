"""What a test asks of a cluster from a host of it: its Ray, its team, its processes; and how a head is lost."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from typing import Any

from tests.cluster.rig import RigError, RigHost, login_home

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
PHALANX_PROGRAM = "from mcp_entry.cli.app import main; main()"
_PROJECT = """
git init -q -b main project && cd project && git config user.name Tester && git config user.email t@example.invalid
echo one > README && git add . && git commit -q -m One
"""
_POLL_S = 0.5
_GONE_S = 30.0


def wait_until(what: Callable[[], object], timeout_s: float) -> bool:
    """Whether it came about in time; a host that cannot be asked is asked again."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if what():
                return True
        except RigError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)


def python_on(host: RigHost, program: str, timeout_s: float = 60.0) -> str:
    """What the program printed that runs there with Phalanx's environment."""
    words = ("env", "RAY_AUTH_MODE=token", "PYTHONPATH=phalanx", "phalanx/.venv/bin/python", "-c", program)
    return host.ssh(*words, timeout_s=timeout_s)


def phalanx(head: RigHost, *words: str, directory: str = "project", timeout_s: float = 120.0) -> Any:
    """What ``phalanx WORDS --json`` answered on the head, in a directory below its home."""
    settings = ("PHALANX_AGENT=demo", "PHALANX_SAVE_INTERVAL_S=2", "PREWARM_INSTANCES=0")
    environment = (f"PHALANX_RAY_ADDRESS={head.address}:6390", *settings, "PYTHONPATH=../phalanx")
    program = ("../phalanx/.venv/bin/python", "-c", PHALANX_PROGRAM)
    command = shlex.join(("env", *environment, *program, *words, "--json"))
    # Its words for people are shown only when it fails: they would stand in the midst of the JSON.
    said = f"{{ {command} 2>../phalanx.err || {{ cat ../phalanx.err; exit 1; }}; }}"
    return json.loads(head.ssh("sh", "-c", f"cd {directory} && {said}", timeout_s=timeout_s))


def make_project(head: RigHost) -> None:
    """The repository ``~/project`` with one commit, which no other host has."""
    head.ssh("sh", "-c", _PROJECT)


def git(head: RigHost, *words: str) -> str:
    return head.ssh("git", "-C", "project", *words).strip()


def spawn(head: RigHost, text: str, *options: str) -> str:
    """The new instance's id."""
    return str(phalanx(head, "spawn", "--dir", ".", *options, text)["instanceId"])


def instance_hosts(head: RigHost) -> dict[str, str]:
    """The host of each instance."""
    return {each["instanceId"]: each["host"] for each in phalanx(head, "list")["instances"]}


def times_asked(head: RigHost, instance_id: str, text: str = "") -> int:
    """How often it was asked this, as its conversation tells."""
    entries = phalanx(head, "read", "--lines", "1000", instance_id)["entries"]
    return sum(text in str(entry) for entry in entries if entry["kind"] == "question")


def living_nodes(head: RigHost) -> dict[str, dict[str, Any]]:
    """Ray's nodes by their hosts' names."""
    return {node["NodeManagerHostname"]: node for node in _nodes(head)}


def _nodes(head: RigHost) -> list[dict[str, Any]]:
    said = python_on(head, f"ADDRESS = {head.address!r}\n{_NODES}")
    found: list[dict[str, Any]] = json.loads(said.partition("ANSWER")[2].splitlines()[0])
    return found


def taken_slots(head: RigHost) -> float:
    """Of all hosts, as Ray counts them."""
    said = python_on(head, f"ADDRESS = {head.address!r}\n{_SLOTS}")
    return float(said.partition("ANSWER")[2].splitlines()[0])


def wait_for_nodes(head: RigHost, count: int, timeout_s: float) -> dict[str, dict[str, Any]]:
    """The nodes once there are as many; those that there are when that lasts too long."""
    wait_until(lambda: len(living_nodes(head)) == count, timeout_s)
    return living_nodes(head)


def offered(head: RigHost, resource: str) -> list[float]:
    """How much of the resource each node offers, least first."""
    return sorted(node["Resources"][resource] for node in _nodes(head) if resource in node["Resources"])


def programs_on(host: RigHost) -> str:
    """The command lines of all that runs there."""
    return host.inside("ps", "-e", "-o", "args=")


def wait_without(host: RigHost, words: str, timeout_s: float) -> bool:
    """Whether nothing whose command line holds ``words`` runs there any more, within the time."""
    return wait_until(lambda: words not in programs_on(host), timeout_s)


def kill_ray(head: RigHost) -> None:
    """Kills control store, raylet, supervisor and all other actors there, at once."""
    signs = ("ray::", "/ray/core/src/ray/", "/ray/autoscaler/")
    listed = (line.split(None, 1) for line in head.inside("ps", "-e", "-o", "pid=,args=").splitlines())
    found = [pid for pid, program in listed if any(sign in program for sign in signs)]
    head.inside("sh", "-c", 'kill -9 "$@" || true', "sh", *found)  # some end with those before them
    assert wait_without(head, "ray/gcs/gcs_server", _GONE_S)


def agents(host: RigHost) -> set[str]:
    """Session and process of each agent there."""
    return _listed(host, "list-panes -a -F '#S #{pane_pid}'")


def sessions(host: RigHost) -> set[str]:
    """Of all agents there, also of none."""
    return _listed(host, "list-sessions -F '#S' 2>/dev/null; true")


def _listed(host: RigHost, command: str) -> set[str]:
    return set(host.inside("sh", "-c", f"tmux -S {login_home()}/.phalanx/tmux.sock {command}").split("\n")[:-1])
