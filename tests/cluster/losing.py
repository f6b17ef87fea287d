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
    socket = login_home() / ".phalanx" / "tmux.sock"
    return set(host.inside("tmux", "-S", str(socket), "list-panes", "-a", "-F", "#S #{pane_pid}").split("\n")[:-1])
