"""One cluster of three hosts for all tests of this folder, in the order of their files, because ``ray up`` takes long.

Each module brings a team up on it and takes it down. The last module leaves hosts in ruins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import HostsUp, cluster_of
from tests.cluster.rig import Rig, RigHost
from tests.cluster.rig.launcher import Launcher
from tests.cluster.team.claude import provide_claude
from tests.cluster.team.storm import INSTANCES

_SLOTS = INSTANCES + 36
"""Of each host: in the end one has them all."""


@pytest.fixture(scope="package")
def hosts_up(rig_possible: None, make_short_tmp: Callable[[], Path]) -> Iterator[HostsUp]:
    with cluster_of(3, make_short_tmp, _SLOTS, provide_claude) as up:
        yield up


@pytest.fixture(scope="package")
def rig(hosts_up: HostsUp) -> Rig:
    """Ray is up on it."""
    return hosts_up.rig


@pytest.fixture(scope="package")
def launcher(hosts_up: HostsUp) -> Launcher:
    """By which it came up."""
    return hosts_up.launcher


@pytest.fixture(scope="package")
def head(rig: Rig) -> RigHost:
    """It alone has the repository ``~/project``."""
    return rig.hosts[0]
