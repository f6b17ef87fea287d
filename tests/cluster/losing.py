"""How a head is lost, and by what the same agents are known afterwards."""

from __future__ import annotations

from tests.cluster.asking import wait_without
from tests.cluster.rig import RigHost
from tests.cluster.rig.login import login_home

_GONE_S = 30.0


def kill_ray(head: RigHost) -> None:
    """Control store, raylet, supervisor and all other actors there, at once."""
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
