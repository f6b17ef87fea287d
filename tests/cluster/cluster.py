"""A cluster that is up: a rig with ``ray up`` done on it, and a repository that the head alone has. No team yet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.asking import make_project, wait_for_nodes
from tests.cluster.rig import Rig, RigHost
from tests.cluster.rig.launcher import ROOT, Launcher

_JOINED_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsUp:
    rig: Rig
    launcher: Launcher


@contextmanager
def cluster_of(
    hosts: int, make_directory: Callable[[], Path], slots: int, prepare: Callable[[RigHost], None]
) -> Iterator[HostsUp]:
    """``make_directory`` gives new ones with a short path. ``slots``: of each host; 0: by its memory. ``prepare`` is
    done on each host before Ray is started there; the first host is the head."""
    with Rig(make_directory(), hosts, keep=(ROOT, Path(sys.base_prefix))) as rig:
        for host in rig.hosts:
            prepare(host)
        launcher = Launcher(make_directory(), rig.private_key, rig.hosts, slots)
        try:
            launcher.up()
            head = rig.hosts[0]
            joined = sorted(wait_for_nodes(head, hosts, _JOINED_S))
            assert len(joined) == hosts, f"only {joined} within {_JOINED_S} s"
            make_project(head)
            yield HostsUp(rig=rig, launcher=launcher)
        finally:
            launcher.close()
